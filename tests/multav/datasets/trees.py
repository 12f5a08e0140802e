"""Miniature datasets with the official list formats, and real encoded videos for them."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from multav.geometry import InputGeometry

SMALL = InputGeometry(frames=4, stride=2, short_side=16, height=16, width=16)


def place(root: Path, *names: str, content: bytes = b"") -> None:
    """Files under `root`, with their folders."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def grey(level: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """A picture of one level."""
    return np.full((height, width, 3), level, np.uint8)


def noise(count: int, height: int = 24, width: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """(count, height, width, 3) random levels."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def write_video(
    path: Path, pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], *, tag: str = "xvid"
) -> Path:
    """`pictures` as MPEG-4 in AVI (as UCF101 and HMDB51 are), lossless FFV1 in .mkv, H.264 in .mp4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, pixel_format, options = {
        ".avi": ("mpeg4", "yuv420p", {"q": "2"}),
        ".mkv": ("ffv1", "bgr0", {}),
        ".mp4": ("libx264", "yuv420p", {"preset": "ultrafast"}),
    }[path.suffix]
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        if path.suffix == ".avi":
            stream.codec_context.codec_tag = tag
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(
                format=pixel_format
            )
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


UCF_CLASSES = ("HandstandPushups", "HammerThrow", "Hammering", "JumpRope")
"""In the order of classInd.txt; Python would sort Hammering after HammerThrow... and Handstand after both."""


def ucf_name(class_name: str, group: int, clip: int) -> str:
    """Path in UCF-101, with the capital S of one class's videos."""
    spelled = "HandStandPushups" if class_name == "HandstandPushups" else class_name
    return f"{class_name}/v_{spelled}_g{group:02}_c{clip:02}.avi"


def ucf101(
    root: Path, *, test: Iterable[str] | None = None, train: Iterable[str] | None = None, end: str = "\n"
) -> Path:
    """Lists and empty files of a small UCF101: groups 1 and 2 in the test list, 8 in the train list."""
    test = [ucf_name(name, group, 1) for name in UCF_CLASSES for group in (1, 2)] if test is None else [*test]
    train = [ucf_name(name, 8, 1) for name in UCF_CLASSES] if train is None else [*train]
    place(root / "UCF-101", *test, *train)
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    classes = [f"{number} {name}" for number, name in enumerate(UCF_CLASSES, start=1)]
    ids = {name: number for number, name in enumerate(UCF_CLASSES, start=1)}
    trained = [f"{name} {ids[name.split('/')[0]]}" for name in train]
    for name, lines in (("classInd.txt", classes), ("testlist01.txt", test), ("trainlist01.txt", trained)):
        (lists / name).write_bytes(end.join(lines).encode())
    return root
