"""What the registration of one checkpoint may cost. Torch-free."""

from pydantic import BaseModel, ConfigDict, Field


class CheckInLimits(BaseModel):
    """Bounds of the child process that reads a checkpoint of unknown origin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: int = Field(2 * 2**30, gt=0, description="size of the file")
    max_values: int = Field(500_000_000, gt=0, description="values in all tensors of the network together")
    wall_seconds: float = Field(300.0, gt=0, description="waiting for the child process, all together")
    stall_seconds: float = Field(300.0, gt=0, description="waiting for the child process without a byte")
    cpu_seconds: int = Field(240, gt=0, description="processor time of the child process (RLIMIT_CPU)")
    memory_bytes: int = Field(
        6 * 2**30, gt=0, description="address space of the child process (RLIMIT_AS), less for small files"
    )
    threads: int = Field(1, ge=1, le=64, description="threads of the smoke test")
