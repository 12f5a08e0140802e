"""docs/models/architectures.md: its counts are computed, its code runs, its names are all there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from models.architectures import ARCHITECTURES
from models.counts import counts
from models.denoising_options import VARIANTS, DenoisingOptions

torch.set_num_threads(1)
PAGE = (Path(__file__).parents[2] / "docs" / "models" / "architectures.md").read_text(encoding="utf-8")
NETWORKS = re.findall(
    r"^\| `([\w-]+)` \| `(\{.*?\})` \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", PAGE, re.MULTILINE
)
DENOISED = re.findall(r"^\| `(\{.*\})` \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)


def giga(number: int) -> str:
    return f"{number / 1e9:.2f}"


def built(name: str, arguments: dict[str, Any]) -> torch.nn.Module:
    with torch.device("meta"):
        return ARCHITECTURES[name](101, **arguments)


def test_every_architecture_and_variant_has_a_row() -> None:
    assert {row[0] for row in NETWORKS} == set(ARCHITECTURES)
    assert {json.loads(row[0])["denoise"] for row in DENOISED} == set(VARIANTS)
    for option in DenoisingOptions.__dataclass_fields__:
        assert f"`{option}`" in PAGE


@pytest.mark.parametrize(("name", "arguments", "parameters", "at_16", "at_40", "entries"), NETWORKS)
def test_the_networks(
    name: str, arguments: str, parameters: str, at_16: str, at_40: str, entries: str
) -> None:
    network = built(name, json.loads(arguments))
    assert len(network.state_dict()) == int(entries)
    for frames, written in ((16, at_16), (40, at_40)):
        found = counts(network, (1, 3, frames, 112, 112))
        assert f"{found.parameters:,}" == parameters
        assert giga(found.multiply_adds) == written


@pytest.mark.parametrize(("arguments", "parameters", "layers", "attention"), DENOISED)
def test_the_denoised_ones(arguments: str, parameters: str, layers: str, attention: str) -> None:
    found = counts(built("resnet3d", json.loads(arguments)), (1, 3, 40, 112, 112))
    assert f"{found.parameters:,}" == parameters
    assert (giga(found.multiply_adds), giga(found.attention_multiply_adds)) == (layers, attention)


def test_the_code_prints_what_stands_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(code, "architectures.md", "exec"), {})
    assert f"# {capsys.readouterr().out.strip()}" == code.strip().splitlines()[-1]
