"""From a video file to its verified adversarial version: the library's front door to `multav.journey`."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from multav.attack_artifacts import ArtifactFile
from multav.attack_request import AttackRequest
from multav.attacks.spec import AttackSpec
from multav.frozen_model import frozen
from multav.geometry import InputGeometry
from multav.journey import Journey
from multav.local_file import existing_file
from multav.progress import Progress
from multav.subject import Subject
from multav.video.limits import Limits


@dataclass(frozen=True)
class AttackOutcome:
    """What an attack on a video came to: the `result` object of the HTTP contract, and the files."""

    result: dict[str, Any]
    artifacts: tuple[ArtifactFile, ...]

    @property
    def video(self) -> Path:
        """The adversarial video."""
        return next(each.path for each in self.artifacts if each.role == "adversarial-video")


def attack_video(
    path: Path | str,
    model: nn.Module,
    attack: AttackRequest | AttackSpec | Mapping[str, Any] | None = None,
    *,
    folder: Path | str | None = None,
    name: str | None = None,
    geometry: InputGeometry | None = None,
    classes: tuple[str, ...] | None = None,
    limits: Limits | None = None,
    max_output_bytes: int = 8 * 2**30,
    on_progress: Callable[[Progress], None] | None = None,
    check: Callable[[], None] | None = None,
    **options: Any,
) -> AttackOutcome:
    """Attack the video at `path` and write its adversarial version, verified after encoding.

    `model` maps clips (B, 3, T, height, width) in [0, 1] to logits, and says through `geometry` and `classes`
    (its attributes, or the arguments) what it expects. `attack` is a spec, a mapping like
    `{"kind": "multav-linf", "epsilon": 1.04}`, or a whole `AttackRequest`; `options` are the request's other
    fields (`label`, `domain`, `coverage`, `channel`, `output`, `crf`, `bits`, `seed`, `precision`, `tensor`,
    `features`). Files go to `folder` (a fresh temporary one by default) and are named after `name` (the file's own
    by default). `check` is called before every attack step and every picture, and may raise to end the work;
    `on_progress` hears of every attacked window.

    The model runs on the device of its parameters and is given back as it was found. Raises `InvalidSpec`,
    `FileNotFoundError`, the `BadVideo` family, `OutputTooLarge` and `EncodingFailed`.
    """
    source = existing_file(path)
    request = _as_request(attack, options)
    geometry = geometry or getattr(model, "geometry", None)
    classes = classes or getattr(model, "classes", None)
    if geometry is None or classes is None:
        raise TypeError("the model has no `geometry` or no `classes`: pass them as arguments")
    with (
        _target(folder) as target,
        frozen(model),
        tempfile.TemporaryDirectory(prefix=".crafting-", dir=target) as scratch,
    ):
        journey = Journey(
            Subject(source, model, request, geometry, tuple(classes), limits or Limits()),
            folder=target,
            name=name or source.stem,
            scratch=Path(scratch),
            max_output_bytes=max_output_bytes,
            on_progress=on_progress or (lambda _: None),
            check=check or (lambda: None),
        )
        result, artifacts = journey.run()
    return AttackOutcome(result, artifacts)


@contextmanager
def _target(folder: Path | str | None) -> Iterator[Path]:
    """The folder of the files; a temporary one does not outlive a failure."""
    if folder is not None:
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        yield target
        return
    target = Path(tempfile.mkdtemp(prefix="multav-"))
    try:
        yield target
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _as_request(
    attack: AttackRequest | AttackSpec | Mapping[str, Any] | None, options: dict[str, Any]
) -> AttackRequest:
    if isinstance(attack, AttackRequest):
        return AttackRequest.parse({**attack.model_dump(), **options}) if options else attack
    if isinstance(attack, AttackSpec):
        attack = attack.model_dump()
    return AttackRequest.parse(({} if attack is None else {"attack": dict(attack)}) | options)
