"""Hostile archives leave nothing behind, and honest ones come out whole."""

import gzip
import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from multav.datasets.archive import Unpacked, unpack
from multav.errors import BadDataset, Cancelled

FILES = {"data/walk/a.mp4": b"first" * 1000, "data/run/b.mp4": b"", "list.csv": bytes(range(256)) * 40}


def zipped(files: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w", *members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def member(name: str, kind: bytes, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def try_unpack(folder: Path, content: bytes, *, max_bytes: int = 10**6, max_files: int = 100) -> Unpacked:
    (folder / "archive").write_bytes(content)
    return unpack(folder / "archive", folder / "out", max_bytes=max_bytes, max_files=max_files)


def assert_refused(folder: Path, content: bytes, says: str, **limits: int) -> None:
    with pytest.raises(BadDataset) as caught:
        try_unpack(folder, content, **limits)
    assert says in caught.value.detail
    assert sorted(each.name for each in folder.iterdir()) == ["archive"], "something was left"


@pytest.mark.parametrize(
    "content",
    [
        zipped(FILES),
        zipped(FILES, compression=zipfile.ZIP_STORED),
        tarred(FILES),
        tarred(FILES, "w:gz"),
        tarred(FILES, "w:xz"),
        tarred(FILES, "w", member("data/", tarfile.DIRTYPE), member(".", tarfile.DIRTYPE)),
        tarred({f"{'d' * 120}/{name}": each for name, each in FILES.items()}, "w:gz"),
    ],
    ids=["zip", "stored", "tar", "tar.gz", "tar.xz", "folders", "long names"],
)
def test_honest_archives_come_out_whole(tmp_path: Path, content: bytes) -> None:
    unpacked = try_unpack(tmp_path, content)
    assert unpacked == Unpacked(3, sum(map(len, FILES.values())))
    out = tmp_path / "out"
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {name.removeprefix("d" * 120 + "/"): each for name, each in found.items()} == FILES
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "name",
    ["../out.mp4", "a/../../b.mp4", "/etc/cron.d/x", "a\\b.mp4", "a\nb.mp4", "x" * 300, "d/" * 20 + "x"],
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_names_that_lead_out_or_are_odd_are_refused(tmp_path: Path, name: str, pack: object) -> None:
    assert_refused(tmp_path, pack({"ok.mp4": b"x", name: b"x"}), "the archive's member")  # type: ignore[operator]


@pytest.mark.parametrize(
    "odd",
    [
        member("link", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("link", tarfile.LNKTYPE, linkname="ok.mp4"),
        member("device", tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("device", tarfile.BLKTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, odd: tarfile.TarInfo) -> None:
    assert_refused(tmp_path, tarred({"ok.mp4": b"x"}, "w", odd), "link, a device or sparse")


def test_links_and_secrets_in_a_zip_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.mp4")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert_refused(tmp_path, buffer.getvalue(), "link or a device")
    secret = bytearray(zipped({"a.mp4": b"x"}))
    secret[secret.index(b"PK\x01\x02") + 8] |= 1
    assert_refused(tmp_path, bytes(secret), "encrypted")
    assert_refused(tmp_path, zipped({"a.mp4": b"x"}, compression=zipfile.ZIP_LZMA), "use deflate")


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        sparse = tarfile.TarInfo("huge.mp4")
        sparse.size = 512
        sparse.pax_headers = {
            "GNU.sparse.major": "0",
            "GNU.sparse.minor": "1",
            "GNU.sparse.map": "0,1",
            "GNU.sparse.size": str(10**15),
        }
        archive.addfile(sparse, io.BytesIO(bytes(512)))
    assert_refused(tmp_path, buffer.getvalue(), "sparse")


@pytest.mark.parametrize(
    "pack", [zipped, tarred, lambda files: tarred(files, "w:gz"), lambda files: tarred(files, "w:xz")]
)
def test_bytes_and_files_are_counted(tmp_path: Path, pack: object) -> None:
    files = {f"{number}.mp4": bytes(1000) for number in range(20)}
    content = pack(files)  # type: ignore[operator]
    assert_refused(tmp_path, content, "more than the 19999 bytes", max_bytes=19_999)
    assert_refused(tmp_path, content, "more than the 19 files", max_files=19)
    assert try_unpack(tmp_path, content, max_bytes=20_000, max_files=20) == Unpacked(20, 20_000)


def test_a_zip_that_lies_about_sizes_is_counted_all_the_same(tmp_path: Path) -> None:
    content = bytearray(zipped({"bomb.mp4": bytes(3_000_000)}))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(mark) + offset
        content[place : place + 4] = (10).to_bytes(4, "little")
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(BadDataset):
        try_unpack(tmp_path, bytes(content))
    assert not (tmp_path / "out").exists()


def test_what_is_decompressed_on_the_way_is_counted(tmp_path: Path) -> None:
    # None of it is a member's content: 64 mebibytes of padding after the archive's end.
    with gzip.open(tmp_path / "padded", "wb", compresslevel=1) as padded:
        padded.write(tarred({"a.mp4": b"x"}))
        for _ in range(64):
            padded.write(bytes(1 << 20))
    content = (tmp_path / "padded").read_bytes()
    (tmp_path / "padded").unlink()
    assert_refused(tmp_path, content, "more bytes than are allowed", max_files=10)


def test_a_name_of_megabytes_is_not_read(tmp_path: Path) -> None:
    assert_refused(
        tmp_path,
        tarred({}, "w", member("x", tarfile.GNUTYPE_LONGNAME, size=1 << 20)),
        "in more words than are read",
    )
    pax = member("x", tarfile.XHDTYPE, size=1 << 20)
    assert_refused(tmp_path, tarred({}, "w", pax), "in more words than are read")


def test_a_zip_with_a_huge_directory_is_not_read(tmp_path: Path) -> None:
    content = bytearray(zipped({"a.mp4": b"x"}))
    place = content.index(b"PK\x05\x06") + 12
    content[place : place + 4] = (1 << 30).to_bytes(4, "little")
    assert_refused(tmp_path, bytes(content), "more than the 100 files")


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    twice = tarred({"a.mp4": b"1"}, "w", member("a.mp4", tarfile.REGTYPE, size=3))
    assert_refused(tmp_path, twice, "a member twice: 'a.mp4'")
    assert_refused(tmp_path, zipped({"a": b"1", "a/b": b"2"}), "a member twice")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "zip"])
def test_what_was_cut_off_or_damaged_is_refused_or_whole(tmp_path: Path, mode: str) -> None:
    files = {name: random.Random(name).randbytes(3000) for name in ("a.mp4", "b/c.mp4", "d.mp4")}
    content = zipped(files) if mode == "zip" else tarred(files, mode)
    generator = random.Random(7)
    refused = 0
    for turn in range(60):
        damaged = bytearray(content)
        if turn % 2:
            del damaged[generator.randrange(len(damaged)) :]
        else:
            damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        (tmp_path / "archive").write_bytes(damaged)
        out = tmp_path / str(turn)
        try:
            unpacked = unpack(tmp_path / "archive", out, max_bytes=10**6, max_files=100)
        except BadDataset:
            refused += 1
            assert not out.exists()
        else:
            # A tar has no check sum of its files' content; all of it is there in any case.
            assert unpacked == Unpacked(3, 9000)
    # Half of a plain tar is padding here, and most of the rest is content without a check sum.
    assert refused >= (8 if mode == "w" else 25)


def test_what_is_no_archive_or_empty_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, b"", "neither a zip nor a tar")
    assert_refused(tmp_path, b"RIFF....AVI " + bytes(5000), "neither a zip nor a tar")
    assert_refused(tmp_path, gzip.compress(b"text" * 1000), "neither a zip nor a tar")
    assert_refused(tmp_path, zipped({}), "no file")
    assert_refused(tmp_path, tarred({}), "no file")


def test_unpacking_may_be_cancelled_and_overwrites_nothing(tmp_path: Path) -> None:
    def check() -> None:
        raise Cancelled

    (tmp_path / "archive").write_bytes(zipped(FILES))
    with pytest.raises(Cancelled):
        unpack(tmp_path / "archive", tmp_path / "out", max_bytes=10**6, max_files=9, check=check)
    assert [each.name for each in tmp_path.iterdir()] == ["archive"]
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "archive", tmp_path / "out", max_bytes=10**6, max_files=9)
