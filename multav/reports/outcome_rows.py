"""An audit's outcomes as flat rows for tables: names beside the indices. Torch-free."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

from multav.audits.cells import Cell
from multav.audits.outcome import Outcome
from multav.datasets.listing import ListedVideo

Kind = Literal["text", "whole", "real", "flag"]

COLUMNS: Final[dict[str, tuple[Kind, str]]] = {
    "model": ("text", "model that was attacked"),
    "cell": ("text", 'attack and epsilon, or "clean"'),
    "tested_on": ("text", "model that was asked; another than model for transfer"),
    "clip": ("whole", "index of the video in its dataset"),
    "video": ("text", "path of the video within its dataset"),
    "group": ("text", "videos of one group were cut from the same source"),
    "label": ("whole", "index of the true class"),
    "label_name": ("text", "true class"),
    "clean": ("whole", "index of the class predicted on the clean clip"),
    "clean_name": ("text", "class predicted on the clean clip"),
    "clean_confidence": ("real", "probability of that class"),
    "predicted": ("whole", "index of the class predicted under the attack"),
    "predicted_name": ("text", "class predicted under the attack"),
    "confidence": ("real", "probability of that class"),
    "right": ("flag", "whether the prediction is the label; empty where there is none"),
    "attacked": ("flag", "false where the clean prediction was wrong already"),
    "family": ("text", "cells of one family differ in epsilon alone"),
    "bound": ("real", "epsilon of the cell"),
    "size": ("real", "largest ratio of multiplicative attacks, largest difference of additive ones"),
    "l2": ("real", "norm of the difference"),
    "changed": ("real", "share of the pixels that differ"),
    "minimum_epsilon": ("real", "smallest bound that was found to fool the model, where it was looked for"),
    "loss_start": ("real", "loss of the clean clip"),
    "loss_end": ("real", "loss at the end of the attack"),
    "gradients": ("whole", "gradients that were spent"),
    "seconds": ("real", "this clip's share of its batch"),
    "problem": ("text", "why a video gave no clip"),
}
"""Every column: what it holds, and what it means."""


def rows(
    outcomes: Iterable[Outcome],
    *,
    classes: Sequence[str],
    videos: Iterable[ListedVideo],
    cells: Iterable[Cell],
) -> Iterator[tuple[Any, ...]]:
    """One tuple per outcome, in the order of `COLUMNS`, None where there is nothing to say."""
    listed = {video.index: video for video in videos}
    named = {cell.name: cell for cell in cells}

    def name(index: int | None) -> str | None:
        return None if index is None else classes[index]

    for each in outcomes:
        video, cell = listed[each.clip], named.get(each.cell)
        yield (
            each.model,
            each.cell,
            each.tested_on,
            each.clip,
            video.name,
            video.group,
            each.label,
            name(each.label),
            each.clean,
            name(each.clean),
            each.clean_confidence,
            each.predicted,
            name(each.predicted),
            each.confidence,
            None if each.predicted is None else each.right,
            each.attacked,
            None if cell is None else cell.family,
            None if cell is None else cell.attack.epsilon,
            each.size,
            each.l2,
            each.changed,
            each.epsilon,
            each.loss_start,
            each.loss_end,
            each.gradients,
            each.seconds,
            each.problem,
        )
