"""One batch of videos under one attack: from clips to outcomes.

Videos that the model does not know are not attacked. The others are attacked together; with early stop a video that
fools the model costs nothing more. An outcome depends on the video, the attack and the seed alone, never on the batch.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from multav.attacks.spec import AttackSpec
from multav.audits.cells import Cell
from multav.audits.logits import logits_of, mean_softmax
from multav.audits.outcome import CLEAN, Outcome
from multav.audits.perturbation import perturbations
from multav.clip_attack import craft
from multav.precision import Precision

OnStep = Callable[[int], None]

_WINDOW: Final = 2**40


@dataclass(frozen=True)
class VideoClips:
    """One video as a model sees it: `pixels` (windows, 3, T, H, W) float32 in [0, 1], on the device of the models.

    `index` is its place in its dataset's listing, `label` its class.
    """

    index: int
    label: int
    pixels: Tensor


@dataclass(frozen=True)
class AttackedVideo:
    """What an attack made of one video: `clips` (windows, 3, T, H, W), the model's `logits` (windows, classes).

    `mask` bool (windows, 1, T, H, W) is where the attack could act. `loss_start` and `loss_end` are means over the
    windows, `gradients` the sum. Logits are on the CPU, clips and mask where the model is.
    """

    clips: Tensor
    logits: Tensor
    mask: Tensor
    loss_start: float
    loss_end: float
    gradients: int

    def fools(self, label: int) -> bool:
        """Whether the prediction of the video is not `label`."""
        return int(mean_softmax(self.logits).argmax()) != label


def clean_outcomes(model: nn.Module, model_name: str, batch: Sequence[VideoClips]) -> list[Outcome]:
    """What `model` says of every video as it is: a row in the cell `CLEAN` for each, in the order of `batch`.

    The prediction of a video is the class of the largest mean softmax over its windows.
    """
    started = time.monotonic()
    said = _logits_by_video(model, [video.pixels for video in batch])
    seconds = (time.monotonic() - started) / max(1, len(batch))
    rows = []
    for video, logits in zip(batch, said, strict=True):
        predicted, confidence = _prediction(logits)
        rows.append(
            Outcome(
                model=model_name,
                cell=CLEAN,
                clip=video.index,
                label=video.label,
                tested_on=model_name,
                clean=predicted,
                clean_confidence=confidence,
                predicted=predicted,
                confidence=confidence,
                seconds=seconds,
            )
        )
    return rows


def attack_outcomes(
    model: nn.Module,
    model_name: str,
    cell: Cell,
    batch: Sequence[VideoClips],
    clean: Iterable[Outcome],
    *,
    seed: int = 0,
    precision: Precision = "float32",
    others: Mapping[str, nn.Module] | None = None,
    on_step: OnStep | None = None,
    on_attacked: Callable[[VideoClips, Tensor], None] | None = None,
) -> list[Outcome]:
    """What `model` says of every video under the attack of `cell`; its own row, then one per other model.

    `clean` holds the rows of `clean_outcomes` for these videos (of the other models too, or they are asked again;
    further rows do not matter). Where the clean prediction is wrong nothing is attacked, and the row repeats it: exact,
    as long as the model always gives the same answer. `others`, by name, are tried on the same adversarial clips, and
    must take clips of the same size. `on_step(step)` is called before each gradient step and may raise;
    `on_attacked(video, adversarial)` gets each video's adversarial clips (windows, 3, T, H, W).

    With several windows each is attacked, and what counts is the video's mean softmax. Predictions are always those of
    the model's own precision, whatever `precision` the gradients have. Raises `KeyError` for a video that has no clean
    row, and what `multav.craft` raises.
    """
    known = {(row.tested_on, row.clip): row for row in clean if row.cell == CLEAN}
    started = time.monotonic()
    chosen = [video for video in batch if known[model_name, video.index].right]
    made = attack_videos(model, chosen, cell.attack, seed=seed, precision=precision, on_step=on_step)
    seconds = (time.monotonic() - started) / max(1, len(chosen))
    attacked = dict(zip((video.index for video in chosen), made, strict=True))
    rows = {
        video.index: [replace(known[model_name, video.index], cell=cell.name, seconds=0.0)] for video in batch
    }
    before = [rows[video.index][0] for video in chosen]
    for video, row in zip(chosen, attacked_rows(before, chosen, made, cell.multiplicative), strict=True):
        rows[video.index] = [replace(row, seconds=seconds)]
        if on_attacked is not None:
            on_attacked(video, attacked[video.index].clips)
    for name, other in (others or {}).items():
        missing = [video for video in batch if (name, video.index) not in known]
        if missing:
            known |= {(name, row.clip): row for row in clean_outcomes(other, name, missing)}
        for row in _transferred(other, name, chosen, attacked, known, rows):
            rows[row.clip].append(row)
        for video in batch:
            if video.index not in attacked:
                rows[video.index].append(
                    replace(known[name, video.index], model=model_name, cell=cell.name, seconds=0.0)
                )
    return [row for video in batch for row in rows[video.index]]


def attack_videos(
    model: nn.Module,
    videos: Sequence[VideoClips],
    attack: AttackSpec,
    *,
    seed: int = 0,
    precision: Precision = "float32",
    on_step: OnStep | None = None,
) -> list[AttackedVideo]:
    """Every window of every video attacked, all of them together.

    Window w of video i draws its random numbers as sample i + 2**40 * w. With early stop, a window is left as soon as
    it alone is misread, and yet the mean over the windows may still be right: such videos are attacked once more
    without early stop, and the gradients of both attacks count.
    """
    if not videos:
        return []
    made = _crafted(model, videos, attack, seed, precision, on_step)
    if not getattr(attack, "early_stop", False):
        return made
    places = [place for place, video in enumerate(videos) if _left_early(video, made[place])]
    if places:
        unhurried = attack.model_copy(update={"early_stop": False})
        again = _crafted(model, [videos[place] for place in places], unhurried, seed, precision, on_step)
        for place, result in zip(places, again, strict=True):
            made[place] = replace(result, gradients=made[place].gradients + result.gradients)
    return made


def sample_number(video: VideoClips, window: int) -> int:
    """The number from which a window of a video draws, the same in every batch: the index for the first window."""
    return video.index + _WINDOW * window


def attacked_rows(
    rows: Sequence[Outcome], videos: Sequence[VideoClips], made: Sequence[AttackedVideo], multiplicative: bool
) -> list[Outcome]:
    """The clean `rows` of videos with what came of the attacks on them."""
    moved = perturbations(
        [video.pixels for video in videos], [result.clips for result in made], multiplicative=multiplicative
    )
    found = []
    for row, result, moves in zip(rows, made, moved, strict=True):
        predicted, confidence = _prediction(result.logits)
        found.append(
            replace(
                row,
                predicted=predicted,
                confidence=confidence,
                attacked=True,
                loss_start=result.loss_start,
                loss_end=result.loss_end,
                size=moves.size,
                l2=moves.l2,
                changed=moves.changed,
                gradients=result.gradients,
            )
        )
    return found


def _left_early(video: VideoClips, result: AttackedVideo) -> bool:
    """Whether the search has left a window as misread, and the video is right all the same."""
    return not result.fools(video.label) and bool((result.logits.argmax(1) != video.label).any())


def _crafted(
    model: nn.Module,
    videos: Sequence[VideoClips],
    attack: AttackSpec,
    seed: int,
    precision: Precision,
    on_step: OnStep | None,
) -> list[AttackedVideo]:
    counts = [len(video.pixels) for video in videos]
    clips = torch.cat([video.pixels for video in videos])
    labels = torch.tensor(
        [video.label for video in videos for _ in range(len(video.pixels))], device=clips.device
    )
    samples = [sample_number(video, window) for video in videos for window in range(len(video.pixels))]
    crafted = craft(
        model,
        clips,
        labels,
        attack,
        seed=seed,
        first_sample=samples,
        precision=precision,
        on_step=on_step,
    )
    # Together, as each copy from a GPU waits for it.
    logits, losses, gradients = (
        each.cpu() for each in (crafted.logits, crafted.losses[[0, -1]], crafted.gradients)
    )
    parts = zip(
        torch.split(crafted.clips, counts),
        torch.split(logits, counts),
        torch.split(crafted.mask, counts),
        torch.split(losses[0], counts),
        torch.split(losses[1], counts),
        torch.split(gradients, counts),
        strict=True,
    )
    return [
        AttackedVideo(there, logits, mask, float(start.mean()), float(end.mean()), int(gradients.sum()))
        for there, logits, mask, start, end, gradients in parts
    ]


def _transferred(
    other: nn.Module,
    name: str,
    chosen: Sequence[VideoClips],
    attacked: Mapping[int, AttackedVideo],
    known: Mapping[tuple[str, int], Outcome],
    rows: Mapping[int, list[Outcome]],
) -> list[Outcome]:
    """What another model says of the adversarial clips; figures of the clips are those of their own."""
    started = time.monotonic()
    said = _logits_by_video(other, [attacked[video.index].clips for video in chosen])
    seconds = (time.monotonic() - started) / max(1, len(chosen))
    found = []
    for video, logits in zip(chosen, said, strict=True):
        predicted, confidence = _prediction(logits)
        before = known[name, video.index]
        found.append(
            replace(
                rows[video.index][0],
                tested_on=name,
                clean=before.clean,
                clean_confidence=before.clean_confidence,
                predicted=predicted,
                confidence=confidence,
                loss_start=None,
                loss_end=None,
                gradients=0,
                seconds=seconds,
            )
        )
    return found


def _logits_by_video(model: nn.Module, clips: Sequence[Tensor]) -> Sequence[Tensor]:
    """Logits (windows, classes), on the CPU, of each of `clips`, which go through the model together."""
    if not clips:
        return ()
    return torch.split(logits_of(model, torch.cat(list(clips))).cpu(), [len(windows) for windows in clips])


def _prediction(logits: Tensor) -> tuple[int, float]:
    """Class of a video and its probability."""
    probabilities = mean_softmax(logits)
    predicted = int(probabilities.argmax())
    return predicted, float(probabilities[predicted])
