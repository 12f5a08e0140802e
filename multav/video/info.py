"""What a container says about its video, checked by decoding the first frame."""

from pydantic import BaseModel, ConfigDict, Field

_RATIO = r"^[1-9]\d{0,18}/[1-9]\d{0,18}$"


class AudioInfo(BaseModel):
    """One audio stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    codec: str
    channels: int
    sample_rate: int


class VideoInfo(BaseModel):
    """The first video stream of a file. `width` and `height` are as displayed, after rotation.

    `frames` and `duration_seconds` are the container's claim, or None where it makes none; the true count is
    known after decoding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    container: str = Field(description='"mp4", "matroska", "webm", "avi" ...')
    codec: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    rotation: int = Field(description="degrees clockwise that the stored frames are turned for display")
    mirrored: bool = Field(False, description="the stored frames are also mirrored left to right")
    frame_rate: float = Field(gt=0, allow_inf_nan=False)
    time_base: str = Field(pattern=_RATIO, description='unit of the timestamps, as "1/12800" (seconds)')
    frames: int | None
    duration_seconds: float | None
    pixel_format: str
    bit_depth: int
    color_matrix: str = Field(description='the matrix in use: "bt601", "bt709", "bt2020", "rgb" ...')
    color_range: str = Field(description='"limited" or "full"')
    sample_aspect_ratio: str = Field(
        "1/1", pattern=_RATIO, description="width of a displayed pixel to its height"
    )
    variable_frame_rate: bool | None = Field(description="None where the container does not tell")
    audio: tuple[AudioInfo, ...] = ()
    bytes: int = Field(description="size of the file")
