"""What every route needs: settings, database, queue, room for files, and the door's limits on probes and check-ins."""

import threading
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from multav.errors import MalformedRequest, NotFound
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


def refuse_nul(request: Request) -> None:
    """No name here holds a NUL, and PostgreSQL does not even compare with a text that does.

    Raises `NotFound` for one in the path, and `MalformedRequest` for one in the query.
    """
    if "\0" in request.url.path or "%00" in request.url.path:
        raise NotFound("there is nothing whose name holds a NUL")
    if "%00" in request.url.query:
        raise MalformedRequest("the query holds a NUL (%00): leave it out")


InContext = Annotated[Context, Depends(context)]
