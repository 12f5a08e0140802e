"""Jobs, events, artifacts, videos, kinds, models, health: each line of the contract."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multav.attacks.catalogue import ATTACKS
from store import jobs
from store.settings import Settings


def test_polling_a_job_is_cheap(service: Any) -> None:
    job = service.job()
    first = service.client.get(f"/v1/jobs/{job['id']}")
    etag = first.headers["etag"]
    same = service.client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": etag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    claim = service.claim(job["id"])
    with service.database.write() as session:
        jobs.report_progress(session, claim, done=3, total=16, unit="windows", eta_seconds=12.3)
    changed = service.client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.json()["progress"] == {"done": 3, "total": 16, "unit": "windows", "eta_seconds": 12.3}
    assert (changed.json()["state"], changed.json()["attempt"]) == ("running", 1)
    assert changed.headers["etag"] != etag
    assert 1 <= int(changed.headers["retry-after"]) <= 10


def test_a_finished_job(service: Any) -> None:
    job_id = service.job()["id"]
    service.finish(job_id)
    answer = service.client.get(f"/v1/jobs/{job_id}")
    job = answer.json()
    assert (job["state"], job["result"], job["problem"]) == ("succeeded", {"success": True}, None)
    assert job["finished_at"] >= job["started_at"] >= job["created_at"]
    assert "retry-after" not in answer.headers
    (artifact,) = job["artifacts"]
    listed = service.client.get(job["links"]["artifacts"]).json()
    assert listed == {"items": [artifact], "next_cursor": None}
    assert service.client.get(f"/v1/artifacts/{artifact['id']}").json() == artifact
    assert {"sha256", "bytes", "media_type", "role"} <= artifact.keys()
    assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    for gone in (
        f"/v1/jobs/{job_id}",
        f"/v1/artifacts/{artifact['id']}",
        f"/v1/artifacts/{artifact['id']}/content",
    ):
        missing = service.client.get(gone)
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_cancel_and_delete(service: Any) -> None:
    job_id = service.job()["id"]
    early = service.client.delete(f"/v1/jobs/{job_id}")
    assert (early.status_code, early.json()["code"]) == (409, "conflict")
    for _ in range(2):
        assert service.client.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    running = service.job()["id"]
    service.claim(running)
    for _ in range(2):
        answer = service.client.post(f"/v1/jobs/{running}/cancel").json()
        assert (answer["state"], answer["cancel_requested"]) == ("running", True)
    assert service.client.post("/v1/jobs/nothing/cancel").status_code == 404


def test_lists_are_paged_and_filtered(service: Any) -> None:
    made = [service.job()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2, "state": "queued", "kind": "attack"} | ({"cursor": cursor} if cursor else {})
        page = service.client.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen[:5] == made[::-1]
    assert len(seen) == len(set(seen))
    assert service.client.get("/v1/jobs", params={"kind": "training"}).json()["items"] == []
    for wrong in ({"state": "lost"}, {"limit": 0}, {"limit": "many"}, {"cursor": "???"}, {"kind": "x"}):
        answer = service.client.get("/v1/jobs", params=wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec"), wrong
        assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(wrong))}"


def events(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(
            line.split(": ", 1) for line in block.splitlines() if not line.startswith((":", "retry"))
        )
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_events_tell_the_story_and_resume(service: Any) -> None:
    job_id = service.job()["id"]
    claim = service.claim(job_id)
    with service.database.write() as session:
        jobs.report_progress(session, claim, done=1, total=2, unit="windows", eta_seconds=1.0)
    with service.database.write() as session:
        jobs.succeed(session, claim, {"success": True})
    answer = service.client.get(f"/v1/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    story = events(answer.text)
    assert [(event, data["state"]) for _, event, data in story] == [
        ("state", "queued"),
        ("state", "running"),
        ("state", "succeeded"),
    ]
    assert story[-1][2]["job"]["result"] == {"success": True}
    versions = [version for version, _, _ in story]
    assert versions == sorted(versions)
    resumed = service.client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": str(versions[1])})
    assert [data["state"] for _, _, data in events(resumed.text)] == ["succeeded"]
    late = service.client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": str(versions[-1])})
    assert [data["state"] for _, _, data in events(late.text)] == ["succeeded"]
    assert service.client.get("/v1/jobs/nothing/events").status_code == 404


def test_progress_events_while_it_runs(service: Any) -> None:
    job_id = service.job()["id"]
    claim = service.claim(job_id)
    got: list[str] = []
    with service.client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        for line in stream.iter_lines():
            if not line.startswith("event: "):
                continue
            got.append(line)
            if got == ["event: state"] * 2:
                with service.database.write() as session:
                    jobs.report_progress(session, claim, done=1, total=2, unit="windows", eta_seconds=None)
            if got[-1] == "event: progress":
                with service.database.write() as session:
                    jobs.confirm_cancel(session, claim)
    assert got == ["event: state", "event: state", "event: progress", "event: state"]


def test_ranges_and_entity_tags(service: Any) -> None:
    job_id = service.job()["id"]
    content = bytes(range(256)) * 5000
    service.finish(job_id, content)
    (artifact,) = service.client.get(f"/v1/jobs/{job_id}").json()["artifacts"]
    address = artifact["links"]["content"]

    def get(**headers: str) -> Any:
        return service.client.get(
            address, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    whole = get()
    assert (whole.status_code, whole.content) == (200, content)
    etag = whole.headers["etag"]
    assert etag == f'"{artifact["sha256"]}"'
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert "attachment" in whole.headers["content-disposition"]
    assert "filename*=UTF-8''clip%20%22%C3%A4%22.mp4" in whole.headers["content-disposition"]
    size = len(content)
    for asked, span in {
        "bytes=0-0": (0, 1),
        "bytes=100-1048700": (100, 1048701),
        "bytes=1000000-": (1000000, size),
        "bytes=-5": (size - 5, size),
        "bytes=5-99999999": (5, size),
    }.items():
        part = get(Range=asked)
        assert (part.status_code, part.content) == (206, content[slice(*span)]), asked
        assert part.headers["content-range"] == f"bytes {span[0]}-{span[1] - 1}/{size}"
    beyond = get(Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    # Ends before it begins: no range at all (RFC 9110, 14.1.1).
    assert get(Range="bytes=5-4").status_code == 200
    for everything in ("bytes=0-1,5-6", "pages=1-2", "bytes=x"):
        assert get(Range=everything).status_code == 200
    assert get(If_None_Match=etag).status_code == 304
    assert get(Range="bytes=0-9", If_Range=etag).status_code == 206
    assert get(Range="bytes=0-9", If_Range='"other"').status_code == 200
    head = service.client.head(address)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))


def test_videos(service: Any, make_video: Callable[..., bytes]) -> None:
    content = make_video(seed=30)
    first = service.client.post("/v1/videos", files={"video": ("../../evil\r\n.mp4", content)})
    assert first.status_code == 201
    video = first.json()
    assert first.headers["location"] == f"/v1/videos/{video['id']}"
    assert (video["bytes"], video["info"]["width"], video["info"]["height"]) == (len(content), 64, 48)
    again = service.client.post("/v1/videos", files={"video": ("b.mp4", content)})
    assert (again.status_code, again.json()["id"]) == (200, video["id"])
    assert service.client.get(f"/v1/videos/{video['id']}/content").content == content
    assert video["id"] in [item["id"] for item in service.client.get("/v1/videos").json()["items"]]
    job = service.client.post("/v1/attacks", json={"video": video["id"]}).json()
    used = service.client.delete(f"/v1/videos/{video['id']}")
    assert (used.status_code, used.json()["code"]) == (409, "conflict")
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    service.client.delete(f"/v1/jobs/{job['id']}")
    assert service.client.get(f"/v1/videos/{video['id']}").status_code == 200
    assert service.client.delete(f"/v1/videos/{video['id']}").status_code == 204
    assert service.client.get(f"/v1/videos/{video['id']}").status_code == 404
    bad = service.client.post("/v1/videos", files={"video": ("a.mp4", b"text" * 100)})
    assert (bad.status_code, bad.json()["code"]) == (415, "not_a_video")
    assert service.client.post("/v1/videos", json={}).status_code == 400


def test_attack_kinds(service: Any) -> None:
    listed = service.client.get("/v1/attack-kinds").json()["items"]
    assert [kind["kind"] for kind in listed] == list(ATTACKS)
    one = service.client.get("/v1/attack-kinds/multav-linf").json()
    assert one == listed[0]
    assert one["defaults"]["epsilon"] == 1.04
    assert one["schema"]["properties"]["epsilon"]["exclusiveMinimum"] == 1
    assert "equation 3" in one["source"]
    assert service.client.get("/v1/attack-kinds/nothing").json()["code"] == "not_found"


def test_models(service: Any) -> None:
    listed = service.client.get("/v1/models").json()["items"]
    (model,) = (each for each in listed if each["default"])
    assert model["name"] == "camera-motion-r3d18"
    assert len(model["classes"]) == 10
    assert model["geometry"]["frames"] == 8
    assert service.client.get("/v1/models/camera-motion-r3d18").json() == model
    assert service.client.get("/v1/models/none").json()["code"] == "not_found"


def test_health(service: Any) -> None:
    assert service.client.get("/healthz").json() == {"status": "ok"}
    ready = service.client.get("/readyz")
    assert ready.status_code == 503
    checks = ready.json()["checks"]
    assert {name: check["ok"] for name, check in checks.items()} == {
        "database": True,
        "artifact_store": True,
        "workers": False,
        "broker": False,
    }
    assert "multav_jobs" in service.client.get("/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/attacks", 405, "method_not_allowed"),
        ("GET", "/v1/jobs/nothing", 404, "not_found"),
        ("GET", "/v1/artifacts/nothing", 404, "not_found"),
        ("GET", "/v1/artifacts/nothing/content", 404, "not_found"),
        ("GET", "/v1/videos/nothing", 404, "not_found"),
        ("DELETE", "/v1/jobs/nothing", 404, "not_found"),
    ],
)
def test_every_error_is_a_problem(service: Any, method: str, path: str, status: int, code: str) -> None:
    answer = service.client.request(method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (status, status, code)


def test_openapi_names_every_route_and_its_refusals(service: Any) -> None:
    document = service.client.get("/openapi.json").json()
    create = document["paths"]["/v1/attacks"]["post"]
    assert {"200", "202", "400", "413", "415", "422", "429", "503"} <= create["responses"].keys()
    body = create["requestBody"]["content"]
    assert body["multipart/form-data"]["schema"]["properties"]["video"]["format"] == "binary"
    assert "epsilon" in json.dumps(body["application/json"])
    assert all("example" in content for content in body.values())
    operations = [
        operation
        for path in document["paths"].values()
        for method, operation in path.items()
        if method in ("get", "post", "delete")
    ]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)
    text = json.dumps(document)
    references = {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert references <= document["components"]["schemas"].keys()


def test_the_api_is_small_and_starts_without_torch_or_a_queue(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "from store.settings import Settings\n"
        "from service.app import create_app\n"
        f"app = create_app(Settings(data_dir={str(tmp_path)!r}))\n"
        "app.openapi()\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]\n"
        "print(time.perf_counter() - start, int(peak.split()[1]) / 1024)\n"
        "assert 'torch' not in sys.modules and 'av' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, megabytes = map(float, done.stdout.split())
    assert megabytes < 150
    assert seconds < 20, "far above the two seconds that it takes on an idle machine"


def test_settings_reach_child_processes(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=1234, lease_seconds=7.5)
    assert settings.environment()["MULTAV_LEASE_SECONDS"] == "7.5"
