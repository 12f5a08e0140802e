"""A client and a service that is away for a moment: a real server on loopback that answers as it is told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from multav.client import Client, ServiceProblem
from multav.patient_transport import PatientTransport

JOB = {"id": "1", "state": "running"}


class Told(ThreadingHTTPServer):
    """Gives the `answers` (status, headers, body) one after the other, the last one for ever; None hangs up."""

    def __init__(self, answers: list[tuple[int, dict[str, str], str] | None]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Told

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("Last-Event-ID")))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if answer is None:
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = _answer  # noqa: N815  # as the base class calls them


@contextmanager
def served(*answers: tuple[int, dict[str, str], str] | None) -> Iterator[tuple[Told, str]]:
    with Told(list(answers)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def said(status: int, body: Any = JOB, **headers: str) -> tuple[int, dict[str, str], str]:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body)


@contextmanager
def patient(url: str, patience: float = 60.0) -> Iterator[tuple[httpx.Client, list[float]]]:
    rests: list[float] = []
    transport = PatientTransport(httpx.HTTPTransport(), patience=patience, pause=rests.append)
    with httpx.Client(base_url=url, transport=transport) as client:
        yield client, rests


def test_a_service_that_comes_back_is_waited_for() -> None:
    away = said(503, {}, Retry_After="7")
    with (
        served(said(200), None, away, said(502, {}), said(200)) as (server, url),
        patient(url) as (client, rests),
    ):
        assert client.get("/v1/jobs/1").json() == JOB
        assert client.get("/v1/jobs/1").json() == JOB
        assert len(server.asked) == 5
        assert len(rests) == 3
        assert rests[1] == 7.0
        assert 0 < rests[0] < rests[2] <= 2.0


def test_one_that_never_answered_is_not() -> None:
    with served(None) as (server, url), patient(url) as (client, rests):
        with pytest.raises(httpx.TransportError):
            client.get("/v1/jobs/1")
        assert len(server.asked) == 1
    with served(said(503, {})) as (_, url), patient(url) as (client, _):
        assert client.get("/readyz").status_code == 503
    assert rests == []


def test_patience_ends() -> None:
    with served(said(200), said(503, {})) as (_, url), patient(url, patience=0.0) as (client, rests):
        client.get("/")
        assert client.get("/").status_code == 503
        assert len(rests) <= 1


@pytest.mark.parametrize(
    ("path", "headers", "repeated"),
    [
        ("/v1/trainings", {}, False),
        ("/v1/trainings", {"Idempotency-Key": "k"}, True),
        ("/v1/jobs/1/cancel", {}, True),
        ("/v1/jobs/1/resume", {}, False),
    ],
)
def test_only_what_may_be_sent_twice_is(path: str, headers: dict[str, str], *, repeated: bool) -> None:
    with served(said(200), None, said(202)) as (server, url), patient(url) as (client, _):
        client.get("/")
        if repeated:
            assert client.post(path, json={"steps": 1}, headers=headers).status_code == 202
        else:
            with pytest.raises(httpx.TransportError):
                client.post(path, json={"steps": 1}, headers=headers)
        assert len(server.asked) == (3 if repeated else 2)


def test_an_answer_that_is_a_refusal_is_not_asked_for_again() -> None:
    with served(said(200), said(409, {"detail": "taken"})) as (server, url), Client(url) as client:
        client.job("1")
        with pytest.raises(ServiceProblem, match="taken"):
            client.train({}, key="k")
        assert len(server.asked) == 2


def stream(*events: tuple[int, str, dict[str, Any]]) -> tuple[int, dict[str, str], str]:
    text = "".join(
        f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n" for number, event, data in events
    )
    return 200, {"Content-Type": "text/event-stream"}, text


def test_events_go_on_behind_the_last_one() -> None:
    first = stream(
        (1, "state", {"state": "failed"}), (2, "state", {"state": "running"}), (5, "curve", {"step": 9})
    )
    second = stream((8, "state", {"state": "succeeded"}))
    with served(first, second) as (server, url), Client(url) as client:
        assert [event for event, _ in client.events("1")] == ["state", "state", "curve", "state"]
        assert [asked[2] for asked in server.asked] == [None, "5"]


def test_events_of_no_job_are_a_problem() -> None:
    with (
        served(said(404, {"detail": "there is no job"})) as (_, url),
        Client(url) as client,
        pytest.raises(ServiceProblem, match="there is no job"),
    ):
        next(client.events("1"))
