"""Every attack once more: float64 numpy, one clip after the other, from the paper and by nothing of the engine.

Random places and random starts are drawn by the engine; they come in as `mask` and `start`. A problem is a loss
with its gradient: `slope(x)` gives both at one clip (3, T, H, W).
"""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, cos, log, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Slope = Callable[[Array], tuple[float, Array]]
Fields = dict[str, Any]

LEVELS = {"clean": None, "grey": 0.5, "black": 0.0}


def multiplicative(kind: str) -> bool:
    return kind.startswith("multav") or kind == "apgd-ratio"


def euclidean(kind: str) -> bool:
    return kind.endswith("l2")


def adaptive(kind: str) -> bool:
    return kind.startswith("apgd")


def centre(fields: Fields, clean: Array, mask: Array) -> Array:
    """x^0: the clean clip, or with replaced pixels under the mask."""
    level = LEVELS[fields.get("init", "clean")]
    return clean if level is None else np.where(mask, level, clean)


def ratio(point: Array, around: Array) -> Array:
    """x'/x, which counts as 1 where both are black."""
    return np.divide(point, around, out=np.ones_like(point), where=around > 0)


def projected(fields: Fields, point: Array, around: Array) -> Array:
    """The nearest point within the bound around `around`, and within [0, 1]."""
    kind, epsilon = fields["kind"], fields["epsilon"]
    if kind == "pgd-l2":
        change = point - around
        point = around + change * min(1.0, epsilon / max(sqrt((change**2).sum()), 1e-300))
    elif kind == "multav-l2" and fields["bound"] == "change":
        change = ratio(point, around) - 1
        point = around * (1 + change * min(1.0, epsilon / max(sqrt((change**2).sum()), 1e-300)))
    elif kind == "multav-l2":
        # A black pixel has no ratio that could be shrunk.
        size = sqrt((np.where(around > 0, ratio(point, around), 0) ** 2).sum())
        allowed = (epsilon + 1) * (sqrt(point.size) if fields["bound"] == "rms" else 1)
        point = point * min(1.0, allowed / max(size, 1e-300))
    elif multiplicative(kind):
        point = np.minimum(np.maximum(point, around / epsilon), around * epsilon)
    else:
        point = np.minimum(np.maximum(point, around - epsilon), around + epsilon)
    return np.minimum(np.maximum(point, 0), 1)


def share(fields: Fields, step: int) -> float:
    """How much of the step size step number `step` takes."""
    there = step / fields["steps"]
    return {"constant": 1.0, "linear": 1 - there, "cosine": 0.5 + 0.5 * cos(pi * there)}[fields["schedule"]]


def iterates(
    fields: Fields, clean: Array, mask: Array, slope: Slope, start: Array | None = None
) -> list[Array]:
    """x^0 .. x^T of an attack with a fixed step, by equations 1 to 4; the last one is the result."""
    kind, size = fields["kind"], fields["step_size"]
    around = centre(fields, clean, mask)
    x = around if start is None else start
    path, memory = [x], np.zeros_like(clean)
    for step in range(fields["steps"]):
        gradient = slope(x)[1] * (-1 if fields["targeted"] else 1) * mask
        if fields["momentum"]:
            mean = np.abs(gradient).mean()
            memory = fields["momentum"] * memory + (gradient / mean if mean > 0 else 0 * gradient)
            gradient = memory
        if euclidean(kind):
            length = sqrt((gradient**2).sum())
            direction = gradient / length if length > 0 else 0 * gradient
        else:
            direction = np.sign(gradient)
        reach = share(fields, step)
        moved = x * size ** (reach * direction) if multiplicative(kind) else x + size * reach * direction
        x = projected(fields, moved, around)
        path.append(x)
    return path


def checkpoints(steps: int) -> list[int]:
    """Where APGD looks back: w_j = ceil(p_j N); p_0, p_1 = 0, 0.22; p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    percents = [0, 22]
    while percents[-1] < 100:
        percents.append(percents[-1] + max(percents[-1] - percents[-2] - 3, 6))
    return [place for each in percents if (place := ceil(Fraction(each * steps, 100))) < steps]


class Undecided(Exception):
    """Two losses on which the search turns are equal up to rounding: no other arithmetic need decide as this one."""


def adaptive_iterates(
    fields: Fields, clean: Array, slope: Slope, start: Array | None = None
) -> tuple[list[Array], Array, list[float]]:
    """APGD (Croce & Hein, algorithm 1): the points that it visits, the best of them, and the step sizes.

    In v = x' - x, or log(x'/x) for the ratio: there both bounds are cubes. The point that [0, 1] held back is
    the one that it goes on from. Raises `Undecided`.
    """
    kind, steps, keep = fields["kind"], fields["steps"], fields["momentum"]
    ratios = multiplicative(kind)
    bound = log(fields["epsilon"]) if ratios else fields["epsilon"]
    sign = -1 if fields["targeted"] else 1

    def coordinate(x: Array) -> Array:
        return np.log(ratio(x, clean)) if ratios else x - clean

    def point(v: Array) -> Array:
        return projected(fields, clean * np.exp(v) if ratios else clean + v, clean)

    def above(one: int, other: int) -> bool:
        """Whether the loss at one point is the higher."""
        near = abs(losses[one] - losses[other]) < 1e-9 * max(1.0, abs(losses[one]))
        if near and not np.array_equal(path[one], path[other]):
            raise Undecided
        return losses[one] > losses[other]

    def highest() -> int:
        found = int(np.argmax(losses))
        for each in range(len(losses)):
            above(found, each)
        return found

    x = clean if start is None else start
    v = before = coordinate(x)
    size, sizes = 2 * bound, []
    path, losses, gradients, places = [], [], [], []
    marks, last, was_halved, best_then = checkpoints(steps), 0, False, -1
    for step in range(steps + 1):
        loss, gradient = slope(x)
        path.append(x), losses.append(sign * loss), gradients.append(sign * gradient), places.append(v)
        if step == steps:
            break
        here = step
        if step in marks and step > last:
            best = highest()
            rises = sum(above(i + 1, i) for i in range(last, step))
            stuck = best_then >= 0 and not was_halved and not above(best, best_then)
            halve = rises < fields["rising"] * (step - last) or stuck
            if halve:
                size, here = size / 2, best
                before = places[best]
            last, was_halved, best_then = step, halve, best
        sizes.append(size)
        v, gradient = places[here], gradients[here]
        ahead = np.clip(v + size * np.sign(gradient), -bound, bound)
        new = ahead if step == 0 else v + (1 - keep) * (ahead - v) + keep * (v - before)
        x = point(np.clip(new, -bound, bound))
        before, v = v, coordinate(x)
    return path, path[highest()], sizes
