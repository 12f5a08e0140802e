"""What a user says about a checkpoint is checked field by field, before any file is read."""

import subprocess
import sys
from typing import Any

import pytest

from multav.errors import InvalidSpec
from multav.model_upload import ModelUpload


def test_nothing_need_be_said() -> None:
    upload = ModelUpload.parse({})
    assert upload.version == "1"
    assert upload.geometry.given() == {}
    assert upload.model_dump(exclude_unset=True) == {}


def test_everything_may_be_said() -> None:
    body = {
        "name": "my-net",
        "architecture": "resnet3d",
        "arguments": {"depth": 18, "cut_shortcut_gradient": True, "denoise_options": {"frames": 16}},
        "classes": ["a", "b"],
        "geometry": {
            "frames": 16,
            "stride": 2,
            "short_side": 128,
            "height": 112,
            "width": 96,
            "mean": [0, 0.5, 1],
        }
        | {"std": [1, 0.5, 2]},
        "description": "d",
        "licence": "l",
        "provenance": "p",
        "version": "2.0.1",
    }
    assert ModelUpload.parse(body).model_dump(mode="json", exclude_unset=True) == body


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ([], None, "must be a JSON object"),
        ({"nmae": "x"}, "/nmae", "no such field here: is it name?"),
        ({"name": "Mine"}, "/name", "must be 1 to 100 small letters"),
        ({"name": "../../etc"}, "/name", "must be 1 to 100 small letters"),
        ({"classes": "ucf11"}, "/classes", "'ucf101', 'hmdb51', 'kinetics400' or 'numbered'"),
        ({"classes": ["a"]}, "/classes", "at least 2"),
        ({"classes": ["a", 2]}, "/classes/1", "string"),
        ({"classes": ["a", ""]}, "/classes/1", "at least 1"),
        ({"classes": ["a", "b", "a"]}, "/classes", "'a' is there 2 times"),
        ({"classes": 5}, "/classes", "must be a list"),
        ({"geometry": {"frames": 0}}, "/geometry/frames", "greater"),
        ({"geometry": {"frames": 16.5}}, "/geometry/frames", "integer"),
        ({"geometry": {"mean": [0, 0]}}, "/geometry/mean/2", "required"),
        ({"geometry": {"mean": [0, 0, float("nan")]}}, "/geometry/mean/2", "finite"),
        ({"geometry": {"std": [0, 1, 1]}}, "/geometry/std", "positive"),
        ({"geometry": {"std": [1, 1, float("inf")]}}, "/geometry/std/2", "finite"),
        ({"geometry": {"size": 112}}, "/geometry/size", "no such field"),
        ({"arguments": [1]}, "/arguments", "must be a JSON object"),
        ({"version": "v 1"}, "/version", "must be 1 to 50 letters"),
        ({"version": None}, "/version", "string"),
    ],
    ids=str,
)
def test_wrong_fields_are_pointed_at(body: Any, pointer: str | None, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        ModelUpload.parse(body)
    assert words in caught.value.detail
    found = {each["pointer"]: each["detail"] for each in caught.value.errors}
    if pointer is None:
        assert found == {}
    else:
        assert words in found[pointer]


def test_the_parents_side_is_torch_free() -> None:
    code = (
        "import sys, models.check_in, models.class_list, models.published_checkpoints, models.settled_card, "
        "multav.model_upload; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
