"""`multav datasets`: list, add, show and forget the labelled videos that audits are run on."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from multav.client import Client, Json
from multav.datasets.catalogue import DATASETS
from multav.exit_codes import exit_codes
from multav.job_display import follow, print_rows, show_failure
from multav.name_value import setting
from multav.names import NAME_IN_WORDS

Command = Callable[[Any, str, str, str], argparse.ArgumentParser]
_FEW = 12
_EPILOG = f"""\
examples:
  multav datasets add mine --kind class-folder --archive videos.zip
                                       your own videos, from this machine: the archive is uploaded and kept
  multav datasets add ucf101-test-1 --kind ucf101 --root UCF101 --set split=1 --set subset=test
                                       videos that lie on the service's machine already
  multav datasets add small --kind synthetic --set clips=100
                                       clips that are made by a formula: no files at all

Videos come in one of two ways. --archive uploads a zip or tar from this machine; it holds the files as the kind wants
them, as walk/a.mp4 and run/b.mp4 for class-folder. --root names a folder on the service's machine; nothing is copied.
It is written as seen from the folder in the service's setting MULTAV_DATASETS_DIR: with MULTAV_DATASETS_DIR=/data,
--root UCF101 is /data/UCF101. Without that setting the service takes archives only. What each kind looks for in its
folder, and which fields --set may give, is in docs/datasets.md.
{exit_codes()}
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
        "Register labelled videos under a name, which `multav audit --dataset NAME` and `multav train` then use.",
    )
    add.epilog = _EPILOG
    add.formatter_class = argparse.RawDescriptionHelpFormatter
    add.add_argument("name", metavar="NAME", help=f"what audits and trainings call it: {NAME_IN_WORDS}")
    kinds = "; ".join(f"{kind}: {spec.meaning}" for kind, spec in DATASETS.items())
    add.add_argument(
        "--kind",
        required=True,
        choices=list(DATASETS),
        help=f"what the videos and their labels are (no default): {kinds}".replace("%", "%%"),
    )
    where = add.add_mutually_exclusive_group()
    where.add_argument(
        "--root",
        metavar="FOLDER",
        help="the videos lie on the service's machine, in this folder below its MULTAV_DATASETS_DIR (default: give "
        "--archive, or neither for the kind synthetic)",
    )
    where.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help="the videos lie here: a zip or tar of them, which is uploaded (default: give --root)",
    )
    add.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=setting,
        metavar="NAME=VALUE",
        help='a field of the kind, its value as JSON: split=1, classes=["walk","run"] (docs/datasets.md); repeatable '
        "(default: the kind's own)",
    )
    for name, text, description in (
        ("show", "show a dataset", "Show everything that is known of a dataset."),
        (
            "scan",
            "look at every video",
            "Decode and hash every video; name what is corrupt, missing or there twice.",
        ),
        ("delete", "forget a dataset", "Forget a dataset that no job uses. Files in a folder stay."),
    ):
        action = command(actions, name, text, description)
        action.add_argument("name", metavar="NAME", help="a registered dataset, one of `multav datasets`")
        if name == "scan":
            action.epilog = exit_codes({3: "some videos are corrupt, missing or there twice"})


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
