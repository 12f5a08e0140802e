"""/v1/datasets: folders that are allowed, archives that are sent, and everything that is neither."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store.settings import Settings


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the operator allows; beside it one that is not allowed."""
    top = tmp_path_factory.mktemp("datasets")
    (top / "allowed").mkdir()
    (top / "forbidden" / "a").mkdir(parents=True)
    (top / "allowed" / "out").symlink_to(top / "forbidden")
    return top


@pytest.fixture(scope="module")
def open_service(
    serve: Callable[..., Any], folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A service that registers folders."""
    data = tmp_path_factory.mktemp("data")
    settings = Settings(
        data_dir=data,
        datasets_dir=folders / "allowed",
        max_upload_bytes=400_000,
        max_dataset_bytes=200_000,
        max_dataset_files=50,
    )
    with serve(settings) as running:
        yield running


@pytest.fixture
def tree(folders: Path, make_video: Callable[..., bytes]) -> Path:
    """Two classes of two videos."""
    root = folders / "allowed" / "small"
    for number, name in enumerate(("jump", "run")):
        (root / name).mkdir(parents=True, exist_ok=True)
        for each in range(2):
            (root / name / f"{each}.mp4").write_bytes(make_video(seed=2 * number + each))
    return root


def zipped(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def send(service: Any, archive: bytes, spec: Any) -> Any:
    return service.client.post(
        "/v1/datasets", files={"archive": ("videos.zip", archive)}, data={"spec": json.dumps(spec)}
    )


def test_the_built_in_one_is_there(service: Any) -> None:
    dataset = service.client.get("/v1/datasets/camera-motion").json()
    assert (dataset["origin"], dataset["videos"], len(dataset["classes"])) == ("shipped", 2000, 10)
    assert dataset["videos_per_class"] == [200] * 10
    listed = service.client.get("/v1/datasets").json()["items"]
    assert "camera-motion" in [each["name"] for each in listed]
    refused = service.client.delete("/v1/datasets/camera-motion")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def test_a_folder_is_listed_and_registered(open_service: Any, tree: Path) -> None:
    body = {"name": "small", "kind": "class-folder", "root": tree.name}
    answer = open_service.client.post("/v1/datasets", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == "/v1/datasets/small"
    dataset = answer.json()
    assert (dataset["origin"], dataset["root"], dataset["classes"]) == ("folder", "small", ["jump", "run"])
    assert (dataset["videos"], dataset["videos_per_class"], dataset["missing"]) == (4, [2, 2], 0)
    assert open_service.client.post("/v1/datasets", json=body).status_code == 200
    other = open_service.client.post("/v1/datasets", json={**body, "classes": ["run", "jump"]})
    assert other.status_code == 409
    misfit = open_service.client.post("/v1/audits", json={"dataset": "small"})
    assert misfit.status_code == 422
    detail = misfit.json()["errors"][0]["detail"]
    assert "does not know 2 of the 2 classes" in detail
    assert "'jump'" in detail
    assert open_service.client.delete("/v1/datasets/small").status_code == 204
    assert open_service.client.get("/v1/datasets/small").status_code == 404
    assert len(list(tree.rglob("*.mp4"))) == 4, "files stay"


@pytest.mark.parametrize(
    "root", ["../forbidden", "out", "/etc", "small/../../forbidden", "nowhere", "a\0b", "x" * 300]
)
def test_no_folder_but_those_that_are_allowed(open_service: Any, root: str) -> None:
    answer = open_service.client.post(
        "/v1/datasets", json={"name": "x", "kind": "class-folder", "root": root}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/root"
    assert "forbidden/a" not in answer.text


def test_a_server_without_a_folder_says_so(service: Any) -> None:
    answer = service.client.post("/v1/datasets", json={"name": "x", "kind": "class-folder", "root": "y"})
    assert answer.status_code == 422
    assert "MULTAV_DATASETS_DIR" in answer.json()["detail"]


def test_an_archive_is_unpacked_and_registered(open_service: Any, make_video: Callable[..., bytes]) -> None:
    names = {f"{name}/{each}.mp4": make_video(seed=each) for name in ("jump", "run") for each in range(2)}
    answer = send(open_service, zipped(names), {"name": "sent", "kind": "class-folder"})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["origin"], answer.json()["videos"], answer.json()["root"]) == ("uploaded", 4, None)
    assert send(open_service, zipped(names), {"name": "sent", "kind": "class-folder"}).status_code == 200
    left = [path for path in (open_service.settings.data_dir / "uploads").rglob("*") if path.is_file()]
    assert left == []
    assert open_service.client.delete("/v1/datasets/sent").status_code == 204


def link() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("run/1.mp4")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "archive",
    [
        b"no archive",
        zipped({"../out.mp4": b"x"}),
        zipped({"/etc/out.mp4": b"x"}),
        zipped({"run/1.mp4": b"\0" * 300_000}),
        zipped({f"run/{number}.mp4": b"x" for number in range(60)}),
        link(),
        zipped({}),
        zipped({"run/1.mp4": b"x"}),
    ],
    ids=["garbage", "escape", "absolute", "bomb", "many", "link", "empty", "one class"],
)
def test_archives_that_are_refused(open_service: Any, archive: bytes) -> None:
    answer = send(open_service, archive, {"name": "bad", "kind": "class-folder"})
    assert answer.status_code in (413, 422), answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert open_service.client.get("/v1/datasets/bad").status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "synthetic"}, "/name"),
        ({"name": "A B", "kind": "synthetic"}, "/name"),
        ({"name": "x"}, ""),
        ({"name": "x", "kind": "imagenet"}, ""),
        ({"name": "x", "kind": "ucf101", "split": 4}, "/split"),
        ({"name": "x", "kind": "synthetic", "clips": 0}, "/clips"),
        ({"name": "x", "kind": "synthetic", "root": "small"}, "/root"),
        ({"name": "x", "kind": "synthetic", "clip": 5}, "/clip"),
    ],
)
def test_wrong_specifications(open_service: Any, body: Any, pointer: str) -> None:
    answer = open_service.client.post("/v1/datasets", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_spec"
    assert pointer in [each["pointer"] for each in answer.json()["errors"]], answer.text


def test_a_key_stands_for_one_request(open_service: Any) -> None:
    few, many = ({"name": f"keyed-{clips}", "kind": "synthetic", "clips": clips} for clips in (10, 20))
    headers = {"Idempotency-Key": "a dataset"}
    assert open_service.client.post("/v1/datasets", json=few, headers=headers).status_code == 201
    again = open_service.client.post("/v1/datasets", json=few, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["name"] == "keyed-10"
    other = open_service.client.post("/v1/datasets", json=many, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert open_service.client.get("/v1/datasets/keyed-20").status_code == 404
    scans = [open_service.client.post("/v1/datasets/keyed-10/scan", headers=headers) for _ in range(2)]
    assert scans[0].json()["id"] == scans[1].json()["id"]
    assert scans[1].headers["Idempotent-Replayed"] == "true"
    open_service.client.post(f"/v1/jobs/{scans[0].json()['id']}/cancel")


def test_a_scan_is_queued(open_service: Any) -> None:
    answer = open_service.client.post("/v1/datasets/camera-motion/scan")
    assert (answer.status_code, answer.json()["kind"]) == (202, "scan")
    assert open_service.client.post("/v1/datasets/nothing/scan").status_code == 404
    open_service.client.post(f"/v1/jobs/{answer.json()['id']}/cancel")
