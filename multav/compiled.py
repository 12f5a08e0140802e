"""Loops that numba compiles at their first call, to run without the interpreter's lock."""

from collections.abc import Callable
from typing import Any

import numba

Loop = Callable[..., Any]


def compiled(loop: Loop) -> Loop:
    """`loop` as machine code; kept on disk for the next process wherever there is a folder to write to."""
    try:
        made: Loop = numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError:
        # A read-only installation of a user without a home: compile anew in each process, two seconds.
        made = numba.njit(nogil=True)(loop)
    return made
