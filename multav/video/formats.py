"""The files that can be written, by name. Sizes and exactness of each were measured: see `estimate_bytes`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import exp, log
from typing import Final

FIRST_HD_LINES: Final = 720
"""From this height untagged video is taken for BT.709, below for BT.601, and ours is tagged so."""

DEFAULT_CRF: Final = 23

_HEADROOM: Final = 1.15
_CONTAINER_BYTES: Final = 64_000
_BYTES_A_FRAME: Final = 64

# Bytes of adversarial video, as a share of its rgb24 bytes, by constant rate factor (medium preset).
_SHARE_BY_CRF: Final = (
    (0, 0.42),
    (4, 0.158),
    (10, 0.087),
    (18, 0.014),
    (23, 0.007),
    (30, 0.004),
    (51, 0.002),
)


@dataclass(frozen=True)
class ColourTags:
    """AVColorSpace, AVColorRange, AVColorPrimaries and AVColorTransferCharacteristic of a file."""

    matrix: int
    range: int
    primaries: int
    transfer: int


_SRGB: Final = ColourTags(matrix=0, range=2, primaries=1, transfer=13)
_BT709: Final = ColourTags(matrix=1, range=1, primaries=1, transfer=1)
_BT601: Final = ColourTags(matrix=6, range=1, primaries=6, transfer=6)


@dataclass(frozen=True)
class OutputFormat:
    """One way to write a video. `container` and `codec` are FFmpeg's names of muxer and encoder."""

    name: str
    suffix: str
    media_type: str
    container: str
    codec: str
    lossless: bool
    plays_in_browsers: bool
    rgb_pixel_format: str | None
    worst_share: float | None
    """Bytes of a noisy video as a share of its rgb24 bytes; None where the rate factor decides."""
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)
    bits: int = 8
    """Bits of a channel as stored."""
    least_side: int = 1
    """The smallest height and width of a picture."""
    deep_shares: Mapping[int, float] = field(default_factory=dict)
    """Other depths that the format carries bit by bit, each with its `worst_share` (still of rgb24 bytes)."""

    @property
    def depths(self) -> tuple[int, ...]:
        """Every number of bits that `at` takes."""
        return (self.bits, *self.deep_shares)

    def at(self, bits: int) -> "OutputFormat":
        """The format with `bits` bits a channel. Raises ValueError where it cannot hold so many."""
        if bits == self.bits:
            return self
        if bits not in self.deep_shares:
            raise ValueError(f"{self.name} holds {self.depths} bits a channel, not {bits}")
        return replace(
            self,
            bits=bits,
            rgb_pixel_format=f"gbrp{bits}le",
            worst_share=self.deep_shares[bits],
            deep_shares={},
        )

    def pixel_format(self, width: int, height: int) -> str:
        """FFmpeg's pixel format; chroma is kept whole where halving it would need another size."""
        if self.rgb_pixel_format is not None:
            return self.rgb_pixel_format
        return "yuv444p" if width % 2 or height % 2 else "yuv420p"

    def tags(self, height: int) -> ColourTags:
        """How the colours are marked."""
        if self.rgb_pixel_format is not None:
            return _SRGB
        return _BT601 if height < FIRST_HD_LINES else _BT709

    def codec_options(self, crf: int | None) -> dict[str, str]:
        """The encoder's options. Raises ValueError for a `crf` where it means nothing or is out of range."""
        if self.lossless:
            if crf is not None:
                raise ValueError(f"{self.name} is lossless and takes no crf")
            return dict(self.options)
        crf = DEFAULT_CRF if crf is None else crf
        if not 0 <= crf <= 51:
            raise ValueError(f"crf={crf} is not within 0 to 51")
        return {**self.options, "crf": str(crf)}

    def estimate_bytes(self, width: int, height: int, frames: int, *, crf: int | None = None) -> int:
        """Bytes of a file with `frames` perturbed frames, without sound; noisy footage assumed (an upper guess)."""
        share = self.worst_share if self.worst_share is not None else 2 * _share_at(crf)
        picture = width * height * 3 * share * _HEADROOM
        return round(frames * (picture + _BYTES_A_FRAME)) + _CONTAINER_BYTES


def _share_at(crf: int | None) -> float:
    """Interpolated between measured rate factors on a logarithmic scale."""
    wanted = DEFAULT_CRF if crf is None else crf
    for (low, share_low), (high, share_high) in pairwise(_SHARE_BY_CRF):
        if wanted <= high:
            part = (wanted - low) / (high - low)
            return exp(log(share_low) * (1 - part) + log(share_high) * part)
    return _SHARE_BY_CRF[-1][1]


_ALL: Final = (
    OutputFormat(
        name="h264-mp4",
        suffix=".mp4",
        media_type="video/mp4",
        container="mp4",
        codec="libx264",
        lossless=False,
        plays_in_browsers=True,
        rgb_pixel_format=None,
        worst_share=None,
        options={"preset": "medium"},
        container_options={"movflags": "+faststart"},
    ),
    OutputFormat(
        name="vp9-mp4",
        suffix=".mp4",
        media_type="video/mp4",
        container="mp4",
        codec="libvpx-vp9",
        lossless=True,
        plays_in_browsers=True,
        rgb_pixel_format="gbrp",
        worst_share=0.62,
        options={
            "lossless": "1",
            "deadline": "realtime",
            "cpu-used": "8",
            "row-mt": "1",
            "lag-in-frames": "0",
            "tile-columns": "2",
        },
        container_options={"movflags": "+faststart"},
    ),
    OutputFormat(
        name="ffv1-mkv",
        suffix=".mkv",
        media_type="video/x-matroska",
        container="matroska",
        codec="ffv1",
        lossless=True,
        plays_in_browsers=False,
        rgb_pixel_format="bgr0",
        worst_share=0.58,
        options={"level": "3", "slices": "4", "slicecrc": "1", "g": "1"},
        deep_shares={10: 0.77, 12: 1.05, 14: 1.32, 16: 1.59},
        least_side=2,
    ),
    OutputFormat(
        name="h264rgb-mp4",
        suffix=".mp4",
        media_type="video/mp4",
        container="mp4",
        codec="libx264rgb",
        lossless=True,
        plays_in_browsers=True,
        rgb_pixel_format="rgb24",
        worst_share=0.64,
        options={"preset": "ultrafast", "qp": "0"},
        container_options={"movflags": "+faststart"},
    ),
)

FORMATS: Final[Mapping[str, OutputFormat]] = {each.name: each for each in _ALL}
"""Name -> format."""
