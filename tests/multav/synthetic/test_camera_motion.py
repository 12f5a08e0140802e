"""The set as a user meets it: the same clip however asked for, and labels that agree with what is to be seen.

Labels are checked by an estimator that shares no code with the generator: it shifts, enlarges and turns an
early frame with Pillow and asks which change makes it most like a late one.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from multav.synthetic.camera_motion import CLASSES, LabelledClips, camera_motion_clips, label_of
from multav.synthetic.camera_path import OPPOSITE, Motion
from multav.synthetic.moving_crops import moving_crops

Gray = NDArray[np.float32]


def test_a_clip_alone_is_the_clip_in_a_batch() -> None:
    batch = camera_motion_clips(range(12, 32), seed=3)
    for index in (12, 17, 31):
        alone = camera_motion_clips([index], seed=3)
        assert np.array_equal(alone.pixels[0], batch.pixels[index - 12])
        assert alone.labels[0] == batch.labels[index - 12] == label_of(index)


def test_a_clip_does_not_depend_on_threads_or_global_randomness() -> None:
    first = camera_motion_clips(range(6), seed=3)
    threads = torch.get_num_threads()
    state = torch.random.get_rng_state()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        torch.manual_seed(99)
        again = camera_motion_clips(range(6), seed=3)
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)
    assert np.array_equal(first.pixels, again.pixels)


def test_seeds_and_indices_make_different_clips() -> None:
    clips = np.concatenate([camera_motion_clips(range(20), seed=seed).pixels for seed in (0, 1)])
    assert len({clip.tobytes() for clip in clips}) == 40


def test_foregrounds_move_over_a_static_scene() -> None:
    """Frames of static clips differ where things pass in front, and hardly elsewhere."""
    with_things, without = (
        camera_motion_clips(range(0, 200, 10), seed=4, foreground=share).pixels.astype(int)
        for share in (1.0, 0.0)
    )
    change, tremor = (
        abs(np.diff(pixels, axis=2)).mean(axis=(1, 2, 3, 4)) for pixels in (with_things, without)
    )
    assert (change > tremor + 0.3).mean() > 0.7


def test_shapes_types_and_balance() -> None:
    clips = camera_motion_clips(range(100, 130), seed=0)
    assert clips.pixels.shape == (30, 3, 8, 56, 56)
    assert clips.pixels.dtype == np.uint8
    assert clips.labels.dtype == np.int64
    assert Counter(clips.labels.tolist()) == dict.fromkeys(range(10), 3)


def test_other_sizes() -> None:
    assert camera_motion_clips([5], seed=0, frames=16, pixels=112).pixels.shape == (1, 3, 16, 112, 112)
    with pytest.raises(ValueError, match="multiple of 4"):
        camera_motion_clips([5], seed=0, pixels=54)


def test_pictures_use_the_range_and_carry_contrast() -> None:
    clips = camera_motion_clips(range(100), seed=5).pixels
    assert 70 < clips.mean() < 170
    assert clips.min() == 0
    assert clips.max() == 255
    assert np.quantile(clips.std(axis=(1, 2, 3, 4)), 0.05) > 8


@pytest.mark.slow
def test_no_single_frame_tells_the_class() -> None:
    """The mean picture of the middle frames is the same for all classes, up to sampling noise."""
    clips = camera_motion_clips(range(300), seed=6)
    middle = clips.pixels[:, :, 4].astype(np.float32).mean(axis=(2, 3))
    means = np.stack([middle[clips.labels == label].mean(axis=0) for label in range(10)])
    noise = middle.std(axis=0) / np.sqrt(30)
    assert (np.abs(means - means.mean(axis=0)) < 4 * noise).all()


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "shake"])
def test_labels_agree_with_what_is_to_be_seen(name: Motion) -> None:
    clips = camera_motion_clips(range(CLASSES.index(name), 300, 10), seed=8, foreground=0.0)
    check_agreement(clips, name)


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "shake"])
def test_labels_agree_on_moving_crops(name: Motion, pictures: list[NDArray[np.uint8]]) -> None:
    clips = moving_crops(pictures, range(CLASSES.index(name), 100, 10), seed=8)
    check_agreement(clips, name)


def check_agreement(clips: LabelledClips, name: Motion) -> None:
    """Most clips look like their label, and (unsteady hands confuse) almost none like the opposite."""
    assert {CLASSES[label] for label in clips.labels} == {name}
    seen = Counter(estimated_motion(clip) for clip in clips.pixels)
    assert seen[name] >= 0.6 * len(clips.labels)
    if OPPOSITE[name] != name:
        assert seen[OPPOSITE[name]] <= 0.05 * len(clips.labels)


def estimated_motion(clip: NDArray[np.uint8]) -> str:
    """The camera motion that best explains how frame 1 became frame 6 of a clip (3,T,H,W)."""
    gray = clip.mean(axis=0).astype(np.float32)
    early, late = gray[1], gray[6]
    scores = [(likeness(a, b), name) for name, a, b in explanations(early, late)]
    return max(scores)[1]


def explanations(early: Gray, late: Gray) -> Iterator[tuple[str, Gray, Gray]]:
    """(motion, a, b): under that motion of the camera, pictures a and b would be alike."""
    yield "static", early, late
    for shift in (2, 3, 4, 6, 8, 10, 12, 15, 18, 21):
        # the camera turns right: what was at column `shift` is now at column 0
        yield "pan right", early[:, shift:], late[:, :-shift]
        yield "pan left", early[:, :-shift], late[:, shift:]
        yield "tilt down", early[shift:], late[:-shift]
        yield "tilt up", early[:-shift], late[shift:]
    for percent in (6, 10, 15, 20, 26, 33, 40, 48):
        yield "zoom in", enlarged(early, 1 + percent / 100), late
        yield "zoom out", early, enlarged(late, 1 + percent / 100)
    for degrees in (4, 7, 10, 13, 17, 21, 25, 30, 35):
        # Pillow turns pictures counter-clockwise, as a camera that rolls clockwise sees the scene turn
        yield "roll clockwise", turned(early, degrees), centre(late)
        yield "roll counter-clockwise", turned(early, -degrees), centre(late)


def likeness(a: Gray, b: Gray) -> float:
    """Correlation of two pictures."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def enlarged(picture: Gray, factor: float) -> Gray:
    edge = picture.shape[0] / 2 * (1 - 1 / factor)
    box = (edge, edge, picture.shape[1] - edge, picture.shape[0] - edge)
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, box=box))


def turned(picture: Gray, degrees: float) -> Gray:
    return centre(np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BILINEAR)))


def centre(picture: Gray) -> Gray:
    """The middle three quarters, which stay filled while turning."""
    edge = picture.shape[0] // 8
    return picture[edge:-edge, edge:-edge]
