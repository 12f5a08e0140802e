"""Temporary folders of jobs, each marked with the process that uses it; those of dead processes are removed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WorkFolders:
    """Folders below `root`, one for each running job on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def open(self) -> Iterator[Path]:
        """A fresh folder, removed with everything in it when the block ends."""
        self._root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self._root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove_stale(self) -> None:
        """Remove the folders of processes that are gone."""
        if not self._root.is_dir():
            return
        for folder in self._root.iterdir():
            process = folder.name.partition("-")[0]
            if process.isdigit() and not Path("/proc", process).exists():
                shutil.rmtree(folder, ignore_errors=True)
