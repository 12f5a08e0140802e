"""Draws from a dataset: stratified, the same every time, and a longer one begins with the shorter."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multav.datasets.listing import ListedVideo, Listing, drawn_per_class, subset


def listing_of(sizes: list[int]) -> Listing:
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    videos = tuple(ListedVideo(index, str(index), label, str(index)) for index, label in enumerate(labels))
    return Listing(tuple(f"class {label}" for label in range(len(sizes))), videos)


listings = st.lists(st.integers(1, 30), min_size=1, max_size=8).map(listing_of)


@given(listings, st.integers(0, 5), st.data())
def test_a_longer_draw_begins_with_the_shorter_one(listing: Listing, seed: int, data: st.DataObject) -> None:
    whole = subset(listing, seed=seed)
    assert sorted(video.index for video in whole) == [video.index for video in listing.videos]
    count = data.draw(st.integers(1, len(whole)))
    assert subset(listing, count=count, seed=seed) == whole[:count]


@given(listings, st.integers(0, 5), st.data())
def test_every_beginning_is_stratified(listing: Listing, seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(listing.videos)))
    sizes = Counter(video.label for video in listing.videos)
    drawn = Counter(video.label for video in subset(listing, count=count, seed=seed))
    # Even spacing of each class leaves less than one video of error for itself, and less than one for the cut.
    for label, size in sizes.items():
        share = count * size / len(listing.videos)
        assert abs(drawn[label] - share) < 1 + len(sizes) * 0.5


@given(listings, st.integers(0, 5), st.data())
def test_sizes_alone_tell_how_many_of_a_class_are_drawn(
    listing: Listing, seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(listing.videos)))
    sizes = Counter(video.label for video in listing.videos)
    drawn = Counter(video.label for video in subset(listing, count=count, seed=seed))
    labels = range(len(listing.classes))
    assert drawn_per_class([sizes[label] for label in labels], count) == [drawn[label] for label in labels]


@given(listings, st.integers(1, 10), st.integers(0, 5))
def test_per_class_takes_so_many_of_each(listing: Listing, per_class: int, seed: int) -> None:
    sizes = Counter(video.label for video in listing.videos)
    drawn = subset(listing, per_class=per_class, seed=seed)
    assert Counter(video.label for video in drawn) == {
        label: min(size, per_class) for label, size in sizes.items()
    }
    assert len(set(drawn)) == len(drawn)


def test_the_seed_alone_decides() -> None:
    listing = listing_of([20, 20])
    assert subset(listing, count=10, seed=1) == subset(listing, count=10, seed=1)
    assert subset(listing, count=10, seed=1) != subset(listing, count=10, seed=2)
    # A class's draw does not depend on which other classes are wanted.
    alone = subset(listing, per_class=5, classes=["class 1"], seed=1)
    together = subset(listing, per_class=5, seed=1)
    assert set(alone) == {video for video in together if video.label == 1}


def test_videos_by_name_come_stratified_and_alone() -> None:
    listing = listing_of([6, 6])
    names = ["7", "1", "0", "9"]
    found = subset(listing, names=names)
    assert sorted(video.name for video in found) == sorted(names)
    assert {video.label for video in found[:2]} == {0, 1}
    with pytest.raises(ValueError, match="no video '12', 'x'"):
        subset(listing, names=["x", "3", "12"])


def test_unknown_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="no class 'class 9'"):
        subset(listing_of([1, 1]), classes=["class 9", "class 0"])
