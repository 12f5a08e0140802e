"""`multav models`: list, import, show and delete."""

import argparse
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from multav.client import Client, Json

_FEW = 12


def run_models(client: Client, options: argparse.Namespace, console: Console) -> int:
    """Do what the action says; without one, list the models."""
    match options.action:
        case "import":
            show_model(_imported(client, options, console), console)
        case "show":
            show_model(client.model(options.name), console)
        case "delete":
            client.delete_model(options.name)
            console.print(f"deleted {escape(options.name)}")
        case _:
            _list(client, console)
    return 0


def upload_spec(options: argparse.Namespace) -> Json:
    """What the options say of the checkpoint; what was not given is left to the file and the service."""
    geometry: dict[str, Any] = {name: getattr(options, name) for name in ("frames", "stride", "mean", "std")}
    geometry |= {
        "height": options.size,
        "width": options.size,
        "short_side": options.short_side or options.size,
    }
    names = ("name", "version", "architecture", "classes", "description", "licence", "provenance")
    spec = {name: getattr(options, name) for name in names}
    spec |= {"arguments": dict(options.arguments) or None, "geometry": _given(geometry) or None}
    return _given(spec)


def _given(values: Json) -> Json:
    return {name: value for name, value in values.items() if value is not None}


def _imported(client: Client, options: argparse.Namespace, console: Console) -> Json:
    size = options.checkpoint.stat().st_size
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bars:
        bar = bars.add_task("uploading", total=size)

        def on_sent(sent: int) -> None:
            stage = "uploading" if sent < size else "the service reads and tries it"
            bars.update(bar, completed=sent, description=stage)

        model = client.import_model(options.checkpoint, upload_spec(options), on_sent=on_sent)
        bars.update(bar, description="registered")
    return model


def _list(client: Client, console: Console) -> None:
    for model in client.models():
        mark = " (default)" if model["default"] else ""
        console.print(f"[bold]{escape(model['name'])}[/]{mark}  {escape(model['description'])}")
        console.print(f"    classes: {_few(model['classes'])}", markup=False)


def show_model(model: Json, console: Console) -> None:
    """Print what is known of a model as a table."""
    geometry = model["geometry"]
    rows = {
        "model": model["name"] + (" (default)" if model["default"] else ""),
        "version, origin": f"{model['version']}, {model['origin']}",
        "network": f"{model['architecture']} {model['arguments'] or ''}",
        "parameters, MACs a clip": f"{_count(model['parameters'])}, {_count(model['macs'])}",
        "classes": f"{len(model['classes'])}: {_few(model['classes'])}",
        "sees": f"{geometry['frames']} frames, {geometry['stride']} apart, {geometry['height']}x{geometry['width']} "
        f"of a picture whose short side is {geometry['short_side']}",
        "normalises": f"pixels in [0, 1] by mean {_numbers(geometry['mean'])} and std {_numbers(geometry['std'])}",
        "clean accuracy": ", ".join(f"{name} {value:.1%}" for name, value in model["metrics"].items()),
        "description": model["description"],
        "licence": model["licence"] or "unknown",
        "provenance": model["provenance"] or "unknown",
        "SHA-256": model["sha256"],
        "made from": f"{model['source_format'] or 'a file'} {model['source_sha256'] or ''}"
        if model["source_sha256"] or model["source_format"]
        else "",
        "trained by job": model["training_job"] or "",
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows.items():
        if value:
            table.add_row(name, escape(value))
    console.print(table, soft_wrap=False)
    for assumption in model["assumed"]:
        console.print(f"[yellow]assumed:[/] {escape(assumption)}")


def _few(classes: list[str]) -> str:
    more = len(classes) - _FEW
    return ", ".join(classes[:_FEW]) + (f" and {more} more" if more > 0 else "")


def _count(number: int | None) -> str:
    return (
        "not counted"
        if number is None
        else f"{number / 1e6:.2f} M"
        if number < 1e9
        else f"{number / 1e9:.2f} G"
    )


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
