"""What a job made, fetched into a folder and listed in a terminal."""

from pathlib import Path

from rich.console import Console

from multav.client import Client


def fetch_files(client: Client, job_id: str, folder: Path, console: Console) -> None:
    """Write everything that the job made into `folder`, and print what is where."""
    show_files(client.download_all(job_id, folder), console)


def show_files(paths: dict[str, Path], console: Console) -> None:
    """Print paths by what they are for, in two columns."""
    width = max(map(len, paths), default=0)
    for role, path in paths.items():
        console.print(f"  {role:<{width}}  {path}", markup=False)
