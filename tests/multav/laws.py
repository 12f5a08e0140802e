"""What every attack must keep, as checks of an attack: the property tests and the mutants use the same ones.

A law takes an attack and clean clips (B, 3, T, H, W), runs the engine on a problem whose answer is known, and fails
with an `AssertionError`. It judges by the attack's fields and by formulas of its own, never by the attack's rule,
ball or region.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multav import parse_attack
from multav.ascent import Ascent, ascend
from multav.attacks.catalogue import AnyAttack
from multav.attacks.regions import Region
from multav.attacks.spec import AttackSpec
from multav.objective import Evaluation
from multav.randomness import Draws
from tests.multav.equations import (
    LEVELS,
    Undecided,
    adaptive,
    adaptive_iterates,
    euclidean,
    iterates,
    multiplicative,
)

Law = Callable[[AttackSpec, Tensor], None]

# Regions that fit into frames of 6x6.
_SMALL: dict[str, dict[str, Any]] = {
    "roa": {"size": (3, 2)},
    "af": {"width": 2},
    "spa": {"pixels": 7},
}


def small(kind: str, **fields: Any) -> AnyAttack:
    """An attack of this kind whose region fits into small frames."""
    return parse_attack({"kind": kind, **_SMALL.get(kind.removeprefix("multav-"), {}), **fields})


def clips_of(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 11) -> Tensor:
    """Random clips with some black, white and nearly black values, where bounds break."""
    clips = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    for value, stride in ((0, 17), (1, 23), (1e-6, 29)):
        clips.view(-1)[::stride] = value
    return clips


@dataclass
class Wave:
    """A loss whose gradient 3 cos(phase + 3 x) changes sign on the way; remembers where it was evaluated."""

    phase: Tensor
    seen: list[Tensor] = field(default_factory=list)
    scored: list[Tensor] = field(default_factory=list)

    def __call__(self, clips: Tensor) -> Evaluation:
        self.seen.append(clips.clone())
        losses, logits = self.at(clips)
        return Evaluation(losses, logits, (self.phase + 3 * clips).cos() * 3)

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        self.scored.append(clips.clone())
        return self.at(clips)

    def fooled(self, logits: Tensor) -> Tensor:
        return logits.argmax(1) != 0

    def select(self, samples: Tensor) -> "Wave":
        return replace(self, phase=self.phase[samples])

    def at(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """As `score`, but nothing is remembered."""
        losses = (self.phase + 3 * clips).sin().flatten(1).sum(1)
        return losses, torch.stack([-losses, losses], dim=1)


def wave(clips: Tensor) -> Wave:
    phase = torch.rand(clips.shape, generator=torch.Generator().manual_seed(5), dtype=clips.dtype)
    return Wave(phase * 2 * torch.pi)


@dataclass
class Plane:
    """A linear loss: its gradient is the same everywhere."""

    direction: Tensor

    def __call__(self, clips: Tensor) -> Evaluation:
        losses, logits = self.score(clips)
        return Evaluation(losses, logits, self.direction.clone())

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        losses = (self.direction.double() * clips.double()).flatten(1).sum(1)
        return losses, torch.stack([-losses, losses], dim=1)

    def fooled(self, logits: Tensor) -> Tensor:
        return logits.argmax(1) != 0

    def select(self, samples: Tensor) -> "Plane":
        return Plane(self.direction[samples])


def bared(attack: AttackSpec, **fields: Any) -> AttackSpec:
    """The attack with other fields, of those that it has; not parsed again, so that a mutant stays one."""
    known = {name: value for name, value in fields.items() if name in type(attack).model_fields}
    return attack.model_copy(update=known)


def everywhere(mask: Tensor | None, clips: Tensor) -> Tensor:
    """The mask for every value, bool (B, 3, T, H, W)."""
    return torch.ones_like(clips).bool() if mask is None else mask.expand_as(clips)


def centre_of(attack: AttackSpec, clips: Tensor, mask: Tensor | None) -> Tensor:
    """The clips whose pixels in the region are replaced as the attack says."""
    level = LEVELS[getattr(attack, "init", "clean")]
    return clips if level is None else clips.masked_fill(everywhere(mask, clips), level)


def walk(attack: AttackSpec, clips: Tensor, seed: int = 0) -> tuple[Wave, list[Tensor], Ascent]:
    """The objective, the points from which steps were taken with the last one, and the outcome."""
    objective = wave(clips)
    ascent = ascend(objective, clips, attack, seed=seed)
    return objective, [*objective.seen[-attack.steps :], objective.scored[-1]], ascent


def assert_within(attack: AttackSpec, clean: Tensor, mask: Tensor | None, point: Tensor) -> None:
    """The bound: exactly and in the clips' own arithmetic on every value, or up to rounding for a length."""
    around, epsilon = centre_of(attack, clean, mask), attack.epsilon
    assert point.isfinite().all(), "a value is not a number"
    if not euclidean(attack.kind):
        low, high = (
            (around / epsilon, around * epsilon)
            if multiplicative(attack.kind)
            else (around - epsilon, around + epsilon)
        )
        worst = torch.maximum(low - point, point - high).max()
        assert worst <= 0, f"a value leaves the bound by {worst:g}"
        return
    # Every value is rounded once or twice when it is moved to the edge: by a unit in the last place of a value up
    # to 1, or of its ratio; in Euclidean length that is the root of the number of values times as much.
    slack = 8 * torch.finfo(point.dtype).eps
    exact, origin = point.double(), around.double()
    values = sqrt(exact[0].numel())
    limit = epsilon
    if not multiplicative(attack.kind):
        moved = exact - origin
    else:
        ratio = (exact / origin).where(origin > 0, 1)
        reading = getattr(attack, "bound", "change")
        # Black has no ratio that an attack could change.
        moved = ratio - 1 if reading == "change" else ratio.where(origin > 0, 0)
        limit = epsilon if reading == "change" else (epsilon + 1) * (values if reading == "rms" else 1)
    length = moved.flatten(1).norm(dim=1)
    allowed = limit * (1 + slack) + slack * moved.abs().add(1).flatten(1).norm(dim=1)
    assert (length <= allowed).all(), f"lengths {length.tolist()} leave the bound {limit:g}"


def assert_in_range(point: Tensor) -> None:
    assert ((point >= 0) & (point <= 1)).all(), "a value leaves [0, 1]"


# The laws.


def keeps_the_bound(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """Every point on the way lies within epsilon of the clean clip, the random start included."""
    _, points, ascent = walk(attack, clips, seed)
    # The literal reading refuses even the clean clip, from which an attack without a random start sets out.
    first = 0 if attack.random_start else 1
    for point in [*points[first:], ascent.clips]:
        assert_within(attack, clips, ascent.mask, point)


def stays_in_range(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """Every point on the way is a picture."""
    _, points, ascent = walk(attack, clips, seed)
    for point in [*points, ascent.clips]:
        assert_in_range(point)


def touches_nothing_outside(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """What the mask does not show stays bit by bit, at the start too, and so do the caller's clips."""
    before = clips.clone()
    _, points, ascent = walk(attack, clips, seed)
    outside = ~everywhere(ascent.mask, clips)
    for point in [*points, ascent.clips]:
        assert point[outside].equal(clips[outside]), "a value outside the region moved"
    assert clips.equal(before), "the caller's clips changed"


def region_is_the_named_one(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """The mask has the shape that the fields name: so many pixels, one rectangle, the outermost ring."""
    mask = ascend(wave(clips), clips, attack, seed=seed).mask
    frames, height, width = clips.shape[2:]
    if attack.kind.removeprefix("multav-") not in _SMALL:
        assert mask is None, "a whole-clip attack has a region"
        return
    assert mask is not None
    assert mask.dtype == torch.bool
    assert mask.shape == (len(clips), 1, frames, height, width)
    fields = attack.model_dump()
    for frame in mask.reshape(-1, height, width):
        rows, columns = frame.any(1).nonzero()[:, 0], frame.any(0).nonzero()[:, 0]
        if "pixels" in fields:
            assert frame.sum() == fields["pixels"], f"{int(frame.sum())} pixels, not {fields['pixels']}"
        elif "size" in fields:
            size = fields["size"]
            high, wide = (size, size) if isinstance(size, int) else size
            assert (len(rows), len(columns)) == (high, wide), f"a rectangle of {len(rows)}x{len(columns)}"
            assert frame.sum() == high * wide, "the rectangle has holes"
            assert int(rows[-1] - rows[0]) == high - 1
            assert int(columns[-1] - columns[0]) == wide - 1
        else:
            row, column = torch.arange(height)[:, None], torch.arange(width)[None]
            depth = torch.minimum(
                torch.minimum(row, height - 1 - row), torch.minimum(column, width - 1 - column)
            )
            assert frame.equal(depth < fields["width"]), "not the outermost ring"


def frames_draw_on_their_own(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """Random places differ between the frames of a clip, between clips and between seeds."""
    masks = [
        mask
        for each in (seed, seed + 1)
        if (mask := ascend(wave(clips), clips, attack, seed=each).mask) is not None
    ]
    kinds = torch.cat([mask.flatten(0, 2).flatten(1) for mask in masks]).unique(dim=0)
    frames = 2 * len(clips) * clips.shape[2]
    assert frames >= 8, "too few frames to tell"
    assert len(kinds) > frames / 2, f"{len(kinds)} places for {frames} frames"
    for clip in masks[0]:
        assert len(clip[0].flatten(1).unique(dim=0)) > 1, "all frames of a clip share a place"


def black_stays_black(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """No multiplication makes light of a black pixel."""
    if not multiplicative(attack.kind):
        return
    _, points, ascent = walk(attack, clips, seed)
    around = centre_of(attack, clips, ascent.mask)
    for point in [*points[1:], ascent.clips]:
        assert (point[around == 0] == 0).all(), "a black pixel lit up"


def a_dead_gradient_moves_nothing(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """Where the loss does not look nothing moves, not by a bit; a loss that looks nowhere moves no clip."""
    alive = torch.rand(clips.shape, generator=torch.Generator().manual_seed(seed)) < 0.5

    @dataclass
    class Half(Wave):
        def __call__(self, clips: Tensor) -> Evaluation:
            found = super().__call__(clips)
            return replace(found, gradient=found.gradient * alive)

    bare = bared(attack, random_start=False, restarts=1)
    if getattr(attack, "bound", "change") != "change":
        # These readings shrink all ratios together.
        return
    phase, most = wave(clips).phase, torch.finfo(clips.dtype).eps * 4
    half = ascend(Half(phase), clips, bare, seed=seed)
    there = centre_of(bare, clips, half.mask)[~alive]
    if euclidean(attack.kind):
        # A clip that was drawn back into a ball is rounded there.
        torch.testing.assert_close(half.clips[~alive], there, rtol=most, atol=most)
    else:
        assert half.clips[~alive].equal(there), "a value without a gradient moved"
    alive[:] = False
    none = ascend(Half(phase), clips, bare, seed=seed)
    assert none.clips.equal(centre_of(bare, clips, none.mask)), "a clip without a gradient moved"


def a_tiny_gradient_moves_as_any(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """The direction counts and not the size: of a gradient whose square vanishes too."""
    around = clips.clamp(0.3, 0.6)
    direction = torch.randn(clips.shape, generator=torch.Generator().manual_seed(seed), dtype=clips.dtype)
    paths = [ascend(Plane(direction * size), around, attack, seed=seed).clips for size in (1.0, 1e-30)]
    torch.testing.assert_close(paths[1], paths[0], rtol=1e-5, atol=1e-6)
    assert not paths[1].equal(around), "nothing moved"


def climbs(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """On a plane the loss never falls (rises, if targeted), and values move along the planted direction."""
    around = clips.clamp(0.3, 0.6)
    direction = torch.randn(clips.shape, generator=torch.Generator().manual_seed(3), dtype=clips.dtype)
    bare = bared(attack, random_start=False, restarts=1, early_stop=False, init="clean", placement="random")
    if bare.epsilon > 1e4:
        return
    ascent = ascend(Plane(direction), around, bare, seed=seed)
    way = -1 if attack.targeted else 1
    change = way * (ascent.losses[1:] - ascent.losses[:-1])
    assert (change >= -1e-5 * ascent.losses.abs().amax()).all(), f"the loss turned back: {change.min():g}"
    assert (way * (ascent.losses[-1] - ascent.losses[0]) > 0).all(), "the loss did not move"
    mask = everywhere(ascent.mask, clips)
    moved = (ascent.clips - around).sign() * way
    wrong = mask & (moved * direction < 0)
    assert not wrong.any(), "a value moved against the planted direction"
    assert (moved != 0)[mask].float().mean() > 0.9, "the planted direction was not followed"


def minds_no_neighbour(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """Alone, in the batch, and in a batch of another order a clip becomes the same."""
    whole = ascend(wave(clips), clips, attack, seed=seed, first_sample=4)
    phase = wave(clips).phase
    for index in range(len(clips)):
        one = slice(index, index + 1)
        alone = ascend(Wave(phase[one]), clips[one], attack, seed=seed, first_sample=4 + index)
        torch.testing.assert_close(alone.clips, whole.clips[one], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.losses, whole.losses[:, one], rtol=1e-9, atol=1e-9)
        assert alone.mask is None or (whole.mask is not None and alone.mask.equal(whole.mask[one]))


def is_reproducible(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """The same seed gives the same clips, whatever the global generator says, which is left alone."""
    state = torch.get_rng_state()
    one, other = (ascend(wave(clips), clips, attack, seed=seed) for _ in range(2))
    assert one.clips.equal(other.clips), "two runs differ"
    assert one.mask is None or (other.mask is not None and one.mask.equal(other.mask))
    assert torch.get_rng_state().equal(state), "the global generator was used"


def follows_the_equation(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """Every point on the way, and the result, are those of the equation in float64, where rounding does not choose."""
    objective, points, ascent = walk(attack, clips.double(), seed)
    mask = everywhere(ascent.mask, clips).numpy()
    fields = attack.model_dump()
    for index in range(len(clips)):
        phase, clean = objective.phase[index].numpy(), clips[index].double().numpy()

        def slope(x: Any, phase: Any = phase) -> tuple[float, Any]:
            return float(np.sin(phase + 3 * x).sum()), 3 * np.cos(phase + 3 * x)

        start = points[0][index].numpy() if attack.random_start else None
        if adaptive(attack.kind):
            try:
                path, best, _ = adaptive_iterates(fields, clean, slope, start)
            except Undecided:
                continue
        else:
            path = iterates(fields, clean, mask[index], slope, start)
            best = path[-1]
        assert len(path) == len(points)
        for step, (mine, theirs) in enumerate(zip(points, path, strict=True)):
            np.testing.assert_allclose(
                mine[index].numpy(), theirs, rtol=0, atol=1e-11, err_msg=f"step {step}"
            )
        np.testing.assert_allclose(ascent.clips[index].numpy(), best, rtol=0, atol=1e-11)


def projects_once(attack: AttackSpec, clips: Tensor, seed: int = 0) -> None:
    """A projected point is projected already, and a point within the bound is not touched at all."""
    generator = torch.Generator().manual_seed(seed)
    centre = clips.double()
    there = attack.project(torch.rand(clips.shape, generator=generator, dtype=torch.float64), centre)
    torch.testing.assert_close(attack.project(there.clone(), centre), there, rtol=0, atol=1e-12)
    if getattr(attack, "bound", "change") == "change":
        assert attack.project(centre.clone(), centre).equal(centre), "the centre was moved"
        near = centre + (there - centre) / 2
        torch.testing.assert_close(attack.project(near.clone(), centre), near, rtol=0, atol=1e-15)


LAWS: tuple[Law, ...] = (
    keeps_the_bound,
    stays_in_range,
    touches_nothing_outside,
    region_is_the_named_one,
    black_stays_black,
    a_dead_gradient_moves_nothing,
    climbs,
    minds_no_neighbour,
    is_reproducible,
    follows_the_equation,
    projects_once,
)
"""Those that every attack keeps on any clips."""


# Laws of regions.


def rectangles(mask: Tensor) -> Tensor:
    """Top and left of each frame's region, int64 (frames, 2)."""
    frames = mask.flatten(0, 2)
    return torch.stack([frames.any(2).int().argmax(1), frames.any(1).int().argmax(1)], dim=1)


def every_place_is_as_likely(region: Region, height: int, width: int, places: int, position: Any) -> None:
    """Chi-square over all `places` of a region; `position` names the place (int) of each frame of a mask."""
    frames = 60 * places
    clips = torch.zeros(1, 3, frames, height, width)
    mask = region.place(clips, Draws(clips, seed=1, first_sample=0), wave(clips[:, :, :1]))
    counts = torch.bincount(position(mask).flatten(), minlength=places).double()
    assert len(counts) == places, "a place that is none"
    expected = counts.sum() / places
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    # 5 standard deviations of chi-square with places - 1 degrees of freedom.
    assert chi_square <= places - 1 + 5 * sqrt(2 * (places - 1)), (
        f"chi-square {chi_square:.0f} of {places} places"
    )


def fits_when_enlarged(region: Region, height: int, width: int, factor: float) -> None:
    """What fits into a frame fits, enlarged, into the enlarged frame."""
    assert region.misfit(height, width) is None
    large = region.enlarged(factor)
    misfit = large.misfit(int(height * factor), int(width * factor))
    assert misfit is None, f"{region} at {factor}: {misfit}"
