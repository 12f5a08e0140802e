"""What audits are about: real files in official layouts, a model that hides its gradients, two models at once."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.architectures import build
from models.checkpoints import save
from models.pixel_classifier import PixelClassifier
from multav.cli import main
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from tests.multav.datasets.trees import UCF_CLASSES, ucf101, ucf_name, write_video

pytestmark = pytest.mark.xdist_group("end_to_end")

LOUD = """\
from torch import nn

from models.checkpoints import load


class Loud(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = load("models/checkpoints/camera-motion-r3d18.safetensors")

    def forward(self, clips):
        return 3000.0 * self.network(clips)


def loud():
    network = Loud()
    card = network.network
    geometry = card.geometry.model_dump() | {"mean": [0, 0, 0], "std": [1, 1, 1]}
    return network, {"classes": list(card.classes), "geometry": geometry, "licence": "Apache-2.0"}
"""
BROKEN = ucf_name("Hammering", 2, 1)
GONE = ucf_name("JumpRope", 1, 1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, start_stack: Any) -> Iterator[Any]:
    """A stack with folders of videos, a second of the demo model's kind, and one that hides its gradients."""
    folder = tmp_path_factory.mktemp("subjects")
    root = ucf101(folder / "datasets" / "UCF101")
    for number, name in enumerate(sorted((root / "UCF-101").rglob("*.avi"))):
        pictures = np.random.default_rng(number).integers(0, 256, (12, 24, 32, 3), np.uint8)
        write_video(name, pictures)
    broken = root / "UCF-101" / BROKEN
    broken.write_bytes(broken.read_bytes()[:200])
    (root / "UCF-101" / GONE).unlink()
    (folder / "masked_models.py").write_text(LOUD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, sys.path)]))
        settings = {"DATASETS_DIR": str(folder / "datasets"), "OWN_MODELS": "loud=masked_models:loud"}
        with start_stack(folder, settings) as running:
            yield running


@pytest.fixture(scope="module")
def human_actions(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of the classes of UCF101's miniature, in Python's order, which is not the official one."""
    card = ModelCard(
        name="untrained",
        architecture="resnet3d",
        arguments={"widen_factor": 0.0625},
        classes=tuple(sorted(UCF_CLASSES)),
        geometry=InputGeometry(frames=4, stride=1, short_side=16, height=16, width=16),
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    save(PixelClassifier(build(card), card), path)
    name: str = stack.client.import_model(path)["name"]
    return name


def test_an_official_layout_with_what_goes_wrong_in_it(
    stack: Any, human_actions: str, tmp_path: Path
) -> None:
    dataset = stack.client.add_dataset({"name": "ucf", "kind": "ucf101", "root": "UCF101"})
    assert tuple(dataset["classes"]) == UCF_CLASSES, "the order of classInd.txt"
    assert (dataset["videos"], dataset["missing"]) == (8, 1)
    assert any("3783" in remark.replace(",", "") for remark in dataset["remarks"])
    job = stack.finished(
        stack.client.audit(
            {
                "models": [human_actions],
                "dataset": "ucf",
                "recipe": "paper",
                "attacks": [{"kind": "multav-linf", "steps": 2}, {"kind": "af", "steps": 2, "width": 2}],
                "checks": None,
            }
        )["id"]
    )
    assert job["state"] == "succeeded", job["problem"]
    (model,) = job["result"]["models"]
    assert (model["clips"], model["unread"], model["clean"]["of"]) == (8, 2, 6)
    problems = sorted(problem["video"] for problem in job["result"]["problems"])
    assert len(problems) == 2
    assert problems[0].endswith(BROKEN)
    assert problems[1].endswith(GONE)
    assert any("2 of 8 videos could not be read" in note for note in job["result"]["notes"])
    verdict = job["result"]["verdicts"][human_actions]
    assert verdict["verdict"] == "cannot be trusted"
    assert "does not know the data" in verdict["sentence"]
    # Labels are by name: the official index of a class is not the model's own.
    rows = list(stack.client.outcomes(job["id"], cell="clean"))
    files = stack.client.download_all(job["id"], tmp_path)
    csv = files["outcomes-csv"].read_text()
    hammering = [row for row in rows if row["label"] == UCF_CLASSES.index("Hammering")]
    assert len(hammering) == 2
    assert csv.count("Hammering/v_Hammering") == 2 * 3


def test_a_scan_finds_what_is_wrong(stack: Any, tmp_path: Path) -> None:
    stack.client.add_dataset({"name": "scanned", "kind": "ucf101", "root": "UCF101"})
    job = stack.finished(stack.client.scan_dataset("scanned")["id"])
    assert job["state"] == "succeeded", job["problem"]
    assert job["result"]["counts"] == {"ok": 6, "damaged": 0, "corrupt": 1, "missing": 1}
    wrong = {video["status"]: video["name"] for video in job["result"]["wrong"]}
    assert wrong["corrupt"].endswith(BROKEN)
    assert wrong["missing"].endswith(GONE)
    (gone,) = job["result"]["not_there"]
    assert gone.endswith(GONE)
    files = stack.client.download_all(job["id"], tmp_path)
    lines = [json.loads(line) for line in files["dataset-manifest"].read_text().splitlines()]
    assert len(lines) == 8
    assert sum(line["sha256"] is not None for line in lines) == 7


@pytest.mark.slow
def test_one_hides_its_gradients_and_one_does_not(stack: Any, tmp_path: Path, capsys: Any) -> None:
    """One audit of both: the same network, once with logits so large that the loss has no gradient."""
    spec = {
        "models": ["loud", "camera-motion-r3d18"],
        "subset": {"count": 16},
        "attacks": [{"kind": "multav-linf", "steps": 4}],
        "epsilons": [1.01],
        "transfer": True,
        "checks": {"clips": 8, "more_steps": 3, "restarts": 2, "queries": 20},
        "examples": 1,
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    arguments = [
        "--server",
        stack.address,
        "audit",
        "--spec",
        str(tmp_path / "spec.json"),
        "--to",
        str(tmp_path),
    ]
    code = main(arguments)
    shown = capsys.readouterr().out
    assert code == 3, shown
    summary = json.loads((tmp_path / "audit.json").read_text())
    loud, honest = summary["models"]
    assert loud["name"] == "loud"
    assert loud["verdict"]["verdict"] == "cannot be trusted", loud["verdict"]
    assert loud["cells"][0]["robust"]["value"] > honest["cells"][0]["robust"]["value"]
    failed = {check["name"] for check in loud["checks"] if check["passed"] is False}
    assert failed & {"gradients", "rising loss", "other loss", "transfer", "unbounded"}, failed
    assert [check["name"] for check in honest["checks"] if check["passed"] is False] == []
    assert honest["verdict"]["verdict"] != "cannot be trusted"
    assert {(each["crafted_on"], each["tested_on"]) for each in summary["transfer"]} == {
        ("loud", "camera-motion-r3d18"),
        ("camera-motion-r3d18", "loud"),
    }
    assert "cannot be trusted" in shown
    manifest = ["--from-manifest", str(tmp_path / "manifest.json")]
    again = main(["--server", stack.address, "audit", *manifest, "--to", str(tmp_path / "again")])
    assert "every outcome is the one of the manifest" in capsys.readouterr().out
    assert again == 0
