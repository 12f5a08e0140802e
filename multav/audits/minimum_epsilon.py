"""The smallest bound at which an attack fools a model, clip by clip, by bisection.

Bisection halves an interval in the coordinate in which the rule adds (logarithms of ratios, plain differences and
lengths otherwise). Success is nearly monotone in the bound, but not quite, as an attack is no proof of robustness: what
is reported is always a bound at which the model was fooled, so it is an upper limit of the true minimum.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from multav.attacks.catalogue import AnyAttack
from multav.audits.cells import Cell, scaled
from multav.audits.evaluation import OnStep, VideoClips, attack_videos, attacked_rows
from multav.audits.minimum import HALVINGS, cell_of_minimum
from multav.audits.outcome import CLEAN, Outcome
from multav.precision import Precision


@dataclass(frozen=True)
class Search:
    """Between which bounds to look, and how often to halve what is between them.

    Raises `ValueError` for bounds that leave nothing to halve.
    """

    smallest: float
    largest: float
    halvings: int = HALVINGS

    def __post_init__(self) -> None:
        if not 0 < self.smallest < self.largest:
            raise ValueError(
                f"nothing lies between a smallest epsilon of {self.smallest:g} and a largest of {self.largest:g}"
            )
        if self.halvings < 1:
            raise ValueError(f"{self.halvings} halvings find nothing: at least 1 is needed")


def usual_search(attacks: Sequence[AnyAttack], halvings: int = HALVINGS) -> Search:
    """From a sixteenth of the smallest bound of `attacks` (one family) to the largest, in the rule's coordinate."""
    by_bound = sorted(attacks, key=lambda attack: attack.epsilon)
    scale = _Scale(by_bound[0])
    return Search(scale.epsilon(scale.place(by_bound[0].epsilon) / 16), by_bound[-1].epsilon, halvings)


def minimum_epsilon_outcomes(
    model: nn.Module,
    model_name: str,
    cell: Cell,
    batch: Sequence[VideoClips],
    clean: Iterable[Outcome],
    search: Search,
    *,
    seed: int = 0,
    precision: Precision = "float32",
    on_step: OnStep | None = None,
) -> list[Outcome]:
    """For every video the smallest bound that was found to fool `model`, as a row in the cell `cell_of_minimum(cell)`.

    `epsilon` is that bound, to within the last interval; None where even the largest does not fool the model (the row
    is then that of the largest), and where the clean prediction is wrong already, which takes no bound at all. The
    step size keeps its share of the bound, also where it was given: a step of the largest would overshoot the small.
    `seconds` are those of the whole batch, shared. The other arguments are those of `attack_outcomes`.
    """
    known = {row.clip: row for row in clean if row.cell == CLEAN and row.tested_on == model_name}
    started = time.monotonic()
    chosen = [video for video in batch if known[video.index].right]
    scale = _Scale(cell.attack)
    low = dict.fromkeys((video.index for video in chosen), scale.place(search.smallest))
    high = dict.fromkeys((video.index for video in chosen), scale.place(search.largest))
    # The very bounds that were asked for, not what comes back from their logarithms.
    exact = {scale.place(search.smallest): search.smallest, scale.place(search.largest): search.largest}
    best: dict[int, tuple[float, Outcome]] = {}
    last: dict[int, Outcome] = {}
    spent: dict[int, int] = defaultdict(int)

    def attacked(videos: Sequence[VideoClips], place: float) -> dict[int, bool]:
        epsilon = exact.get(place, scale.epsilon(place))
        found = attack_videos(
            model, videos, scaled(cell.attack, epsilon), seed=seed, precision=precision, on_step=on_step
        )
        fooled = {}
        before = [known[video.index] for video in videos]
        for video, row in zip(videos, attacked_rows(before, videos, found, cell.multiplicative), strict=True):
            spent[video.index] += row.gradients
            last.setdefault(video.index, row)
            fooled[video.index] = not row.right
            if not row.right:
                best[video.index] = (epsilon, row)
        return fooled

    fooled = attacked(chosen, scale.place(search.largest)) if chosen else {}
    going = [video for video in chosen if fooled[video.index]]
    for _ in range(search.halvings):
        groups: dict[float, list[VideoClips]] = defaultdict(list)
        for video in going:
            # Clips whose search went the same way so far are attacked together.
            groups[(low[video.index] + high[video.index]) / 2].append(video)
        for place, videos in sorted(groups.items()):
            for index, success in attacked(videos, place).items():
                (high if success else low)[index] = place
    seconds = (time.monotonic() - started) / max(1, len(chosen))
    rows = []
    for video in batch:
        index = video.index
        epsilon, row = best.get(index, (None, last.get(index, known[index])))
        rows.append(
            replace(
                row,
                cell=cell_of_minimum(cell).name,
                epsilon=epsilon,
                gradients=spent[index],
                seconds=seconds if index in last else 0.0,
            )
        )
    return rows


@dataclass(frozen=True)
class _Scale:
    """The coordinate in which the bounds of an attack are halved: as far from no change as twice as near."""

    attack: AnyAttack

    def place(self, epsilon: float) -> float:
        return math.log(epsilon) if self._ratio else epsilon

    def epsilon(self, place: float) -> float:
        return math.exp(place) if self._ratio else place

    @property
    def _ratio(self) -> bool:
        # A length has no logarithm to halve, whatever the rule.
        return self.attack.rule.name == "multiplicative" and self.attack.ball.name == "linf"
