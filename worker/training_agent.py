"""Starts the ranks of a training, and starts all again when one dies: `torchrun`, tied to the worker that wants it.

python -m worker.training_agent FOLDER DEVICES RESTARTS WORKER_PID
"""

import os
import sys

from torch.distributed import run

from worker.die_with_parent import die_with_parent
from worker.training_order import AGENT


def main(folder: str, devices: str, restarts: str, worker: str) -> None:
    """Returns when all ranks have ended well; raises when they died too often."""
    die_with_parent(int(worker))
    os.environ[AGENT] = str(os.getpid())
    run.main(
        [
            "--standalone",
            f"--nproc-per-node={devices}",
            f"--max-restarts={restarts}",
            "--monitor-interval=0.2",
            f"--log-dir={folder}/agent",
            "-m",
            "worker.training_rank",
            folder,
        ]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
