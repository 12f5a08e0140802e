"""Specifications of datasets, and what is wrong with them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import multav
from multav.datasets.catalogue import BUILT_IN, DATASETS, parse_dataset
from multav.errors import InvalidSpec

DOCS = Path(multav.__file__).parents[1] / "docs" / "datasets.md"


@pytest.mark.parametrize("kind", DATASETS)
def test_a_kind_alone_is_a_specification(kind: str) -> None:
    spec = parse_dataset({"kind": kind})
    assert type(spec) is DATASETS[kind]
    assert parse_dataset(spec.model_dump(mode="json")) == spec
    assert spec.meaning


def test_the_built_in_set_has_its_name() -> None:
    assert BUILT_IN["camera-motion"] == parse_dataset({"kind": "synthetic"})


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({}, "", "must say its kind"),
        ({"kind": "imagenet"}, "", "no kind 'imagenet'"),
        ([], "", "must be"),
        ({"kind": "ucf101", "split": 4}, "/split", "less than or equal to 3"),
        ({"kind": "ucf101", "split": "1"}, "/split", "integer"),
        ({"kind": "ucf101", "subset": "val"}, "/subset", "'train' or 'test'"),
        ({"kind": "ucf101", "clips": 3}, "/clips", "it belongs to synthetic"),
        ({"kind": "ucf101", "list": "x"}, "/list", "is it lists or"),
        ({"kind": "ucf101", "videos": "../x"}, "/videos", "leads out"),
        ({"kind": "manifest", "file": "/etc/passwd"}, "/file", "leads out"),
        ({"kind": "manifest", "classes": ["a", "a"]}, "/classes", "2 times"),
        ({"kind": "class-folder", "classes": []}, "/classes", "at least 2"),
        ({"kind": "synthetic", "size": 54}, "/size", "multiple of 4"),
        ({"kind": "kinetics", "version": 500}, "/version", "400, 600 or 700"),
    ],
)
def test_a_wrong_field_is_pointed_at(body: object, pointer: str, says: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_dataset(body)
    (error,) = caught.value.errors
    assert error["pointer"] == pointer
    assert says in error["detail"]


def test_specifications_and_listings_need_no_torch() -> None:
    modules = ("catalogue", "listing", "recipes", "scan", "archive")
    code = "".join(f"import multav.datasets.{name}\n" for name in modules)
    code += "import sys; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_example_of_the_page_is_a_specification() -> None:
    page = DOCS.read_text()
    bodies = [json.loads(each) for each in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert {parse_dataset(body).kind for body in bodies} == set(DATASETS)
    for kind, spec in DATASETS.items():
        part = page.split(f"## `{kind}`")[1].split("\n## ")[0]
        lacking = [field for field in spec.model_fields if field != "kind" and f"`{field}`" not in part]
        assert not lacking, f"{kind}: the page says nothing of {lacking}"
