"""Starts the ranks of a training, and starts all again when one dies: `torchrun`, tied to the worker that wants it.

python -m worker.training_agent FOLDER DEVICES RESTARTS WORKER_PID
"""

import os
import sys
import traceback

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from worker.die_with_parent import die_with_parent
from worker.training_order import AGENT, RANKS_DIED


def main(folder: str, devices: str, restarts: str, worker: str) -> None:
    """Returns when all ranks have ended well; exits with `RANKS_DIED` when they died too often."""
    die_with_parent(int(worker))
    os.environ[AGENT] = str(os.getpid())
    arguments = [
        "--standalone",
        f"--nproc-per-node={devices}",
        f"--max-restarts={restarts}",
        "--monitor-interval=0.2",
        f"--log-dir={folder}/agent",
        "-m",
        "worker.training_rank",
        folder,
    ]
    try:
        run.main(arguments)
    except ChildFailedError:
        traceback.print_exc()
        sys.exit(RANKS_DIED)


if __name__ == "__main__":
    main(*sys.argv[1:])
