"""Which deep RGB files the bundled FFmpeg writes and reads bit by bit, how large they are and how long it takes.

    python bench/deep_formats.py [--video samples/bigbuckbunny.mp4] [--frames 20] [--height 360]

Two videos per depth: the file's own pictures (8-bit levels spread over the depth), and the same with every value moved
by x1.04 or /1.04 at random, the worst that an attack does. `exact` compares every stored code of both. Bytes are shares
of the rgb24 bytes of the same video, so that depths can be compared; seconds (of the second) are per 100 megapixels.
"""

import argparse
import io
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from multav.video.decode import decode

Codes = NDArray[np.uint16]


@dataclass(frozen=True)
class Candidate:
    """One way to write deep pictures."""

    container: str
    codec: str
    pixel_format: str
    bits: int
    options: dict[str, str] = field(default_factory=dict)


FFV1 = {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}
X265 = {"preset": "ultrafast", "x265-params": "lossless=1:log-level=none"}
VP9 = {"lossless": "1", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
CANDIDATES = (
    *(Candidate("matroska", "ffv1", f"gbrp{bits}le", bits, FFV1) for bits in (10, 12, 14, 16)),
    Candidate("matroska", "ffv1", "rgb48le", 16, FFV1),
    Candidate("mp4", "ffv1", "gbrp16le", 16, FFV1),
    *(Candidate("mp4", "libvpx-vp9", f"gbrp{bits}le", bits, VP9) for bits in (10, 12)),
    *(Candidate("mp4", codec, "gbrp10le", 10, {"qp": "0"}) for codec in ("libx264", "libx264rgb")),
    *(Candidate("mp4", "libx265", f"gbrp{bits}le", bits, X265) for bits in (10, 12)),
    *(Candidate("mp4", "jpeg2000", f"gbrp{bits}le", bits, {"pred": "dwt53"}) for bits in (10, 12, 14, 16)),
    Candidate("mp4", "png", "rgb48be", 16),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, default=Path("samples/bigbuckbunny.mp4"))
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--height", type=int, default=360, help="rows of the centre that is taken")
    options = parser.parse_args()
    levels = read(options.video, options.frames, options.height)
    megapixels = levels[..., 0].size / 1e6
    print(f"{len(levels)} frames of {levels.shape[2]}x{levels.shape[1]}, av {av.__version__}")
    print("| container | codec | pixel format | exact | bytes: clean | noise | encode s | decode s |")
    print("|---|---|---|---|---|---|---|---|")
    for each in CANDIDATES:
        row = f"| {each.container} | {each.codec} | {each.pixel_format} | "
        try:
            clean, noise = (measure(each, codes) for codes in both(levels, each.bits))
        except (av.error.FFmpegError, ValueError):
            print(row + "refused | | | | |", flush=True)
            continue
        exact = "yes" if clean.exact and noise.exact else "no"
        shares = (f"{made.bytes / levels.size:.3f}" for made in (clean, noise))
        seconds = (f"{spent / megapixels * 100:.1f}" for spent in (noise.encode, noise.decode))
        print(row + " | ".join([exact, *shares, *seconds]) + " |", flush=True)


def read(path: Path, count: int, height: int) -> NDArray[np.uint8]:
    """The first pictures' centre, (frames, height, width, 3)."""
    pictures = []
    with decode(path) as frames:
        for frame in frames:
            top = max(0, (frame.rgb.shape[0] - height) // 2)
            pictures.append(frame.rgb[top : top + height, : 16 * height // 9])
            if len(pictures) == count:
                break
    return np.stack(pictures)


def both(levels: NDArray[np.uint8], bits: int) -> tuple[Codes, Codes]:
    """The clean codes, and those that moved by 4 % up or down."""
    peak = (1 << bits) - 1
    spread = levels * (peak / 255)
    moved = spread * np.random.default_rng(0).choice([1 / 1.04, 1.04], spread.shape)
    return np.rint(spread).astype(np.uint16), np.clip(np.rint(moved), 0, peak).astype(np.uint16)


@dataclass(frozen=True)
class Made:
    """A file that was written and read."""

    exact: bool
    bytes: int
    encode: float
    decode: float


def measure(each: Candidate, codes: Codes) -> Made:
    """Write `codes`, read them again."""
    buffer, started = io.BytesIO(), time.monotonic()
    height, width = codes.shape[1:3]
    with av.open(buffer, "w", format=each.container) as container:
        stream = container.add_stream(each.codec, rate=25, options=each.options)
        stream.width, stream.height, stream.pix_fmt = width, height, each.pixel_format
        stream.codec_context.colorspace, stream.codec_context.color_range = 0, 2
        stream.codec_context.thread_count = 2
        for index, picture in enumerate(codes):
            frame = as_frame(picture, each.pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    written = time.monotonic()
    buffer.seek(0)
    exact, count = True, 0
    with av.open(buffer) as container:
        container.streams.video[0].codec_context.thread_count = 2
        for frame, picture in zip(container.decode(video=0), codes, strict=True):
            exact = exact and np.array_equal(of_frame(frame), picture)
            count += 1
    return Made(exact, buffer.getbuffer().nbytes, written - started, time.monotonic() - written)


def as_frame(picture: Codes, pixel_format: str) -> av.VideoFrame:
    """A frame whose samples are `picture`'s."""
    height, width = picture.shape[:2]
    frame = av.VideoFrame(width, height, pixel_format)
    parts = [picture[..., at] for at in (1, 2, 0)]
    if not pixel_format.startswith("gbrp"):
        parts = [picture.reshape(height, -1).astype(">u2" if pixel_format.endswith("be") else "<u2")]
    for plane, part in zip(frame.planes, parts, strict=True):
        rows = np.zeros((height, plane.line_size // 2), part.dtype)
        rows[:, : part.shape[1]] = part
        plane.update(rows.tobytes())
    return frame


def of_frame(frame: av.VideoFrame) -> Codes:
    """The samples of a decoded frame."""
    name, height, width = frame.format.name, frame.height, frame.width
    kind = ">u2" if name.endswith("be") else "<u2"
    planes = [np.frombuffer(plane, kind).reshape(height, -1) for plane in frame.planes]
    if name.startswith("gbrp"):
        return np.stack([planes[at][:, :width] for at in (2, 0, 1)], axis=-1)
    return planes[0][:, : 3 * width].reshape(height, width, 3)


if __name__ == "__main__":
    main()
