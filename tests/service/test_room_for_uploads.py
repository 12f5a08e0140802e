"""Where uploads lie while they are looked at: what is left of a killed process, a full disk, a client that goes."""

import os
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.commands import api_command
from store.database import migrate
from store.settings import Settings
from store.work_folders import WorkFolders

Serve = Callable[[Settings], AbstractContextManager[Any]]


def test_what_a_killed_process_left_goes_at_the_next_start(serve: Serve, tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    (uploads / "dead").mkdir(parents=True)
    (uploads / "dead" / "video").write_bytes(b"half a film")
    (uploads / "dead.lock").touch()
    with WorkFolders(uploads).open() as alive, serve(Settings(data_dir=tmp_path)):
        assert not (uploads / "dead").exists()
        assert not (uploads / "dead.lock").exists()
        assert alive.exists(), "another process works there"
    assert list(uploads.iterdir()) == []


def test_nothing_is_left_of_an_upload(serve: Serve, tmp_path: Path, make_video: Callable[..., bytes]) -> None:
    with serve(Settings(data_dir=tmp_path)) as service:
        assert service.client.post("/v1/attacks", files={"video": ("a.mp4", make_video())}).status_code == 202
        assert service.client.post("/v1/attacks", files={"video": ("a.mp4", b"text")}).status_code == 415
        assert list(tmp_path.glob("uploads/*")) == []


def test_a_client_that_goes_is_no_defect(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(Settings(data_dir=tmp_path)) as service:
        address = service.client.base_url
        head = (
            "POST /v1/attacks HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\nthe first bytes'
        )
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(head.encode())
        time.sleep(0.5)
        assert service.client.get("/healthz").status_code == 200
    assert "incident" not in caplog.text


def test_a_full_disk_is_no_defect(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = Settings(data_dir=tmp_path, port=port)
    migrate(settings.database)
    most = 8 * 2**20

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    api = subprocess.Popen(
        api_command(settings), env={**os.environ, **settings.environment()}, preexec_fn=small_disk
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    client.get("/healthz")
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            answer = client.post("/v1/attacks", files={"video": ("a.mp4", bytes(most + 2**20))})
            assert (answer.status_code, answer.json()["code"]) == (503, "dependency_down")
            assert "no room" in answer.json()["detail"]
            assert int(answer.headers["Retry-After"]) > 0
            assert client.get("/healthz").status_code == 200
    finally:
        api.terminate()
        api.wait(timeout=20)
    assert list(tmp_path.glob("uploads/*")) == []
