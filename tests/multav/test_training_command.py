"""`multav train`: every field of the request has its option, and what the options say is what is sent."""

import json
from pathlib import Path
from typing import Any

import pytest

from multav import cli
from multav.cli_options import parser
from multav.terminal import terminal
from multav.training.request import Augmentation, Start, TrainingRequest, Validation
from multav.training_commands import show_training, show_training_estimate
from multav.training_options import training_spec

EVERYTHING = """
    --name n --architecture resnet3d --argument depth=10 --frames 8 --stride 2 --size 56 --head new
    --dataset d --count 9 --subset-seed 3 --class a --class b --recipe paper
    --augment flip=0.5 --augment shift=2 --augment brightness=0.1
    --validation v --validation-share 0.1 --validation-clips 7 --validation-every 2 --validation-kind pgd-linf,steps=3
    --select last --patience 4 --no-audit --kind multav-linf,steps=4 --kind pgd-linf --choice worst
    --method trades --clean-fraction 0 --beta 2 --crafting loss --replays 4 --ramp 0.4
    --steps 40 --batch-size 16 --accumulation 2 --devices 2 --hosts 2
    --optimiser adamw,learning_rate=0.002 --schedule cosine,warm_up=0.2 --average 0.9 --label-smoothing 0.1
    --gradient-norm 1 --precision float32 --seed 5 --checkpoint-minutes 2
"""


def spec(*words: str) -> dict[str, Any]:
    return training_spec(parser().parse_args(["train", *words]))


def test_nothing_said_is_nothing_sent() -> None:
    assert spec() == {}


def test_every_field_has_its_option() -> None:
    given = spec(*EVERYTHING.split())
    request = TrainingRequest.parse(given)
    # Checksums are nothing to type, and epochs are another word for how long it takes.
    assert set(given) == set(TrainingRequest.model_fields) - {"dataset_sha256", "epochs"}
    assert spec("--epochs", "3") == {"epochs": 3}
    assert set(given["start"]) == set(Start.model_fields) - {"model", "model_sha256"}
    assert set(given["validation"]) == set(Validation.model_fields) - {"dataset_sha256"}
    assert set(given["augmentation"]) == set(Augmentation.model_fields)
    assert [attack.kind for attack in request.attacks] == ["multav-linf", "pgd-linf"]
    assert request.start.geometry is not None
    assert (request.start.geometry.frames, request.start.geometry.width) == (8, 56)
    assert spec("--model", "m", "--per-class", "3") == {"start": {"model": "m"}, "subset": {"per_class": 3}}
    assert spec("--clean") == {"attack": None}
    assert spec("--batch-size", "auto") == {"batch_size": "auto"}


def test_options_come_on_top_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    path.write_text(json.dumps({"start": {"model": "m", "head": "new"}, "steps": 3, "seed": 1}))
    assert spec("--spec", str(path), "--model", "other", "--seed", "2") == {
        "start": {"model": "other", "head": "new"},
        "steps": 3,
        "seed": 2,
    }


def test_an_option_takes_the_place_of_the_other_length_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "training.json"
    path.write_text(json.dumps({"epochs": 15, "steps": 3}))
    assert spec("--spec", str(path), "--epochs", "2") == {"epochs": 2}
    assert spec("--spec", str(path), "--steps", "7") == {"steps": 7}
    assert spec("--spec", str(path)) == {"epochs": 15, "steps": 3}
    with pytest.raises(SystemExit):
        spec("--epochs", "2", "--steps", "7")
    assert "--steps: not allowed with argument --epochs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--frames", "8"], "need --architecture"),
        (["--choice", "worst"], "give --kind twice"),
        (["--spec", "nowhere.json"], "there is no file"),
    ],
)
def test_what_is_missing_is_said(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", *words]) == 2
    assert says in capsys.readouterr().err


def test_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    cost = {
        "train_clips": 5400,
        "validation_clips": 500,
        "steps": 800,
        "steps_per_epoch": 168,
        "looks": 5,
        "gradients": 153600,
        "seconds": None,
        "measured_on": None,
        "memory_bytes": 2e9,
        "workers": 1,
        "remarks": ["no audit: [because]"],
    }
    show_training_estimate(cost, terminal())
    said = capsys.readouterr().out
    assert "153,600" in said
    assert "not known; 1 worker is there" in said
    assert "no audit: [because]" in said
    assert "about 2.0 GB" in said
    show_training_estimate({**cost, "memory_bytes": 41_234_567, "seconds": 0.2}, terminal())
    said = capsys.readouterr().out
    assert "about 41 MB" in said
    assert "less than a second" in said
    result = {
        "model": "hardened",
        "model_sha256": "0" * 64,
        "steps": 800,
        "epochs": 4.7,
        "seconds": 600.0,
        "stopped_early": False,
        "chosen": {"step": 672, "epoch": 4.0, "on": "500 clips: dataset camera-motion"},
        "clean_accuracy": 0.91,
        "robust_accuracy": 0.62,
        "train_clean_accuracy": None,
        "train_robust_accuracy": None,
        "audit": "f" * 32,
        "bad_videos": [{"video": "a[b].avi", "problem": "no picture"}],
        "remarks": [],
    }
    show_training(result, terminal())
    said = capsys.readouterr().out
    assert "91.0% clean, 62.0% under attack" in said
    assert "no clip of a[b].avi: no picture" in said
    assert f"multav wait {'f' * 32}" in said
