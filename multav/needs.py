"""What an attack is going to need on disk, estimated before the first step and held against limits."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from multav.errors import OutputTooLarge

_KEPT_FREE = 256 * 2**20


@dataclass(frozen=True)
class Needs:
    """Estimated bytes of the output file, of the packed differences, and of the adversarial tensor."""

    output_name: str
    output: int
    differences: int
    tensor: int

    def refuse(self, folder: Path, allowed: int) -> None:
        """Raise `OutputTooLarge` when a file would pass `allowed` bytes, or all of them the room at `folder`."""
        if self.output > allowed:
            raise output_too_large(self.output_name, self.output, allowed)
        if self.tensor > allowed:
            raise OutputTooLarge(
                f"the adversarial tensor would need {_megabytes(self.tensor)} where {_megabytes(allowed)} are "
                "allowed: leave `tensor` out, or attack a shorter video"
            )
        total = self.output + self.differences + self.tensor
        free = shutil.disk_usage(folder).free - _KEPT_FREE
        if total > free:
            raise OutputTooLarge(
                f"this attack would need about {_megabytes(total)} of disk where {_megabytes(max(free, 0))} are "
                "free: attack a shorter or smaller video, or give the server more room"
            )


def output_too_large(output: str, needed: int, allowed: int) -> OutputTooLarge:
    """The refusal of an output file that would pass the limit."""
    return OutputTooLarge(
        f"output {output!r} of this video would need about {_megabytes(needed)} where {_megabytes(allowed)} are "
        'allowed: choose output "auto" or "h264-mp4", a shorter video, or a server with a larger limit'
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
