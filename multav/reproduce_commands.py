"""`multav reproduce`: the paper's Table 1 with one command."""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from multav.client import Client, Json, ServiceProblem
from multav.errors import DependencyDown
from multav.reproduction.figures import figures
from multav.reproduction.measured import Findings
from multav.reproduction.own_service import own_service
from multav.reproduction.plan import PlannedModel, Scale, planned_models
from multav.reproduction.run import Standing, run
from multav.reproduction.scales import paper_scale, small_scale
from multav.reproduction.table import markdown

_TRAIN, _TEST, _KINETICS = "ucf101-split1-train", "ucf101-split1-test", "kinetics"
_TELLING: Final = 0.01
"""Share of the work that must be done before it says how long the rest takes."""


def run_reproduce(options: argparse.Namespace, console: Console) -> int:
    """Do what the options say; the exit code. Raises `ValueError` for options that do not go together."""
    _refuse(options)
    if options.dry_run:
        _show_plan(planned_models(_scale(options, _Prepared(_KINETICS))), console)
        return 0
    with ExitStack() as stack:
        url = options.server
        if url is None:
            # One thread each: side by side they are faster than one after the other on many threads.
            workers = str(options.workers or len(os.sched_getaffinity(0)))
            settings = {} if _has_gpu() and options.workers is None else {"MULTAV_CONCURRENCY": workers}
            if options.data is not None:
                settings["MULTAV_DATASETS_DIR"] = str(options.data.resolve())
            url = stack.enter_context(own_service(options.to / "service", settings))
        client = stack.enter_context(Client(url))
        try:
            return _made(client, options, url, console)
        except httpx.TransportError as error:
            raise DependencyDown(
                f"{url} does not answer any more ({error}); the same command goes on"
            ) from error


def _refuse(options: argparse.Namespace) -> None:
    """Raise `ValueError` for options that do not go together."""
    if options.data is not None:
        if options.kinetics is None:
            raise ValueError("--data needs --kinetics: the weights that every model starts from")
        if not options.data.is_dir():
            raise ValueError(f"{options.data} is no folder")
        if options.steps is not None or options.clips is not None:
            raise ValueError("--steps and --clips are of --small: at the paper's scale both are the paper's")
    elif options.kinetics is not None:
        raise ValueError("--kinetics goes with --data: the small models start from the shipped one")
    if options.workers is not None and options.server is not None:
        raise ValueError(
            "--workers is of a service of the command's own: the one of --server has its workers"
        )


def _made(client: Client, options: argparse.Namespace, url: str, console: Console) -> int:
    models = planned_models(_scale(options, _prepared(client, options)))
    console.print(
        f"{len(models)} models to train and audit on {escape(url)}; Ctrl-C stops, the same command goes on"
    )
    findings = _followed(client, models, console)
    path = _written(findings, options.to)
    console.print(path.read_text(encoding="utf-8"), markup=False)
    console.print(f"written to {path}", markup=False)
    for job in findings.failed:
        detail = (job["problem"] or {}).get("detail", "")
        console.print(f"[red]{job['kind']} {job['id']} {job['state']}[/] {escape(detail)}")
    if options.video is not None and not findings.failed:
        for figure in figures(client, models, options.video, options.to):
            console.print(f"written to {figure}", markup=False)
    return 1 if findings.failed else 0


@dataclass(frozen=True)
class _Prepared:
    """What a plan at the paper's scale begins with: names, and what is behind them, so that nothing else is meant."""

    kinetics: str
    kinetics_sha256: str | None = None
    train_sha256: str | None = None
    test_sha256: str | None = None


def _scale(options: argparse.Namespace, prepared: _Prepared) -> Scale:
    if options.small:
        sizes = {"steps": options.steps, "test_clips": options.clips}
        scale = small_scale(**{name: size for name, size in sizes.items() if size is not None})
    else:
        scale = paper_scale(
            prepared.kinetics,
            _TRAIN,
            _TEST,
            kinetics_sha256=prepared.kinetics_sha256,
            train_sha256=prepared.train_sha256,
            test_sha256=prepared.test_sha256,
        )
    return replace(scale, networks=options.networks, columns=options.columns)


def _prepared(client: Client, options: argparse.Namespace) -> _Prepared:
    """Register datasets and checkpoint that are not there yet. Raises `ValueError` where others have their names."""
    if options.small:
        return _Prepared("")
    root = str(options.data.resolve())
    found = {}
    for name, subset in ((_TRAIN, "train"), (_TEST, "test")):
        spec = {"name": name, "kind": "ucf101", "split": 1, "subset": subset, "root": root}
        found[name] = _once(partial(client.dataset, name), partial(client.add_dataset, spec))
        if not _is_the_end_of(Path(found[name]["root"] or "/"), Path(root)):
            raise ValueError(
                f"the service knows {name} from {found[name]['root']}, not from {root}: choose another --to, or delete "
                f"it there (multav datasets delete {name})"
            )
    model = _kinetics(client, options.kinetics)
    return _Prepared(model["name"], model["sha256"], found[_TRAIN]["sha256"], found[_TEST]["sha256"])


def _is_the_end_of(shown: Path, root: Path) -> bool:
    """Whether a service may mean `root` by `shown`: of folders below the one that it allows it shows the rest."""
    return shown == root or (
        not shown.is_absolute() and root.parts[len(root.parts) - len(shown.parts) :] == shown.parts
    )


def _kinetics(client: Client, name_or_file: str) -> Json:
    """The model that all start from: a registered one by its name, or a file, which is registered once."""
    file = Path(name_or_file)
    if not file.is_file():
        return client.model(name_or_file)
    model = _once(partial(client.model, _KINETICS), partial(client.import_model, file, {"name": _KINETICS}))
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if sha256 not in (model["source_sha256"], model["sha256"]):
        raise ValueError(
            f"the service knows another file than {file} as {_KINETICS!r}: choose another --to, or delete it there "
            f"(multav models delete {_KINETICS})"
        )
    return model


def _once(find: Callable[[], Json], make: Callable[[], Json]) -> Json:
    """What is there; where there is nothing, what is made."""
    try:
        return find()
    except ServiceProblem as problem:
        if problem.http_status != 404:
            raise
        return make()


def _followed(client: Client, models: tuple[PlannedModel, ...], console: Console) -> Findings:
    began = time.monotonic()
    at_first: list[float] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        bar = bars.add_task("training and auditing", total=1.0, counts="")

        def on_change(standing: Standing) -> None:
            at_first.append(standing.done)
            trained = sum(job["state"] == "succeeded" for job in standing.trainings.values())
            audited = sum(job["state"] == "succeeded" for job in standing.audits.values())
            counts = f"{trained} trained, {audited} audited of {len(models)}"
            if standing.failed:
                counts += f", {len(standing.failed)} failed"
            gained = standing.done - at_first[0]
            if gained > _TELLING:
                minutes = (time.monotonic() - began) / gained * (1 - standing.done) / 60
                counts += f", about {minutes:.0f} min left"
            bars.update(bar, completed=standing.done, counts=counts)

        return run(client, models, on_change=on_change)


def _written(findings: Findings, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table1.md"
    path.write_text(markdown(findings), encoding="utf-8")
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
        for each in findings.measured
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
