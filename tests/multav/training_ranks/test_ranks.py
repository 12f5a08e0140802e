"""Two processes that share every batch train as one process does with the whole of it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from multav.errors import BadDataset, Cancelled, InternalError, Interrupted, InvalidSpec, MultavError
from multav.training import told_error
from multav.training.batch_part import BatchPart
from tests.multav.training_ranks.cases import CASES, run

# The two processes train once, for all tests.
pytestmark = pytest.mark.xdist_group("training_ranks")
TOLERANCE = 1e-5
RANKS = 2


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left what came of every case."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(RANKS),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.multav.training_ranks.rank_process", str(folder)]
    processes = [
        subprocess.Popen(command, env=os.environ | shared | {"RANK": str(rank)}) for rank in range(RANKS)
    ]
    try:
        assert [process.wait(timeout=200) for process in processes] == [0] * RANKS
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return folder


def loaded(left: Path, name: str) -> list[dict[str, Any]]:
    return [torch.load(left / f"{name}-{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.parametrize("name", CASES)
def test_as_one_process(left: Path, name: str, tmp_path: Path) -> None:
    """Losses, gradients, looks and weights; the ranks among themselves to the last bit."""
    torch.set_num_threads(1)
    first, *others = loaded(left, name)
    for other in others:
        for what in ("weights", "kept"):
            assert all(tensor.equal(other[what][key]) for key, tensor in first[what].items()), what
        assert (other["bad"], other["steps"]) == (first["bad"], first["steps"])
        assert other["points"] == [], "the first one speaks for all"
    net, trained, points = run(CASES[name], None, tmp_path)
    for what, state in (("weights", net.state_dict()), ("kept", trained.model.state_dict())):
        assert first[what].keys() == state.keys()
        for key, tensor in state.items():
            assert first[what][key].double().sub(tensor.double()).abs().max() < TOLERANCE, key
    assert len(first["points"]) == len(points)
    for told, point in zip(first["points"], points, strict=True):
        for key, value in vars(point).items():
            if key != "waiting":
                assert told[key] == (
                    pytest.approx(value, abs=TOLERANCE) if isinstance(value, float) else value
                ), key
    assert first["bad"] == sorted(trained.bad_videos) == sorted(map(str, CASES[name].bad))
    assert first["steps"] == trained.steps


@pytest.mark.parametrize("on", [0, RANKS - 1])
def test_a_stop_of_one_is_a_stop_of_all(left: Path, on: int) -> None:
    """And what goes on from its checkpoint ends with the weights of the unbroken training, bit by bit."""
    for rank in range(RANKS):
        assert json.loads((left / f"said-{rank}.json").read_text())[f"stopped on {on}"] == "cancelled"
        resumed = torch.load(left / f"resumed-after-{on}-{rank}.pt", weights_only=True)
        unbroken = loaded(left, "batch norm")[rank]["weights"]
        assert all(tensor.equal(resumed[key]) for key, tensor in unbroken.items())


def test_nobody_waits_for_one_that_failed(left: Path) -> None:
    said = [json.loads((left / f"said-{rank}.json").read_text())["defect on 1"] for rank in range(RANKS)]
    assert said == ["RankFailed", "ZeroDivisionError"]


def test_gaps_of_bad_videos_are_closed() -> None:
    given = [[0, 4, 6], [1, 7]]
    for rank, places in enumerate([[0, 2, 3], [1, 4]]):
        part = BatchPart.of(rank, given)
        assert part == BatchPart(rank, [[0, 2, 3], [1, 4]])
        assert (part.places, part.whole, part.fewest) == (places, 5, 2)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize(("whole", "most"), [(24, 3), (20, 4), (10, 2), (31, 4), (7, 1)])
def test_pieces_hold_the_same_clips_for_any_number_of_ranks(whole: int, most: int, ranks: int) -> None:
    """Those of `tensor_split` of the whole batch."""
    given = [range(rank, whole, ranks) for rank in range(ranks)]
    pieces = [
        [set(given[rank][piece]) for piece in BatchPart(rank, given).pieces(most)] for rank in range(ranks)
    ]
    assert all(each for own in pieces for each in own)
    found = [set().union(*shares) for shares in zip(*pieces, strict=True)]
    assert found == [set(piece.tolist()) for piece in torch.arange(whole).tensor_split(most)]


def test_where_a_rank_would_have_nothing_of_a_piece_there_are_fewer() -> None:
    given = [[0, 1, 2, 3, 4, 6], [5, 7]]
    assert [BatchPart(rank, given).pieces(4) for rank in (0, 1)] == [[slice(0, 6)], [slice(0, 2)]]
    given = [[0, 1, 3, 4, 6], [2, 5, 7]]
    assert BatchPart(0, given).pieces(4) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert BatchPart(1, given).pieces(4) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert BatchPart(0, [[0], [1]]).pieces(0) == [slice(0, 1)]


@pytest.mark.parametrize(
    "error",
    [
        Cancelled(),
        Interrupted(),
        BadDataset("torn"),
        InvalidSpec("too many", errors=[{"pointer": "/devices", "detail": "too many"}]),
        InternalError("a defect"),
    ],
)
def test_errors_come_back_as_they_were(error: MultavError | Cancelled | Interrupted) -> None:
    back = told_error.from_json(json.loads(json.dumps(told_error.to_json(error))))
    assert type(back) is type(error)
    assert vars(back) == vars(error)
