"""The word that counts and doubts allow."""

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multav.audits.evidence import ALARM, more_than, outdone
from multav.audits.findings import Check, Verdict
from multav.audits.verdict import clips_needed, interval, verdict

FINE = Check(name="noise", question="?", passed=True, detail="fine")
UNASKED = Check(name="transfer", question="?", passed=None, detail="no other model")
FAILED = Check(
    name="gradients", question="?", passed=False, detail="32 of 32 clips have no gradient to follow"
)


def gain(gained: int, clips: int = 200) -> Check:
    """A stronger attack that fooled more clips."""
    return Check(
        name="more steps",
        question="?",
        passed=False,
        detail=f"50 steps fool {gained} of {clips} clips more",
        numbers={"gained": gained, "clips": clips},
    )


def said(
    worst: int,
    *checks: Check,
    known: int = 400,
    clips: int = 500,
    classes: int = 10,
    robust_at: float = 0.5,
    **right: int,
) -> Verdict:
    """The verdict on "net"."""
    return verdict(
        "net",
        clips=clips,
        known=known,
        classes=classes,
        right=right or {"multav-linf@1.04": worst},
        worst=worst,
        checks=checks,
        robust_at=robust_at,
    )


def test_robust_names_the_attacks_the_counts_and_the_interval() -> None:
    found = said(300, FINE, UNASKED, af=350, roa=310)
    assert found.verdict == "robust"
    assert found.sentence.startswith(
        "net is robust to af, roa: 300 of 400 (75.0 %, 95 % interval 70.5 to 79.0 %)"
    )
    assert any("transfer" in reason for reason in found.because)
    assert found.because[1].startswith("roa: 310")


def test_without_checks_the_verdict_says_so() -> None:
    assert any("left out" in reason for reason in said(300).because)


def test_not_robust_stands_whatever_the_checks_say() -> None:
    found = said(20, FAILED)
    assert found.verdict == "not robust"
    assert any("no gradient" in reason for reason in found.because)


@pytest.mark.parametrize("worst", [300, 400, 205])
def test_a_failed_check_takes_the_word_away(worst: int) -> None:
    found = said(worst, FINE, FAILED)
    assert found.verdict == "cannot be trusted"
    assert "no gradient to follow" in found.sentence


def test_a_measured_gain_counts_for_what_it_is() -> None:
    assert said(360, gain(10)).verdict == "robust"
    assert any("more steps" in reason for reason in said(360, gain(10)).because)
    assert said(230, gain(10)).verdict == "cannot be trusted"
    assert said(360, gain(100)).verdict == "cannot be trusted"


def test_a_gain_too_small_to_be_significant_is_taken_off_all_the_same() -> None:
    passed = gain(2, 32).model_copy(update={"passed": True})
    assert said(360, passed).verdict == "robust"
    found = said(236, passed)
    assert said(236, FINE).verdict == "robust"
    assert found.verdict == "undecided"
    assert "a stronger attack is needed" in found.sentence
    assert said(20, passed).verdict == "not robust"


def test_undecided_says_how_many_clips_would_do() -> None:
    found = said(210, FINE)
    assert found.verdict == "undecided"
    assert "more clips are needed (about 1,9" in found.sentence or "about 2," in found.sentence
    assert "any number of clips" in said(200, FINE).sentence


@settings(max_examples=30, deadline=None)
@given(known=st.integers(10, 400), share=st.floats(0.0, 1.0), robust_at=st.sampled_from([0.3, 0.5, 0.9]))
def test_the_clips_that_are_needed_do_decide(known: int, share: float, robust_at: float) -> None:
    worst = round(share * known)
    needed = clips_needed(worst, known, known, robust_at)
    if needed is None:
        assert worst / known == pytest.approx(robust_at, abs=1e-3)
        return
    low, high = interval(round(worst / known * needed), needed)
    # Counts are whole numbers, so that a share can be kept to within one clip.
    assert low >= robust_at - 1 / needed or high < robust_at + 1 / needed


@pytest.mark.parametrize("known", [0, 8, 12])
def test_who_guesses_cannot_be_trusted(known: int) -> None:
    found = said(0, FINE, known=known, clips=100)
    assert found.verdict == "cannot be trusted"
    assert "does not know the data" in found.sentence


def test_the_interval_is_wilsons() -> None:
    count, of, z = 37, 91, 1.959963984540054
    share = count / of
    centre = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    assert interval(count, of) == pytest.approx((centre - half, centre + half), rel=1e-9)
    assert interval(0, 10)[0] == 0
    assert interval(10, 10)[1] == 1


@pytest.mark.parametrize(
    ("clips", "known", "right", "worst"),
    [(10, 11, 5, 5), (10, 8, 9, 5), (10, 8, 5, 6), (10, 8, 5, -1)],
)
def test_counts_that_cannot_be_are_refused(clips: int, known: int, right: int, worst: int) -> None:
    with pytest.raises(ValueError, match="counts do not fit"):
        said(worst, clips=clips, known=known, af=right)
    with pytest.raises(ValueError, match="no attack was run"):
        verdict("net", clips=9, known=9, classes=2, right={}, worst=0, checks=(), robust_at=0.5)


@settings(max_examples=30, deadline=None)
@given(clips=st.integers(1, 300), share=st.sampled_from([0.01, 0.05]))
def test_false_alarms_of_a_share_are_rare(clips: int, share: float) -> None:
    alarm = sum(
        math.comb(clips, count) * share**count * (1 - share) ** (clips - count)
        for count in range(clips + 1)
        if more_than(count, clips, share)
    )
    assert alarm < ALARM


@settings(max_examples=30, deadline=None)
@given(differing=st.integers(1, 200))
def test_false_alarms_of_a_comparison_are_rare(differing: int) -> None:
    alarm = sum(
        math.comb(differing, only) for only in range(differing + 1) if outdone(only, differing - only)
    )
    assert alarm / 2**differing < ALARM
    assert outdone(differing, 0) == (differing >= 7)


def test_a_verdict_needs_no_torch() -> None:
    code = "import sys, multav.audits.verdict, multav.audits.findings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
