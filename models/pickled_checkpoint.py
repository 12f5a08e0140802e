"""Files of `torch.save`, read with `weights_only`: what is not a tensor or a plain container is refused, never run.

Runs in the bounded child of `check_in`: torch's unpickler keeps code out, the child's limits bound the rest. Zip
archives are looked at before torch is: entries as torch writes them (stored, named once), all check sums right.
"""

import re
import warnings
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch

from multav.errors import BadCheckpoint

_MOST_ENTRIES: Final = 100_000
_CHUNK: Final = 1 << 20
_ZIP: Final = b"PK\x03\x04"
_GLOBAL: Final = re.compile(r"GLOBAL ([\w.]+)")
_REASON: Final = "WeightsUnpickler error:"
_LATER: Final = "save it again with torch.save(model.state_dict(), path)"


def read_pickled(path: Path) -> Any:
    """What `torch.save` put into the file: containers, numbers, strings and tensors on the CPU. Raises `BadCheckpoint`.

    Tensors of a zip archive stay in the mapped file until they are used, so what is never used (the state of an
    optimiser) is never read into memory.
    """
    with path.open("rb") as file:
        start = file.read(512)
    zipped = start.startswith(_ZIP)
    if zipped:
        _look_at_archive(path)
    elif not start.startswith(b"\x80"):
        _refuse_other(start)
    try:
        with warnings.catch_warnings():
            # Deprecated storages and the like: nothing that the sender of the file could do now.
            warnings.simplefilter("ignore")
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipped)
    except UnpicklingError as error:
        raise BadCheckpoint(_words(str(error))) from error
    except MemoryError:
        raise
    except RuntimeError as error:
        if "alloc" in str(error) and "memory" in str(error):
            raise MemoryError(str(error)) from error
        raise BadCheckpoint(_damaged(error)) from error
    except Exception as error:
        # The unpickler of a damaged or hostile file may stumble over anything.
        raise BadCheckpoint(_damaged(error)) from error


def _refuse_other(start: bytes) -> None:
    """Raise for what is neither a zip archive nor a pickle."""
    if start[257:262] == b"ustar":
        raise BadCheckpoint(
            f"the file is a tar archive, as torch.save wrote before version 0.1.10, which is not read: {_LATER}"
        )
    raise BadCheckpoint(
        "the file is no checkpoint: neither safetensors nor written by torch.save (zip archive or pickle)"
    )


def _look_at_archive(path: Path) -> None:
    """Refuse archives that torch did not write, and damaged ones. Nothing is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _refuse_other_archives(entries)
            for entry in entries:
                # Reading to the end compares the entry's check sum.
                with archive.open(entry) as data:
                    while data.read(_CHUNK):
                        pass
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        ValueError,
        RuntimeError,
    ) as error:
        raise BadCheckpoint(_damaged(error)) from error


def _refuse_other_archives(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > _MOST_ENTRIES:
        raise BadCheckpoint(f"the archive has {len(names)} entries; at most {_MOST_ENTRIES} are taken")
    if len(set(names)) < len(names):
        raise BadCheckpoint(
            f"the archive holds two entries of one name, which torch.save never writes: {_LATER}"
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise BadCheckpoint(f"the archive is compressed, which torch.save never does: unpack it, or {_LATER}")
    if any(name.endswith("/constants.pkl") for name in names):
        raise BadCheckpoint(f"the file is a TorchScript program, which would have to be run: {_LATER}")
    if not any(name.endswith("data.pkl") for name in names):
        raise BadCheckpoint("the zip archive is no checkpoint: it holds no data.pkl, as torch.save writes it")


def _words(error: str) -> str:
    """Why the unpickler refused, without its advice on how to trust the file."""
    found = _GLOBAL.search(error)
    if found is not None:
        return (
            f"the file asks for {found[1]!r}, which is more than weights, and nothing of it was run: {_LATER}"
        )
    return _damaged(UnpicklingError(error.partition(_REASON)[2].strip()))


def _damaged(error: Exception) -> str:
    said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return f"the file is damaged or was not written by torch.save ({said}): {_LATER}"
