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
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from multav.client import Client, Json, ServiceProblem

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "bigbuckbunny.mp4"
_START_SECONDS = 60
_STOP_SECONDS = 20


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 when the delivered video fools the model."""
    options = _options(arguments)
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        spec = json.loads(options.spec)
        with _service(console) as address, Client(address) as client:
            console.print(f"service ready on {address} after {time.monotonic() - started:.1f} s")
            posted = time.monotonic()
            job = _attack(client, options.video, spec, console)
            took = time.monotonic() - posted
            if job["state"] != "succeeded":
                console.print(f"[red]the job {job['state']}:[/] {(job['problem'] or {}).get('detail', '')}")
                return 1
            files = _fetch(client, job["id"], options.output)
        _show(console, job["result"], files, took)
    except ServiceProblem as problem:
        console.print(f"[red]refused:[/] {problem.detail}")
        return 1
    console.print(f"every process stopped; {time.monotonic() - started:.1f} s in all")
    return 0 if job["result"]["success_delivered"] else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m service.demo",
        description="Attack one video through the real service and show the result.",
    )
    parser.add_argument(
        "--video", type=Path, default=SAMPLE, help="the video to attack (default: the sample)"
    )
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the files go")
    parser.add_argument(
        "--spec",
        default="{}",
        metavar="JSON",
        help='attack request, e.g. \'{"attack": {"kind": "pgd-linf"}}\'',
    )
    return parser.parse_args(arguments)


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


def _attack(client: Client, video: Path, spec: dict[str, Any], console: Console) -> Json:
    """Post the video and follow the job with a progress bar."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        console=console,
    ) as bars:
        job = client.attack(video, spec)
        console.print(
            f"POST /v1/attacks  {video.name} ({video.stat().st_size / 1e6:.2f} MB)  ->  job {job['id']}"
        )
        bar = bars.add_task("queued", total=None, counts="")

        def on_change(now: Json) -> None:
            progress = now["progress"]
            crafting = not progress["total"] or progress["done"] < progress["total"]
            stage = (
                now["state"]
                if now["state"] != "running"
                else "crafting"
                if crafting
                else "encoding and verifying"
            )
            counts = f"{progress['done'] or 0}/{progress['total'] or '?'} windows"
            if progress["eta_seconds"]:
                counts += f", about {progress['eta_seconds']:.0f} s left"
            bars.update(
                bar,
                description=stage,
                completed=progress["done"] or 0,
                total=progress["total"] or None,
                counts=counts,
            )

        return client.wait(job["id"], on_change)


def _fetch(client: Client, job_id: str, folder: Path) -> dict[str, Path]:
    """Download every artifact; the paths by role."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for artifact in client.artifacts(job_id):
        files[artifact["role"]] = folder / artifact["filename"]
        client.download(artifact["id"], files[artifact["role"]])
    return files


def _show(console: Console, result: Json, files: dict[str, Path], took: float) -> None:
    """Print what happened as a table."""
    change, delivery = result["perturbation"], result["delivery"]
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("clean video", _said(result["clean"]))
    table.add_row("adversarial pictures", _said(result["adversarial"]))
    table.add_row("delivered file, decoded again", _said(result["delivered"]))
    table.add_row(
        "fools the model",
        f"{_yes(result['success'])} as crafted, {_yes(result['success_delivered'])} as delivered",
    )
    table.add_row(
        "bound respected",
        f"{_yes(change['bound_respected'])} on the crafted 8-bit pictures (largest ratio {change['ratio_max']:.4f})",
    )
    table.add_row("PSNR, SSIM of the attack", f"{change['psnr_db']:.1f} dB, {change['ssim']:.4f}")
    rungs = ", ".join(_rung(rung) for rung in delivery["tried"])
    table.add_row("file", f"{delivery['codec']}, {delivery['bytes'] / 1e6:.2f} MB; tried {rungs}")
    table.add_row("sound", "carried over untouched" if delivery["audio"]["copied"] else "none")
    table.add_row("seconds", f"{took:.1f} from POST to result, {result['seconds']:.1f} of them in the engine")
    console.print(table)
    for role, path in files.items():
        console.print(f"  {role:<18} {path}")


def _said(prediction: Json) -> str:
    return f"{prediction['label']} ({prediction['confidence']:.0%})"


def _rung(rung: Json) -> str:
    name = rung["output"] if rung["crf"] is None else f"{rung['output']} crf {rung['crf']}"
    return f"{name}: {rung['outcome']}"


def _yes(value: bool) -> str:
    return "[green]yes[/]" if value else "[red]no[/]"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
