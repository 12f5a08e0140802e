"""Unpacking an uploaded archive into a folder: files and folders only, inside, and no more than allowed. Torch-free.

Nothing that the archive says of itself is believed: bytes are counted while they are written, and what is decompressed
on the way to them is counted too. Links, devices, encrypted and sparse members are refused, and so is a name that
leads out or is there twice. The folder appears whole or not at all.
"""

import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from multav.datasets.tree import relative_name
from multav.errors import BadDataset

_CHUNK: Final = 1 << 20
_DEEPEST: Final = 16
_LONGEST_PART: Final = 255
_TAR_HEADER_BYTES: Final = 8192
_ZIP_ENTRY_BYTES: Final = 512
"""What is allowed for each member, on average, besides its content."""
_SLACK: Final = 4 << 20
_LARGEST_TAR_HEADER: Final = 1 << 16
_XZ_MEMORY: Final = 256 << 20

_WORDS_BEFORE_FILES: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
    | {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


@dataclass(frozen=True)
class Unpacked:
    """How many files were unpacked, and how many bytes they have."""

    files: int
    bytes: int


def unpack(
    archive: Path,
    folder: Path,
    *,
    max_bytes: int,
    max_files: int,
    check: Callable[[], None] | None = None,
) -> Unpacked:
    """Unpack the zip or tar (plain, .gz, .xz; told by its first bytes) into the new folder `folder`.

    `max_files` counts folders too. `check` is called at every mebibyte and may raise to leave. Raises `BadDataset`;
    whatever is raised, nothing is left. Raises FileExistsError where `folder` is there already.
    """
    if folder.exists():
        raise FileExistsError(folder)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        target = _Target(part, max_bytes, max_files, check or _go_on)
        with _as_bad_dataset(), archive.open("rb") as file:
            _unpack(file, target)
        if not target.files:
            raise BadDataset("the archive holds no file")
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return Unpacked(target.files, target.bytes)


def _unpack(file: IO[bytes], target: "_Target") -> None:
    start = file.read(6)
    file.seek(0)
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        _unzip(file, target)
    elif start[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=file) as stream:
            _untar(stream, target)
    elif start == b"\xfd7zXZ\x00":
        _untar(_Xz(file), target)
    else:
        _untar(file, target)


class _Target:
    """The folder that is filled, and what has been put into it."""

    def __init__(self, folder: Path, max_bytes: int, max_files: int, check: Callable[[], None]) -> None:
        self._folder, self._members = folder, 0
        self.max_bytes, self.max_files, self.check = max_bytes, max_files, check
        self.files, self.bytes = 0, 0

    def folder(self, name: str) -> None:
        """Make the folder `name`."""
        self._place(name).mkdir(parents=True, exist_ok=True)

    def file(self, name: str, content: Any) -> None:
        """Write what `content.read(n)` gives to the new file `name`."""
        place = self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as written:
            while chunk := content.read(_CHUNK):
                self.check()
                self.bytes += len(chunk)
                if self.bytes > self.max_bytes:
                    raise BadDataset(
                        f"the archive unpacks to more than the {self.max_bytes} bytes that are allowed"
                    )
                written.write(chunk)
        self.files += 1

    def _place(self, name: str) -> Path:
        self._members += 1
        if self._members > self.max_files:
            raise BadDataset(f"the archive holds more than the {self.max_files} files that are allowed")
        try:
            parts = relative_name(name).split("/")
        except ValueError as error:
            raise BadDataset(f"the archive's member {name[:200]!r}: {error}") from error
        if len(parts) > _DEEPEST or any(len(os.fsencode(part)) > _LONGEST_PART for part in parts):
            raise BadDataset(
                f"the archive's member {name[:200]!r} is nested too deeply, or its name is too long"
            )
        return self._folder.joinpath(*parts)


def _unzip(file: IO[bytes], target: _Target) -> None:
    # One object is made for each entry of the directory, so its size is looked at first.
    if _zip_directory_bytes(file) > target.max_files * _ZIP_ENTRY_BYTES + _SLACK:
        raise BadDataset(f"the archive holds more than the {target.max_files} files that are allowed")
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BadDataset(
                    f"the archive's member {member.filename[:200]!r} is a link or a device: pack the files"
                )
            if member.flag_bits & 1:
                raise BadDataset(f"the archive's member {member.filename[:200]!r} is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BadDataset("the archive is compressed in a way that is not read: use deflate, or none")
            if member.is_dir():
                target.folder(member.filename)
                continue
            with archive.open(member) as content:
                target.file(member.filename, content)


def _zip_directory_bytes(file: IO[bytes]) -> int:
    """How many bytes the directory at a zip's end may have, by the largest of its claims."""
    size = file.seek(0, io.SEEK_END)
    tail = max(0, size - (1 << 16) - 22)
    file.seek(tail)
    end = file.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) - place < 22:
        raise BadDataset("the zip archive has no directory: it is damaged or was cut off")
    claims = [int.from_bytes(end[place + 12 : place + 16], "little")]
    locator = end[max(0, place - 20) : place]
    if locator.startswith(b"PK\x06\x07"):
        # Readers differ in whether they look where the locator says or right before it.
        claims.clear()
        for record_place in (int.from_bytes(locator[8:16], "little"), tail + place - 76):
            file.seek(min(size, max(0, record_place)))
            claims.append(int.from_bytes(file.read(56)[40:48], "little"))
    file.seek(0)
    return max(claims)


def _untar(stream: Any, target: _Target) -> None:
    most = target.max_bytes + target.max_files * _TAR_HEADER_BYTES + _SLACK
    counted: Any = _Counted(stream, most, target.check)
    with tarfile.open(fileobj=counted, mode="r|", tarinfo=_Member) as archive:
        for member in archive:
            # Otherwise the archive remembers every member that it has met.
            archive.members.clear()  # type: ignore[attr-defined]
            if member.isdir():
                if member.name.strip("./"):
                    target.folder(member.name)
                continue
            if not member.isreg() or member.issparse() or member.size < 0:
                raise BadDataset(
                    f"the archive's member {member.name[:200]!r} is a link, a device or sparse: pack ordinary files"
                )
            content = archive.extractfile(member)
            assert content is not None, "a regular file has content"
            target.file(member.name, content)
    # The check sum of what was compressed comes last.
    while counted.read(_CHUNK):
        pass


class _Member(tarfile.TarInfo):
    """A member whose header is looked at before tarfile acts on it.

    tarfile takes a damaged header for the end of the archive, and reads names of any length into memory.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if buf and not any(buf):
            # The archive's own mark of its end.
            return super().frombuf(buf, encoding, errors)
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise BadDataset(
                "the file is neither a zip nor a tar archive (plain, .gz or .xz), or it is damaged or was cut off"
            ) from error
        if member.type in _WORDS_BEFORE_FILES and member.size > _LARGEST_TAR_HEADER:
            raise BadDataset("the archive describes a member in more words than are read")
        return member


class _Counted:
    """A stream that gives no more than `most` bytes."""

    def __init__(self, stream: Any, most: int, check: Callable[[], None]) -> None:
        self._stream, self._left, self._check = stream, most, check

    def read(self, count: int) -> bytes:
        self._check()
        chunk: bytes = self._stream.read(min(count, _CHUNK))
        self._left -= len(chunk)
        if self._left < 0:
            raise BadDataset("the archive decompresses to more bytes than are allowed")
        return chunk


class _Xz:
    """What is in an xz file, decompressed in bounded memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._rest = file, b""
        self._decompressor = self._new()

    def read(self, count: int) -> bytes:
        while True:
            if self._decompressor.eof:
                self._rest = self._decompressor.unused_data.lstrip(b"\x00") or self._file.read(_CHUNK).lstrip(
                    b"\x00"
                )
                if not self._rest:
                    return b""
                self._decompressor = self._new()
            if not self._rest and self._decompressor.needs_input:
                self._rest = self._file.read(_CHUNK)
                if not self._rest:
                    raise EOFError("the xz stream was cut off")
            chunk = self._decompressor.decompress(self._rest, max_length=count)
            self._rest = b""
            if chunk:
                return chunk

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


@contextmanager
def _as_bad_dataset() -> Iterator[None]:
    """What the readers of archives raise about what they read."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise BadDataset(f"the archive holds a member twice: {Path(str(error.filename)).name!r}") from error
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        lzma.LZMAError,
        zlib.error,
        EOFError,
        NotImplementedError,
        ValueError,
        OverflowError,
    ) as error:
        raise BadDataset(f"the archive is damaged or was cut off ({error})") from error


def _go_on() -> None:
    """Nothing stops the unpacking."""
