"""Which videos are trained on and which are looked at."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from multav.datasets.listing import ListedVideo, Listing
from multav.errors import InvalidSpec
from multav.training.videos import TrainingVideos, about_set_aside, training_videos
from tests.multav.training.small_trainings import asked

CLASSES = ("walk", "run", "swim")


def listing(groups: int = 10, each: int = 3, classes: tuple[str, ...] = CLASSES, prefix: str = "") -> Listing:
    """Groups of three videos of every class, class by class."""
    found: list[ListedVideo] = []
    for label, name in enumerate(classes):
        for group in range(groups):
            for clip in range(each):
                path = f"{prefix}{name}/g{group}/{clip}.avi"
                found.append(ListedVideo(len(found), path, label, f"{prefix}{name}/g{group}", Path(path)))
    return Listing(classes, tuple(found))


def names(videos: tuple[ListedVideo, ...]) -> set[str]:
    return {video.name for video in videos}


def groups(videos: tuple[ListedVideo, ...]) -> set[str]:
    return {video.group for video in videos}


def divided(of: Listing, other: Listing | None = None, **fields: Any) -> TrainingVideos:
    return training_videos(asked(**fields), of, other)


@pytest.mark.parametrize(("share", "aside"), [(0.1, 1), (0.2, 2), (0.25, 3), (0.5, 5), (0.01, 1)])
def test_whole_groups_of_every_class_are_set_aside(share: float, aside: int) -> None:
    found = divided(listing(), validation={"share": share})
    assert found.classes == CLASSES
    assert names(found.train) | names(found.validation) == names(listing().videos)
    assert not groups(found.train) & groups(found.validation)
    for label in range(3):
        taken = [video for video in found.validation if video.label == label]
        assert (len(taken), len({video.group for video in taken})) == (3 * aside, aside)
    assert (
        found.chosen_on
        == f"{9 * aside} clips: {aside / 10:.0%} of the videos of {asked().dataset}, set aside by group"
    )
    # The door knows counts alone.
    assert about_set_aside((30, 30, 30), share, per_group=3) == len(found.validation)


@pytest.mark.parametrize("count", [90, 300, 750])
def test_of_few_videos_of_large_groups_about_as_many_are_set_aside_as_is_said(count: int) -> None:
    """As of UCF101: few of many videos have their groups to themselves."""
    found = divided(listing(10, 25), subset={"count": count}, validation={"share": 0.2, "clips": 1000})
    said = about_set_aside((count // 3,) * 3, 0.2, per_group=25, drawn=count / 750)
    assert said == pytest.approx(len(found.validation), rel=0.35)


def test_the_draw_depends_on_the_seed_alone() -> None:
    first = divided(listing())
    assert divided(listing()) == first
    assert divided(listing(), subset={"seed": 5}).validation[0] in listing().videos
    assert groups(divided(listing(), subset={"seed": 5}).validation) == groups(first.validation)
    others = [groups(divided(listing(), seed=seed).validation) for seed in range(2, 6)]
    assert len({*map(frozenset, others), frozenset(groups(first.validation))}) > 3


def test_groups_over_several_classes_stay_whole_and_leave_no_class_without_videos() -> None:
    """As films of HMDB51, of which one class's clips and another's were cut."""
    videos: list[ListedVideo] = []
    for label, films in enumerate((("a", "b", "c", "d"), ("a", "b"), ("b", "c"), ("d", "e"))):
        for film in films:
            name = f"{label}/{film}.avi"
            videos.append(ListedVideo(len(videos), name, label, film, Path(name)))
    crossed = Listing(("p", "q", "r", "s"), tuple(videos))
    for seed in range(1, 40):
        found = divided(crossed, seed=seed, validation={"share": 0.25})
        assert not groups(found.train) & groups(found.validation)
        assert {video.label for video in found.train} == {0, 1, 2, 3}, seed
        assert found.validation


def test_a_class_of_one_group_is_trained_on_and_said_to_be_unseen() -> None:
    whole = listing()
    lonely = tuple(video for video in whole.videos if video.label or video.group == "walk/g0")
    found = divided(Listing(CLASSES, lonely))
    assert {video.label for video in found.train} == {0, 1, 2}
    assert {video.label for video in found.validation} == {1, 2}
    assert found.chosen_on.endswith("set aside by group; none of walk, with too few groups")


@pytest.mark.parametrize("count", [10, 20, 60, 200])
def test_of_few_videos_each_in_a_group_of_its_own_as_many_are_set_aside_as_is_said(count: int) -> None:
    """As of the made clips: of each class at least one, where it has two."""
    made = Listing(
        tuple("abcdefghij"), tuple(ListedVideo(i, str(i), i % 10, str(i), None) for i in range(count))
    )
    said = about_set_aside((count // 10,) * 10, 0.1, per_group=1)
    assert said == {10: 0, 20: 10, 60: 10, 200: 20}[count]
    if said:
        assert len(divided(made).validation) == said
        assert divided(made).chosen_on.startswith(f"{said} clips: {said / count:.0%} of the videos")
    else:
        with pytest.raises(InvalidSpec):
            divided(made)


def test_groups_of_one_only_cannot_be_divided() -> None:
    with pytest.raises(InvalidSpec, match="each class needs two groups") as refused:
        divided(listing(groups=1))
    assert [error["pointer"] for error in refused.value.errors] == ["/validation"]


def test_no_more_clips_are_looked_at_than_asked_and_of_every_class() -> None:
    found = divided(listing(), validation={"share": 0.5, "clips": 7})
    counts: dict[int, int] = defaultdict(int)
    for video in found.validation:
        counts[video.label] += 1
    assert sorted(counts.values()) == [2, 2, 3]
    assert found.chosen_on.startswith("7 clips: ")
    assert len(found.train) == 45


def test_a_subset_of_classes_is_numbered_anew() -> None:
    found = divided(listing(), subset={"classes": ["swim", "walk"]})
    assert found.classes == ("walk", "swim")
    for video in (*found.train, *found.validation):
        assert video.name.startswith(found.classes[video.label])
    assert len(found.train) + len(found.validation) == 60
    found = divided(listing(), subset={"per_class": 6})
    assert len(found.train) + len(found.validation) == 18


@pytest.mark.parametrize(
    ("classes", "words"), [(["walk", "fly"], "no class 'fly'"), (["walk"], "at least two")]
)
def test_classes_that_cannot_be_told_apart_or_are_not_there(classes: list[str], words: str) -> None:
    for other in (None, listing(prefix="other/")):
        with pytest.raises(InvalidSpec, match=words) as refused:
            divided(listing(), other, subset={"classes": classes})
        assert [error["pointer"] for error in refused.value.errors] == ["/subset/classes"]


NAMED = {"dataset": "looked-at"}


def test_a_validation_dataset_may_know_its_classes_in_another_order_and_others() -> None:
    other = listing(groups=4, classes=("fly", "swim", "walk", "run"), prefix="other/")
    found = divided(listing(), other, validation=NAMED | {"clips": 30})
    assert names(found.train) == names(listing().videos)
    assert len(found.validation) == 30
    for video in found.validation:
        assert video.name.startswith(f"other/{CLASSES[video.label]}/")
    assert {video.label for video in found.validation} == {0, 1, 2}
    assert found.chosen_on == "30 clips: dataset looked-at, which is not trained on"
    # Each is still at the place in its listing from which its attack draws.
    assert all(other.videos[video.index].name == video.name for video in found.validation)


def test_a_validation_dataset_that_lacks_classes_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="lacks classes of the training: run, swim") as refused:
        divided(listing(), listing(classes=("walk", "fly")), validation=NAMED)
    assert [error["pointer"] for error in refused.value.errors] == ["/validation/dataset"]
    # Of a subset of the classes it has all.
    assert divided(
        listing(),
        listing(classes=("run", "walk"), prefix="o/"),
        validation=NAMED,
        subset={"classes": ["walk", "run"]},
    ).classes == ("walk", "run")


def test_a_validation_dataset_of_the_same_files_is_refused() -> None:
    whole = listing()
    shared = Listing(CLASSES, (*listing(prefix="o/").videos[:-1], whole.videos[4]))
    with pytest.raises(
        InvalidSpec, match=r"1 of its videos is trained on, such as walk/g1/1\.avi"
    ) as refused:
        divided(whole, shared, validation=NAMED)
    assert [error["pointer"] for error in refused.value.errors] == ["/validation/dataset"]


def test_nothing_to_train_on_or_to_look_at_is_refused() -> None:
    empty = Listing(CLASSES, ())
    with pytest.raises(InvalidSpec, match="two videos") as refused:
        divided(empty, listing(), validation=NAMED)
    assert [error["pointer"] for error in refused.value.errors] == ["/subset"]
    with pytest.raises(InvalidSpec, match="two videos"):
        divided(Listing(CLASSES, listing().videos[:1]), listing(prefix="o/"), validation=NAMED)
    with pytest.raises(InvalidSpec, match="no video") as refused:
        divided(listing(), empty, validation=NAMED)
    assert [error["pointer"] for error in refused.value.errors] == ["/validation/dataset"]


def test_the_last_checkpoint_is_chosen_on_nothing() -> None:
    found = divided(listing(), select="last")
    assert found.chosen_on == "nothing: the last one is kept"
    assert found.validation
