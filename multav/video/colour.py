"""From any pixel format to upright-coloured rgb24: which matrix, which range. Runs in a child process.

A file's tags are followed; where it has none, BT.601 below 720 lines and BT.709 from there, limited range. The
conversion interpolates chroma and rounds: FFmpeg's fast path would be off by up to 3 levels, dark by 1.1 on average.
"""

from typing import Final

from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter

ACCURATE: Final = int(Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)

BT709: Final = 1
BT601: Final = 5
LIMITED: Final = 1
FULL: Final = 2

_BT709_TAG: Final = 1
_FIRST_HD_LINES: Final = 720
_RGB, _UNSPECIFIED = 0, 2

# AVColorSpace of a frame -> (swscale's number for it, our word)
_MATRICES: Final = {
    1: (BT709, "bt709"),
    4: (4, "fcc"),
    5: (BT601, "bt601"),
    6: (BT601, "bt601"),
    7: (7, "smpte240m"),
    9: (9, "bt2020"),
    10: (9, "bt2020"),
}
_WORD_OF_RANGE: Final = {LIMITED: "limited", FULL: "full"}

# A grey level of a limited-range picture -> its full-range level, for bytes.translate.
_EXPAND: Final = bytes(min(255, max(0, round((level - 16) * 255 / 219))) for level in range(256))


def matrix_of(frame: VideoFrame) -> tuple[int, str]:
    """Swscale's number and the name of the matrix that `frame` was made with."""
    if frame.format.is_rgb or _is_palette(frame):
        return BT709, "rgb"
    untagged = (BT601, "bt601") if frame.height < _FIRST_HD_LINES else (BT709, "bt709")
    return _MATRICES.get(frame.colorspace, untagged)


def range_of(frame: VideoFrame) -> tuple[int, str]:
    """Swscale's number and the name of the range of `frame`'s levels."""
    name = frame.format.name
    if frame.format.is_rgb or _is_palette(frame) or name.startswith("yuvj"):
        return FULL, "full"
    if name.startswith(("gray", "ya", "mono")) and frame.color_range not in _WORD_OF_RANGE:
        return FULL, "full"
    return (FULL, "full") if frame.color_range == FULL else (LIMITED, "limited")


def bit_depth(frame: VideoFrame) -> int:
    """Bits of the deepest component."""
    return max(component.bits for component in frame.format.components)


def from_rgb(
    reformatter: VideoReformatter, picture: VideoFrame, pixel_format: str, *, matrix: int, range: int
) -> VideoFrame:
    """An rgb24 picture in an encoder's pixel format; `matrix` and `range` are the tags of the file."""
    if pixel_format == "rgb24":
        return picture
    return reformatter.reformat(
        picture,
        format=pixel_format,
        src_color_range=FULL,
        dst_colorspace=BT709 if matrix == _BT709_TAG else BT601,
        dst_color_range=LIMITED if range == LIMITED else FULL,
        interpolation=ACCURATE,
        threads=1,
    )


class ToRgb:
    """Turns frames into the bytes of rgb24 pictures without padding."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> bytes | memoryview:
        """The (height, width, 3) levels of `frame` as stored (not rotated)."""
        matrix, _ = matrix_of(frame)
        levels, _ = range_of(frame)
        picture = self._reformatter.reformat(
            frame,
            format="rgb24",
            src_colorspace=matrix,
            src_color_range=levels,
            dst_color_range=FULL,
            interpolation=ACCURATE,
            threads=1,
        )
        rows = packed_rows(picture)
        if levels == LIMITED and frame.format.name.startswith(("gray", "ya")):
            return bytes(rows).translate(_EXPAND)  # swscale takes every grey picture for full range
        return rows


def packed_rows(picture: VideoFrame) -> bytes | memoryview:
    """The rows of an rgb24 frame without the padding behind each, top row first."""
    return packed_plane(picture.planes[0], picture.width * 3, picture.height)


def packed_plane(plane: VideoPlane, width: int, height: int) -> bytes | memoryview:
    """`height` rows of `width` bytes without the padding behind each, top row first."""
    stride, view = plane.line_size, memoryview(plane)
    if stride == width:
        return view[: width * height]
    starts = [row * abs(stride) for row in range(height)]
    if stride < 0:
        starts.reverse()
    return b"".join(view[start : start + width] for start in starts)


def _is_palette(frame: VideoFrame) -> bool:
    return frame.format.name == "pal8"
