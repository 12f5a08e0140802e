"""The `multav` command: a client of the service."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from multav.audit_commands import run_audit, show_audit
from multav.cli_options import default_server, parser
from multav.client import Client, ServiceProblem
from multav.dataset_commands import run_datasets, show_scan
from multav.errors import MultavError
from multav.exit_codes import INTERRUPTED
from multav.fetched_files import fetch_files, show_files
from multav.job_display import follow, show_failure, show_result
from multav.local_file import existing_file, usable_folder
from multav.model_commands import run_models
from multav.terminal import terminal
from multav.training_commands import follow_training, run_train, show_training


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code, as the help of each command says."""
    options = parser().parse_args(arguments)
    errors = terminal(stderr=True)
    server = options.server or default_server()
    try:
        if options.command == "reproduce":
            return _reproduce(options, terminal())
        with Client(server) as client:
            return _RUN[options.command](client, options, terminal())
    except _WrongPath as error:
        errors.print(f"[red]{escape(str(error))}[/]")
        return 2
    except ServiceProblem as problem:
        errors.print(f"[red]refused:[/] {escape(problem.detail)}")
        return 1
    except MultavError as error:
        errors.print(f"[red]{escape(error.detail)}[/]")
        return 1
    except httpx.TransportError as error:
        errors.print(
            f"[red]no answer from {escape(server)}[/] ({escape(str(error))}): is the service running? "
            "`make up` starts it"
        )
        return 1
    except UnicodeEncodeError:
        errors.print("[red]an argument is no text:[/] it holds bytes that are not UTF-8")
        return 2
    except OSError as error:
        errors.print(f"[red]a file could not be read or written:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


class _WrongPath(Exception):
    """A path on the command line cannot be what it is given for."""


def _spec(options: argparse.Namespace) -> dict[str, Any]:
    """The request that the options stand for; what was not given is left to the service's defaults."""
    attack = dict(options.settings)
    attack |= _given(options, "epsilon", "step_size", "steps", "targeted", "random_start")
    spec = _given(options, "model", "label", "domain", "coverage", "output", "crf", "bits")
    spec |= _given(options, "seed", "precision", "tensor", "features", "channel", "channel_crf")
    if attack or options.kind:
        spec["attack"] = {"kind": options.kind or "multav-linf", **attack}
    return spec


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _attack(client: Client, options: argparse.Namespace, console: Console) -> int:
    try:
        video, folder = existing_file(options.video), usable_folder(options.to)
    except OSError as error:
        raise _WrongPath(error) from error
    job = client.attack(video, _spec(options))
    console.print(f"job {job['id']}")
    try:
        job = follow(client, job, console)
    except KeyboardInterrupt:
        client.cancel(job["id"])
        console.print("cancelled")
        return INTERRUPTED
    return _ended(client, job, folder, console)


def _ended(client: Client, job: dict[str, Any], folder: Path, console: Console) -> int:
    if job["state"] != "succeeded":
        show_failure(job, console)
        return 1
    show_result(job["result"], console)
    files = client.download_all(job["id"], folder)
    files["result"] = _save_result(job, files["adversarial-video"])
    show_files(files, console)
    # A video that the model misjudged before is no success of the attack.
    return 0 if job["result"]["success_delivered"] and not job["result"].get("success_clean") else 3


def _save_result(job: dict[str, Any], video: Path) -> Path:
    """Write the job, with its specification and figures, beside its video."""
    path = video.with_name(f"{video.stem}.json")
    path.write_text(json.dumps(job, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _job(client: Client, options: argparse.Namespace, _: Console) -> int:
    print(json.dumps(client.job(options.job), indent=2, ensure_ascii=False))
    return 0


def _wait(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = client.job(options.job)
    job = (follow_training if job["kind"] == "training" else follow)(client, job, console)
    if job["state"] != "succeeded":
        show_failure(job, console)
        _fetch_what_is_left(client, job, options.to, console)
        return 1
    _SHOW[job["kind"]](job["result"], console)
    if options.to is not None:
        fetch_files(client, job["id"], options.to, console)
    verdicts = job["result"].get("verdicts", {}).values() if job["kind"] == "audit" else ()
    return 0 if all(each["verdict"] == "robust" for each in verdicts) else 3


def _fetch_what_is_left(client: Client, job: dict[str, Any], folder: Path | None, console: Console) -> None:
    """What a job made before it ended without success, as a training its last checkpoint."""
    if job["artifacts"] and folder is not None:
        fetch_files(client, job["id"], folder, console)
    elif job["artifacts"]:
        left = ", ".join(artifact["role"] for artifact in job["artifacts"])
        console.print(f"it left {left}: `multav wait {job['id']} --to FOLDER` fetches that", markup=False)


def _audit(client: Client, options: argparse.Namespace, console: Console) -> int:
    try:
        folder = usable_folder(options.to)
        if not options.dry_run:
            folder.mkdir(parents=True, exist_ok=True)
        for path in (options.spec, options.from_manifest):
            if path is not None:
                existing_file(path)
        return run_audit(client, options, console)
    except (OSError, ValueError) as error:
        raise _WrongPath(error) from error


def _train(client: Client, options: argparse.Namespace, console: Console) -> int:
    try:
        if options.to is not None:
            usable_folder(options.to)
        if options.spec is not None:
            existing_file(options.spec)
        return run_train(client, options, console)
    except (OSError, ValueError) as error:
        raise _WrongPath(error) from error


def _reproduce(options: argparse.Namespace, console: Console) -> int:
    """Not on a given client: it may start a service of its own."""
    from multav.reproduce_commands import run_reproduce  # only who makes the table waits for its statistics

    try:
        folder = usable_folder(options.to)
        if not options.dry_run:
            folder.mkdir(parents=True, exist_ok=True)
        if options.video is not None:
            existing_file(options.video)
        return run_reproduce(options, console)
    except (OSError, ValueError) as error:
        raise _WrongPath(error) from error


def _datasets(client: Client, options: argparse.Namespace, console: Console) -> int:
    if options.action == "add" and options.archive is not None:
        try:
            existing_file(options.archive)
        except OSError as error:
            raise _WrongPath(error) from error
    return run_datasets(client, options, console)


def _pause(client: Client, options: argparse.Namespace, console: Console) -> int:
    client.pause(options.job)
    console.print(f"paused; `multav resume {options.job}` lets it go on")
    return 0


def _resume(client: Client, options: argparse.Namespace, console: Console) -> int:
    console.print(str(client.resume(options.job)["state"]))
    return 0


def _cancel(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = client.cancel(options.job)
    console.print("asked to stop" if job["state"] == "running" else job["state"])
    return 0


def _kinds(client: Client, _: argparse.Namespace, console: Console) -> int:
    for kind in client.attack_kinds():
        console.print(f"[bold]{escape(kind['kind'])}[/]  {escape(kind['meaning'])}")
        console.print(f"    {kind['equation']}", markup=False)
        console.print(f"    {kind['source']}; defaults {json.dumps(kind['defaults'])}", markup=False)
    return 0


def _models(client: Client, options: argparse.Namespace, console: Console) -> int:
    if options.action == "import":
        try:
            existing_file(options.checkpoint)
        except OSError as error:
            raise _WrongPath(error) from error
    return run_models(client, options, console)


_SHOW: dict[str, Callable[[dict[str, Any], Console], None]] = {
    "attack": show_result,
    "audit": show_audit,
    "scan": show_scan,
    "training": show_training,
}
_RUN: dict[str, Callable[[Client, argparse.Namespace, Console], int]] = {
    "attack": _attack,
    "job": _job,
    "wait": _wait,
    "cancel": _cancel,
    "pause": _pause,
    "resume": _resume,
    "audit": _audit,
    "train": _train,
    "datasets": _datasets,
    "kinds": _kinds,
    "models": _models,
}


if __name__ == "__main__":
    sys.exit(main())
