"""POST, GET and DELETE /v1/models: a checkpoint comes in, is tried, is attacked with, and goes."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from sqlalchemy import func, select

from models.architectures import build
from models.checkpoints import save
from models.pixel_classifier import PixelClassifier
from multav import cli
from multav.client import Client, ServiceProblem
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.video.probe import probe
from service import door, model_door
from store import blobs, jobs, models
from store.settings import Settings
from store.tables import BlobTable, ModelTable

torch.set_num_threads(1)
SPEC = {
    "name": "tiny",
    "architecture": "resnet3d",
    "arguments": {"widen_factor": 0.125},
    "classes": ["a", "b", "c"],
    "geometry": {
        "frames": 8,
        "stride": 1,
        "short_side": 32,
        "height": 32,
        "width": 32,
        "mean": [0.4, 0.4, 0.4],
        "std": [0.2, 0.2, 0.2],
    },
}
CARD = ModelCard(
    name="native",
    architecture="resnet3d",
    arguments={"widen_factor": 0.125},
    classes=("a", "b", "c"),
    geometry=InputGeometry(frames=8, stride=1, short_side=32, height=32, width=32),
    licence="CC0",
)


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Settings], AbstractContextManager[Any]]
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("service")
    with serve(Settings(data_dir=folder, max_checkpoint_bytes=4_000_000)) as running:
        yield running


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A native checkpoint whose card is called "native"."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("native") / "native.safetensors"
    save(PixelClassifier(build(CARD), CARD), path)
    return path


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Hara's training writes: weights under `state_dict`, with the names of a DataParallel network."""
    torch.manual_seed(1)
    weights = {f"module.{name}": tensor for name, tensor in build(CARD).state_dict().items()}
    path = tmp_path_factory.mktemp("legacy") / "save_200.pth"
    torch.save({"epoch": 200, "arch": "resnet-18", "state_dict": weights}, path)
    return path


def post(
    service: Any, checkpoint: Path | bytes, spec: Any = None, *, filename: str = "model.pth", **headers: str
) -> httpx.Response:
    data = {} if spec is None else {"spec": json.dumps(spec)}
    content = checkpoint if isinstance(checkpoint, bytes) else checkpoint.read_bytes()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: httpx.Response = service.client.post(
        "/v1/models", files={"checkpoint": (filename, content)}, data=data, headers=named, timeout=120
    )
    return answer


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    return body


def names(service: Any) -> set[str]:
    return {model["name"] for model in service.client.get("/v1/models").json()["items"]}


def test_a_native_checkpoint_says_everything_itself(service: Any, native: Path) -> None:
    made = post(service, native, Idempotency_Key="native")
    assert made.status_code == 201, made.text
    model = made.json()
    assert made.headers["location"] == "/v1/models/native"
    assert service.client.get("/v1/models/native").json() == model
    assert (model["origin"], model["version"], model["licence"]) == ("uploaded", "1", "CC0")
    assert model["source_sha256"] == hashlib.sha256(native.read_bytes()).hexdigest()
    assert model["geometry"]["frames"] == 8
    assert model["value_range"] == [0, 1]
    assert model["smoke"]
    assert model["macs"] is None or model["macs"] > 0
    assert not model["default"]
    assert "native" in names(service)

    # The same again is the same model; a key belongs to one request.
    again = post(service, native)
    assert (again.status_code, again.json()) == (200, model)
    replayed = post(service, native, Idempotency_Key="native")
    assert (replayed.status_code, replayed.json()) == (201, model)
    assert replayed.headers["idempotent-replayed"] == "true"
    problem(post(service, native, {"version": "2"}, Idempotency_Key="native"), 422, "idempotency_mismatch")

    # What is handed out is what attacks use, and can come back.
    content = service.client.get(model["links"]["content"])
    assert hashlib.sha256(content.content).hexdigest() == model["sha256"]
    assert content.headers["etag"] == f'"{model["sha256"]}"'
    assert 'filename="native.safetensors"' in content.headers["content-disposition"]
    part = service.client.get(model["links"]["content"], headers={"Range": "bytes=8-15"})
    assert (part.status_code, part.content) == (206, content.content[8:16])
    back = post(service, content.content)
    assert (back.status_code, back.json()["name"]) == (200, "native")


def test_a_legacy_checkpoint_with_what_it_does_not_say(service: Any, legacy: Path, native: Path) -> None:
    made = post(service, legacy, SPEC)
    assert made.status_code == 201, made.text
    model = made.json()
    assert model["classes"] == ["a", "b", "c"]
    assert model["geometry"]["mean"] == [0.4, 0.4, 0.4]
    assert model["parameters"] > 100_000
    assert model["source_sha256"] == hashlib.sha256(legacy.read_bytes()).hexdigest()
    # Another file under that name is refused before it is looked into, another version is not.
    started = time.monotonic()
    refused = problem(post(service, native, SPEC), 409, "conflict")
    assert time.monotonic() - started < 2
    assert "DELETE /v1/models/tiny" in refused["detail"]
    second = post(service, legacy, {**SPEC, "version": "2"})
    assert second.status_code == 201, second.text
    assert (second.json()["name"], second.json()["version"]) == ("tiny@2", "2")
    assert service.client.get("/v1/models/tiny@2").json() == second.json()
    job = service.post(json.dumps({"model": "tiny@2"})).json()
    assert (job["spec"]["model"], job["spec"]["model_sha256"]) == ("tiny@2", second.json()["sha256"])
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert service.client.delete("/v1/models/tiny@2").status_code == 204


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_bad_files_are_refused_and_leave_nothing(
    service: Any, native: Path, legacy: Path, tmp_path: Path
) -> None:
    before = names(service)
    whole = native.read_bytes()
    shorter = BytesIO()
    state = torch.load(legacy, weights_only=True)["state_dict"]
    torch.save({name: tensor for name, tensor in state.items() if "layer4" not in name}, shorter)
    evil = BytesIO()
    torch.save({"state_dict": Evil(tmp_path / "executed")}, evil)
    bad = {
        "text": b"no checkpoint at all\n" * 100,
        "cut": whole[: len(whole) // 2],
        "evil": evil.getvalue(),
        "missing tensors": shorter.getvalue(),
    }
    for name, content in bad.items():
        answer = post(service, content, {**SPEC, "name": "bad"})
        assert answer.status_code in (415, 422), (name, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] in (
            "bad_checkpoint",
            "not_a_checkpoint",
            "unsafe_checkpoint",
            "invalid_spec",
        ), name
        assert str(tmp_path) not in answer.text, "no path of ours"
    assert not (tmp_path / "executed").exists()
    assert names(service) == before
    with service.database.read() as session:
        used = session.scalars(select(ModelTable.blob_id)).all()
        unused = session.scalar(select(func.count()).where(BlobTable.sha256.is_(None)))
    assert unused == 0
    assert len(used) == len(before)


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"name": "Not A Name"}, "/name"),
        ({"geometry": {"frames": 0}}, "/geometry/frames"),
        ({"classes": ["a"]}, "/classes"),
        ({"what": 1}, "/what"),
        ({"geometry": {"std": [0, 1, 1]}}, "/geometry/std"),
    ],
    ids=str,
)
def test_a_wrong_spec_is_pointed_at(service: Any, native: Path, spec: Any, pointer: str) -> None:
    found = problem(post(service, native, spec), 422, "invalid_spec")
    assert [error["pointer"] for error in found["errors"]] == [pointer]


def test_bodies_that_are_no_upload(service: Any) -> None:
    client = service.client
    for answer in (
        client.post("/v1/models", json={}),
        client.post("/v1/models"),
        client.post("/v1/models", files={"video": ("a", b"x")}),
        client.post("/v1/models", files={"checkpoint": ("a", b"x"), "weights": ("b", b"y")}),
        client.post("/v1/models", files={"spec": ("a", b"{}")}),
    ):
        found = problem(answer, 400, "malformed_request")
        assert "checkpoint" in found["detail"]
    large = post(service, b"x" * 4_200_000)
    assert "4065536" in problem(large, 413, "upload_too_large")["detail"]
    # The limit is the checkpoints' own: a video may be as large as that.
    assert client.post("/v1/videos", files={"video": ("a", b"x" * 4_200_000)}).status_code == 415


def test_a_full_house_says_when_to_come_back(
    service: Any, native: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_door, "_PATIENCE_SECONDS", 0.1)
    with ThreadPoolExecutor(3) as pool:
        first = [pool.submit(post, service, native, {"name": f"crowd-{number}"}) for number in range(3)]
        # The event loop is free meanwhile.
        for _ in range(5):
            started = time.monotonic()
            assert service.client.get("/healthz").status_code == 200
            assert time.monotonic() - started < 1
        answers = [each.result() for each in first]
    assert sorted(answer.status_code for answer in answers) == [201, 429, 429]
    full = next(answer for answer in answers if answer.status_code == 429)
    assert int(full.headers["retry-after"]) > 0
    problem(full, 429, "queue_full")


def test_the_same_upload_twice_at_once_is_one_model(service: Any, native: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        twice = [pool.submit(post, service, native, {"name": "native", "version": "7"}) for _ in range(2)]
        answers = [each.result() for each in twice]
    assert sorted(answer.status_code for answer in answers) == [200, 201], [each.text for each in answers]
    assert answers[0].json() == answers[1].json()
    # The card keeps its version where nothing is said of it: its name is not that of the first version.
    content = service.client.get("/v1/models/native@7/content").content
    other = post(service, content, {"name": "native", "description": "changed"})
    assert "native@7" in problem(other, 409, "conflict")["detail"]


def stored(service: Any, name: str, seed: int = 0) -> models.RegisteredModel:
    """A model of nothing but a name: enough for everything but running it."""
    blob = blobs.write(service.database, BytesIO(f"{name} {seed}".encode()))
    with service.database.write() as session:
        card = CARD.model_copy(update={"name": name})
        return models.add(session, card, blob, upload_hash=f"{name}-{seed}")[0]


def test_a_model_is_deleted_when_no_job_uses_it(service: Any) -> None:
    stored(service, "used")
    job = service.post('{"model": "used"}').json()

    def refused(words: str, name: str = "used") -> None:
        answer = service.client.delete(f"/v1/models/{name}")
        assert words in problem(answer, 409, "conflict")["detail"]

    refused("1 job that waits or runs")
    claim = service.claim(job["id"])
    refused("1 job that waits or runs")
    with service.database.write() as session:
        jobs.succeed(session, claim, {"success": True})
    assert service.client.delete("/v1/models/used").status_code == 204
    done = service.client.get(f"/v1/jobs/{job['id']}").json()
    assert (done["state"], done["spec"]["model"]) == ("succeeded", "used")
    assert service.client.get("/v1/models/used").status_code == 404
    assert service.client.get("/v1/models/used/content").status_code == 404
    assert service.client.delete("/v1/models/used").status_code == 404
    gone = problem(service.post('{"model": "used"}'), 422, "invalid_spec")
    assert gone["errors"][0]["pointer"] == "/model"
    refused("MULTAV_DEFAULT_MODEL", "camera-motion-r3d18")


def test_the_shipped_model_stays_also_where_another_is_the_default(
    serve: Callable[[Settings], AbstractContextManager[Any]], tmp_path: Path
) -> None:
    with serve(Settings(data_dir=tmp_path, default_model="mine")) as service:
        stored(service, "mine")
        shipped = service.client.delete("/v1/models/camera-motion-r3d18")
        assert "comes with the code" in problem(shipped, 409, "conflict")["detail"]
        problem(service.client.delete("/v1/models/mine"), 409, "conflict")


def test_a_model_that_goes_while_the_video_is_probed(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door has looked the model up, and has not yet written the job."""
    stored(service, "fleeting")

    def meanwhile(*arguments: Any) -> Any:
        assert service.client.delete("/v1/models/fleeting").status_code == 204
        return probe(*arguments)

    monkeypatch.setattr(door, "probe", meanwhile)
    refused = problem(service.post('{"model": "fleeting"}'), 422, "invalid_spec")
    assert refused["errors"][0]["pointer"] == "/model"
    with service.database.read() as session:
        assert jobs.count_unfinished(session, "model", "fleeting") == 0


def test_whoever_posts_while_the_model_goes_is_told(service: Any) -> None:
    """Either the job is there and keeps its model, or the model is gone and nobody has a job without one."""
    for round_ in range(3):
        name = f"contested-{round_}"
        stored(service, name)
        with ThreadPoolExecutor(5) as pool:
            posts = [pool.submit(service.post, json.dumps({"model": name})) for _ in range(4)]
            time.sleep(0.03 * round_)
            deleted = pool.submit(service.client.delete, f"/v1/models/{name}").result()
            answers = [each.result() for each in posts]
        made = [answer.json()["id"] for answer in answers if answer.status_code == 202]
        assert {answer.status_code for answer in answers} <= {202, 422}
        assert deleted.status_code in (204, 409)
        assert (deleted.status_code == 204) == (not made)
        for job_id in made:
            service.client.post(f"/v1/jobs/{job_id}/cancel")


def test_own_code_has_no_checkpoint_to_fetch(service: Any) -> None:
    with service.database.write() as session:
        card = CARD.model_copy(update={"name": "own", "architecture": "package.module:make"})
        models.declare(session, card, sha256="f" * 64, blob=None, origin="own")
    model = service.client.get("/v1/models/own").json()
    assert (model["origin"], model["bytes"], model["links"]) == ("own", None, {"self": "/v1/models/own"})
    problem(service.client.get("/v1/models/own/content"), 404, "not_found")
    assert service.client.delete("/v1/models/own").status_code == 204


def test_the_document_shows_how_to_upload(service: Any) -> None:
    create = service.client.get("/openapi.json").json()["paths"]["/v1/models"]["post"]
    assert {"200", "201", "400", "409", "413", "415", "422", "429", "503"} <= create["responses"].keys()
    body = create["requestBody"]["content"]["multipart/form-data"]
    assert body["schema"]["properties"]["checkpoint"]["format"] == "binary"
    assert "$ref" not in json.dumps(body)
    model_door.ModelUpload.parse(body["example"]["spec"])


def test_the_command_and_the_client(
    service: Any, legacy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = str(service.client.base_url)
    (tmp_path / "names.txt").write_text("a\nb\n\nc \n")
    options = "--classes names.txt --frames 8 --stride 1 --size 32 --mean 0.4 --std 0.2,0.2,0.2 --licence MIT"
    options += " --architecture resnet3d --set widen_factor=0.125 --name from-the-command"
    given = [str(tmp_path / word) if word == "names.txt" else word for word in options.split()]
    assert cli.main(["models", "import", str(legacy), *given, "--server", address]) == 0
    shown = capsys.readouterr().out
    assert "from-the-command" in shown
    assert "3: a, b, c" in shown
    assert "MIT" in shown
    assert cli.main(["--server", address, "models"]) == 0
    assert "from-the-command" in capsys.readouterr().out
    assert cli.main(["models", "show", "from-the-command", "--server", address]) == 0
    assert "0.4, 0.4, 0.4" in capsys.readouterr().out
    with Client(address) as client:
        model = client.model("from-the-command")
        client.download_model("from-the-command", tmp_path / "native.safetensors")
        assert hashlib.sha256((tmp_path / "native.safetensors").read_bytes()).hexdigest() == model["sha256"]
        told: list[int] = []
        again = client.import_model(tmp_path / "native.safetensors", on_sent=told.append)
        assert again["name"] == "from-the-command"
        assert told[-1] == model["bytes"]
        with pytest.raises(ServiceProblem):
            client.model("a/b?c")
    assert cli.main(["models", "delete", "from-the-command", "--server", address]) == 0
    assert cli.main(["models", "show", "from-the-command", "--server", address]) == 1
    capsys.readouterr()
    assert cli.main(["models", "import", str(tmp_path / "none.pth"), "--server", address]) == 2
    assert "there is no file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["models", "import", str(legacy), "--classes", str(tmp_path / "none.txt")])
    assert "neither a known list" in capsys.readouterr().err
