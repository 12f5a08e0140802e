"""`multav train`: every field of the request has its option, and what the options say is what is sent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multav import cli
from multav.cli_options import parser
from multav.geometry import InputGeometry
from multav.terminal import terminal
from multav.training.request import PAPER_GEOMETRY, Augmentation, Start, TrainingRequest, Validation
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
    seen = request.start.geometry_on(PAPER_GEOMETRY)
    assert (seen.frames, seen.stride, seen.short_side, seen.height, seen.width) == (8, 2, 56, 56, 56)
    assert spec("--model", "m", "--per-class", "3") == {"start": {"model": "m"}, "subset": {"per_class": 3}}
    assert spec("--clean") == {"attack": None}
    assert spec("--batch-size", "auto") == {"batch_size": "auto"}


Over = Callable[..., dict[str, Any]]


@pytest.fixture
def over(tmp_path: Path) -> Over:
    """The request of a file with options over it: `over({"seed": 1}, "--seed", "2")`."""

    def laid(body: dict[str, Any], *words: str) -> dict[str, Any]:
        path = tmp_path / "training.json"
        path.write_text(json.dumps(body))
        return spec("--spec", str(path), *words)

    return laid


def test_options_come_on_top_of_a_file(over: Over) -> None:
    file = {"start": {"model": "m", "head": "new"}, "steps": 3, "seed": 1}
    assert over(file, "--model", "other", "--seed", "2") == {
        "start": {"model": "other", "head": "new"},
        "steps": 3,
        "seed": 2,
    }


def test_sizes_come_on_top_of_a_file_one_by_one(over: Over) -> None:
    """What is not said again stays as the file has it: the other sizes, mean and deviation."""
    geometry = {
        "frames": 8,
        "stride": 2,
        "short_side": 56,
        "height": 56,
        "width": 56,
        "mean": [0.45, 0.4, 0.4],
    }
    file = {"start": {"model": "m", "geometry": geometry}}
    smaller = {"short_side": 40, "height": 40, "width": 40}
    assert over(file, "--size", "40") == {"start": {"model": "m", "geometry": geometry | smaller}}
    assert over(file, "--frames", "16", "--stride", "1") == {
        "start": {"model": "m", "geometry": geometry | {"frames": 16, "stride": 1}}
    }
    assert over(file, "--head", "new") == {"start": {"model": "m", "geometry": geometry, "head": "new"}}


def test_a_model_may_be_shown_other_clips_than_its_own() -> None:
    """What is not said is left to the service, which knows what the model sees."""
    given = spec("--model", "m", "--size", "40")
    assert given == {"start": {"model": "m", "geometry": {"short_side": 40, "height": 40, "width": 40}}}
    before = InputGeometry(frames=8, stride=2, short_side=56, height=56, width=56, mean=(0.5, 0.5, 0.5))
    seen = TrainingRequest.parse(given).start.geometry_on(before)
    assert seen == before.model_copy(update={"short_side": 40, "height": 40, "width": 40})
    assert spec("--frames", "16") == {"start": {"geometry": {"frames": 16}}}


def test_an_option_takes_the_place_of_the_other_kind_of_start(over: Over) -> None:
    sizes = {"frames": 8, "stride": 1, "short_side": 56, "height": 56, "width": 56}
    model = {"model": "m", "model_sha256": "0" * 64, "head": "keep", "arguments": {"denoise": "official"}}
    network = {"architecture": "resnet3d", "arguments": {"depth": 10, "shortcut": "A"}}
    assert over({"start": model | {"geometry": sizes}}, "--architecture", "r3d_18") == {
        "start": {"architecture": "r3d_18", "geometry": sizes}
    }
    assert over({"start": network | {"geometry": sizes}}, "--model", "m") == {
        "start": {"model": "m", "geometry": sizes}
    }
    # Of the same kind what else is said stays, but for the bytes of another model.
    assert over({"start": model}, "--model", "other") == {
        "start": {"model": "other", "head": "keep", "arguments": {"denoise": "official"}}
    }
    assert over({"start": model}, "--model", "m") == {"start": model}
    assert over({"start": network}, "--architecture", "r2plus1d", "--argument", "depth=18") == {
        "start": {"architecture": "r2plus1d", "arguments": {"depth": 18, "shortcut": "A"}}
    }
    assert over({"start": {"arguments": {"depth": 10}}}, "--architecture", "resnet3d") == {
        "start": {"architecture": "resnet3d", "arguments": {"depth": 10}}
    }


def test_an_option_takes_the_place_of_what_a_file_says_in_another_way(over: Over) -> None:
    pinned = {"dataset": "d", "dataset_sha256": "0" * 64}
    assert over(pinned, "--dataset", "e") == {"dataset": "e"}
    assert over(pinned, "--dataset", "d") == pinned
    assert over({"validation": pinned}, "--validation", "e") == {"validation": {"dataset": "e"}}
    assert over({"validation": pinned | {"clips": 9}}, "--validation-share", "0.2") == {
        "validation": {"share": 0.2, "clips": 9}
    }
    assert over({"validation": {"share": 0.2}}, "--validation", "e") == {"validation": {"dataset": "e"}}
    assert over({"subset": {"count": 9, "seed": 1}}, "--per-class", "3") == {
        "subset": {"per_class": 3, "seed": 1}
    }
    assert over({"subset": {"per_class": 3}}, "--count", "9") == {"subset": {"count": 9}}


def test_a_file_that_makes_no_sense_is_left_to_the_service(over: Over) -> None:
    assert over({"start": ["m"], "attack": "pgd"}, "--head", "new") == {"start": ["m"], "attack": "pgd"}
    with pytest.raises(ValueError, match="--choice is of a mixture"):
        over({"attack": "pgd"}, "--choice", "worst")


def test_an_option_takes_the_place_of_the_other_length_in_a_file(
    over: Over, capsys: pytest.CaptureFixture[str]
) -> None:
    file = {"epochs": 15, "steps": 3}
    assert over(file, "--epochs", "2") == {"epochs": 2}
    assert over(file, "--steps", "7") == {"steps": 7}
    assert over(file) == file
    with pytest.raises(SystemExit):
        spec("--epochs", "2", "--steps", "7")
    assert "--steps: not allowed with argument --epochs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--choice", "worst"], "give --kind twice"),
        (["--spec", "nowhere.json"], "there is no file"),
        (["--dry-run", "--wait"], "--dry-run starts no training"),
        (["--dry-run", "--to", "files"], "nothing to follow with --wait, or to fetch with --to"),
    ],
)
def test_what_cannot_be_followed_is_said(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
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
        "predictions": 5000,
        "seconds": None,
        "measured_on": None,
        "memory_bytes": 2e9,
        "workers": 1,
        "remarks": ["no audit: [because]"],
    }
    show_training_estimate(cost, terminal())
    said = capsys.readouterr().out
    assert "153,600, and 5,000 predictions" in said
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
