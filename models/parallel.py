"""Compiled loops on as many threads as torch uses."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


def in_parallel(tasks: Sequence[Callable[[], None]]) -> None:
    """Run tasks that let go of the interpreter's lock; back when all are done, with the first one's error if any."""
    threads = torch.get_num_threads()
    if threads == 1 or len(tasks) == 1:
        for task in tasks:
            task()
    else:
        for started in [_threads(os.getpid(), threads).submit(task) for task in tasks]:
            started.result()


@lru_cache(maxsize=1)
def _threads(_process: int, number: int) -> ThreadPoolExecutor:
    """The threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(number, thread_name_prefix="multav-models")
