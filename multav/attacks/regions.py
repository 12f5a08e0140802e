"""Where an attack may act, and what the pixels there are before it begins.

Sizes are in pixels of the clips that are attacked. Where those are larger than the model's own pictures (the
attack on source frames), `enlarged` gives the region that looks the same to the model.
"""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Annotated, Any, Final, Literal, Protocol, Self

from pydantic import Field

# Named here only: the modules of all three load torch.
Tensor = Any
Draws = Any  # multav.randomness.Draws
Objective = Any  # multav.objective.Objective

Init = Literal["clean", "grey", "black"]
Placement = Literal["random", "fixed", "gradient", "exhaustive"]
Pixels = Annotated[int, Field(strict=True, ge=1, le=2**20)]

_LEVELS: Final[dict[Init, float | None]] = {"clean": None, "grey": 0.5, "black": 0.0}


class Region(Protocol):
    """A part of every clip of a batch."""

    @property
    def name(self) -> str:
        """The shape of the part."""
        ...

    @property
    def drawn(self) -> bool:
        """Whether its place is drawn at random."""
        ...

    @property
    def level(self) -> float | None:
        """The value in [0, 1] that replaces the pixels of the region before the attack; None keeps them."""
        ...

    def enlarged(self, factor: float) -> "Region":
        """The region on pictures that are `factor` times larger."""
        ...

    def misfit(self, height: int, width: int) -> tuple[str, str] | None:
        """The field that does not fit into frames of `height` x `width`, and what is wrong with it."""
        ...

    def place(self, clips: Tensor, draws: Draws, objective: Objective) -> Tensor | None:
        """Bool (B, 1, T, H, W), true where the attack may act in `clips` (B, 3, T, H, W); None means everywhere.

        A random place comes from `draws`, a searched one asks `objective`. Raises `ValueError` when the region does
        not fit into the clips.
        """
        ...


def refuse_misfit(region: Region, clips: Tensor) -> None:
    """Raise `ValueError` for a region that does not fit into `clips`."""
    misfit = region.misfit(*clips.shape[3:])
    if misfit is not None:
        raise ValueError(misfit[1])


def origin(region: Region, clips: Tensor, mask: Tensor | None) -> Tensor:
    """The centre of the bound: `clips` themselves, or a copy whose pixels under `mask` are replaced."""
    if region.level is None:
        return clips
    return (
        clips.new_full((), region.level).expand_as(clips)
        if mask is None
        else clips.masked_fill(mask, region.level)
    )


@dataclass(frozen=True)
class WholeClip:
    """Everywhere, from the clean pixels."""

    name: Literal["whole-clip"] = "whole-clip"
    drawn: Literal[False] = False
    level: None = None

    def enlarged(self, factor: float) -> Self:  # noqa: ARG002 - everywhere is everywhere
        """Itself."""
        return self

    def misfit(self, height: int, width: int) -> None:
        """It always fits."""

    def place(self, clips: Tensor, draws: Draws, objective: Objective) -> None:
        """None: no value is held back."""


@dataclass(frozen=True)
class Border:
    """The outermost `width` pixels of every frame."""

    width: int
    init: Init = "clean"
    name: Literal["border"] = "border"
    drawn: Literal[False] = False

    @property
    def level(self) -> float | None:
        """See `Region.level`."""
        return _LEVELS[self.init]

    def enlarged(self, factor: float) -> Self:
        """A border `factor` times as wide."""
        return replace(self, width=_enlarged(self.width, factor))

    def misfit(self, height: int, width: int) -> tuple[str, str] | None:
        """Wider than half a frame."""
        most = min(height, width) // 2
        if self.width <= most:
            return None
        return (
            "width",
            f"a border of width {self.width} does not fit into frames of {height}x{width}: at most {most}",
        )

    def place(self, clips: Tensor, draws: Draws, objective: Objective) -> Tensor:  # noqa: ARG002 - always the same
        """The ring. Raises `ValueError` when it is wider than half a frame."""
        refuse_misfit(self, clips)
        batch, _, frames, height, width = clips.shape
        mask = clips.new_ones((batch, 1, frames, height, width)).bool()
        mask[..., self.width : height - self.width, self.width : width - self.width] = False
        return mask


@dataclass(frozen=True)
class ScatteredPixels:
    """`count` distinct pixels of every frame, drawn for each frame on its own.

    `grain` is the side of one of them: 1, or more where a pixel of the model is a block of source pixels.
    """

    count: int
    init: Init = "clean"
    grain: int = 1
    name: Literal["scattered-pixels"] = "scattered-pixels"
    drawn: Literal[True] = True

    @property
    def level(self) -> float | None:
        """See `Region.level`."""
        return _LEVELS[self.init]

    def enlarged(self, factor: float) -> Self:
        """As many blocks of `factor` x `factor` pixels."""
        return replace(self, grain=_enlarged(self.grain, factor))

    def misfit(self, height: int, width: int) -> tuple[str, str] | None:
        """More than a frame has."""
        most = (height // self.grain) * (width // self.grain)
        if self.count <= most:
            return None
        return "pixels", f"a frame of {height}x{width} does not have {self.count} pixels: at most {most}"

    def place(self, clips: Tensor, draws: Draws, objective: Objective) -> Tensor:  # noqa: ARG002 - no search
        """The pixels. Raises `ValueError` when a frame has fewer."""
        refuse_misfit(self, clips)
        batch, _, frames, height, width = clips.shape
        rows, columns = height // self.grain, width // self.grain
        chosen = draws.subsets(self.count, rows * columns, frames)
        coarse = clips.new_zeros((batch, frames, rows * columns)).scatter_(2, chosen, 1).bool()
        coarse = coarse.reshape(batch, 1, frames, rows, columns)
        mask = clips.new_zeros((batch, 1, frames, height, width)).bool()
        fine = coarse.repeat_interleave(self.grain, 3).repeat_interleave(self.grain, 4)
        mask[..., : rows * self.grain, : columns * self.grain] = fine
        return mask


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of `height` x `width` pixels in every frame.

    `placement`: `random`, drawn for each frame on its own; `fixed`, with its top left corner at `position` (in the
    middle of the frame if None); or one of the two searches of the ROA paper (Wu et al.), both with the rectangle
    filled with grey: `exhaustive` tries every place on a grid of `stride` pixels, the same in all frames;
    `gradient` ranks the places of each frame by the squared gradient inside and tries the best `candidates`.
    """

    height: int
    width: int
    placement: Placement = "random"
    position: tuple[int, int] | None = None
    stride: int = 1
    candidates: int = 5
    init: Init = "clean"
    name: Literal["rectangle"] = "rectangle"

    @property
    def drawn(self) -> bool:
        """See `Region.drawn`."""
        return self.placement == "random"

    @property
    def level(self) -> float | None:
        """See `Region.level`."""
        return _LEVELS[self.init]

    def enlarged(self, factor: float) -> Self:
        """A rectangle `factor` times as high and wide, on a grid `factor` times as coarse."""
        return replace(
            self,
            height=_enlarged(self.height, factor),
            width=_enlarged(self.width, factor),
            stride=_enlarged(self.stride, factor),
            position=self.position and (int(self.position[0] * factor), int(self.position[1] * factor)),
        )

    def misfit(self, height: int, width: int) -> tuple[str, str] | None:
        """Larger than a frame, or fixed outside of it."""
        lowest, rightmost = height - self.height, width - self.width
        if min(lowest, rightmost) < 0:
            return (
                "size",
                f"a rectangle of {self.height}x{self.width} does not fit into frames of {height}x{width}",
            )
        top, left = self.position or (0, 0)
        if top <= lowest and left <= rightmost:
            return None
        return (
            "position",
            f"a rectangle of {self.height}x{self.width} at {top},{left} leaves frames of {height}x{width}: top at most "
            f"{lowest}, left at most {rightmost}",
        )

    def place(self, clips: Tensor, draws: Draws, objective: Objective) -> Tensor:
        """The rectangles. Raises `ValueError` when they do not fit into a frame."""
        refuse_misfit(self, clips)
        batch, _, frames, height, width = clips.shape
        lowest, rightmost = height - self.height, width - self.width
        if self.placement == "random":
            tops, lefts = draws.integers(lowest + 1, (frames,)), draws.integers(rightmost + 1, (frames,))
        elif self.placement == "fixed":
            top, left = self.position or (lowest // 2, rightmost // 2)
            tops, lefts = (clips.new_full((batch, frames), corner).long() for corner in (top, left))
        elif self.placement == "gradient":
            tops, lefts = _search().by_gradient(self, clips, objective)
        else:
            tops, lefts = _search().everywhere(self, clips, objective)
        return self.at(tops, lefts, height, width)

    def at(self, tops: Tensor, lefts: Tensor, height: int, width: int) -> Tensor:
        """Bool (B, 1, T, height, width): rectangles with top left corners at `tops`, `lefts`, int64 (B, T)."""
        rows = tops.new_ones(height).cumsum(0) - 1
        columns = tops.new_ones(width).cumsum(0) - 1
        within_rows = (rows >= tops[..., None]) & (rows < tops[..., None] + self.height)
        within_columns = (columns >= lefts[..., None]) & (columns < lefts[..., None] + self.width)
        return (within_rows[..., :, None] & within_columns[..., None, :])[:, None]


def _search() -> Any:
    """The searches, which load torch: not before somebody has clips to search."""
    return import_module("multav.attacks.rectangle_search")


def _enlarged(length: int, factor: float) -> int:
    """Rounded down, so that what fits into a small frame fits into the large one."""
    return max(1, int(length * factor))
