"""Starts the ranks of a training, and starts all again when one dies: `torchrun`, tied to the worker that wants it.

python -m worker.training_agent FOLDER DEVICES RESTARTS WORKER_PID [HOST]

DEVICES are those of this machine; HOST (`worker.meeting.Host`) says where it meets other machines of the training.
"""

import os
import sys
import traceback

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError, RendezvousTimeoutError

from multav.die_with_parent import die_with_parent
from worker.meeting import Host
from worker.training_order import AGENT, NOBODY_CAME, NOT_REACHED, RANKS_DIED


def main(folder: str, devices: str, restarts: str, worker: str, host: str | None = None) -> None:
    """Returns when all ranks have ended well; exits with `RANKS_DIED` when they died too often, with `NOBODY_CAME` when
    the hosts of the meeting were not complete in time, and with `NOT_REACHED` when there is no port where they meet.
    """
    die_with_parent(int(worker))
    os.environ[AGENT] = str(os.getpid())
    # A store of their own for each start of the ranks: hosts do not count their starts alike.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    arguments = [
        *(["--standalone"] if host is None else Host.read(host).arguments),
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
    except RendezvousTimeoutError:
        traceback.print_exc()
        sys.exit(NOBODY_CAME)
    except RendezvousConnectionError:
        traceback.print_exc()
        sys.exit(NOT_REACHED)


if __name__ == "__main__":
    main(*sys.argv[1:])
