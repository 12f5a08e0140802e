"""Models come into the running service in every way, are attacked, and go: the whole path through every real part."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import safetensors.torch
import torch

from models.architectures import build
from multav import cli
from multav.attack_request import AttackRequest
from multav.client import ServiceProblem
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from store import jobs

pytestmark = pytest.mark.xdist_group("end_to_end")
torch.set_num_threads(1)
PAGE = Path(__file__).parents[2] / "docs" / "models" / "registry.md"
GEOMETRY = InputGeometry(frames=8, stride=1, short_side=64, height=64, width=64)
CARD = ModelCard(
    name="imported",
    architecture="resnet3d",
    arguments={"widen_factor": 0.125},
    classes=("a", "b", "c"),
    geometry=GEOMETRY,
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, start_stack: Any) -> Iterator[Any]:
    """A stack whose operator has the documentation's own model."""
    folder = tmp_path_factory.mktemp("bring")
    (example,) = re.findall(r"```python\n(# my_models\.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / "my_models.py").write_text(example)
    (setting,) = re.findall(r'MULTAV_OWN_MODELS="([^"]+)"', PAGE.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, sys.path)]))
        with start_stack(folder, {"OWN_MODELS": setting}) as stack:
            yield stack


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Hara's training writes it."""
    torch.manual_seed(1)
    weights = {f"module.{name}": tensor for name, tensor in build(CARD).state_dict().items()}
    path = tmp_path_factory.mktemp("legacy") / "save_200.pth"
    torch.save({"epoch": 200, "arch": "resnet-18", "state_dict": weights}, path)
    return path


def attacked(stack: Any, video: Path, model: str, steps: int = 1, features: tuple[str, ...] = ()) -> str:
    attack = {"kind": "multav-linf", "epsilon": 1.3, "step_size": 1.1, "steps": steps}
    spec = {"attack": attack, "output": "ffv1-mkv", "model": model, "features": features}
    job_id: str = stack.client.attack(video, spec)["id"]
    return job_id


def test_the_documentations_own_model_is_attacked(own: Any, video: Path) -> None:
    model = own.client.model("still-or-moving")
    assert (model["origin"], model["bytes"], model["smoke"]["passed"]) == ("own", None, True)
    assert model["macs"] > 0
    job = own.finished(attacked(own, video, "still-or-moving"))
    assert job["state"] == "succeeded", job["problem"]
    assert job["result"]["clean"]["label"] in ("still", "moving")
    assert job["spec"]["model_sha256"] == model["sha256"]


def test_an_imported_model_is_attacked_and_goes_when_nobody_uses_it(
    own: Any, video: Path, legacy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    options = "--name imported --frames 8 --stride 1 --size 64 --mean 0.4 --std 0.2"
    named = ["--classes", str(tmp_path / "names.txt"), "--server", own.address]
    assert cli.main(["models", "import", str(legacy), *options.split(), *named]) == 0
    assert "3: a, b, c" in capsys.readouterr().out
    done = own.finished(attacked(own, video, "imported"))
    assert done["state"] == "succeeded", done["problem"]
    assert done["result"]["clean"]["label"] in "abc"

    running = attacked(own, video, "imported", steps=3000)
    own.until_crafting(running)
    assert cli.main(["models", "delete", "imported", "--server", own.address]) == 1
    assert "1 job that waits or runs" in capsys.readouterr().err
    own.client.cancel(running)
    assert own.finished(running)["state"] == "cancelled"
    assert cli.main(["models", "delete", "imported", "--server", own.address]) == 0
    assert httpx.get(f"{own.address}/v1/models/imported").status_code == 404
    assert own.client.job(done["id"]) == done


def test_the_command_asks_in_its_own_options(
    own: Any, legacy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "import", str(legacy), "--frames", "8", "--server", own.address]) == 1
    said = capsys.readouterr().err
    for option in ("--classes", "--mean", "--std"):
        assert f"\n  {option} " in said, said
    assert "--frames" not in said


def test_the_command_tells_a_video_that_fooled_before_and_keeps_the_result(
    own: Any, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "attack",
        str(video),
        "--to",
        str(tmp_path),
        "--server",
        own.address,
        "--model",
        "still-or-moving",
    ]
    words += ["--output", "ffv1-mkv", "--steps", "1", "--epsilon", "1.001"]
    cli.main(words)
    (kept,) = tmp_path.glob("*-adversarial.json")
    job = json.loads(kept.read_text())
    assert job["result"]["success_clean"] is False
    assert job["spec"]["attack"]["epsilon"] == 1.001
    assert "so does the clean video" not in capsys.readouterr().out
    clean = job["result"]["clean"]["label"]
    (other,) = {"still", "moving"} - {clean}
    assert cli.main([*words, "--label", other]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert any("so does the clean video: the model does not say" in line for line in lines)
    assert not any(line.endswith(" ") for line in lines)


def test_a_job_looks_into_its_model(own: Any, video: Path) -> None:
    job = own.finished(attacked(own, video, "still-or-moving", features=("0",)))
    assert job["state"] == "succeeded", job["problem"]
    assert job["result"]["features"]["0"]["shape"] == [8, 4, 32, 32]
    made = {artifact["role"]: artifact for artifact in job["artifacts"]}
    tensors = safetensors.torch.load(
        httpx.get(own.address + made["feature-tensors"]["links"]["content"]).content
    )
    assert {name: tuple(maps.shape) for name, maps in tensors.items()} == {
        "0.clean": (8, 4, 32, 32),
        "0.adversarial": (8, 4, 32, 32),
    }
    assert httpx.get(own.address + made["feature-maps"]["links"]["content"]).content.startswith(b"\x89PNG")

    wrong = own.finished(attacked(own, video, "still-or-moving", features=("0", "layer4")))
    assert (wrong["state"], wrong["problem"]["code"]) == ("failed", "invalid_spec")
    assert wrong["problem"]["errors"][0]["pointer"] == "/features/1"
    assert "it has: 0, 1" in wrong["problem"]["detail"]


def test_a_job_whose_model_is_gone_ends_and_says_so(own: Any, video: Path) -> None:
    """The door lets no such job in; whatever else may take a model away, no job hangs for it."""
    with video.open("rb") as file:
        kept = httpx.post(f"{own.address}/v1/videos", files={"video": ("plane.mp4", file)}, timeout=30).json()
    database = own.database()
    spec = AttackRequest(model="gone", model_sha256="0" * 64).model_dump(mode="json")
    with database.write() as session:
        job = jobs.create(
            session,
            kind="attack",
            spec={**spec, "video": kept["id"], "video_sha256": kept["sha256"]},
            video_id=kept["id"],
            uses=[("model", "gone")],
        )
    database.close()
    ended = own.finished(job.id)
    assert (ended["state"], ended["problem"]["code"]) == ("failed", "not_found")
    assert "'gone'" in ended["problem"]["detail"]


def peak_megabytes(process: psutil.Process) -> float:
    """The most memory that the process has ever had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def test_a_large_file_is_never_whole_in_the_services_memory(own: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.pth"
    with large.open("wb") as file:
        file.truncate(300 * 2**20)
    api = own.part("uvicorn")
    before = peak_megabytes(api)
    with pytest.raises(ServiceProblem) as refused:
        own.client.import_model(large)
    assert refused.value.http_status == 422
    assert peak_megabytes(api) < before + 60


def test_bad_files_are_refused_and_the_service_goes_on(own: Any, legacy: Path) -> None:
    whole = legacy.read_bytes()
    for name, content in {
        "text.pth": b"no checkpoint\n" * 1000,
        "cut.pth": whole[: len(whole) // 2],
    }.items():
        answer = httpx.post(f"{own.address}/v1/models", files={"checkpoint": (name, content)}, timeout=60)
        assert answer.status_code in (415, 422), (name, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert httpx.get(f"{own.address}/healthz", timeout=5).status_code == 200
    brought = [model["name"] for model in own.client.models() if model["origin"] != "shipped"]
    assert brought == ["still-or-moving"]
