"""Pictures through an H.264 encoder and back, in memory: what a viewer of the delivered file would get.

Only for pictures that this process has made itself; files of others are read in a child process.
"""

from fractions import Fraction
from typing import Final, Literal

import av
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from multav.errors import InvalidSpec
from multav.video.colour import ToRgb, from_rgb
from multav.video.formats import FORMATS

_FORMAT: Final = FORMATS["h264-mp4"]


def through_h264(
    pictures: NDArray[np.uint8], *, crf: int, frame_rate: float | Fraction, threads: int = 2
) -> NDArray[np.uint8]:
    """(F, H, W, 3) uint8 in display order -> the same pictures as they are after `h264-mp4` at `crf`.

    Raises `InvalidSpec` for pictures that the encoder does not take.
    """
    try:
        return _through(pictures, crf, frame_rate, threads)
    except FFmpegError as error:
        height, width = pictures.shape[1:3]
        why = f"H.264 does not take pictures of {width}x{height} ({error.strerror})"
        detail = f'{why}: set channel to "levels" or "none"'
        raise InvalidSpec.at("/channel", detail) from error


def _through(
    pictures: NDArray[np.uint8], crf: int, frame_rate: float | Fraction, threads: int
) -> NDArray[np.uint8]:
    frames, height, width, _ = pictures.shape
    encoder, decoder = _context(_FORMAT.codec, "w"), _context("h264", "r")
    rate = Fraction(frame_rate).limit_denominator(1001 * 1000)
    tags = _FORMAT.tags(height)
    encoder.width, encoder.height = width, height
    pixel_format = encoder.pix_fmt = _FORMAT.pixel_format(width, height)
    encoder.time_base, encoder.framerate = 1 / rate, rate
    encoder.options = _FORMAT.codec_options(crf)
    encoder.thread_count = threads
    encoder.colorspace, encoder.color_range = tags.matrix, tags.range
    reformatter, to_rgb = VideoReformatter(), ToRgb()
    arrived: list[VideoFrame] = []
    for index, picture in enumerate([*pictures, None]):
        frame = None
        if picture is not None:
            frame = from_rgb(
                reformatter,
                VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"),
                pixel_format,
                matrix=tags.matrix,
                range=tags.range,
            )
            frame.pts, frame.time_base = index, encoder.time_base
        for packet in encoder.encode(frame):
            arrived += decoder.decode(packet)
    arrived += decoder.decode(None)
    if len(arrived) != frames:
        raise RuntimeError(f"{len(arrived)} of {frames} pictures came out of the encoder")
    seen = [np.frombuffer(to_rgb(frame), np.uint8).reshape(height, width, 3) for frame in arrived]
    return np.stack(seen)


def _context(codec: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    context = av.CodecContext.create(codec, mode)
    assert isinstance(context, VideoCodecContext), "H.264 is a video codec"
    return context
