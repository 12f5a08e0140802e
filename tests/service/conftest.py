"""The real application over a real socket, with a real database; jobs are moved by the store itself."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import av
import httpx
import numpy as np
import pytest
import uvicorn

from service.app import create_app
from store import artifacts, blobs, datasets, jobs, models
from store.database import Database, migrate
from store.jobs import Claim
from store.settings import Settings


def video_bytes(frames: int = 6, size: tuple[int, int] = (48, 64), seed: int = 0) -> bytes:
    """A small H.264 MP4."""
    buffer = BytesIO()
    pictures = np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@dataclass
class Service:
    """A served application, a client, and the database behind it."""

    client: httpx.Client
    database: Database
    settings: Settings

    def post(self, spec: str | None = None, *, video: bytes | None = None, **headers: str) -> httpx.Response:
        """POST /v1/attacks as multipart."""
        data = {} if spec is None else {"spec": spec}
        sent = VIDEO if video is None else video
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/v1/attacks", files={"video": ("clip.mp4", sent)}, data=data, headers=named)

    def job(self) -> dict[str, Any]:
        """A queued job."""
        body: dict[str, Any] = self.post().raise_for_status().json()
        return body

    def claim(self, job_id: str) -> Claim:
        """Take the job as a worker would."""
        with self.database.write() as session:
            claim = jobs.claim(session, job_id, "test", 60)
        assert claim is not None
        return claim

    def finish(self, job_id: str, content: bytes = b"x" * 3000) -> None:
        """Run the job to its end: one artifact and a result."""
        claim = self.claim(job_id)
        blob = blobs.write(self.database, BytesIO(content))
        with self.database.write() as session:
            artifacts.add(
                session,
                claim,
                blob,
                role="adversarial-video",
                filename='clip "ä".mp4',
                media_type="video/mp4",
            )
        with self.database.write() as session:
            jobs.succeed(session, claim, {"success": True})


VIDEO = video_bytes()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One application for a module, without a queue and without workers."""
    folder = tmp_path_factory.mktemp("service")
    with served(Settings(data_dir=folder, max_upload_bytes=400_000, max_queued_jobs=500)) as running:
        yield running


@pytest.fixture(scope="session")
def serve() -> Callable[[Settings], AbstractContextManager[Service]]:
    """Serves an application with other settings: `with serve(settings) as service`."""
    return served


@pytest.fixture
def make_video() -> Callable[..., bytes]:
    """Makes small videos: `make_video(frames=6, size=(48, 64), seed=0)`."""
    return video_bytes


@contextmanager
def served(settings: Settings) -> Iterator[Service]:
    """Serve an application with `settings` on a free port."""
    migrate(settings.database)
    database = Database(settings.database)
    models.register_shipped(database)
    datasets.register_shipped(database)
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), port=0, log_level="warning", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Service(client, database, settings)
    finally:
        server.should_exit = True
        thread.join()
        database.close()
