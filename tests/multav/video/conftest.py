"""Real files made with PyAV for the tests of reading and writing video."""

import gc
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def picture(width: int, height: int, index: int = 0) -> Picture:
    """(height, width, 3): gradients, a corner mark and noise, different for every index."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(index).integers(0, 60, (height, width))
    levels = np.stack([columns * 255 // width, rows * 255 // height, noise + index * 7 % 128], axis=-1)
    levels[: height // 4, : width // 4] = (250, 10, 20)
    return levels.astype(np.uint8)


class Film:
    """Writes videos into one folder; every argument that matters to a test is spelled out by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(
        self,
        name: str,
        pictures: Sequence[Picture],
        *,
        codec: str = "libx264rgb",
        pixel_format: str = "rgb24",
        options: dict[str, str] | None = None,
        time_base: Fraction = Fraction(1, 25),
        pts: Sequence[int] | None = None,
        matrix: int | None = None,
        levels: int | None = None,
        sound: Sequence[str] = (),
        faststart: bool = True,
        container: str | None = None,
    ) -> Path:
        """A video of rgb24 `pictures`; `sound` names an audio codec for each track."""
        path = self.folder / name
        extra = {"movflags": "+faststart"} if faststart and path.suffix in (".mp4", ".mov") else {}
        with av.open(str(path), "w", format=container, container_options=extra) as output:
            stream = output.add_stream(
                codec, rate=25, options=options if options is not None else {"qp": "0"}
            )
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = pixel_format
            stream.codec_context.time_base = stream.time_base = time_base
            if matrix is not None:
                stream.codec_context.colorspace = matrix
            if levels is not None:
                stream.codec_context.color_range = levels
            tracks = [output.add_stream(each, rate=48_000) for each in sound]
            for track in tracks:
                track.bit_rate = 128_000
            output.start_encoding()
            for track in tracks:
                self._sound(output, track, seconds=len(pictures) / 25)
            for index, levels_of_picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(levels_of_picture, "rgb24")
                if pixel_format != "rgb24":
                    frame = frame.reformat(format=pixel_format)
                frame.pts = index if pts is None else pts[index]
                frame.time_base = time_base
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path

    def planes(
        self,
        name: str,
        pixel_format: str,
        size: tuple[int, int],
        values: Sequence[int],
        *,
        codec: str = "ffv1",
        matrix: int | None = None,
        levels: int | None = None,
        options: dict[str, str] | None = None,
    ) -> Path:
        """One frame whose planes hold the constant `values`, written without loss."""
        path = self.folder / name
        width, height = size
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=25, options=options or {})
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            frame = av.VideoFrame(width, height, pixel_format)
            deep = max(component.bits for component in frame.format.components) > 8
            for plane, value in zip(frame.planes, values, strict=True):
                view = memoryview(plane)
                raw = struct.pack("<H", value) if deep else bytes([value])
                view[:] = raw * (len(view) // len(raw))
            frame.pts = 0
            if matrix is not None:
                stream.codec_context.colorspace = frame.colorspace = matrix
            if levels is not None:
                stream.codec_context.color_range = frame.color_range = levels
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path

    def _sound(self, output: av.container.OutputContainer, track: av.AudioStream, seconds: float) -> None:
        planar = track.codec_context.format.is_planar
        kind = track.codec_context.format.name
        wave = np.sin(np.arange(int(seconds * 48_000)) * (0.05 + 0.01 * track.index)) * 0.4
        block = track.codec_context.frame_size or 1024
        for start in range(0, len(wave), block):
            part = wave[start : start + block]
            whole = {"s16": np.int16, "s32": np.int32}.get(kind.removesuffix("p"))
            part = part.astype(np.float32) if whole is None else (part * np.iinfo(whole).max).astype(whole)
            stereo = np.stack([part, part])
            levels = stereo if planar else stereo.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(levels), format=kind, layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            output.mux(track.encode(frame))
        output.mux(track.encode(None))


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Where the session's videos are made."""
    return Film(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="session")
def paint() -> Callable[..., Picture]:
    """`paint(width, height, index)`: a picture."""
    return picture


@pytest.fixture(scope="session")
def clip(film: Film) -> Path:
    """50 frames of 64x48 with sound, lossless, 25 frames a second."""
    return film.write("clip.mp4", [picture(64, 48, index) for index in range(50)], sound=["aac"])


@pytest.fixture(scope="session")
def long_clip(film: Film) -> Path:
    """900 frames of 320x240."""
    pictures = [picture(320, 240, index) for index in range(30)]
    return film.write(
        "long.mp4", pictures * 30, codec="libx264", pixel_format="yuv420p", options={"preset": "ultrafast"}
    )


@pytest.fixture
def sandboxed_child() -> Callable[[], psutil.Process]:
    """Finds the one living decoder or encoder of this process, whatever other children it has."""

    def find() -> psutil.Process:
        living = (child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE)
        (found,) = (child for child in living if child.cmdline()[1:4] == ["-I", "-S", "-c"])
        return found

    return find


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No process and no open file may be left by the test."""
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    children = {child.pid for child in psutil.Process().children()}
    yield
    gc.collect()
    left = {child.pid for child in psutil.Process().children()} - children
    assert not left, "a child process is still there"
    assert len(os.listdir("/proc/self/fd")) <= len(before), "a file is still open"
