"""An attacker who sees logits and no gradients: the Square attack (Andriushchenko et al., 2020) on clips.

Own code, after the paper's description. On clips a square becomes a tube: a square of pixels over a run of frames,
which is moved to one end of the bound, each colour by the toss of a coin. A try is kept where the margin of the label
over the best other class falls. All of it happens in the coordinate in which the rule adds, so that a ratio bound is
treated as a bound on logarithms. Gradients that lie cannot mislead it, which is why an audit asks it.
"""

from collections.abc import Callable, Sequence
from math import ceil, sqrt
from typing import Final

import torch
from torch import Tensor, nn

from multav.attacks.regions import origin
from multav.attacks.spec import AttackSpec
from multav.audits.logits import logits_of
from multav.audits.noise import Tried, margins
from multav.randomness import generator, sample_numbers

_FIRST_SHARE: Final = 0.8
"""Of the frame, what the first squares cover."""

_HALVINGS: Final = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After how many of 10,000 queries the share is halved; fewer queries are stretched over the same course."""


def square_attack(
    model: nn.Module,
    clips: Tensor,
    labels: Tensor,
    attack: AttackSpec,
    *,
    mask: Tensor | None = None,
    queries: int = 200,
    seed: int = 0,
    first_sample: int | Sequence[int] = 0,
    on_step: Callable[[int], None] | None = None,
) -> Tried:
    """Adversarial versions of `clips` within the l-inf bound of `attack`, by at most `queries` predictions each.

    `clips` (B, 3, T, H, W) float in [0, 1], `labels` int64 (B,); `mask` bool (B, 1, T, H, W) is where it may act, None
    everywhere. A clip is left once it fools the model. Each draws from (seed, its sample number) alone. `on_step` is
    called before each query and may raise. Raises `ValueError` for an attack whose bound is not on every value by
    itself, and for no queries.
    """
    if attack.ball.name != "linf":
        raise ValueError(f"squares need a bound on every value by itself; that of {attack.kind} is on clips")
    if queries < 1:
        raise ValueError(f"{queries} queries are none: at least 1 is needed")
    search = _Search(clips, labels, attack, mask, seed, sample_numbers(first_sample, len(clips)))
    for query in range(queries):
        if not len(search.rows):
            break
        if on_step is not None:
            on_step(query)
        tries = search.striped() if query == 0 else search.changed(_share(query, queries))
        search.note(tries, logits_of(model, tries), first=query == 0)
    return Tried(search.best, search.logits, search.queries)


def _share(query: int, queries: int) -> float:
    """Of the frame, what squares cover at a query."""
    at = query / queries * 10_000
    return _FIRST_SHARE / float(2 ** sum(at > halving for halving in _HALVINGS))


class _Search:
    """The best try of every clip, and which clips (`rows`) are not fooled yet."""

    def __init__(
        self,
        clips: Tensor,
        labels: Tensor,
        attack: AttackSpec,
        mask: Tensor | None,
        seed: int,
        samples: Sequence[int],
    ) -> None:
        self._attack, self._labels, self._mask = attack, labels, mask
        self._bound = attack.rule.coordinate_bound(attack.epsilon)
        self._centre = origin(attack.region, clips.contiguous(), mask)
        # Other numbers than those of random starts.
        self._draws = [generator(seed + 0x737175, sample) for sample in samples]
        self.rows = torch.arange(len(clips), device=clips.device)
        self.best = self._centre.clone()
        self.logits = clips.new_empty(0)
        self._margins = clips.new_full((len(clips),), torch.inf)
        self.queries = torch.zeros(len(clips), dtype=torch.int64, device=clips.device)

    def striped(self) -> Tensor:
        """Upright stripes over all frames, a pixel wide, each colour of each at one end of the bound."""
        width = self.best.shape[-1]
        signs = torch.stack([_signs(draw, (3, 1, 1, width)) for draw in self._draws])
        return self._placed(signs.to(self.best))

    def changed(self, share: float) -> Tensor:
        """The best tries, each with one more tube moved."""
        tries: Tensor = self.best[self.rows]
        frames, height, width = tries.shape[2:]
        for place, row in enumerate(self.rows.tolist()):
            draw = self._draws[row]
            side = max(1, min(round(sqrt(share * height * width)), height - 1, width - 1))
            length = frames if _below(draw, 2) else ceil(frames / 2)
            first, top, left = (
                _below(draw, size - part + 1)
                for size, part in ((frames, length), (height, side), (width, side))
            )
            tube = (
                slice(None),
                slice(first, first + length),
                slice(top, top + side),
                slice(left, left + side),
            )
            centre = self._centre[row][tube]
            signs = _signs(draw, (3, 1, 1, 1)).to(centre)
            moved = self._attack.rule.at_coordinate(centre, signs * self._bound)
            moved = self._attack.project(moved, centre)
            if self._mask is not None:
                moved = torch.where(self._mask[row][tube], moved, centre)
            tries[place][tube] = moved
        return tries

    def note(self, tries: Tensor, logits: Tensor, *, first: bool) -> None:
        """Keep what is better, and leave the clips that are fooled."""
        if first:
            self.logits = logits.clone()
        rows = self.rows
        self.queries[rows] += 1
        reached = margins(logits.to(self._margins.dtype), self._labels[rows])
        better = reached < self._margins[rows]
        kept = rows[better]
        self.best[kept], self.logits[kept], self._margins[kept] = (
            tries[better],
            logits[better],
            reached[better],
        )
        self.rows = rows[self.logits[rows].argmax(1) == self._labels[rows]]

    def _placed(self, signs: Tensor) -> Tensor:
        ends: Tensor = self._attack.rule.at_coordinate(self._centre, signs * self._bound)
        moved: Tensor = self._attack.project(ends, self._centre)
        return moved if self._mask is None else torch.where(self._mask, moved, self._centre)


def _signs(draw: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randint(2, shape, generator=draw) * 2 - 1


def _below(draw: torch.Generator, limit: int) -> int:
    return int(torch.randint(max(1, limit), (), generator=draw))
