"""The supervisor: it starts everything, stops everything, and after any death starting again loses nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("end_to_end")


def refused_start(stack: Any, *arguments: str) -> str:
    """What `python -m service` says when it refuses to start."""
    outcome = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 1
    return outcome.stderr


@pytest.mark.slow
def test_ctrl_c_gives_the_job_back_and_leaves_no_process(own_stack: Any, video: Path) -> None:
    own_stack.start()
    job_id = own_stack.post(video, steps=60)
    own_stack.until_crafting(job_id)
    assert own_stack.interrupt() < 12
    assert own_stack.process.returncode == 0
    assert own_stack.left() == []
    assert own_stack.causes(job_id)[-1] == "released"
    assert list((own_stack.folder / "data" / "work").iterdir()) == [], "a job's folder was left"
    own_stack.start()
    # The attempt that was given back does not count.
    own_stack.assert_delivered_once(own_stack.finished(job_id), attempt=1)


def test_everything_killed_and_started_again_loses_nothing(own_stack: Any, video: Path) -> None:
    own_stack.start()
    running, waiting = own_stack.post(video, steps=60), own_stack.post(video)
    own_stack.until_crafting(running)
    # All at once, the supervisor first so that it cannot start anything again.
    processes = own_stack.marked()
    own_stack.kill_supervisor()
    for process in processes:
        if process.is_running():
            process.kill()
    assert own_stack.left() == []
    own_stack.start()
    own_stack.assert_delivered_once(own_stack.finished(running), attempt=2)
    own_stack.assert_delivered_once(own_stack.finished(waiting), attempt=1)
    assert list((own_stack.folder / "data" / "work").iterdir()) == [], "a dead process's folder was left"


@pytest.mark.slow
def test_nothing_outlives_a_killed_supervisor(own_stack: Any, video: Path) -> None:
    own_stack.start()
    job_id = own_stack.post(video, steps=10_000)
    own_stack.until_crafting(job_id)
    own_stack.kill_supervisor()
    # At once, and not only after the old processes have gone.
    own_stack.start()
    own_stack.until_crafting(job_id)
    own_stack.client.cancel(job_id)
    assert own_stack.finished(job_id)["state"] == "cancelled"
    own_stack.interrupt()
    assert own_stack.left() == []


def test_a_port_or_a_folder_in_use_is_said_plainly(stack: Any, tmp_path: Path) -> None:
    said = refused_start(stack, "--port", str(stack.port), "--data-dir", str(tmp_path))
    assert f"port {stack.port}" in said
    assert "--port" in said
    said = refused_start(stack, "--port", "0", "--data-dir", str(stack.folder / "data"))
    assert "another multav service" in said
    assert "--data-dir" in said
