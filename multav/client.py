"""A small client of the HTTP service: post a video, follow its job, fetch what it made; register models."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast
from urllib.parse import quote

import httpx

from multav.errors import MultavError, NotFound
from multav.patient_transport import PatientTransport
from multav.server_events import ServerEvent, server_events

Json = dict[str, Any]
_FINISHED = frozenset({"succeeded", "failed", "cancelled"})
# Uploads and downloads may take long, answers may not.
_TIMEOUT = httpx.Timeout(30.0, write=300.0)
# A checkpoint is read and tried before it is answered.
_CHECK_IN_TIMEOUT = httpx.Timeout(30.0, write=300.0, read=900.0)
# A stream that is silent says so every 15 s.
_EVENTS_TIMEOUT = httpx.Timeout(30.0, read=60.0)
_SCHEME = re.compile(r"https?:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class ServiceProblem(MultavError):
    """The service refused a request; `problem` is its RFC 9457 object."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body.get("detail") or body.get("title") or f"HTTP {status}"))
        self.http_status = status
        self._body = dict(body)

    def problem(self) -> Json:
        """The problem object as the service sent it."""
        return self._body


def service_url(text: str) -> str:
    """`text` as the URL of a service; `host:port` alone means http. Raises ValueError with what is wrong."""
    url = text if _SCHEME.match(text) else f"http://{text}"
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{text!r} is not a URL ({error}): write http://HOST:PORT") from error
    wrong = parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment
    if wrong or len(text.split()) != 1:
        raise ValueError(f"{text!r} is not the URL of a service: write http://HOST:PORT")
    if parsed.port is not None and not 1 <= parsed.port <= 65535:
        raise ValueError(f"{text!r} has the port {parsed.port}: ports are 1 to 65535")
    return url


class Client:
    """Talks to one service; use as a context manager.

    A service that has answered once is waited for when it is away for a moment (`PatientTransport`).
    """

    def __init__(self, base_url: str = "http://127.0.0.1:8000") -> None:
        """A client of the service at `base_url`. Raises ValueError when that is not a URL."""
        self._http = httpx.Client(
            base_url=service_url(base_url),
            timeout=_TIMEOUT,
            transport=PatientTransport(httpx.HTTPTransport()),
        )

    def attack(
        self, video: Path | str, spec: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> Json:
        """Post the file `video` (or the id of an uploaded video) and return the queued job.

        `spec` is the body of `POST /v1/attacks`; `key` is sent as Idempotency-Key, so that a repeated call
        returns the first job.
        """
        headers = {"Idempotency-Key": key} if key else {}
        if isinstance(video, str):
            return self._json("POST", "/v1/attacks", json={**(spec or {}), "video": video}, headers=headers)
        with ExitStack() as stack:
            file = stack.enter_context(video.open("rb"))
            return self._json(
                "POST",
                "/v1/attacks",
                files={"video": (video.name, file)},
                data={"spec": json.dumps(dict(spec or {}))},
                headers=headers,
            )

    def job(self, job_id: str) -> Json:
        """The job as it is now."""
        return self._json("GET", _path("jobs", job_id))

    def jobs(self, *, kind: str | None = None) -> Iterator[Json]:
        """The jobs that there are, newest first; of one `kind` if asked."""
        yield from self._every("/v1/jobs", {"limit": "200"} | ({} if kind is None else {"kind": kind}))

    def wait(
        self, job_id: str, on_change: Callable[[Json], None] | None = None, *, timeout: float | None = None
    ) -> Json:
        """Poll until the job has ended and return it; `on_change` hears of each new version of it.

        Polling is cheap: an unchanged job answers 304. Raises `TimeoutError` after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        etag, pause = "", 0.1
        while True:
            answer = self._http.get(_path("jobs", job_id), headers={"If-None-Match": etag} if etag else {})
            if answer.status_code != 304:
                job = _body(answer)
                etag = answer.headers.get("ETag", "")
                if on_change is not None:
                    on_change(job)
                if job["state"] in _FINISHED:
                    return job
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} has not ended after {timeout:g} s")
            time.sleep(pause)
            pause = min(1.0, pause * 1.2)

    def cancel(self, job_id: str) -> Json:
        """Ask the job to stop; asking twice does no harm."""
        return self._json("POST", _path("jobs", job_id, "cancel"))

    def pause(self, job_id: str) -> Json:
        """Let the job rest until it is resumed."""
        return self._json("POST", _path("jobs", job_id, "pause"))

    def resume(self, job_id: str) -> Json:
        """Let a paused job go on, or run a failed or cancelled one again: only what is missing is done."""
        return self._json("POST", _path("jobs", job_id, "resume"))

    def audit(self, spec: Mapping[str, Any] | None = None, *, key: str | None = None) -> Json:
        """Post an audit and return the queued job; `spec` is the body of `POST /v1/audits`."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._json("POST", "/v1/audits", json=dict(spec or {}), headers=headers)

    def estimate_audit(self, spec: Mapping[str, Any] | None = None) -> Json:
        """What an audit would cost, without running it."""
        return self._json("POST", "/v1/audits", json=dict(spec or {}), params={"dry_run": "true"})

    def outcomes(self, job_id: str, **only: str) -> Iterator[Json]:
        """What an audit has found so far, in the order in which it came in; `only` a `model` or a `cell`."""
        yield from self._so_far(_path("audits", job_id, "outcomes"), only)

    def train(self, spec: Mapping[str, Any] | None = None, *, key: str | None = None) -> Json:
        """Post a training and return the queued job; `spec` is the body of `POST /v1/trainings`."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._json("POST", "/v1/trainings", json=dict(spec or {}), headers=headers)

    def estimate_training(self, spec: Mapping[str, Any] | None = None) -> Json:
        """What a training would cost, without running it."""
        return self._json("POST", "/v1/trainings", json=dict(spec or {}), params={"dry_run": "true"})

    def curve(self, job_id: str, *, series: str | None = None) -> Iterator[Json]:
        """The points of a training's curves so far, in the order in which they came in; of one `series` if asked."""
        only = {} if series is None else {"series": series}
        yield from self._so_far(_path("trainings", job_id, "curve"), only)

    def curve_after(self, job_id: str, cursor: str | None = None) -> tuple[list[Json], str | None]:
        """Points that came in after `cursor` (from the first without one), and the cursor that goes on behind them."""
        found: list[Json] = []
        while True:
            query = {"limit": "1000"} | ({} if cursor is None else {"cursor": cursor})
            page = self._json("GET", _path("trainings", job_id, "curve"), params=query)
            found += page["items"]
            cursor = page["next_cursor"] or cursor
            if not page["next_cursor"] or not page["items"]:
                return found, cursor

    def datasets(self) -> list[Json]:
        """The registered datasets, newest first."""
        return list(self._every("/v1/datasets"))

    def dataset(self, name: str) -> Json:
        """A registered dataset."""
        return self._json("GET", _path("datasets", name))

    def add_dataset(self, spec: Mapping[str, Any], archive: Path | None = None) -> Json:
        """Register a dataset; `spec` is the body of `POST /v1/datasets`, and an `archive` of videos is uploaded."""
        if archive is None:
            return self._json("POST", "/v1/datasets", json=dict(spec), timeout=_CHECK_IN_TIMEOUT)
        with archive.open("rb") as file:
            return self._json(
                "POST",
                "/v1/datasets",
                files={"archive": (archive.name, file)},
                data={"spec": json.dumps(dict(spec))},
                timeout=_CHECK_IN_TIMEOUT,
            )

    def scan_dataset(self, name: str) -> Json:
        """Queue the integrity scan of a dataset and return the job."""
        return self._json("POST", _path("datasets", name, "scan"))

    def delete_dataset(self, name: str) -> None:
        """Forget a dataset that no job uses."""
        answer = self._http.delete(_path("datasets", name))
        if answer.is_error:
            _body(answer)

    def artifacts(self, job_id: str) -> list[Json]:
        """What the job made."""
        items: list[Json] = self._json("GET", _path("jobs", job_id, "artifacts"))["items"]
        return items

    def download(self, artifact_id: str, path: Path) -> None:
        """Write an artifact's bytes to `path`."""
        self._fetch(_path("artifacts", artifact_id, "content"), path)

    def download_all(self, job_id: str, folder: Path) -> dict[str, Path]:
        """Write everything that the job made into `folder`; the paths by role."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = {}
        for artifact in self.artifacts(job_id):
            # The name came from whoever posted the video: only its last part is used.
            paths[artifact["role"]] = folder / Path(artifact["filename"]).name
            self.download(artifact["id"], paths[artifact["role"]])
        return paths

    def models(self) -> list[Json]:
        """The registered models, newest first."""
        return list(self._every("/v1/models"))

    def model(self, name: str) -> Json:
        """A registered model."""
        return self._json("GET", _path("models", name))

    def import_model(
        self,
        checkpoint: Path,
        spec: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> Json:
        """Upload a checkpoint and return the registered model, once the service has read and tried it.

        `spec` is the part of that name in `POST /v1/models`; `on_sent` hears how many bytes of the file have been read.
        """
        with checkpoint.open("rb") as file:
            return self._json(
                "POST",
                "/v1/models",
                files={"checkpoint": (checkpoint.name, cast(BinaryIO, _Told(file, on_sent)))},
                data={"spec": json.dumps(dict(spec or {}))},
                headers={"Idempotency-Key": key} if key else {},
                timeout=_CHECK_IN_TIMEOUT,
            )

    def delete_model(self, name: str) -> None:
        """Delete a model that no job uses."""
        answer = self._http.delete(_path("models", name))
        if answer.is_error:
            _body(answer)

    def download_model(self, name: str, path: Path) -> None:
        """Write a model's native checkpoint to `path`."""
        self._fetch(_path("models", name, "content"), path)

    def attack_kinds(self) -> list[Json]:
        """The threat models that the service knows."""
        items: list[Json] = self._json("GET", "/v1/attack-kinds")["items"]
        return items

    def events(self, job_id: str) -> Iterator[tuple[str, Json]]:
        """The job's server-sent events as (event, data), until the one that says how it ended.

        A stream that breaks off is taken up behind the last event. Raises `ServiceProblem` where there is no such job.
        """
        last: str | None = None
        while True:
            came, ended = False, False
            try:
                for event in self._stream_of(job_id, last):
                    came, last = True, event.id
                    if event.name == "state":
                        # A job that was resumed had ended before.
                        ended = event.data["state"] in _FINISHED
                    yield event.name, event.data
            except httpx.TransportError:
                if not came:
                    raise
            if ended:
                return

    def _stream_of(self, job_id: str, after: str | None) -> Iterator[ServerEvent]:
        """One stream of the job's events, until it ends or breaks off."""
        headers = {} if after is None else {"Last-Event-ID": after}
        address = _path("jobs", job_id, "events")
        with self._http.stream("GET", address, headers=headers, timeout=_EVENTS_TIMEOUT) as answer:
            if answer.is_error:
                answer.read()
                _body(answer)
            yield from server_events(answer.iter_lines())

    def _so_far(self, address: str, only: Mapping[str, str]) -> Iterator[Json]:
        """What a job that may still run has found, in pages."""
        query: dict[str, str] = {**only, "limit": "1000"}
        while True:
            page = self._json("GET", address, params=query)
            yield from page["items"]
            if not page["next_cursor"] or not page["items"]:
                return
            query["cursor"] = page["next_cursor"]

    def _every(self, address: str, only: Mapping[str, str] | None = None) -> Iterator[Json]:
        """All items of a list in pages; `only` are what each page is asked with."""
        query = dict(only or {})
        while True:
            page = self._json("GET", address, params=query)
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def _fetch(self, address: str, path: Path) -> None:
        with self._http.stream("GET", address) as answer:
            if answer.is_error:
                answer.read()
                _body(answer)
            with path.open("wb") as file:
                for chunk in answer.iter_bytes(2**20):
                    file.write(chunk)

    def _json(self, method: str, path: str, **arguments: Any) -> Json:
        return _body(self._http.request(method, path, **arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()


class _Told:
    """A file that says how far it has been read."""

    def __init__(self, file: BinaryIO, on_read: Callable[[int], None] | None) -> None:
        self._file = file
        self._on_read = on_read

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        if self._on_read is not None:
            self._on_read(self._file.tell())
        return data

    def seek(self, *where: int) -> int:
        """As of any file."""
        return self._file.seek(*where)

    def fileno(self) -> int:
        """As of any file; the length of the request is asked of it."""
        return self._file.fileno()


def _path(noun: str, name: str, *rest: str) -> str:
    """The path of one thing, whatever its id or name is made of. Raises `NotFound` for none."""
    if not name:
        raise NotFound(f"an empty text is no id or name of any of the {noun}")
    # Bytes of a command line that are no text are sent as they are; dots alone would be taken for folders.
    escaped = quote(name, safe="@", errors="surrogateescape")
    if not name.strip("."):
        escaped = escaped.replace(".", "%2E")
    return "/".join(("/v1", noun, escaped, *rest))


def _body(answer: httpx.Response) -> Json:
    """The JSON of a good answer; `ServiceProblem` for a bad one."""
    try:
        body: Json = answer.json()
    except ValueError:
        body = {"detail": f"HTTP {answer.status_code} without JSON from {answer.url}: {answer.text[:200]}"}
        raise ServiceProblem(answer.status_code, body) from None
    if answer.is_error:
        raise ServiceProblem(answer.status_code, body)
    return body
