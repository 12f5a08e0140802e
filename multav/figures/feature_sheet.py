"""What the layers of a network see in a clean and in an adversarial clip, side by side (as the paper's Fig. 2)."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multav.feature_change import FeatureChange
from multav.figures.contact_sheet import Column, Scale, chosen_pictures, compose, rounded
from multav.figures.diverging_colours import diverging
from multav.figures.levels import Picture, Pictures, pair_of

_GREYS: Final = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
_BOTH: Final = Scale(_GREYS, "least of both", "", "largest of both")


def feature_sheet(
    clean: Pictures, adversarial: Pictures, features: Mapping[str, tuple[Tensor, Tensor]]
) -> Picture:
    """One picture (H, W, 3) uint8, a row for each layer, at the middle of the clip.

    `clean` and `adversarial` are one clip each, (3, T, H, W) or (T, H, W, 3); `features` gives the layers' clean and
    adversarial maps, (channels, T', H', W') each. Columns: the frames, the mean over the channels of either and
    its change, and the channel that changed most. The greys of a layer mean the same in the clean and the
    adversarial map. Raises `TypeError` or `ValueError` for clips or maps that are none.
    """
    before, after = pair_of(clean, adversarial)
    if before.ndim != 4:
        raise ValueError(f"clips are {tuple(clean.shape)}; expected one clip, (3, T, H, W) or (T, H, W, 3)")
    if not features:
        raise ValueError("no layer was given")
    rows = [_row(before, after, *maps) for maps in features.values()]
    captions = (
        ("clean", None),
        ("adversarial", None),
        ("clean, mean of channels", _BOTH),
        ("adversarial, mean of channels", _BOTH),
        ("change of the mean", Scale(diverging(np.linspace(-1, 1, 255)), "- largest", "0", "+ largest")),
        ("clean, most changed channel", _BOTH),
        ("adversarial, same channel", _BOTH),
    )
    columns = [
        Column(caption, [row[index] for row in rows], scale)
        for index, (caption, scale) in enumerate(captions)
    ]
    return compose(columns, labels=[_label(layer, *maps) for layer, maps in features.items()])


def _row(before: Any, after: Any, clean: Tensor, adversarial: Tensor) -> list[Picture]:
    """The panels of one layer."""
    if clean.ndim != 4 or clean.shape != adversarial.shape:
        raise ValueError(
            f"maps are {tuple(clean.shape)} and {tuple(adversarial.shape)}; expected twice (channels, T, H, W)"
        )
    channel = FeatureChange.of(clean, adversarial).channel
    moment = clean.shape[1] // 2
    # The frame in the middle of those that the moment stands for.
    frame = min((2 * moment + 1) * len(before) // (2 * clean.shape[1]), len(before) - 1)
    means = clean[:, moment].mean(0), adversarial[:, moment].mean(0)
    return [
        *(rounded(picture) for clip in (before, after) for picture in chosen_pictures(clip, [frame])),
        *_greys(*means),
        _change(*means),
        *_greys(clean[channel, moment], adversarial[channel, moment]),
    ]


def _greys(one: Tensor, other: Tensor) -> tuple[Picture, Picture]:
    """Both maps (H, W) in greys that mean the same in either."""
    both = torch.stack([one, other]).double().numpy()
    least, largest = both.min(), both.max()
    share: NDArray[np.float64] = (both - least) / max(largest - least, np.finfo(np.float64).tiny)
    first, second = _GREYS[np.rint(share * 255).astype(np.intp)]
    return first, second


def _change(one: Tensor, other: Tensor) -> Picture:
    difference = (other.double() - one.double()).numpy()
    return diverging(difference / max(np.abs(difference).max(), np.finfo(np.float64).tiny))


def _label(layer: str, clean: Tensor, adversarial: Tensor) -> str:
    change = FeatureChange.of(clean, adversarial)
    channels, frames, height, width = clean.shape
    changed = "" if change.relative is None else f", changed by {change.relative:.0%} of its norm"
    return f"{layer}: {channels} channels of {frames}x{height}x{width}{changed}, most in channel {change.channel}"
