"""Many files read in one bounded child: what became of each, and that the child outlived it or did not.

`check_in` starts a child for every file, which costs seconds; here one child reads as many as it survives. It runs the
same conversion under the same confinement, but may write files and start programs, so that code which did run would
leave its mark.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multav.model_upload import ModelUpload
from tests.models.small_networks import SAID

_CODE = """
import json, os, sys, time
order = json.loads(sys.argv[1])
from multav.sandbox.confinement import confine
confine(order["bounds"], lifeline=order["lifeline"])
import hashlib, torch
from pathlib import Path
torch.set_num_threads(1)
from models.checkpoints import load
from models.conversion import converted
from multav.errors import MultavError
for path in order["paths"]:
    used = time.process_time()
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    print(json.dumps({"path": path}), flush=True)
    outcome = {"outcome": "converted", "detail": "", "tensors": {}}
    try:
        message = {"upload": order["upload"], "file_name": os.path.basename(path), "source_sha256": "0" * 64}
        data = converted(Path(path), message, max_values=10**8)
        state = load(data).backbone.state_dict()
        outcome["tensors"] = {
            name: [list(tensor.shape), hashlib.sha256(tensor.numpy().tobytes()).hexdigest()]
            for name, tensor in state.items()
        }
    except MultavError as error:
        outcome |= {"outcome": type(error).__name__, "detail": error.detail}
    except MemoryError:
        outcome |= {"outcome": "MemoryError"}
    except Exception as error:
        outcome |= {"outcome": "stumbled", "detail": repr(error)[:500]}
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    outcome |= {"seconds": time.process_time() - used, "peak": peak}
    print(json.dumps(outcome), flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Outcome:
    """Of one file: "converted", the name of the refusal, "MemoryError", "stumbled" (another exception), or "died".

    `tensors` maps names to shape and digest; `peak` is the child's most memory meanwhile, in bytes.
    """

    path: Path
    outcome: str
    detail: str = ""
    tensors: dict[str, Any] | None = None
    seconds: float = 0.0
    peak: int = 0

    @property
    def refused(self) -> bool:
        """Whether a user would be told that the file cannot be used."""
        return self.outcome != "converted"


def outcomes(
    paths: Sequence[Path], *, cpu_seconds: int = 240, memory_bytes: int = 8 * 2**30, **said: Any
) -> list[Outcome]:
    """What became of each file, in order; a child that dies is replaced for the files after."""
    upload = ModelUpload.parse(SAID | said).model_dump(mode="json", exclude_unset=True)
    left, found = list(paths), []
    while left:
        made = _one_child(left, upload, cpu_seconds, memory_bytes)
        assert made, "the child did not start"
        found += made
        left = left[len(made) :]
    return found


def _one_child(paths: list[Path], upload: Any, cpu_seconds: int, memory_bytes: int) -> list[Outcome]:
    theirs, ours = os.pipe()
    order = {
        "paths": [str(path) for path in paths],
        "upload": upload,
        "lifeline": theirs,
        "bounds": {"cpu_seconds": cpu_seconds, "memory_bytes": memory_bytes, "file_bytes": 2**30},
    }
    try:
        ran = subprocess.run(
            [sys.executable, "-c", _CODE, json.dumps(order)],
            stdout=subprocess.PIPE,
            pass_fds=[theirs],
            check=False,
            timeout=600,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    lines = [json.loads(line) for line in ran.stdout.decode().splitlines()]
    made = [Outcome(Path(start["path"]), **end) for start, end in zip(lines[::2], lines[1::2], strict=False)]
    if len(lines) % 2:
        made.append(Outcome(Path(lines[-1]["path"]), "died", detail=f"status {ran.returncode}"))
    return made
