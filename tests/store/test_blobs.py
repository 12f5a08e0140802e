"""Bytes: streamed, kept once, gone with the last thing that refers to them."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from multav.errors import Conflict, NotFound
from store import blobs, videos
from store.database import Database, migrate, now
from store.tables import BlobChunkTable, BlobTable

CONTENT = bytes(range(256)) * 12_000 + b"end"


def rows(database: Database) -> tuple[int, int]:
    with database.read() as session:
        return (
            session.scalar(select(func.count()).select_from(BlobTable)) or 0,
            session.scalar(select(func.count()).select_from(BlobChunkTable)) or 0,
        )


@pytest.mark.parametrize("content", [b"", b"x", bytes(blobs.CHUNK), CONTENT], ids=len)
def test_round_trip_and_ranges(database: Database, content: bytes, tmp_path: Path) -> None:
    blob = blobs.write(database, BytesIO(content))
    assert (blob.bytes, blob.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert b"".join(blobs.read(database, blob.id)) == content
    for start, end in ((0, 1), (5, 5), (100, 2_000_000), (len(content) - 1, None), (0, 10**9)):
        assert b"".join(blobs.read(database, blob.id, max(start, 0), end)) == content[max(start, 0) : end]
    blobs.to_file(database, blob.id, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


def test_the_same_bytes_are_kept_once(database: Database) -> None:
    first = blobs.write(database, BytesIO(CONTENT))
    assert blobs.write(database, [CONTENT[:1000], CONTENT[1000:]]) == first
    assert rows(database) == (1, 3)


def test_the_same_bytes_at_the_same_time_are_kept_once(database: Database) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = set(pool.map(lambda _: blobs.write(database, BytesIO(CONTENT)), range(6)))
    assert len(made) == 1
    assert rows(database) == (1, 3)


def test_the_same_video_at_the_same_time_is_one_video(database: Database) -> None:
    def add(_: int) -> str:
        blob = blobs.write(database, BytesIO(CONTENT))
        with database.write() as session:
            video, _new = videos.add(session, blob, filename="v", media_type="m", info={}, kept=False)
        return video.id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(add, range(6)))) == 1


def test_a_broken_upload_leaves_nothing(database: Database) -> None:
    def breaking() -> Iterator[bytes]:
        yield CONTENT
        raise ConnectionError

    with pytest.raises(ConnectionError):
        blobs.write(database, breaking())
    assert rows(database) == (0, 0)


def test_what_a_dead_process_left_is_collected_by_age(database: Database) -> None:
    with database.write() as session:
        session.add(BlobTable(id="half", sha256=None, bytes=0, touched_at=0.0))
        session.flush()
        session.add(BlobChunkTable(blob_id="half", number=0, data=b"x"))
        session.flush()
        session.execute(update(BlobTable).values(touched_at=now() - 50))
    assert blobs.collect(database, older_than_seconds=100) == 0
    assert blobs.collect(database, older_than_seconds=10) == 1
    assert rows(database) == (0, 0)


def test_bytes_go_with_the_last_reference(database: Database) -> None:
    blob = blobs.write(database, BytesIO(CONTENT))
    with database.write() as session:
        video, new = videos.add(session, blob, filename="v", media_type="m", info={"width": 3}, kept=True)
    assert new
    assert blobs.collect(database, older_than_seconds=-1) == 0
    with database.write() as session:
        videos.remove(session, video.id)
    assert blobs.collect(database, older_than_seconds=-1) == 1
    with pytest.raises(NotFound):
        list(blobs.read(database, blob.id))


def test_a_kept_video_stays(database: Database) -> None:
    blob = blobs.write(database, BytesIO(CONTENT))
    with database.write() as session:
        video, _ = videos.add(session, blob, filename="v", media_type="m", info={}, kept=False)
        again, newly_kept = videos.add(session, blob, filename="w", media_type="m", info={}, kept=True)
        assert (again.id, newly_kept, again.kept, again.filename) == (video.id, True, True, "v")
        videos.remove_unless_needed(session, video.id)
        assert videos.get(session, video.id).kept
        assert [item.id for item in videos.listed(session).items] == [video.id]


def test_a_video_that_jobs_need_is_not_removed(database: Database) -> None:
    from store import jobs

    blob = blobs.write(database, BytesIO(CONTENT))
    with database.write() as session:
        video, _ = videos.add(session, blob, filename="v", media_type="m", info={}, kept=True)
        jobs.create(session, kind="attack", spec={}, video_id=video.id)
    with pytest.raises(Conflict), database.write() as session:
        videos.remove(session, video.id)


def test_memory_stays_flat(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from store import blobs\n"
        "from store.database import Database\n"
        "database = Database(sys.argv[1])\n"
        "def peak():\n"
        "    return int([l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1]) / 1024\n"
        "blobs.write(database, (bytes([i]) * 2**20 for i in range(4)))\n"
        "before = peak()\n"
        "blob = blobs.write(database, (bytes([i]) * 2**20 for i in range(64)))\n"
        "assert sum(map(len, blobs.read(database, blob.id))) == 64 * 2**20\n"
        "assert peak() < before + 30, (before, peak())\n"
    )
    url = f"sqlite:///{tmp_path / 'flat.db'}"
    migrate(url)
    subprocess.run([sys.executable, "-c", code, url], check=True)
