"""One process of a training on several devices, by itself: what it leaves, and when."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from multav.errors import BadDataset, Cancelled
from multav.training.ranks import Ranks
from multav.training.request import TrainingRequest
from multav.training.videos import TrainingVideos
from multav.video.limits import Limits
from worker import training_rank
from worker.training_order import AGENT, TrainingOrder

GROUP = "the group is taken apart"


def run(folder: Path, error: Exception, rank: int, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A rank that meets an error; the files that say so at the moment in which its group is taken apart."""
    seen: list[dict[str, Any]] = []

    @contextmanager
    def joined(**_: object) -> Iterator[Ranks]:
        try:
            yield Ranks(rank, 2)
        finally:
            seen.extend(json.loads(path.read_text()) for path in folder.glob("error-*.json"))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(training_rank, "joined", joined)
    monkeypatch.setattr(training_rank, "_trained", fail)
    monkeypatch.setattr(training_rank, "die_with_parent", lambda _: None)
    monkeypatch.setattr(training_rank, "keep_large_buffers", lambda: None)
    # Another than the rank that it has among the joined ones.
    monkeypatch.setenv("RANK", str(1 - rank))
    monkeypatch.setenv(AGENT, "1")
    TrainingOrder(
        TrainingRequest.parse({}),
        TrainingVideos(("a", "b"), (), (), "nothing"),
        Limits(),
        None,
        decoders=1,
        cuda=False,
        threads=torch.get_num_threads(),
    ).write(folder)
    training_rank.main(folder)
    return seen


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_is_said_before_the_ranks_part(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have to wait there for a rank that hangs."""
    (told,) = run(tmp_path, BadDataset("all torn"), rank, monkeypatch)
    assert told["detail"] == "all torn"
    assert [path.name for path in tmp_path.glob("error-*")] == [f"error-{rank}.json"]


def test_of_a_stop_the_first_one_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, Cancelled(), 1, monkeypatch) == []
    assert run(tmp_path, Cancelled(), 0, monkeypatch) == [{"stop": "cancelled"}]


def test_what_has_no_words_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, ZeroDivisionError(), 0, monkeypatch)
    assert list(tmp_path.glob("error-*")) == []


def test_what_is_wrong_before_the_ranks_have_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(**_: object) -> None:
        raise BadDataset(GROUP)

    with monkeypatch.context() as patched:
        patched.setattr(training_rank.TrainingOrder, "read", lambda _: apart())
        assert run(tmp_path, Cancelled(), 0, patched) == []
    assert json.loads((tmp_path / "error-1.json").read_text())["detail"] == GROUP
