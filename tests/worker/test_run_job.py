"""What a user is told of a job that failed."""

import pytest

from multav.errors import OutOfMemory
from worker.run_job import as_problem


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("training", "larger accumulation"),
        ("training-host", "larger accumulation"),
        ("audit-clips", "smaller batch_size"),
        ("attack", "shorter video"),
    ],
)
def test_where_memory_runs_out_it_says_what_needs_less(kind: str, words: str) -> None:
    problem = as_problem(MemoryError(), kind)
    assert isinstance(problem, OutOfMemory)
    assert words in problem.detail
    assert ("video" in problem.detail) == (kind == "attack")
