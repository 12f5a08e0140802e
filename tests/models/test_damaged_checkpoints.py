"""Cut and changed files: none loads wrongly, none brings its reader down.

A zip archive carries its own proof; the older format of torch.save and the values of a safetensors file have no check
sum, so there a changed weight cannot be told from another one: names, shapes and everything else must hold.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as safetensors_bytes

from tests.models.bounded_reader import Outcome, outcomes
from tests.models.small_networks import hara_2018, pickled, tiny

torch.set_num_threads(1)
FORMATS: dict[str, Callable[[], bytes]] = {
    "zip": lambda: pickled(hara_2018(tiny("A"))),
    "legacy": lambda: pickled(hara_2018(tiny("A")), legacy=True),
    "safetensors": lambda: safetensors_bytes(tiny("A").state_dict()),
}


def read(folder: Path, files: list[bytes]) -> list[Outcome]:
    paths = []
    for index, data in enumerate(files):
        paths.append(folder / f"{index}.pth")
        paths[-1].write_bytes(data)
    found = outcomes(paths)
    assert [each.path for each in found] == paths
    return found


def changed(data: bytes, count: int, seed: int) -> list[bytes]:
    """Each with a few bytes that are others, most of them where the structure is."""
    draw = random.Random(seed)
    made = []
    for index in range(count):
        spoilt = bytearray(data)
        for _ in range(draw.choice((1, 1, 2, 8))):
            # The structure is at the beginning, or at the end (a zip's directory), or anywhere.
            place = (min(len(data), 20_000), len(data), -min(len(data), 8_000))[index % 3]
            at = draw.randrange(place) if place > 0 else len(data) - 1 - draw.randrange(-place)
            spoilt[at] = draw.choice((spoilt[at] ^ 1 << draw.randrange(8), draw.randrange(256), 0, 255))
        made.append(bytes(spoilt))
    return [each for each in made if each != data]


def cut(data: bytes, count: int, seed: int) -> list[bytes]:
    """Each without its end, or without a piece in between."""
    draw = random.Random(seed)
    lengths = [1, 8, 9, 100, len(data) - 1, *(draw.randrange(1, len(data)) for _ in range(count))]
    pieces = [draw.randrange(len(data) - 64) for _ in range(count // 4)]
    return [data[:length] for length in lengths] + [data[:at] + data[at + 64 :] for at in pieces]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("count", [12, pytest.param(400, marks=pytest.mark.slow)])
def test_cut_files_are_refused(form: str, count: int, tmp_path: Path) -> None:
    found = read(tmp_path, cut(FORMATS[form](), count, seed=1))
    for each in found:
        assert each.outcome in ("BadCheckpoint", "MemoryError"), (each.path, each.detail)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("count", [16, pytest.param(900, marks=pytest.mark.slow)])
def test_changed_files_never_load_wrongly(form: str, count: int, tmp_path: Path) -> None:
    data = FORMATS[form]()
    whole, *found = read(tmp_path, [data, *changed(data, count, seed=2)])
    assert whole.outcome == "converted"
    assert whole.tensors is not None
    for each in found:
        assert each.outcome in ("BadCheckpoint", "InvalidSpec", "MemoryError", "converted"), (
            each.path,
            each.detail,
        )
        assert each.peak < 2 * 2**30
        if each.outcome == "converted":
            assert each.tensors is not None
            if form == "zip":
                assert each.tensors == whole.tensors
            shapes = {name: shape for name, (shape, _) in each.tensors.items()}
            assert shapes == {name: shape for name, (shape, _) in whole.tensors.items()}
    # Changes in padding and in what nobody reads are harmless; but most are not.
    assert sum(each.outcome == "converted" for each in found) < len(found)
