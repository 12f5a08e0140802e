"""`multav models`: list, import, show and delete."""

import argparse
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from multav.client import Client, Json, ServiceProblem
from multav.job_display import print_rows

_FEW = 12
_OPTIONS: Final = {
    "/geometry/frames": "--frames",
    "/geometry/stride": "--stride",
    "/geometry/height": "--size",
    "/geometry/width": "--size",
    "/geometry/short_side": "--short-side",
    "/geometry/mean": "--mean",
    "/geometry/std": "--std",
    "/version": "--model-version",
    "/arguments": "--set",
    **{
        f"/{name}": f"--{name}"
        for name in ("name", "architecture", "classes", "description", "licence", "provenance")
    },
}
"""Which option says what a JSON pointer of the specification is about."""


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

        try:
            model = client.import_model(options.checkpoint, upload_spec(options), on_sent=on_sent)
        except ServiceProblem as problem:
            bars.update(bar, description="refused")
            raise _in_options(problem) from problem
        bars.update(bar, description="registered")
    return model


def _in_options(problem: ServiceProblem) -> ServiceProblem:
    """The refusal of a specification, a line for each option that it is about."""
    errors = problem.problem().get("errors")
    if not errors:
        return problem
    by_option: dict[str, str] = {}
    for error in errors:
        pointer = str(error["pointer"])
        option = _OPTIONS.get(pointer) or next(
            (name for start, name in _OPTIONS.items() if pointer.startswith(f"{start}/")), pointer
        )
        by_option.setdefault(option, str(error["detail"]))
    lines = "".join(f"\n  {option:<16}{detail}" for option, detail in by_option.items())
    return ServiceProblem(
        problem.http_status, {"detail": f"say more of the checkpoint, or otherwise:{lines}"}
    )


def _list(client: Client, console: Console) -> None:
    for model in client.models():
        mark = " (default)" if model["default"] else ""
        console.print(f"[bold]{escape(model['name'])}[/]{mark}  {escape(model['description'])}".rstrip())
        console.print(f"    {_network(model)}, {model['origin']}: {_sees(model['geometry'])}", markup=False)
        console.print(f"    {len(model['classes'])} classes: {_few(model['classes'])}", markup=False)


def show_model(model: Json, console: Console) -> None:
    """Print what is known of a model as a table."""
    geometry = model["geometry"]
    rows = {
        "model": model["name"] + (" (default)" if model["default"] else ""),
        "version, origin": f"{model['version']}, {model['origin']}",
        "network": _network(model),
        "parameters, MACs a clip": f"{_count(model['parameters'])}, {_count(model['macs'])}",
        "classes": f"{len(model['classes'])}: {_few(model['classes'])}",
        "sees": _sees(geometry),
        "normalises": f"pixels in [0, 1] by mean {_numbers(geometry['mean'])} and std {_numbers(geometry['std'])}",
        "accuracy": ", ".join(f"{name} {value:.1%}" for name, value in model["metrics"].items()),
        "description": model["description"],
        "licence": model["licence"] or "unknown",
        "provenance": model["provenance"] or "unknown",
        "SHA-256": model["sha256"],
        "made from": f"{model['source_format'] or 'a file'} {model['source_sha256'] or ''}"
        if model["source_sha256"] or model["source_format"]
        else "",
        "trained by job": model["training_job"] or "",
    }
    print_rows({name: escape(value) for name, value in rows.items() if value}, console)
    for assumption in model["assumed"]:
        console.print(f"[yellow]assumed:[/] {escape(assumption)}")


def _network(model: Json) -> str:
    """The architecture with its arguments."""
    arguments = ", ".join(f"{name}={value}" for name, value in model["arguments"].items())
    return f"{model['architecture']}({arguments})" if arguments else str(model["architecture"])


def _sees(geometry: Json) -> str:
    """What a clip is."""
    return (
        f"{geometry['frames']} frames, {geometry['stride']} apart, {geometry['height']}x{geometry['width']} of a "
        f"picture whose short side is {geometry['short_side']}"
    )


def _few(classes: list[str]) -> str:
    more = len(classes) - _FEW
    return ", ".join(classes[:_FEW]) + (f" and {more} more" if more > 0 else "")


def _count(number: int | None) -> str:
    return (
        "not counted"
        if number is None
        else f"{number:,}"
        if number < 1e5
        else f"{number / 1e6:.2f} M"
        if number < 1e9
        else f"{number / 1e9:.2f} G"
    )


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
