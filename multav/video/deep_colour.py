"""From any pixel format to RGB planes of more than 8 bits. Runs in a child process."""

from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from multav.video.colour import ACCURATE, FULL, matrix_of, packed_plane, range_of


class ToDeepRgb:
    """Turns frames into the bytes of three planes (green, blue, red; 16-bit little-endian samples), without padding."""

    def __init__(self, bits: int) -> None:
        self._format = f"gbrp{bits}le"
        self._as_stored = (self._format, f"gbrap{bits}le")
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> bytes:
        """The planes of `frame` as stored (not rotated); alpha is dropped."""
        # Never through swscale where that is not needed: the samples must be those of the file.
        planes = frame if frame.format.name in self._as_stored else self._converted(frame)
        row = 2 * planes.width
        return b"".join(packed_plane(plane, row, planes.height) for plane in planes.planes[:3])

    def _converted(self, frame: VideoFrame) -> VideoFrame:
        return self._reformatter.reformat(
            frame,
            format=self._format,
            src_colorspace=matrix_of(frame)[0],
            src_color_range=range_of(frame)[0],
            dst_color_range=FULL,
            interpolation=ACCURATE,
            threads=1,
        )
