"""The same path on a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("end_to_end")


@pytest.fixture
def on_postgresql(own_stack: Any, postgresql: str) -> Iterator[Any]:
    """A running stack of the test's own whose database is PostgreSQL."""
    own_stack.settings = {"DATABASE_URL": postgresql}
    own_stack.start()
    yield own_stack
    own_stack.close()


def test_a_job_survives_its_worker_and_is_delivered_once(on_postgresql: Any, video: Path) -> None:
    stack = on_postgresql
    stack.assert_delivered_once(stack.finished(stack.post(video)), attempt=1)
    job_id = stack.post(video, steps=60)
    stack.until_crafting(job_id)
    stack.worker_child(job_id).kill()
    stack.assert_delivered_once(stack.finished(job_id), attempt=2)
    assert stack.causes(job_id) == ["created", "claimed", "worker_lost", "claimed", "finished"]
    assert not (stack.folder / "data" / "multav.db").exists(), "nothing went to SQLite"
