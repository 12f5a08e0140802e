"""Compiled loops on several threads: all done, errors told, alive after a fork."""

import os
import warnings
from functools import partial

import pytest
import torch

from models.parallel import in_parallel


@pytest.fixture(autouse=True)
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_everything_is_done_on_return() -> None:
    done: list[int] = []
    in_parallel([partial(done.append, number) for number in range(20)])
    assert sorted(done) == list(range(20))


def test_an_error_comes_back() -> None:
    def fails() -> None:
        raise ArithmeticError("so it was")

    with pytest.raises(ArithmeticError, match="so it was"):
        in_parallel([fails, fails])


def test_a_fork_has_threads_of_its_own() -> None:
    in_parallel([lambda: None] * 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads, which is the point here
        child = os.fork()
    if child == 0:
        done: list[int] = []
        in_parallel([partial(done.append, number) for number in range(4)])
        os._exit(len(done))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
