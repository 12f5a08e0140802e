"""`multav audit`: post an audit, follow it, show its verdicts, fetch its report."""

import argparse
import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from multav.audit_options import audit_spec
from multav.byte_count import in_bytes
from multav.client import Client, Json
from multav.duration import in_words
from multav.exit_codes import INTERRUPTED
from multav.fetched_files import fetch_files
from multav.job_display import follow, print_rows, show_failure


def run_audit(client: Client, options: argparse.Namespace, console: Console) -> int:
    """Do what the options say; the exit code."""
    spec = audit_spec(options)
    if options.dry_run:
        show_estimate(client.estimate_audit(spec), console)
        return 0
    job = client.audit(spec)
    console.print(f"audit {job['id']}")
    try:
        job = follow(client, job, console)
    except KeyboardInterrupt:
        console.print(
            f"the audit goes on: `multav wait {job['id']} --to {options.to}` follows it and fetches its report, "
            f"`multav cancel {job['id']}` ends it"
        )
        return INTERRUPTED
    if job["state"] != "succeeded":
        show_failure(job, console)
        return 1
    show_audit(job["result"], console)
    fetch_files(client, job["id"], options.to, console)
    if options.from_manifest is not None:
        return 0 if _is_identical(job["result"], options, console) else 4
    return 0 if all(each["verdict"] == "robust" for each in job["result"]["verdicts"].values()) else 3


def _is_identical(result: Json, options: argparse.Namespace, console: Console) -> bool:
    """Whether the outcomes are those of the manifest."""
    said = json.loads(options.from_manifest.read_text(encoding="utf-8")).get("outcomes_sha256")
    if said == result["outcomes_sha256"]:
        console.print("[green]every outcome is the one of the manifest[/]")
        return True
    console.print(
        "[yellow]outcomes differ from the manifest's[/]: another machine, precision or version computes other last "
        "digits; compare the two outcomes.csv"
    )
    return False


def show_estimate(cost: Json, console: Console) -> None:
    """Print what an audit would cost."""
    seconds = "not known" if cost["seconds"] is None else in_words(cost["seconds"])
    rows = {
        "videos, models, attacks": f"{cost['clips']}, {cost['models']}, {cost['attacks']}",
        "outcomes": f"{cost['outcomes']:,}",
        "gradients at most": f"{cost['gradients']:,}, and {cost['predictions']:,} predictions",
        "time at most": f"{seconds} with {cost['workers']} {'worker' if cost['workers'] == 1 else 'workers'}",
        "memory of a worker": f"about {in_bytes(max(each['memory_bytes'] for each in cost['by_model']))}",
    }
    print_rows(rows, console)
    for remark in cost["remarks"]:
        console.print(f"[yellow]{escape(remark)}[/]")


def show_audit(result: Json, console: Console) -> None:
    """Print the accuracies of every model under every attack, and the verdicts."""
    table = Table(
        "attack", *(escape(model["name"]) for model in result["models"]), box=None, header_style="bold"
    )
    table.add_row("clean", *(_rate(model["clean"]) for model in result["models"]))
    for index, cell in enumerate(result["models"][0]["cells"]):
        table.add_row(
            escape(cell["cell"]), *(_rate(model["cells"][index]["robust"]) for model in result["models"])
        )
    console.print(table)
    for model in result["models"]:
        verdict = result["verdicts"][model["name"]]
        colour = {"robust": "green", "not robust": "red"}.get(verdict["verdict"], "yellow")
        console.print(f"[{colour}]{escape(verdict['sentence'])}[/]")
        for check in model["checks"]:
            if check["passed"] is False:
                console.print(f"  [yellow]{escape(check['name'])}:[/] {escape(check['detail'])}")
    for problem in result["problems"][:10]:
        console.print(f"[yellow]no clip of {escape(problem['video'])}:[/] {escape(problem['problem'])}")
    for note in result["notes"]:
        console.print(escape(note), style="dim")


def _rate(rate: Json) -> str:
    if rate["value"] is None:
        return "-"
    low, high = 100 * rate["low"], 100 * rate["high"]
    return f"{100 * rate['value']:.1f} % ({low:.1f} to {high:.1f}; {rate['count']}/{rate['of']})"
