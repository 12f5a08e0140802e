"""What follows from an audit's counts and its doubts: one word, one sentence, and the reasons. Torch-free.

A model is robust where at least `robust_at` of the clips that it knows stay right under the worst of all attacks, with
95 % confidence. An attack that succeeds is a proof, whatever the doubts; an attack that fails is none, so that a failed
check takes the word "robust" away. The measured gain of a stronger attack does so only where it would lead below
`robust_at`.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

from scipy.stats import binom, binomtest

from multav.audits.findings import Check, Verdict

CHANCE: Final = 0.01
"""How likely a guess may be as good as the model before its knowledge counts as unproven."""

MOST_CLIPS: Final = 10**7
_Z: Final = 1.959963984540054

MEASURED_GAINS: Final = frozenset({"more steps", "restarts", "other loss"})
"""Checks that say how much a stronger attack gains: the claim stands where it would stand with that gain."""


def verdict(
    model: str,
    *,
    clips: int,
    known: int,
    classes: int,
    right: Mapping[str, int],
    worst: int,
    checks: Sequence[Check],
    robust_at: float,
) -> Verdict:
    """The verdict on `model`.

    Of `clips` videos that were looked at it knows `known` (right without an attack, of `classes` classes). Of these,
    `right[cell]` stay right under each attack, and `worst` under all of them. `checks` are the findings of `examine`.
    Raises `ValueError` for counts that cannot be.
    """
    _refuse_odd_counts(clips, known, right, worst)
    if not known or _is_a_guess(known, clips, classes):
        return Verdict(
            verdict="cannot be trusted",
            sentence=f"{model} cannot be trusted because it does not know the data: {known} of {clips} clips are right "
            f"without an attack, where a guess among {classes} classes gets {100 / classes:.3g} %.",
            because=(f"clean accuracy {_share(known, clips)}",),
        )
    low, high = interval(worst, known)
    counted = [f"worst case over all attacks: {_share(worst, known)} stay right"]
    counted += [
        f"{cell}: {_share(still, known)} stay right"
        for cell, still in sorted(right.items(), key=lambda item: item[1])
    ]
    failed = [check for check in checks if check.passed is False]
    doubts = [f"{check.name}: {check.detail}" for check in failed]
    if high < robust_at:
        return Verdict(
            verdict="not robust",
            sentence=f"{model} is not robust: {_share(worst, known)} of the clips that it knows stay right under the "
            f"worst case of {_cells(right)}, and {100 * robust_at:g} % were asked for.",
            because=(*counted, *doubts),
        )
    serious = [check for check in failed if low - _most_gained(check) < robust_at]
    if serious:
        reasons = "; ".join(check.detail for check in serious[:3])
        return Verdict(
            verdict="cannot be trusted",
            sentence=f"{model} cannot be trusted because {reasons}.",
            because=(*doubts, *counted),
        )
    unasked = [] if checks else ["no doubts were raised: the checks were left out"]
    stronger = max(checks, key=_likely_gain, default=None)
    if low >= robust_at and stronger is not None and low - _likely_gain(stronger) < robust_at:
        return Verdict(
            verdict="undecided",
            sentence=f"{model} is undecided: {_share(worst, known)} of the clips that it knows stay right under the "
            f"worst case of {_cells(right)}, but on a sample {stronger.detail}, which would lead below "
            f"{100 * robust_at:g} %; a stronger attack is needed.",
            because=(*counted, f"{stronger.name}: {stronger.detail}", *doubts),
        )
    if low >= robust_at:
        return Verdict(
            verdict="robust",
            sentence=f"{model} is robust to {_cells(right)}: {_share(worst, known)} of the clips that it knows stay "
            f"right under the worst case of them all, and {100 * robust_at:g} % were asked for.",
            because=(*counted, *_asked(checks), *doubts, *unasked),
        )
    needed = clips_needed(worst, known, clips, robust_at)
    more = (
        f"more clips are needed (about {needed:,})"
        if needed is not None
        else f"the share is too near {100 * robust_at:g} % for any number of clips to decide"
    )
    return Verdict(
        verdict="undecided",
        sentence=f"{model} is undecided: {_share(worst, known)} of the clips that it knows stay right under the worst "
        f"case of {_cells(right)}, and {100 * robust_at:g} % lies within that interval; {more}.",
        because=(*counted, *doubts, *unasked),
    )


def interval(count: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson."""
    found = binomtest(count, of).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def clips_needed(worst: int, known: int, clips: int, robust_at: float) -> int | None:
    """About how many clips the dataset would have to show for a decision, if the shares stay what they are.

    None where not even ten million would do.
    """
    share = worst / known
    if share == robust_at or robust_at == 1:
        return None
    # The end of Wilson's interval reaches `robust_at` where the score test against it just decides.
    enough = _Z**2 * robust_at * (1 - robust_at) / (share - robust_at) ** 2
    wanted = ceil(enough * clips / known)
    if wanted > MOST_CLIPS:
        return None
    # Two figures: it is no more than a guess.
    size = int(10 ** max(0, len(str(wanted)) - 2))
    return -(-wanted // size) * size


def _gained(check: Check) -> tuple[int, int] | None:
    """How many of how many clips a stronger attack fooled in addition; None for other checks."""
    gained, clips = check.numbers.get("gained"), check.numbers.get("clips")
    if check.name in MEASURED_GAINS and isinstance(gained, int) and isinstance(clips, int) and clips:
        return gained, clips
    return None


def _most_gained(check: Check) -> float:
    """The most that a stronger attack is likely to gain over all clips, as a share."""
    found = _gained(check)
    # Of the others nobody knows what they hide.
    return 1.0 if found is None else interval(*found)[1]


def _likely_gain(check: Check) -> float:
    """What a stronger attack gained on the sample, as a share, be it significant or not."""
    found = _gained(check)
    return 0.0 if found is None else found[0] / found[1]


def _is_a_guess(known: int, clips: int, classes: int) -> bool:
    """Whether guessing would do as well, too often to call it knowledge."""
    return float(binom.sf(known - 1, clips, 1 / max(1, classes))) > CHANCE


def _share(count: int, of: int) -> str:
    low, high = interval(count, of)
    return f"{count} of {of} ({100 * count / of:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %)"


def _cells(right: Mapping[str, int]) -> str:
    names = list(right)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _asked(checks: Sequence[Check]) -> list[str]:
    """How many doubts were settled, and which could not be."""
    settled = sum(check.passed is True for check in checks)
    open_ = [check.name for check in checks if check.passed is None]
    said = [f"{settled} checks speak for it"] if settled else []
    return said + ([f"could not be asked: {', '.join(open_)}"] if open_ else [])


def _refuse_odd_counts(clips: int, known: int, right: Mapping[str, int], worst: int) -> None:
    if not right:
        raise ValueError("no attack was run: there is nothing to say about robustness")
    if not 0 <= worst <= min(right.values()) or max(right.values()) > known or known > clips:
        raise ValueError(
            f"counts do not fit: {clips} clips, {known} of them known, {dict(right)} still right, {worst} under all"
        )
