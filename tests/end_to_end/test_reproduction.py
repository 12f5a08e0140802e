"""The paper's table from a service: run, found again, and at the paper's scale on a miniature of its dataset."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from PIL import Image

from models.architectures import build
from models.checkpoints import save
from models.pixel_classifier import PixelClassifier
from multav.exit_codes import INTERRUPTED
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.reproduction.figures import figures
from multav.reproduction.plan import Scale, planned_models
from multav.reproduction.run import run
from multav.reproduction.table import markdown
from tests.end_to_end.test_hardening import GEOMETRY, NORMALISED, SHORT
from tests.multav.datasets import trees

pytestmark = pytest.mark.xdist_group("end_to_end")
_COMMAND = "import sys; from multav.cli import main; sys.exit(main())"


@pytest.mark.slow
def test_the_table_is_made_and_found_again(stack: Any, video: Path, tmp_path: Path) -> None:
    scale = Scale(
        name="tiny",
        start={"model": "camera-motion-r3d18", "geometry": GEOMETRY | NORMALISED},
        dataset="camera-motion-train",
        test_dataset="camera-motion",
        training={name: SHORT[name] for name in ("subset", "optimiser", "validation")}
        | {"steps": 1, "batch_size": 4},
        clean_training={},
        audit={"subset": {"count": 12}},
        attacks={kind: {"steps": 1} for kind in ("multav-linf", "pgd-linf")}
        | {kind: {"steps": 1, "size": [9, 7]} for kind in ("multav-roa", "roa")},
        matched_epsilon=0.0189,
        networks=("r18-2d",),
        columns=("linf", "roa"),
    )
    models = planned_models(scale)
    assert [model.row for model in models] == ["clean", "mult", "add", "matched", "mult", "add"]
    shares: list[float] = []
    findings = run(
        stack.client,
        models,
        on_change=lambda standing: shares.append(standing.done),
        pause=lambda _: time.sleep(1),
    )
    measured = findings.measured
    assert not findings.failed
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert [each.right["clean"].size for each in measured] == [12] * 6
    text = markdown(findings)
    assert text.count("3D ResNet-18 + 2D Denoise") == 4 + 2 + 1
    # The same plan again posts nothing anew, also when the keys are forgotten.
    with sqlite3.connect(stack.folder / "data" / "multav.db") as database:
        assert database.execute("DELETE FROM idempotency_keys WHERE key LIKE 'table1-%'").rowcount == 12
    repeated = run(stack.client, models)
    again = repeated.measured
    assert [each.training["id"] for each in again] == [each.training["id"] for each in measured]
    assert [each.audit["id"] for each in again] == [each.audit["id"] for each in measured]
    assert markdown(repeated) == text
    first, second = figures(stack.client, models, video, tmp_path)
    assert [first.name, second.name] == ["fig1.png", "fig2.png"]
    for path in (first, second):
        with Image.open(path) as figure:
            assert min(figure.size) > 200


def _alive(folder: Path) -> bool:
    """Whether a process works on the data in `folder`."""
    return any(str(folder) in " ".join(_environment(each)) for each in psutil.process_iter())


def _environment(process: psutil.Process) -> list[str]:
    try:
        return [text for name, text in process.environ().items() if name == "MULTAV_DATA_DIR"]
    except psutil.Error:
        return []


def _states(folder: Path, count: int) -> list[str]:
    """Of the jobs in the folder's database, once there are so many."""
    with sqlite3.connect(folder / "service" / "multav.db") as database:
        found = [state for (state,) in database.execute("SELECT state FROM jobs")]
    return found if len(found) >= count else []


@pytest.mark.slow
def test_no_service_is_left_behind_and_the_same_command_goes_on(tmp_path: Path, wait_for: Any) -> None:
    options = ["--small", "--networks", "r18", "--columns", "linf", "--workers", "1", "--to", str(tmp_path)]
    # Settings of another service, which is not to be touched.
    environment = {**os.environ, "MULTAV_DATABASE_URL": "sqlite:////nowhere/multav.db"}
    for end in (signal.SIGKILL, signal.SIGHUP):
        with subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "reproduce", "table1", *options],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        ) as command:
            assert command.stdout is not None
            assert "models to train and audit" in command.stdout.readline()
            assert _alive(tmp_path)
            wait_for("ten jobs, one of which runs", lambda: "running" in _states(tmp_path, 10))
            time.sleep(2)
            command.send_signal(end)
            command.stdout.read()
            assert command.wait(90) == (-signal.SIGKILL if end == signal.SIGKILL else INTERRUPTED)
        wait_for("the end of its service", lambda: not _alive(tmp_path))
    assert len(_states(tmp_path, 10)) == 10, "nothing was asked for twice"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_papers_scale_on_a_miniature(tmp_path: Path) -> None:
    names = [trees.ucf_name(name, group, 1) for name in trees.UCF_CLASSES for group in (1, 8)]
    root = trees.ucf101(tmp_path / "UCF101", test=names[::2], train=names[1::2])
    for seed, name in enumerate(names):
        trees.write_video(root / "UCF-101" / name, trees.noise(12, seed=seed))
    torch.manual_seed(0)
    card = ModelCard(
        name="tiny-kinetics",
        architecture="resnet3d",
        arguments={"depth": 10, "widen_factor": 0.0625},
        classes=("a", "b", "c"),
        geometry=InputGeometry(frames=16, stride=1, short_side=112, height=112, width=112),
    )
    save(PixelClassifier(build(card), card), tmp_path / "kinetics.safetensors")
    options = ["--data", root, "--kinetics", tmp_path / "kinetics.safetensors", "--to", tmp_path / "table"]
    options += [
        "--networks",
        "r18-3d",
        "--columns",
        "roa",
        "--workers",
        "2",
        "--video",
        root / "UCF-101" / names[0],
    ]
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, "reproduce", "table1", *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "table" / "table1.md").read_text()
    assert "[39.31]" in text
    assert "-1.59" in text
    record = json.loads((tmp_path / "table" / "table1.json").read_text())
    assert [each["row"] for each in record] == ["clean", "mult", "add"]
    assert all(set(each["clips"].values()) == {4} for each in record)
    assert [each["training"]["result"]["steps"] for each in record] == [15] * 3
    assert {file.name for file in (tmp_path / "table").glob("*.png")} == {"fig1.png", "fig2.png"}
