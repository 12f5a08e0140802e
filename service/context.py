"""What every route needs: settings, database, queue, room for files, and the door's limits on probes and check-ins."""

import threading
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from store.database import Database
from store.queue import Queue
from store.settings import Settings
from store.work_folders import WorkFolders


@dataclass(frozen=True)
class Context:
    """The parts of one running API process."""

    settings: Settings
    database: Database
    queue: Queue
    folders: WorkFolders
    probes: threading.BoundedSemaphore
    check_ins: threading.BoundedSemaphore


def context(request: Request) -> Context:
    """The context of the application that serves the request."""
    found: Context = request.app.state.context
    return found


InContext = Annotated[Context, Depends(context)]
