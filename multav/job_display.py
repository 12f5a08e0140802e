"""A job in a terminal: a progress bar while it runs, a table when it has ended."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from multav.client import Client, Json


def follow(client: Client, job: Json, console: Console) -> Json:
    """Show the job's progress until it has ended; the job as it ended."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"), console=console
    ) as bars:
        bar = bars.add_task("queued", total=None, counts="")

        def on_change(now: Json) -> None:
            progress = now["progress"]
            done, total = progress["done"] or 0, progress["total"]
            counts = f"{done}/{total or '?'} {progress['unit'] or ''}"
            if progress["eta_seconds"]:
                counts += f", about {progress['eta_seconds']:.0f} s left"
            bars.update(bar, description=_stage(now), completed=done, total=total, counts=counts)

        return client.wait(job["id"], on_change)


def _stage(job: Json) -> str:
    """What the job does just now, in words."""
    if job["state"] != "running":
        return str(job["state"])
    progress = job["progress"]
    if not progress["total"]:
        return "reading"
    return "crafting" if progress["done"] < progress["total"] else "encoding and verifying"


def show_result(result: Json, console: Console) -> None:
    """Print the result of an attack job as a table."""
    change, delivery = result["perturbation"], result["delivery"]
    rows = {
        "clean video": _said(result["clean"]),
        "adversarial pictures": _said(result["adversarial"]),
        "delivered file, decoded again": _said(result["delivered"]),
        "fools the model": f"{_yes(result['success'])} as crafted, {_yes(result['success_delivered'])} as delivered",
        "bound respected": f"{_yes(change['bound_respected'])}, on every crafted 8-bit value"
        + ("" if change["ratio_max"] is None else f" (largest ratio {change['ratio_max']:.4f})"),
        "PSNR, SSIM": "nothing changed"
        if change["psnr_db"] is None
        else f"{change['psnr_db']:.1f} dB, {change['ssim']:.4f}",
        "file": f"{delivery['codec']}, {delivery['bytes'] / 1e6:.2f} MB",
        "tried": ", ".join(_rung(rung) for rung in delivery["tried"]),
        "sound": "carried over untouched"
        if delivery["audio"]["copied"]
        else delivery["audio"]["reason"] or "none",
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def _said(prediction: Json) -> str:
    return f"{prediction['label']} ({prediction['confidence']:.0%})"


def _rung(rung: Json) -> str:
    name = rung["output"] if rung["crf"] is None else f"{rung['output']} crf {rung['crf']}"
    return f"{name}: {rung['outcome']}"


def _yes(value: bool) -> str:
    return "[green]yes[/]" if value else "[red]no[/]"
