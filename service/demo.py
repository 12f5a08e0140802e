"""`make demo`: start the whole service, attack the sample video over HTTP, show what came of it, stop.

python -m service.demo [--video FILE] [--output FOLDER] [--spec JSON]
"""

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from multav.attack_request import AttackRequest
from multav.client import Client, ServiceProblem
from multav.errors import InvalidSpec
from multav.job_display import follow, show_failure, show_result
from multav.local_file import existing_file, usable_folder
from multav.terminal import terminal

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "bigbuckbunny.mp4"
_START_SECONDS = 60
_STOP_SECONDS = 20


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 when the delivered video fools the model, 1 when not, 2 for wrong options."""
    options = _options(arguments)
    console = terminal()
    try:
        video, folder = existing_file(options.video), usable_folder(options.output)
        spec = _checked_spec(options.spec)
    except (OSError, InvalidSpec) as error:
        terminal(stderr=True).print(f"[red]refused:[/] {escape(str(error))}")
        return 2
    started = time.monotonic()
    try:
        with _service(console) as address, Client(address) as client:
            console.print(f"service ready on {address} after {time.monotonic() - started:.1f} s")
            posted = time.monotonic()
            job = client.attack(video, spec)
            size = video.stat().st_size / 1e6
            console.print(
                f"POST /v1/attacks  {video.name} ({size:.2f} MB)  ->  job {job['id']}", markup=False
            )
            job = follow(client, job, console)
            took = time.monotonic() - posted
            if job["state"] != "succeeded":
                show_failure(job, console)
                return 1
            files = client.download_all(job["id"], folder)
        show_result(job["result"], console)
        console.print(
            f"{took:.1f} s from POST to result, {job['result']['seconds']:.1f} of them in the engine"
        )
        for role, path in files.items():
            console.print(f"  {role:<22} {path}", markup=False)
    except ServiceProblem as problem:
        console.print(f"[red]refused:[/] {escape(problem.detail)}")
        return 1
    console.print(f"every process stopped; {time.monotonic() - started:.1f} s in all")
    return 0 if job["result"]["success_delivered"] else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m service.demo",
        description="Attack one video through the real service and show the result.",
    )
    parser.add_argument(
        "--video", type=Path, default=SAMPLE, metavar="FILE", help="the video to attack (default: the sample)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="FOLDER",
        help="where the files go; made if it is not there (default %(default)s)",
    )
    parser.add_argument(
        "--spec",
        default="{}",
        metavar="JSON",
        help='attack request, e.g. \'{"attack": {"kind": "pgd-linf"}}\' (default: {}, every default)',
    )
    return parser.parse_args(arguments)


def _checked_spec(text: str) -> dict[str, Any]:
    """The attack request in `text`. Raises `InvalidSpec` when it is not JSON, or not a request."""
    try:
        spec = json.loads(text)
    except ValueError as error:
        raise InvalidSpec(f"--spec is not JSON: {error}") from error
    AttackRequest.parse(spec)
    checked: dict[str, Any] = spec
    return checked


@contextmanager
def _service(console: Console) -> Iterator[str]:
    """The embedded service on a free port with a data folder of its own; stopped and removed at the end."""
    port = _free_port()
    folder = Path(tempfile.mkdtemp(prefix="multav-demo-"))
    log = folder / "service.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "--port", str(port), "--data-dir", str(folder / "data")],
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(address, process, log)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            console.print("[red]the service did not stop in time; ending it[/]")
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{address}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the service did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
