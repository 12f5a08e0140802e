"""`multav train`: post a training, follow its curve, show what came of it."""

import argparse
from typing import Final

from rich.console import Console
from rich.markup import escape

from multav.byte_count import in_bytes
from multav.client import Client, Json
from multav.duration import in_words
from multav.exit_codes import INTERRUPTED
from multav.fetched_files import fetch_files
from multav.job_display import follow, print_rows, show_failure
from multav.training_options import training_spec

_LINES: Final = 20
"""Of a curve, beside the looks."""
_FEW: Final = 10


def run_train(client: Client, options: argparse.Namespace, console: Console) -> int:
    """Do what the options say; the exit code. Raises `OSError` and `ValueError` for options that cannot be followed."""
    follows = options.wait or options.to is not None
    if options.dry_run and follows:
        raise ValueError(
            "--dry-run starts no training: there is nothing to follow with --wait, or to fetch with --to"
        )
    spec = training_spec(options)
    if options.dry_run:
        show_training_estimate(client.estimate_training(spec), console)
        return 0
    job = client.train(spec)
    console.print(f"training {job['id']}, model {job['spec']['name']}", markup=False)
    if not follows:
        console.print(
            f"`multav wait {job['id']}` follows it, `multav pause {job['id']}` lets it rest, `multav cancel "
            f"{job['id']}` ends it",
            markup=False,
        )
        return 0
    try:
        job = follow_training(client, job, console)
    except KeyboardInterrupt:
        console.print(
            f"the training goes on: `multav wait {job['id']}` follows it, `multav cancel {job['id']}` ends it",
            markup=False,
        )
        return INTERRUPTED
    if job["state"] != "succeeded":
        show_failure(job, console)
        return 1
    show_training(job["result"], console)
    if options.to is not None:
        fetch_files(client, job["id"], options.to, console)
    return 0


def follow_training(client: Client, job: Json, console: Console) -> Json:
    """Show the training's progress and its curve until it has ended; the job as it ended."""
    cursor: str | None = None
    shown = -1

    def on_change(now: Json) -> None:
        nonlocal cursor, shown
        points, cursor = client.curve_after(job["id"], cursor)
        total = now["progress"]["total"] or 0
        for point in points:
            share = point["step"] * _LINES // total if total else 0
            if point["series"] == "look" or share > shown:
                shown = max(shown, share)
                console.print(_line(point), markup=False)

    return follow(client, job, console, on_change)


def show_training_estimate(cost: Json, console: Console) -> None:
    """Print what a training would cost."""
    seconds = "not known" if cost["seconds"] is None else in_words(cost["seconds"])
    rows = {
        "videos": f"{cost['train_clips']} to train on, {cost['validation_clips']} to look at",
        "steps": f"{cost['steps']:,}, {cost['steps_per_epoch']:,} to an epoch; {cost['looks']} looks",
        "gradients at most": f"{cost['gradients']:,}, and {cost['predictions']:,} predictions",
        "time at most": f"{seconds}; {cost['workers']} {'worker is' if cost['workers'] == 1 else 'workers are'} there",
        "memory": f"about {in_bytes(cost['memory_bytes'])}, in pieces if there is less",
    }
    print_rows(rows, console)
    for remark in cost["remarks"]:
        console.print(f"[yellow]{escape(remark)}[/]")


def show_training(result: Json, console: Console) -> None:
    """Print what a training made."""
    chosen = result["chosen"]
    rows = {
        "model": f"[bold]{escape(result['model'])}[/] ({result['model_sha256'][:12]})",
        "trained": f"{result['steps']} steps, {result['epochs']:.3g} epochs, {in_words(result['seconds'])}"
        + (", stopped early" if result["stopped_early"] else ""),
        "checkpoint": escape(f"step {chosen['step']}, chosen on {chosen['on']}"),
        "validation": _accuracies(result["clean_accuracy"], result["robust_accuracy"]),
        "training clips": _accuracies(result["train_clean_accuracy"], result["train_robust_accuracy"]),
    }
    if result["audit"] is not None:
        rows["audit"] = (
            f"job {result['audit']}; `multav wait {result['audit']} --to FOLDER` fetches its report"
        )
    print_rows(rows, console)
    for bad in result["bad_videos"][:_FEW]:
        console.print(f"[yellow]no clip of {escape(bad['video'])}:[/] {escape(bad['problem'])}")
    for remark in result["remarks"]:
        console.print(f"[yellow]{escape(remark)}[/]")


def _line(point: Json) -> str:
    """A point of the curve."""
    at = f"step {point['step']:>7}  epoch {point['epoch']:7.2f}"
    if point["series"] == "step":
        return f"{at}  loss {_number(point['loss'], '.4f')}  accuracy {_number(point['accuracy'], '.1%')}"
    best = "  best so far" if point["best"] else ""
    return f"{at}  validation {_accuracies(point['clean_accuracy'], point['robust_accuracy'])}{best}"


def _accuracies(clean: float | None, robust: float | None) -> str:
    under = "" if robust is None else f", {robust:.1%} under attack"
    return f"{_number(clean, '.1%')} clean{under}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
