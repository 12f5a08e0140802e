"""How this process keeps its memory."""

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 2**30


def keep_large_buffers() -> bool:
    """Reuse freed memory of up to a gigabyte instead of giving it back; whether the C library could be told.

    The activations of a clip are tens of megabytes, made and freed in every pass. By default glibc asks the system
    for each of them anew, and clearing the fresh pages costs a tenth of an attack's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
