"""`multav datasets`: list, add, show and forget the labelled videos that audits are run on."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from multav.client import Client, Json
from multav.datasets.catalogue import DATASETS
from multav.job_display import follow, print_rows, show_failure
from multav.name_value import setting

Command = Callable[[Any, str, str, str], argparse.ArgumentParser]
_FEW = 12
_EPILOG = """\
examples:
  multav datasets add ucf101-test-1 --kind ucf101 --root UCF101 --set split=1 --set subset=test
  multav datasets add mine --kind class-folder --archive videos.zip
  multav datasets add small --kind synthetic --set clips=100

--root is a folder below the one that the service's operator allows (MULTAV_DATASETS_DIR); an archive is uploaded.
"""


def add_datasets(datasets: argparse.ArgumentParser, command: Command) -> None:
    """Give the parser of `multav datasets` its actions; `command` makes the parser of one."""
    actions = datasets.add_subparsers(
        metavar="ACTION", dest="action", help="add, show, scan or delete; without one the datasets are listed"
    )
    add = command(
        actions,
        "add",
        "register a dataset",
        "Have the service list labelled videos, and register them by a name.",
    )
    add.epilog = _EPILOG
    add.formatter_class = argparse.RawDescriptionHelpFormatter
    add.add_argument("name", metavar="NAME", help="what audits will call it")
    kinds = "; ".join(f"{kind}: {spec.meaning}" for kind, spec in DATASETS.items())
    add.add_argument("--kind", required=True, choices=list(DATASETS), help=kinds.replace("%", "%%"))
    where = add.add_mutually_exclusive_group()
    where.add_argument("--root", metavar="FOLDER", help="folder of the videos, as the service sees it")
    where.add_argument(
        "--archive", type=Path, metavar="FILE", help="zip or tar of the videos, to be uploaded"
    )
    add.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=setting,
        metavar="NAME=VALUE",
        help='a field of the kind, as JSON: split=1, classes=["walk","run"] (docs/datasets.md); repeatable',
    )
    for name, text, description in (
        ("show", "show a dataset", "Show everything that is known of a dataset."),
        (
            "scan",
            "look at every video",
            "Decode and hash every video; name what is corrupt, missing or there twice (exit code 3 then).",
        ),
        ("delete", "forget a dataset", "Forget a dataset that no job uses. Files in a folder stay."),
    ):
        command(actions, name, text, description).add_argument(
            "name", metavar="NAME", help="a registered dataset, one of `multav datasets`"
        )


def run_datasets(client: Client, options: argparse.Namespace, console: Console) -> int:
    """Do what the action says; without one, list the datasets."""
    match options.action:
        case "add":
            spec = {"name": options.name, "kind": options.kind, **dict(options.settings)}
            if options.root is not None:
                spec["root"] = options.root
            show_dataset(client.add_dataset(spec, options.archive), console)
        case "show":
            show_dataset(client.dataset(options.name), console)
        case "scan":
            return _scan(client, options.name, console)
        case "delete":
            client.delete_dataset(options.name)
            console.print(f"forgot {escape(options.name)}")
        case _:
            for dataset in client.datasets():
                console.print(
                    f"[bold]{escape(dataset['name'])}[/]  {dataset['spec']['kind']}, {dataset['origin']}: "
                    f"{dataset['videos']} videos of {len(dataset['classes'])} classes"
                )
    return 0


def _scan(client: Client, name: str, console: Console) -> int:
    job = follow(client, client.scan_dataset(name), console)
    if job["state"] != "succeeded":
        show_failure(job, console)
        return 1
    show_scan(job["result"], console)
    console.print(f"`multav job {job['id']}` lists the addresses of its manifest")
    return 0 if job["result"]["counts"]["ok"] == sum(job["result"]["counts"].values()) else 3


def show_scan(result: Json, console: Console) -> None:
    """Print what a scan found."""
    console.print(", ".join(f"{count} {status}" for status, count in result["counts"].items()))
    for video in result["wrong"]:
        console.print(f"[yellow]{video['status']}:[/] {escape(video['name'])} {escape(video['detail'])}")
    for name in result["not_there"]:
        console.print(f"[yellow]not there:[/] {escape(name)}")
    for duplicate in result["duplicates"]:
        kind = "[red]the same video in two classes[/]" if duplicate["straddles"] else "[yellow]there twice[/]"
        console.print(f"{kind}: {escape(', '.join(duplicate['names']))}")
    for remark in result["remarks"]:
        console.print(f"[yellow]remark:[/] {escape(remark)}")
    console.print(f"SHA-256 of every byte: {result['content_sha256']}")


def show_dataset(dataset: Json, console: Console) -> None:
    """Print what is known of a dataset as a table."""
    classes = dataset["classes"]
    more = len(classes) - _FEW
    spec = ", ".join(
        f"{name}={value}" for name, value in dataset["spec"].items() if name != "kind" and value is not None
    )
    rows = {
        "dataset": dataset["name"],
        "kind, origin": f"{dataset['spec']['kind']}, {dataset['origin']}",
        "settings": spec,
        "folder": dataset["root"] or "",
        "videos": f"{dataset['videos']} of {len(classes)} classes, from {dataset['groups']} sources",
        "classes": ", ".join(classes[:_FEW]) + (f" and {more} more" if more > 0 else ""),
        "SHA-256 of the listing": dataset["sha256"],
    }
    print_rows({name: escape(value) for name, value in rows.items() if value}, console)
    if dataset["missing"]:
        names = ", ".join(dataset["missing_names"][:5])
        console.print(f"[yellow]not there:[/] {dataset['missing']} videos of the lists, as {escape(names)}")
    for remark in dataset["remarks"]:
        console.print(f"[yellow]remark:[/] {escape(remark)}")
