"""The child that reads one checkpoint of unknown origin, converts and tries it. See `check_in` for the other side.

Gets what the user says on standard input (8 bytes of length, then JSON); answers one SUMMARY when the converted file is
written, or ERROR. It takes its limits before it loads torch, and the file is not touched before that.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from multav.errors import BadCheckpoint, InvalidSpec
from multav.sandbox import wire
from multav.sandbox.confinement import confine

_INPUT: Final = 0
_OUTPUT: Final = 1


def main(order: dict[str, Any]) -> None:
    """Run the order of the parent (see `check_in.py`) and exit."""
    try:
        confine(order["bounds"], lifeline=order["lifeline"], opens_files=False)
        message = json.loads(_read(int.from_bytes(_read(8), "little")))
        _check_in(order, message)
        _say(wire.SUMMARY, {})
    except (BadCheckpoint, InvalidSpec) as refused:
        _say(
            wire.ERROR,
            {"code": type(refused).__name__, "detail": refused.detail, "errors": list(refused.errors)},
        )
    except MemoryError:
        allowed = order["bounds"]["memory_bytes"] // 2**20
        _say(
            wire.ERROR,
            {
                "code": "BadCheckpoint",
                "detail": f"reading and trying it needs more than the {allowed} MiB of memory allowed: send the state "
                "dict alone, without the optimiser's state; if it was alone, the network is too large for this server",
            },
        )
    except BrokenPipeError:
        pass
    except Exception:
        # Whatever a hostile file makes a library stumble over.
        _say(wire.ERROR, {"code": "Stumbled", "detail": traceback.format_exc()[-4000:]})
    os._exit(0)


def _check_in(order: dict[str, Any], message: dict[str, Any]) -> None:
    import torch  # not before the limits are taken

    from models.conversion import converted

    torch.set_num_threads(order["threads"])
    data = converted(
        Path(f"/proc/self/fd/{order['file']}"),
        message,
        max_values=order["max_values"],
    )
    view = memoryview(data)
    while len(view):
        view = view[os.write(order["out"], view) :]


def _read(length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = os.read(_INPUT, length - len(data))
        if not part:
            sys.exit(0)  # the parent gave up
        data += part
    return bytes(data)


def _say(kind: bytes, body: dict[str, Any]) -> None:
    view = memoryview(wire.words(kind, body))
    try:
        while len(view):
            view = view[os.write(_OUTPUT, view) :]
    except OSError:
        sys.exit(1)
