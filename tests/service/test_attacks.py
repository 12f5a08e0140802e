"""POST /v1/attacks: every way to ask, every refusal."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from store import jobs
from store.settings import Settings

PROBLEM = "application/problem+json"


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem object of an answer that must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"].startswith("urn:multav:problem:")
    assert len(problem["detail"]) > 10
    return problem


def test_a_posted_video_becomes_a_queued_job(service: Any) -> None:
    answer = service.post()
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["etag"]
    assert (job["kind"], job["state"], job["attempt"], job["cancel_requested"]) == (
        "attack",
        "queued",
        0,
        False,
    )
    assert job["progress"] == {"done": None, "total": None, "unit": None, "eta_seconds": None}
    assert (job["result"], job["problem"], job["artifacts"]) == (None, None, [])
    assert job["created_at"].endswith("Z")
    assert job["started_at"] is None
    assert set(job["links"]) == {"self", "events", "cancel", "pause", "resume", "artifacts"}
    spec = job["spec"]
    assert spec["model"] == "camera-motion-r3d18"
    assert spec["attack"] == {
        "kind": "multav-linf",
        "epsilon": 1.04,
        "step_size": 1.01,
        "steps": 5,
        "random_start": False,
        "targeted": False,
        "restarts": 1,
        "loss": "cross-entropy",
        "target_classes": 9,
        "momentum": 0.0,
        "schedule": "constant",
        "early_stop": False,
    }
    assert (spec["domain"], spec["coverage"], spec["output"], spec["seed"]) == ("source", "dense", "auto", 0)


def test_the_resolved_specification_can_be_posted_again(service: Any) -> None:
    spec = service.post('{"label": "static", "seed": 3}').json()["spec"]
    again = service.client.post("/v1/attacks", json=spec)
    assert again.status_code == 202
    assert again.json()["spec"] == spec
    other = service.client.post("/v1/attacks", json={**spec, "model_sha256": "0" * 64})
    assert refusal(other, 422, "invalid_spec")["errors"][0]["pointer"] == "/model_sha256"


def test_an_uploaded_video_can_be_attacked_by_id(service: Any, make_video: Callable[..., bytes]) -> None:
    video = service.client.post("/v1/videos", files={"video": ("a.mp4", make_video(seed=5))}).json()
    answer = service.client.post("/v1/attacks", json={"video": video["id"], "attack": {"kind": "pgd-linf"}})
    assert answer.status_code == 202
    assert answer.json()["spec"]["video"] == video["id"]
    refusal(service.client.post("/v1/attacks", json={"video": "nope"}), 404, "not_found")
    missing = refusal(service.client.post("/v1/attacks", json={}), 422, "invalid_spec")
    assert missing["errors"][0]["pointer"] == "/video"


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"attack": {"kind": "multav-linf", "epsilon": 0.5}}, "/attack/epsilon"),
        ({"attack": {"kind": "multav-linf", "epsilon": 0}}, "/attack/epsilon"),
        ({"attack": {"kind": "pgd-linf", "epsilon": -1}}, "/attack/epsilon"),
        ({"attack": {"kind": "pgd-linf", "steps": 10**9}}, "/attack/steps"),
        ({"attack": {"kind": "unknown"}}, "/attack"),
        ({"attack": "multav-linf"}, "/attack"),
        ({"model": "resnet-18"}, "/model"),
        ({"model": 3}, "/model"),
        ({"label": "walking"}, "/label"),
        ({"label": 10}, "/label"),
        ({"label": -1}, "/label"),
        ({"label": True}, "/label"),
        ({"label": 1.0}, "/label"),
        ({"domain": "frequency"}, "/domain"),
        ({"coverage": "sparse"}, "/coverage"),
        ({"output": "gif"}, "/output"),
        ({"crf": 23}, "/crf"),
        ({"bits": 16}, "/bits"),
        ({"bits": 16, "output": "auto"}, "/bits"),
        ({"bits": 10, "output": "vp9-mp4"}, "/bits"),
        ({"bits": 9, "output": "ffv1-mkv"}, "/bits"),
        ({"bits": "16", "output": "ffv1-mkv"}, "/bits"),
        ({"bits": 16.0, "output": "ffv1-mkv"}, "/bits"),
        ({"features": ["layer1", "layer1"]}, "/features"),
        ({"features": [""]}, "/features/0"),
        ({"features": "layer1"}, "/features"),
        ({"bits": 16, "output": "ffv1-mkv", "channel": "codec"}, "/channel"),
        ({"output": "h264-mp4", "crf": 99}, "/crf"),
        ({"seed": -1}, "/seed"),
        ({"seed": "0"}, "/seed"),
        ({"precision": "int8"}, "/precision"),
        ({"tensor": 1}, "/tensor"),
        ({"attack": {"kind": "multav-linf", "targeted": True}}, "/label"),
        ({"epsilon": 1.04}, "/epsilon"),
    ],
    ids=json.dumps,
)
def test_wrong_fields(service: Any, spec: dict[str, Any], pointer: str) -> None:
    problem = refusal(service.post(json.dumps(spec)), 422, "invalid_spec")
    assert pointer in [error["pointer"] for error in problem["errors"]]


def test_a_deep_output_is_accepted_and_the_refusal_says_which(service: Any) -> None:
    spec = service.post('{"output": "ffv1-mkv", "bits": 16}').json()["spec"]
    assert (spec["output"], spec["bits"]) == ("ffv1-mkv", 16)
    assert service.post().json()["spec"]["bits"] == 8
    problem = refusal(service.post('{"bits": 16}'), 422, "invalid_spec")
    assert 'set output "ffv1-mkv"' in problem["detail"]
    document = service.client.get("/openapi.json").json()
    body = document["paths"]["/v1/attacks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["bits"]["enum"] == [8, 10, 12, 14, 16]
    assert "ffv1-mkv" in body["properties"]["bits"]["description"]


def test_several_wrong_fields_are_all_named(service: Any) -> None:
    spec = {"seed": -1, "domain": "x", "attack": {"kind": "pgd-linf", "epsilon": 2, "alpha": 1}}
    problem = refusal(service.post(json.dumps(spec)), 422, "invalid_spec")
    assert {error["pointer"] for error in problem["errors"]} == {
        "/seed",
        "/domain",
        "/attack/epsilon",
        "/attack/alpha",
    }


def test_an_unknown_model_names_the_known_ones(service: Any) -> None:
    assert "camera-motion-r3d18" in refusal(service.post('{"model": "x"}'), 422, "invalid_spec")["detail"]


@pytest.mark.parametrize(
    "spec",
    [
        "{",
        "not json",
        '{"attack": {"epsilon": NaN}}',
        '{"seed": Infinity}',
        "[" * 5000 + "]" * 5000,
        "\ud7ff{",
    ],
)
def test_broken_json(service: Any, spec: str) -> None:
    refusal(service.post(spec), 400, "malformed_request")


@pytest.mark.parametrize("spec", ["[]", "3", '"multav-linf"', "null"])
def test_json_that_is_no_object(service: Any, spec: str) -> None:
    refusal(service.post(spec), 422, "invalid_spec")


def test_bodies_that_cannot_be_read(service: Any) -> None:
    post = service.client.post
    refusal(
        post("/v1/attacks", content=b"x", headers={"Content-Type": "video/mp4"}), 400, "malformed_request"
    )
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    refusal(post("/v1/attacks", content=b"nonsense", headers=boundary), 400, "malformed_request")
    refusal(post("/v1/attacks", data={"video": "text"}, files={"other": b"x"}), 400, "malformed_request")
    refusal(post("/v1/attacks", files=[("video", b"a"), ("video", b"b")]), 400, "malformed_request")
    refusal(post("/v1/attacks", files={"other": b"a"}), 400, "malformed_request")
    refusal(
        post("/v1/attacks", content=b"\xff\xfe", headers={"Content-Type": "application/json"}),
        400,
        "malformed_request",
    )
    refusal(post("/v1/attacks", content=b""), 400, "malformed_request")
    refusal(service.post("x" * 400_000), 413, "upload_too_large")
    not_text = {"video": ("a.mp4", b"x"), "spec": ("spec.json", b"\xff\xfe\x00", "application/json")}
    refusal(post("/v1/attacks", files=not_text), 400, "malformed_request")


def test_a_misspelt_part_is_refused(service: Any, make_video: Callable[..., bytes]) -> None:
    files = {"video": ("clip.mp4", make_video()), "sepc": (None, '{"coverage": "clip"}')}
    problem = refusal(service.client.post("/v1/attacks", files=files), 400, "malformed_request")
    assert "'sepc'" in problem["detail"]


def test_every_request_has_its_own_name_for_the_same_bytes(
    service: Any, make_video: Callable[..., bytes]
) -> None:
    names = []
    for name in ("first.mp4", "second.mp4"):
        answer = service.client.post("/v1/attacks", files={"video": (name, make_video())})
        names.append(answer.json()["spec"]["video_filename"])
    assert names == ["first.mp4", "second.mp4"]


def test_a_specification_as_a_file_part(service: Any, make_video: Callable[..., bytes]) -> None:
    files = {"video": ("a.mp4", make_video()), "spec": ("spec.json", b'{"seed": 9}', "application/json")}
    answer = service.client.post("/v1/attacks", files=files)
    assert answer.status_code == 202
    assert answer.json()["spec"]["seed"] == 9


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 415, "not_a_video"),
        (b"just text, no video at all\n" * 50, 415, "not_a_video"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", 415, "not_a_video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", 415, "not_a_video"),
    ],
    ids=["empty", "text", "playlist", "concat"],
)
def test_files_that_are_no_videos(service: Any, content: bytes, status: int, code: str) -> None:
    refusal(service.post(video=content), status, code)


def test_a_video_without_its_index(service: Any, make_video: Callable[..., bytes]) -> None:
    answer = service.post(video=make_video()[:600])
    assert answer.status_code in (415, 422)
    assert answer.headers["content-type"] == PROBLEM


def test_an_upload_beyond_the_limit_is_stopped_without_content_length(service: Any) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
        for _ in range(100):
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        answer = service.client.post("/v1/attacks", content=endless(), headers=headers)
    except httpx.TransportError:
        return  # the server closed the connection while we were still sending
    refusal(answer, 413, "upload_too_large")


def test_prefer_wait(service: Any) -> None:
    short = service.post(Prefer="wait=1")
    assert short.status_code == 202
    assert short.headers["preference-applied"] == "wait=1"
    assert service.post(Prefer="respond-async").status_code == 202
    refusal(service.post(Prefer="wait=soon"), 400, "malformed_request")


def finish_next(service: Any, known: set[str]) -> threading.Thread:
    """Finishes the next job that is queued, as a worker would."""

    def run() -> None:
        for _ in range(200):
            time.sleep(0.02)
            with service.database.read() as session:
                waiting = [job.id for job in jobs.listed(session, state="queued", limit=200).items]
            new = [job_id for job_id in waiting if job_id not in known]
            if new:
                service.finish(new[0])
                return

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def queued_ids(service: Any) -> set[str]:
    with service.database.read() as session:
        return {job.id for job in jobs.listed(session, state="queued", limit=200).items}


def test_waiting_gives_the_finished_job(service: Any) -> None:
    worker = finish_next(service, queued_ids(service))
    answer = service.post(Prefer="wait=20")
    worker.join()
    assert answer.status_code == 200
    assert answer.json()["state"] == "succeeded"
    assert answer.json()["artifacts"][0]["role"] == "adversarial-video"


def test_waiting_with_accept_video_gives_the_bytes(service: Any) -> None:
    worker = finish_next(service, queued_ids(service))
    answer = service.post(Prefer="wait=20", Accept="video/*")
    worker.join()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content == b"x" * 3000
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["etag"]
    job_id = answer.headers["link"].removeprefix("</v1/jobs/").removesuffix('>; rel="describedby"')
    assert service.client.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded"


def test_a_failed_job_answers_its_problem_to_who_wanted_a_video(service: Any) -> None:
    known = queued_ids(service)
    problem = {
        "type": "urn:x",
        "title": "t",
        "status": 422,
        "code": "no_frames",
        "detail": "no frames in there",
    }

    def fail() -> None:
        for _ in range(200):
            time.sleep(0.02)
            new = queued_ids(service) - known
            if new:
                claim = service.claim(new.pop())
                with service.database.write() as session:
                    jobs.fail(session, claim, problem)
                return

    worker = threading.Thread(target=fail)
    worker.start()
    answer = service.post(Prefer="wait=20", Accept="video/mp4")
    worker.join()
    assert refusal_of(answer) == (422, "no_frames")


def refusal_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == PROBLEM
    return answer.status_code, answer.json()["code"]


def test_idempotency(service: Any, make_video: Callable[..., bytes]) -> None:
    first = service.post('{"seed": 1}', Idempotency_Key="k1")
    again = service.post('{ "seed":1 }', Idempotency_Key="k1")
    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    refusal(service.post('{"seed": 2}', Idempotency_Key="k1"), 422, "idempotency_mismatch")
    refusal(
        service.post('{"seed": 1}', video=make_video(seed=8), Idempotency_Key="k1"),
        422,
        "idempotency_mismatch",
    )
    assert service.post('{"seed": 1}', Idempotency_Key="k2").json()["id"] != first.json()["id"]


def test_the_same_key_at_the_same_time_makes_one_job(service: Any) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: service.post('{"seed": 5}', Idempotency_Key="together"), range(6)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_full_queue_refuses(
    tmp_path: Path, serve: Callable[[Settings], AbstractContextManager[Any]]
) -> None:
    with serve(Settings(data_dir=tmp_path, max_queued_jobs=2)) as small:
        assert [small.post().status_code for _ in range(2)] == [202, 202]
        answer = small.post()
        refusal(answer, 429, "queue_full")
        assert int(answer.headers["retry-after"]) > 0


def test_the_same_video_is_stored_once_and_goes_with_its_last_job(
    service: Any, make_video: Callable[..., bytes]
) -> None:
    video = make_video(seed=77)
    one, two = (service.post(video=video).json() for _ in range(2))
    assert one["spec"]["video"] == two["spec"]["video"]
    address = f"/v1/videos/{one['spec']['video']}"
    for job, left in ((one, 200), (two, 404)):
        service.client.post(f"/v1/jobs/{job['id']}/cancel")
        assert service.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
        assert service.client.get(address).status_code == left
