"""Which videos a model is trained on, and which it is judged by. Torch-free."""

import math
import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from multav.datasets.listing import ListedVideo, Listing, subset
from multav.errors import InvalidSpec
from multav.training.request import TrainingRequest

_MOST_COMPARED: Final = 200


def compared_with(validation: int, train: int) -> int:
    """How many of the `train` training clips a look goes through as well, beside so many of validation."""
    return min(_MOST_COMPARED, validation, train)


def about_set_aside(
    videos_per_class: Collection[int], share: float, *, per_group: float, drawn: float = 1.0
) -> int:
    """About how many videos are set aside of classes of so many, with `per_group` videos in a group on average.

    They are the share `drawn` of a dataset, whose groups are so large. Exact where every video is its own group. Of
    every class at least one group stays (see `training_videos`).
    """
    # Few of many videos have their groups to themselves.
    per_group = drawn * per_group / (1 - (1 - drawn) ** per_group)
    aside = 0.0
    for videos in videos_per_class:
        groups = max(1, round(videos / per_group))
        aside += min(groups - 1, math.ceil(round(share * groups, 9))) * videos / groups
    return round(aside)


@dataclass(frozen=True)
class TrainingVideos:
    """Videos with labels that are indices into `classes`; `chosen_on` says in words what chooses the checkpoint."""

    classes: tuple[str, ...]
    train: tuple[ListedVideo, ...]
    validation: tuple[ListedVideo, ...]
    chosen_on: str


def training_videos(
    request: TrainingRequest, listing: Listing, validation: Listing | None = None
) -> TrainingVideos:
    """The videos of `request`, whose dataset lists `listing` and whose validation dataset, if any, `validation`.

    Classes are the dataset's (of the subset, if it names some), in its order. Without a validation dataset whole groups
    are set aside, of every class the share that was asked for: videos of one group were cut from one recording, and
    to know one is to know the others. Raises `InvalidSpec` where nothing is left to train on or to look at.
    """
    chosen = request.subset
    try:
        drawn = subset(
            listing, count=chosen.count, per_class=chosen.per_class, classes=chosen.classes, seed=chosen.seed
        )
    except ValueError as error:
        raise InvalidSpec.at("/subset/classes", str(error)) from error
    classes = listing.classes
    if chosen.classes is not None:
        classes = tuple(name for name in listing.classes if name in chosen.classes)
    if len(classes) < 2:
        raise InvalidSpec.at("/subset/classes", "a classifier tells at least two classes apart: name more")
    train = _relabelled(drawn, listing.classes, classes)
    if validation is None:
        aside = _groups_aside(train, request.validation.share, request.seed)
        looked_at = [video for video in train if video.group in aside]
        train = [video for video in train if video.group not in aside]
        share = len(looked_at) / max(1, len(looked_at) + len(train))
        words = f"{share:.0%} of the videos of {request.dataset}, set aside by group"
        unseen = sorted({video.label for video in train} - {video.label for video in looked_at})
        if unseen:
            named = ", ".join(classes[label] for label in unseen[:8])
            words += f"; none of {named}, with too few groups"
        if not train or not looked_at:
            raise InvalidSpec.at(
                "/validation",
                "the videos cannot be divided: each class needs two groups at least; name a validation dataset",
            )
    else:
        missing = sorted(set(classes) - set(validation.classes))
        if missing:
            raise InvalidSpec.at(
                "/validation/dataset", f"it lacks classes of the training: {', '.join(missing[:8])}"
            )
        looked_at = _relabelled(validation.videos, validation.classes, classes)
        if not looked_at:
            raise InvalidSpec.at("/validation/dataset", "it has no video of the classes of the training")
        _refuse_shared(train, looked_at)
        words = f"dataset {request.validation.dataset}, which is not trained on"
    if len(train) < 2:
        raise InvalidSpec.at(
            "/subset", f"{len(train)} of the videos would be trained on: at least two videos are needed"
        )
    looked_at = _stratified(classes, looked_at, request.validation.clips, request.seed)
    words = (
        f"{len(looked_at)} clips: {words}" if request.select == "best" else "nothing: the last one is kept"
    )
    return TrainingVideos(classes, tuple(train), tuple(looked_at), words)


def _relabelled(
    videos: Sequence[ListedVideo], before: Sequence[str], after: Sequence[str]
) -> list[ListedVideo]:
    """The videos of the classes `after`, with labels that are indices into them."""
    labels = {before.index(name): label for label, name in enumerate(after) if name in before}
    return [replace(video, label=labels[video.label]) for video in videos if video.label in labels]


def _groups_aside(videos: Sequence[ListedVideo], share: float, seed: int) -> Collection[str]:
    """Groups that hold about `share` of each class's videos; of every class, at least one group stays.

    A group may have videos of several classes, as a film has.
    """
    by_class: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    labels: dict[str, set[int]] = defaultdict(set)
    for video in videos:
        by_class[video.label][video.group] += 1
        labels[video.group].add(video.label)
    aside: set[str] = set()
    left = {label: len(groups) for label, groups in by_class.items()}
    for label, groups in sorted(by_class.items()):
        wanted = share * sum(groups.values())
        taken = sum(count for group, count in groups.items() if group in aside)
        candidates = sorted(group for group in groups if group not in aside)
        random.Random(f"{seed}:{label}").shuffle(candidates)
        while candidates and taken < wanted:
            group = candidates.pop()
            if any(left[each] == 1 for each in labels[group]):
                continue
            aside.add(group)
            taken += groups[group]
            for each in labels[group]:
                left[each] -= 1
    return aside


def _refuse_shared(train: Sequence[ListedVideo], looked_at: Sequence[ListedVideo]) -> None:
    """Two datasets may list the same files."""
    files = {video.path for video in train if video.path is not None}
    shared = [video.name for video in looked_at if video.path in files]
    if shared:
        count = f"{len(shared)} of its videos {'is' if len(shared) == 1 else 'are'}"
        raise InvalidSpec.at("/validation/dataset", f"{count} trained on, such as {shared[0]}")


def _stratified(
    classes: tuple[str, ...], videos: Sequence[ListedVideo], count: int, seed: int
) -> list[ListedVideo]:
    return list(subset(Listing(classes, tuple(videos)), count=count, seed=seed))
