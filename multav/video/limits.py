"""What one video may cost: the bounds that every child process runs under."""

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Bounds of one decoding or encoding. Counted while decoding, never taken from a file's headers.

    `wall_seconds` and `stall_seconds` count only the time that the caller waits for the child, so a consumer
    that takes an hour between two frames does not use them up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: int = Field(2 * 2**30, gt=0, description="size of the file")
    max_pixels: int = Field(4096 * 2304, gt=0, description="width times height of a frame")
    max_frames: int = Field(36_000, gt=0, description="frames of a video")
    max_seconds: float = Field(1800.0, gt=0, description="duration of a video by its own timestamps")
    wall_seconds: float = Field(3600.0, gt=0, description="waiting for the child process, all together")
    stall_seconds: float = Field(120.0, gt=0, description="waiting for the child process without a byte")
    cpu_seconds: int = Field(7200, gt=0, description="processor time of the child process (RLIMIT_CPU)")
    memory_bytes: int = Field(4 * 2**30, gt=0, description="address space of the child process (RLIMIT_AS)")
    threads: int = Field(2, ge=1, le=64, description="codec threads of the child process")
    probe_seconds: float = Field(20.0, gt=0, description="waiting for a probe, and its processor time")
