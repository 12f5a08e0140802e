"""What the processes of a training on several devices are told, in a folder that they share with the worker.

order.json                what to train, on what, with which means
beginning.safetensors     the network that it starts from
kept.safetensors          a checkpoint to go on from, where there is one
checkpoint.safetensors    the last one of this attempt; whoever starts again goes on there
met                       the ranks of all hosts have found each other, since the agent of this one started
notes.jsonl               points, progress and checkpoints of the first rank, a line each
stop                      says that they shall stop, and as what
error-<rank>.json         why a rank gave up
trained.safetensors       the weights that are kept, and
trained.json              what else is to be said of them: the training is done
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from multav.training import told_error, videos_json
from multav.training.request import TrainingRequest
from multav.training.told_error import TellableError
from multav.training.videos import TrainingVideos
from multav.video.limits import Limits

ORDER: Final = "order.json"
BEGINNING: Final = "beginning.safetensors"
KEPT: Final = "kept.safetensors"
CHECKPOINT: Final = "checkpoint.safetensors"
MET: Final = "met"
NOTES: Final = "notes.jsonl"
STOP: Final = "stop"
ERRORS: Final = "error-*.json"
MODEL: Final = "trained.safetensors"
RESULT: Final = "trained.json"

AGENT: Final = "TRAINING_AGENT_PID"
"""Variable that tells ranks whose children they are."""
RANKS_DIED: Final = 3
NOBODY_CAME: Final = 4
NOT_REACHED: Final = 5
"""What the agent exits with when its ranks died too often, other hosts stayed away, or the port where they meet was not
there; with anything else but 0 it died itself."""
MAX_RESTARTS: Final = 3
"""How often all ranks are started again when one of them or their agent has died, in one attempt of the job."""


@dataclass(frozen=True)
class TrainingOrder:
    """`clips`: folder of decoded clips and how many bytes it may take; `cuda`: ranks take a GPU each, else a share of
    the processor: `threads` threads. `leads`: the machine's worker has the job, as that of one machine alone does.
    """

    request: TrainingRequest
    videos: TrainingVideos
    limits: Limits
    clips: tuple[str, int] | None
    decoders: int
    cuda: bool
    threads: int
    leads: bool = True

    @property
    def devices_here(self) -> int:
        """How many of the devices are this machine's."""
        return self.request.devices // self.request.hosts

    def write(self, folder: Path) -> None:
        """Leave the order in `folder`."""
        put(
            folder / ORDER,
            {
                "request": self.request.model_dump(mode="json"),
                "videos": videos_json.to_json(self.videos),
                "limits": self.limits.model_dump(mode="json"),
                "clips": self.clips,
                "decoders": self.decoders,
                "cuda": self.cuda,
                "threads": self.threads,
                "leads": self.leads,
            },
        )

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The order in `folder`."""
        told = json.loads((folder / ORDER).read_text())
        return cls(
            request=TrainingRequest.parse(told["request"]),
            videos=videos_json.from_json(told["videos"]),
            limits=Limits.model_validate(told["limits"]),
            clips=None if told["clips"] is None else (told["clips"][0], told["clips"][1]),
            decoders=told["decoders"],
            cuda=told["cuda"],
            threads=told["threads"],
            leads=told["leads"],
        )


def error_in(folder: Path) -> TellableError | None:
    """Why a rank gave up, the first in order where several did; None as long as none has."""
    for path in sorted(folder.glob(ERRORS)):
        return told_error.from_json(json.loads(path.read_text()))
    return None


def put(path: Path, told: Any) -> None:
    """Write JSON so that nobody ever sees half of it."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(told))
    os.replace(part, path)


class Notes:
    """The lines that the first rank appends, one JSON object each; a line that its writer died in is passed over."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NOTES
        self._read = 0

    def begin(self) -> None:
        """End a line that another writer has left."""
        self._append("\n")

    def write(self, kind: str, told: Any) -> None:
        """Append one; `told` may be a dataclass."""
        plain = told if isinstance(told, (int, str)) else asdict(told)
        self._append(json.dumps({kind: plain}) + "\n")

    def fresh(self) -> list[tuple[str, Any]]:
        """(kind, what it tells) of each that was not read before."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        found = []
        for line in whole.splitlines():
            try:
                [(kind, told)] = json.loads(line).items()
            except ValueError:
                continue
            found.append((kind, told))
        return found

    def _append(self, text: str) -> None:
        with self._path.open("a") as file:
            file.write(text)
