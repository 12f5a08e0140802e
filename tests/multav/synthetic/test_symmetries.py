"""The sixteen symmetries: a group, and labels that follow the pictures."""

import numpy as np
import pytest
import torch

from multav.synthetic.camera_motion import CLASSES
from multav.synthetic.camera_path import MOTIONS, CameraPath, Motion, draw_path
from multav.synthetic.symmetries import SYMMETRIES, apply_symmetry, label_under
from multav.synthetic.view import look


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_labels_stay_a_permutation_and_still_clips_stay_still(symmetry: int) -> None:
    after = [label_under(motion, symmetry) for motion in MOTIONS]
    assert sorted(after) == sorted(MOTIONS)
    assert label_under("static", symmetry) == "static"
    assert label_under("shake", symmetry) == "shake"


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
@pytest.mark.parametrize("motion", MOTIONS[1:9])
def test_the_changed_clip_is_what_the_changed_label_films(symmetry: int, motion: Motion) -> None:
    """Filming the changed scene along the changed label's path gives the changed clip."""
    scene = np.random.default_rng(0).random((3, 40, 40), np.float32)
    clip = film(scene, motion)
    changed, labels = apply_symmetry(clip, torch.tensor([CLASSES.index(motion)]), symmetry)
    # the scene as the changed clip shows it: the same mirroring, no time to reverse
    spatial, _ = apply_symmetry(torch.from_numpy(scene)[None, :, None], labels, symmetry & 7)
    again = film(np.ascontiguousarray(spatial[0, :, 0].numpy()), CLASSES[int(labels[0])])
    assert torch.allclose(changed, again, atol=1e-4)


def test_no_symmetry_changes_nothing_and_others_are_refused() -> None:
    clips, labels = torch.rand(2, 3, 4, 8, 8), torch.tensor([3, 9])
    same, same_labels = apply_symmetry(clips, labels, 0)
    assert torch.equal(same, clips)
    assert torch.equal(same_labels, labels)
    with pytest.raises(ValueError, match="symmetry=16"):
        apply_symmetry(clips, labels, 16)


def film(scene: np.ndarray[tuple[int, ...], np.dtype[np.float32]], motion: Motion) -> torch.Tensor:
    """A pure, even motion over the scene: (1,3,T,S,S)."""
    path = pure_path(motion)
    seen = look(scene, path, centre=(20.0, 20.0), side=16.0, pixels=16)
    return torch.from_numpy(seen).transpose(0, 1)[None]


def pure_path(motion: Motion) -> CameraPath:
    """The first random path of the motion, told apart from nothing but its main axis, evenly timed."""
    random = draw_path(motion, np.random.default_rng(0), frames=2)
    time = np.linspace(-0.5, 0.5, 5, dtype=np.float32)
    moved = {
        name: getattr(random, name)[-1] - getattr(random, name)[0] for name in ("x", "y", "log_zoom", "roll")
    }
    main = {"pan": "x", "tilt": "y", "zoom": "log_zoom", "roll": "roll"}[motion.partition(" ")[0]]
    return CameraPath(**{name: time * (np.sign(moved[name]) * 0.3 if name == main else 0) for name in moved})
