"""Where the hosts of a training meet: the one whose worker has the job leads, workers elsewhere join it."""

import json
import socket
import uuid
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from store.settings import Settings

GATHERING_SECONDS: Final = 600.0
"""For how long the hosts of a training wait until they are complete."""
_MOST_UNTIL_REACHED: Final = 60
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class Meeting:
    """`hosts` of them, at the port `port` of `leader`; `run` tells it from others that were held there."""

    run: str
    hosts: int
    leader: str
    port: int

    @classmethod
    def at(cls, address: str, hosts: int) -> Self:
        """A new one on this machine, which others reach as `address`."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
        return cls(uuid.uuid4().hex, hosts, address, port)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """What `told` has made a dictionary of."""
        return cls(**told)

    @property
    def place(self) -> str:
        """Where others reach it."""
        return f"{self.leader}:{self.port}"

    @property
    def told(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Host:
    """This machine at a meeting, where it waits up to `patience` seconds for the others."""

    meeting: Meeting
    own_address: str
    leads: bool
    patience: float

    @classmethod
    def read(cls, text: str) -> Self:
        """What `text` was written of."""
        told = json.loads(text)
        return cls(**told | {"meeting": Meeting.of(told["meeting"])})

    @property
    def text(self) -> str:
        """One argument of a command line."""
        return json.dumps(asdict(self))

    @property
    def arguments(self) -> list[str]:
        """What `torchrun` is told of it."""
        meeting, leads, patience = self.meeting, str(self.leads).lower(), round(self.patience)
        # The leader begins to listen within seconds: who waits longer for its port does not reach it.
        waits = f"join_timeout={patience},read_timeout={min(patience, _MOST_UNTIL_REACHED)}"
        return [
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={meeting.place}",
            f"--rdzv-id={meeting.run}",
            f"--rdzv-conf=is_host={leads},{waits},last_call_timeout=1",
            f"--nnodes={meeting.hosts}",
            f"--local-addr={self.own_address}",
        ]


def own_address(settings: Settings) -> str:
    """The name or address under which workers on other machines reach this one."""
    if settings.host_address:
        return settings.host_address
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return _LOOPBACK
    return name
