"""Telling a file that was cut off where its decoder notices nothing. Torch-free."""


def cut_short(claimed: int | None, frames: int) -> bool:
    """Whether so few `frames` decode that the container's own count speaks of a file that was cut off.

    AVI has no mark of its end, and MPEG-4 decoders make something of half a picture. A frame or a tenth less is
    ordinary (packed pictures, edit lists); None is a container that does not count.
    """
    return claimed is not None and claimed - frames > max(1, claimed // 10)
