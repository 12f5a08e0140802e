"""Published checkpoints and the pixels that they were trained on. Torch-free.

A checkpoint without a card does not say how its pixels were normalised. Only for files that were published it is
known; for others it is asked for, since a wrong guess costs accuracy without a word.
"""

from dataclasses import dataclass
from typing import Any, Final

from models.recognised import Recognised
from models.source_format import SourceFormat

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Training:
    """How a family of checkpoints saw its clips; `source` and `clips` are said to whoever registers one."""

    mean: Triple
    std: Triple
    stride: int
    short_side: int
    source: str
    clips: str
    published: frozenset[tuple[str, int | None, int]]
    """Architecture, depth and classes of the files that were published."""

    @property
    def geometry(self) -> dict[str, Any]:
        """Everything but the normalisation."""
        return {
            "frames": 16,
            "stride": self.stride,
            "short_side": self.short_side,
            "height": 112,
            "width": 112,
        }

    def knows(self, found: Recognised, classes: int) -> bool:
        """Whether a file like this was published."""
        return (found.architecture, found.arguments.get("depth"), classes) in self.published


# Pixels of 0 to 255 minus the mean of ActivityNet, not divided: mean.py and opts.py (mean_dataset, std_norm) of the
# branch CVPR2018, and mean.py of video-classification-3d-cnn-pytorch.
_HARA_2018: Final = Training(
    mean=(114.7748 / 255, 107.7354 / 255, 99.4750 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
    stride=1,
    short_side=112,
    source="Hara's published files of 2018: pixels of 0 to 255 minus (114.7748, 107.7354, 99.4750), not divided",
    clips="16 consecutive frames, 112x112 of a short side of 112",
    published=frozenset(
        [
            *(("resnet3d", depth, 400) for depth in (18, 34, 50, 101, 152, 200)),
            ("preact-resnet3d", 200, 400),
            ("wide-resnet3d", 50, 400),
            *(("resnext3d", 101, classes) for classes in (400, 101, 51)),
        ]
    ),
)

# mean.py (kinetics) and opts.py (value_scale 1) of the master branch.
_HARA: Final = Training(
    mean=(0.4345, 0.4051, 0.3775),
    std=(0.2768, 0.2713, 0.2737),
    stride=1,
    short_side=112,
    source="Hara's published files since 2019: Kinetics mean (0.4345, 0.4051, 0.3775), standard deviation "
    "(0.2768, 0.2713, 0.2737)",
    clips="16 consecutive frames, 112x112 of a short side of 112",
    published=frozenset(
        [
            *(
                ("resnet3d", depth, classes)
                for depth in (18, 34, 50, 101, 152, 200)
                for classes in (700, 1039)
            ),
            *(("resnet3d", 50, classes) for classes in (1139, 800, 339, 439, 100)),
        ]
    ),
)

# Kinetics400 weights of torchvision/models/video/resnet.py: VideoClassification(crop 112, resize (128, 171)); trained
# at 15 frames a second, every second frame of most videos.
_TORCHVISION: Final = Training(
    mean=(0.43216, 0.394666, 0.37645),
    std=(0.22803, 0.22145, 0.216989),
    stride=2,
    short_side=128,
    source="torchvision's Kinetics-400 weights: mean (0.43216, 0.394666, 0.37645), standard deviation "
    "(0.22803, 0.22145, 0.216989)",
    clips="16 frames at 15 a second, taken as every second frame of a video of 30, 112x112 of a short side of 128",
    published=frozenset((name, None, 400) for name in ("r3d_18", "mc3_18", "r2plus1d_18")),
)

TRAININGS: Final[dict[SourceFormat, Training]] = {
    "hara-2018": _HARA_2018,
    "hara": _HARA,
    "torchvision": _TORCHVISION,
}
