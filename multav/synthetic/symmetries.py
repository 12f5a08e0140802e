"""Mirrored, turned and reversed clips with the labels that follow: sixteen clips out of one.

A mirrored pan right is a pan left, a transposed one a tilt down, one run backwards a pan left again.
"""

import torch

from multav.synthetic.camera_path import MOTIONS, OPPOSITE, Motion

SYMMETRIES = 16
REVERSED_IN_TIME = 8


def apply_symmetry(
    clips: torch.Tensor, labels: torch.Tensor, symmetry: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """One of the 16 symmetries on all clips (B,3,T,S,S) and their labels (B,); 0 changes nothing.

    Bit 0 mirrors left and right, bit 1 top and bottom, bit 2 transposes (so that 3 of them make every quarter
    turn), bit 3 reverses time.
    """
    if not 0 <= symmetry < SYMMETRIES:
        raise ValueError(f"symmetry={symmetry} is not one of 0..{SYMMETRIES - 1}")
    flipped = [axis for axis, bit in ((-1, 1), (-2, 2), (-3, 8)) if symmetry & bit]
    clips = clips.flip(flipped) if flipped else clips
    if symmetry & 4:
        clips = clips.transpose(-1, -2)
    table = torch.tensor([MOTIONS.index(label_under(motion, symmetry)) for motion in MOTIONS])
    return clips, table.to(labels.device)[labels]


def label_under(motion: Motion, symmetry: int) -> Motion:
    """What a clip of `motion` shows after `symmetry`."""
    direction = motion.partition(" ")[0]
    reversals = {
        "pan": bool(symmetry & 1),
        "tilt": bool(symmetry & 2),
        "roll": bool(symmetry & 1) ^ bool(symmetry & 2) ^ bool(symmetry & 4),
    }
    if reversals.get(direction, False) ^ bool(symmetry & 8):
        motion = OPPOSITE[motion]
    return _TRANSPOSED.get(motion, motion) if symmetry & 4 else motion


_TRANSPOSED: dict[Motion, Motion] = {
    "pan left": "tilt up",
    "pan right": "tilt down",
    "tilt up": "pan left",
    "tilt down": "pan right",
}
