"""Files that cannot be read are left out and named; where most are, nothing is trained."""

import re
from pathlib import Path

import pytest
from torch import Tensor

from multav.datasets.class_folder import ClassFolder
from multav.datasets.listing import ListedVideo
from multav.errors import BadDataset
from multav.training.curve import CurvePoint
from multav.training.request import TrainingRequest
from multav.training.videos import TrainingVideos, training_videos
from tests.multav.datasets import trees
from tests.multav.training.small_trainings import CLASSES, Small, asked, noises, trained

SIZE = trees.SMALL


class Counting(Small):
    """Remembers how many clips it descended on."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, clips: Tensor) -> Tensor:
        if self.training:
            self.sizes.append(len(clips))
        return super().forward(clips)


def folder(root: Path, bad: tuple[str, ...]) -> Path:
    """Three videos of each of three classes in MPEG-4, of which some are text or cut off."""
    for label, name in enumerate(("run", "swim", "walk")):
        for number in range(3):
            path = trees.write_video(root / name / f"{number}.avi", trees.noise(5, seed=3 * label + number))
            if f"{name}/{number}.avi" in bad:
                path.write_bytes(b"no video" if number else path.read_bytes()[:300])
    return root


def request(**fields: object) -> TrainingRequest:
    return asked(**{"batch_size": 3, "attack": None, "steps": 6, "validation": {"share": 0.3}} | fields)


def test_corrupt_files_are_left_out_and_named(tmp_path: Path) -> None:
    listing = ClassFolder().listing(folder(tmp_path / "videos", ("run/0.avi", "walk/1.avi")))
    found = training_videos(request(), listing)
    net = Counting()
    done = trained(net, request(), tmp_path, of=found, geometry=SIZE)
    assert set(done.bad_videos) == {"run/0.avi", "walk/1.avi"}
    assert "not" in done.bad_videos["walk/1.avi"]
    assert sum(int(count) for count in re.findall(r"(\d) of the", done.remarks[0])) == 2
    assert done.train_clips + done.validation_clips == 7
    # Six videos to train on in two batches an epoch; three epochs go by however many files are bad.
    bad = len({video.name for video in found.train} & set(done.bad_videos))
    assert bad > 0
    assert done.steps == 6
    # One clip alone is not trained on.
    assert 3 * (6 - bad) - 3 <= sum(net.sizes) <= 3 * (6 - bad)
    assert set(net.sizes) <= {2, 3}


def test_mostly_bad_videos_are_refused(tmp_path: Path) -> None:
    bad = tuple(f"{name}/{number}.avi" for name in ("run", "swim") for number in range(3))
    listing = ClassFolder().listing(folder(tmp_path / "videos", bad))
    every = TrainingVideos(listing.classes, listing.videos, listing.videos[-1:], "")
    with pytest.raises(BadDataset, match=r"5 of 9 training videos give no clip, such as (run|swim)/\d.avi: "):
        trained(Small(), request(batch_size=2), tmp_path, of=every, geometry=SIZE)


def gone(*names: str) -> tuple[ListedVideo, ...]:
    """Videos that are not there."""
    return tuple(
        ListedVideo(index, name, index % 3, name, Path("/nowhere") / name) for index, name in enumerate(names)
    )


def test_exactly_half_is_not_most(tmp_path: Path) -> None:
    half = TrainingVideos(CLASSES, (*noises(range(4)), *gone(*"abcd")), noises(range(9, 12)), "")
    done = trained(Small(), asked(steps=8), tmp_path, of=half)
    assert done.steps == 8
    assert set(done.bad_videos) == set("abcd")
    more = TrainingVideos(CLASSES, (*half.train, *gone("e")), half.validation, "")
    with pytest.raises(BadDataset, match="5 of 9 training videos"):
        trained(Small(), asked(steps=8), tmp_path, of=more)


def test_bad_videos_to_look_at_do_not_count_against_those_to_train_on(tmp_path: Path) -> None:
    """Also where they have the same names, as the clips of made datasets do."""
    names = [str(index) for index in range(8)]
    of = TrainingVideos(CLASSES, noises(range(8)), (*gone(*names), *noises(range(9, 12))), "")
    done = trained(Small(), asked(), tmp_path, of=of)
    assert done.steps == 5
    assert set(done.bad_videos) == set(names)


def test_no_video_to_look_at_is_refused(tmp_path: Path) -> None:
    of = TrainingVideos(CLASSES, noises(range(8)), gone("a", "b"), "")
    net = Counting()
    with pytest.raises(BadDataset, match=r"no validation video gives a clip, such as a: .* with a scan"):
        trained(net, asked(), tmp_path, of=of)
    assert net.sizes == [], "nothing is trained before it is noticed"


def test_no_video_to_train_on_is_refused_before_the_first_step(tmp_path: Path) -> None:
    """Although a good one is among the last, and batches are drawn from all of them."""
    of = TrainingVideos(CLASSES, (*gone(*"abcde"), *noises(range(4))), noises(range(9, 12)), "")
    net = Counting()
    with pytest.raises(BadDataset, match=r"5 of 9 training videos give no clip, such as a: "):
        trained(net, asked(batch_size=2), tmp_path, of=of)
    assert net.sizes == []


def test_what_is_left_out_is_counted_by_set(tmp_path: Path) -> None:
    """Also where the two sets name their videos alike."""
    for bad, looked_at, words in (
        (
            "abc",
            "x",
            "3 of the 9 training videos and 1 of the 4 validation videos were left out: no clip could be made "
            "of them",
        ),
        (
            "ab",
            "ab",
            "2 of the 8 training videos and 2 of the 5 validation videos were left out: no clip could be made "
            "of them",
        ),
        ("a", "", "1 of the 7 training videos was left out: no clip could be made of it"),
        ("", "x", "1 of the 4 validation videos was left out: no clip could be made of it"),
    ):
        of = TrainingVideos(
            CLASSES, (*noises(range(6)), *gone(*bad)), (*noises(range(9, 12)), *gone(*looked_at)), ""
        )
        done = trained(Small(), asked(batch_size=2, steps=8), tmp_path, of=of)
        assert done.remarks == (words,)
        assert (done.train_clips, done.validation_clips) == (6, 3)


def test_one_good_video_to_look_at_is_enough(tmp_path: Path) -> None:
    of = TrainingVideos(CLASSES, noises(range(8)), (*gone(*"abcdefgh"), *noises(range(9, 10))), "")
    assert trained(Small(), asked(), tmp_path, of=of).validation_clips == 1


def test_a_batch_without_clips_counts_as_its_steps(tmp_path: Path) -> None:
    """So that a training with bad videos is as long as one without, also across a break."""
    of = TrainingVideos(CLASSES, (*noises(range(5)), *gone("a", "b", "c", "d")), noises(range(9, 12)), "")
    for fields, steps in (({"batch_size": 2, "steps": 12}, 12), ({"method": "free", "replays": 3}, 7)):
        net, points = Counting(), list[CurvePoint]()
        done = trained(
            net, asked(**{"batch_size": 2, "steps": steps} | fields), tmp_path, of=of, on_point=points.append
        )
        assert done.steps == steps
        assert set(net.sizes) == {2}
        assert len(net.sizes) < steps
        assert points[-1].step == steps


def test_bad_videos_are_known_to_who_goes_on(tmp_path: Path) -> None:
    of = TrainingVideos(
        CLASSES, (*noises(range(6)), *gone("a", "b")), (*noises(range(9, 12)), *gone("x")), ""
    )
    done = trained(Small(), asked(), tmp_path, of=of)
    again = trained(Small(), asked(), tmp_path, of=of, resume_from=tmp_path / "checkpoint")
    assert again.bad_videos == done.bad_videos
    assert set(done.bad_videos) == {"a", "b", "x"}
    assert again.remarks == done.remarks
