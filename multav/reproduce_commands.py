"""`multav reproduce`: the paper's Table 1 with one command."""

import argparse
import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from multav.client import Client, Json, ServiceProblem
from multav.reproduction.figures import figures
from multav.reproduction.own_service import own_service
from multav.reproduction.plan import PlannedModel, Scale, planned_models
from multav.reproduction.run import Measured, Standing, run
from multav.reproduction.scales import paper_scale, small_scale
from multav.reproduction.table import markdown

_TRAIN, _TEST, _KINETICS = "ucf101-split1-train", "ucf101-split1-test", "kinetics"


def run_reproduce(options: argparse.Namespace, console: Console) -> int:
    """Do what the options say; the exit code. Raises `ValueError` for options that do not go together."""
    if options.data is not None and options.kinetics is None:
        raise ValueError("--data needs --kinetics: the weights that every model starts from")
    if options.data is not None and not options.data.is_dir():
        raise ValueError(f"{options.data} is no folder")
    if options.dry_run:
        _show_plan(planned_models(_scale(options, _KINETICS)), console)
        return 0
    with ExitStack() as stack:
        url = options.server
        if url is None:
            # One thread each: side by side they are faster than one after the other on many threads.
            workers = str(options.workers or len(os.sched_getaffinity(0)))
            settings = {} if _has_gpu() and not options.workers else {"MULTAV_CONCURRENCY": workers}
            if options.data is not None:
                settings["MULTAV_DATASETS_DIR"] = str(options.data.resolve())
            url = stack.enter_context(own_service(options.to / "service", settings))
        client = stack.enter_context(Client(url))
        scale = _scale(options, _prepared(client, options))
        models = planned_models(scale)
        console.print(
            f"{len(models)} models to train and audit on {escape(url)}; Ctrl-C stops, the same command goes on"
        )
        measured = _followed(client, models, console)
        path = _written(measured, options.to)
        console.print(path.read_text(encoding="utf-8"), markup=False)
        console.print(f"written to {path}", markup=False)
        if options.video is not None:
            for figure in figures(client, models, options.video, options.to):
                console.print(f"written to {figure}", markup=False)
    return 0


def _scale(options: argparse.Namespace, kinetics: str) -> Scale:
    if options.small:
        sizes = {"steps": options.steps, "test_clips": options.clips}
        scale = small_scale(**{name: size for name, size in sizes.items() if size is not None})
    else:
        scale = paper_scale(kinetics, _TRAIN, _TEST)
    return replace(scale, networks=options.networks, columns=options.columns)


def _prepared(client: Client, options: argparse.Namespace) -> str:
    """Register datasets and checkpoint that are not there yet; the name of the model that all start from."""
    if options.small:
        return ""
    for name, subset in ((_TRAIN, "train"), (_TEST, "test")):
        _once(
            lambda name=name: client.dataset(name),
            lambda name=name, subset=subset: client.add_dataset(
                {
                    "name": name,
                    "kind": "ucf101",
                    "split": 1,
                    "subset": subset,
                    "root": str(options.data.resolve()),
                }
            ),
        )
    file = Path(options.kinetics)
    if not file.is_file():
        return str(client.model(options.kinetics)["name"])
    return str(
        _once(lambda: client.model(_KINETICS), lambda: client.import_model(file, {"name": _KINETICS}))["name"]
    )


def _once(find, make) -> Json:  # type: ignore[no-untyped-def]
    try:
        found: Json = find()
    except ServiceProblem as problem:
        if problem.http_status != 404:
            raise
        found = make()
    return found


def _followed(client: Client, models: tuple[PlannedModel, ...], console: Console) -> list[Measured]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        bar = bars.add_task("training and auditing", total=1.0, counts="")

        def on_change(standing: Standing) -> None:
            trained = sum(job["state"] == "succeeded" for job in standing.trainings.values())
            audited = sum(job["state"] == "succeeded" for job in standing.audits.values())
            counts = f"{trained} trained, {audited} audited of {len(models)}"
            bars.update(bar, completed=standing.done, counts=counts)

        return run(client, models, on_change=on_change)


def _written(measured: list[Measured], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table1.md"
    path.write_text(markdown(measured), encoding="utf-8")
    record = [
        {
            "model": each.planned.name,
            "row": each.planned.row,
            "column": each.planned.column,
            "seed": each.planned.seed,
            "right": {cell: int(hits.sum()) for cell, hits in each.right.items()},
            "clips": {cell: int(hits.size) for cell, hits in each.right.items()},
            "training": {
                name: each.training[name] for name in ("id", "spec", "result", "started_at", "finished_at")
            },
            "audit": {name: each.audit[name] for name in ("id", "started_at", "finished_at")},
        }
        for each in measured
    ]
    (folder / "table1.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def _show_plan(models: tuple[PlannedModel, ...], console: Console) -> None:
    for model in models:
        against = "" if model.attack is None else json.dumps(model.attack)
        console.print(f"{model.name:<52} {against}", markup=False, soft_wrap=True)
    cells = sum(1 + 2 * len(model.audited_columns) for model in models)
    console.print(f"{len(models)} trainings, {len(models)} audits of {cells} cells in all")


def _has_gpu() -> bool:
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))
