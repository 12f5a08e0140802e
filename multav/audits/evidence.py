"""When a sample of clips says enough to doubt an audit: two exact tests, and no thresholds by eye. Torch-free.

Both answer "does something speak against the numbers?" with a chance of at most `ALARM` to say yes where nothing does.
A sample of clips always holds a few that go the other way; a rule such as "the gain is below 1 point" on 32 clips would
call one lucky clip a gain of 3 points.
"""

from typing import Final

from scipy.stats import binom

ALARM: Final = 0.01
"""The largest chance of a false alarm of one test."""

FEWEST_PAIRS: Final = 7
"""With fewer clips a sign test cannot reach `ALARM`: 2**-7 is the first power of a half below it."""


def more_than(count: int, of: int, share: float) -> bool:
    """Whether `count` of `of` clips are significantly more than `share` of them (one-sided exact binomial test)."""
    return of > 0 and float(binom.sf(count - 1, of, share)) < ALARM


def outdone(only_other: int, only_ours: int) -> bool:
    """Whether another attack is significantly stronger: of the clips that only one of the two fools, who fools more.

    One-sided exact McNemar test, which is a sign test on the clips on which the two differ.
    """
    differing = only_other + only_ours
    return differing > 0 and float(binom.sf(only_other - 1, differing, 0.5)) < ALARM
