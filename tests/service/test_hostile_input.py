"""Input that no honest client sends: never a 500, never something that another client stumbles over."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert "Traceback" not in found["detail"]
    return found


@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/videos", "/v1/models"])
@pytest.mark.parametrize(
    "key",
    [
        '[1000000000000000000000000000000, "b"]',
        '[1.0, "\\ud800"]',
        "[" * 30000,
        '[NaN, "b"]',
        '[Infinity, "b"]',
        '["a", "b", "c"]',
        "{}",
    ],
    ids=lambda key: key[:20],
)
def test_cursors_that_no_list_gave_out(service: Any, route: str, key: str) -> None:
    cursor = base64.urlsafe_b64encode(key.encode()).decode()
    assert (
        problem(service.client.get(route, params={"cursor": cursor}), 422)["errors"][0]["pointer"]
        == "/cursor"
    )


@pytest.mark.parametrize("body", ['{"video": "\\ud800"}', '{"video": "x", "model": "\\ud800"}', ""])
def test_bodies_with_half_characters_or_nothing(service: Any, body: str) -> None:
    answer = service.client.post("/v1/attacks", content=body, headers={"content-type": "application/json"})
    problem(answer, 400)


def test_event_ids_that_are_none(service: Any) -> None:
    job = service.post().json()
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    for header in ("²".encode("latin-1"), b"9" * 5000, b"9" * 30):
        answer = service.client.get(f"/v1/jobs/{job['id']}/events", headers={"last-event-id": header})
        assert answer.status_code == 200
        assert "cancelled" in answer.text


def upload(
    service: Any, content: bytes, key: str | None = None, media_type: str = "video/mp4"
) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    files = {"video": ("clip.mp4", content, media_type)}
    answer: httpx.Response = service.client.post("/v1/videos", files=files, headers=headers)
    return answer


def test_what_a_client_says_of_its_file_is_not_handed_on(
    service: Any, make_video: Callable[..., bytes]
) -> None:
    content = make_video()
    for media_type in ("video/mp4\x0b", "text/html; charset=utf-7"):
        video = upload(service, content, media_type=media_type).json()
        assert video["media_type"] == "video/mp4"
        answer = service.client.get(video["links"]["content"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
        assert answer.content == content
    service.client.delete(video["links"]["self"])


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=0-" + "9" * 5000, 200),
        ("bytes=" + "9" * 5000 + "-", 200),
        ("bytes=5-3", 200),
        ("BYTES=0-1", 206),
        ("bytes=0-1", 206),
        ("bytes=99999999-", 416),
    ],
    ids=lambda value: str(value)[:16],
)
def test_ranges(service: Any, make_video: Callable[..., bytes], asked: str, status: int) -> None:
    video = upload(service, make_video()).json()
    answer = service.client.get(video["links"]["content"], headers={"Range": asked})
    assert answer.status_code == status
    # A range is for GET alone.
    assert service.client.head(video["links"]["content"], headers={"Range": "bytes=0-1"}).status_code == 200


def test_one_key_is_for_one_video(service: Any, make_video: Callable[..., bytes]) -> None:
    videos = [make_video(frames=frames) for frames in (2, 3, 4, 5)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda content: upload(service, content, key="same"), videos))
    assert sorted(answer.status_code for answer in answers) == [201, 422, 422, 422]
    (first,) = (index for index, answer in enumerate(answers) if answer.status_code == 201)
    again = upload(service, videos[first], key="same")
    assert (again.status_code, again.json()) == (201, answers[first].json())
    assert again.headers["Idempotent-Replayed"] == "true"
    # Once it is deleted, the same request is a new one.
    assert service.client.delete(again.json()["links"]["self"]).status_code == 204
    assert upload(service, videos[first], key="same").status_code == 201


def test_a_deleted_job_frees_its_key(service: Any) -> None:
    first = service.post(Idempotency_Key="deleted").json()
    service.client.post(f"/v1/jobs/{first['id']}/cancel")
    assert service.client.delete(f"/v1/jobs/{first['id']}").status_code == 204
    second = service.post(Idempotency_Key="deleted")
    assert second.status_code == 202
    assert second.json()["id"] != first["id"]


def test_a_video_of_another_sha256_is_not_what_was_meant(service: Any) -> None:
    answer = service.post(json.dumps({"video_sha256": "0" * 64}))
    assert problem(answer, 422)["errors"][0]["pointer"] == "/video_sha256"


@pytest.mark.parametrize(
    "path", ["attacks", "audits", "datasets", "datasets/camera-motion/scan", "models", "videos"]
)
def test_an_empty_key_is_none_that_others_would_share(service: Any, path: str) -> None:
    answer = service.client.post(f"/v1/{path}", json={}, headers={"Idempotency-Key": ""})
    assert "at least 1 character" in problem(answer, 422)["detail"]
