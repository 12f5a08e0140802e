"""A job in a terminal: a progress bar while it runs, a table when it has ended."""

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from multav.byte_count import in_bytes
from multav.client import Client, Json


def follow(
    client: Client, job: Json, console: Console, also: Callable[[Json], None] = lambda _: None
) -> Json:
    """Show the job's progress until it has ended; the job as it ended. `also` hears of each change, and may print."""
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
            also(now)
            bars.update(bar, description=_stage(now), completed=done, total=total, counts=counts)

        return client.wait(job["id"], on_change)


def _stage(job: Json) -> str:
    """What the job does just now, in words."""
    if job.get("paused"):
        return "paused"
    if job["state"] != "running":
        return str(job["state"])
    progress = job["progress"]
    if job["kind"] == "scan":
        return "looking"
    if job["kind"] == "audit":
        return (
            "attacking"
            if progress["total"] and progress["done"] < progress["total"]
            else "planning or reporting"
        )
    if job["kind"] == "training":
        return (
            "training"
            if progress["total"] and progress["done"] < progress["total"]
            else "beginning or ending"
        )
    if not progress["total"]:
        return "reading"
    return "crafting" if progress["done"] < progress["total"] else "encoding and verifying"


def show_failure(job: Json, console: Console) -> None:
    """Print how a job ended that did not succeed, and why."""
    detail = (job["problem"] or {}).get("detail", "")
    console.print(f"[red]job {job['state']}[/]{': ' if detail else ''}{escape(detail)}")


def show_result(result: Json, console: Console) -> None:
    """Print the result of an attack job as a table."""
    change, delivery = result["perturbation"], result["delivery"]
    bits = delivery.get("bits", 8)  # results of older jobs do not say
    rows = {
        "clean video": _said(result["clean"]),
        "crafted frames": _said(result["adversarial"]),
        "delivered file, decoded again": _said(result["delivered"]),
        "fools the model": f"{_yes(result['success'])} as crafted, {_yes(result['success_delivered'])} as delivered"
        f"{_needless(result)}",
        "bound, crafted frames": _crafted_bound(change, deep=bits > 8),
        "bound, delivered file": _delivered_bound(delivery),
        "PSNR, SSIM of crafted frames": "nothing changed"
        if change["psnr_db"] is None
        else f"{change['psnr_db']:.1f} dB, {change['ssim']:.4f}",
        "file": f"{delivery['codec']}, {bits} bits, {in_bytes(delivery['bytes'])}",
        "tried": ", ".join(_rung(rung) for rung in delivery["tried"]),
        "sound": "carried over untouched"
        if delivery["audio"]["copied"]
        else escape(delivery["audio"]["reason"] or "none"),
    }
    print_rows(rows, console)


def print_rows(rows: Mapping[str, str], console: Console) -> None:
    """Print names and values (console markup) in two columns, without blanks at the ends of lines."""
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        console.print(f"{name:<{width}}{value}", soft_wrap=not console.is_terminal)


def _needless(result: Json) -> str:
    """A remark where the clean video was already what the attacker wants."""
    if not result.get("success_clean"):
        return ""
    said, label = escape(result["clean"]["label"]), escape(result["label"]["label"])
    if said == label:
        return f" [yellow](so does the clean video: the model says {label} already)[/]"
    return f" [yellow](so does the clean video: the model does not say {label}, there was nothing to move away from)[/]"


def _crafted_bound(change: Json, *, deep: bool) -> str:
    """Whether the frames that the attack made keep its bound, and how far they went."""
    most = f"largest change {change['linf'] * 255:.{2 if deep else 0}f} of 255 levels"
    if change["ratio_max"] is not None:
        most += f", largest ratio {change['ratio_max']:.4f}"
    kept = "[green]bound respected[/] on every pixel" if change["bound_respected"] else "[red]bound broken[/]"
    return f"{kept} ({most})"


def _delivered_bound(delivery: Json) -> str:
    """Whether the written file, decoded again, keeps the bound; a lossy one may add to what was crafted."""
    if delivery["lossless"]:
        kept = "[green]bound respected[/]" if delivery["bound_respected"] else "[red]bound broken[/]"
        return f"{kept}, measured on the file, which is lossless"
    if delivery["bound_respected"]:
        return "[green]bound respected[/], measured on the file, although its compression is lossy"
    return (
        "[yellow]exceeded on some pixels[/], measured on the file: lossy compression adds changes of its own; "
        "a lossless output (vp9-mp4, ffv1-mkv, h264rgb-mp4) keeps the bound"
    )


def _said(prediction: Json) -> str:
    confidence = prediction["confidence"]
    # Of hundreds of classes the likeliest may have little.
    digits = 0 if confidence >= 0.1 else 2
    return f"{escape(prediction['label'])} ({confidence:.{digits}%})"


def _rung(rung: Json) -> str:
    name = rung["output"] if rung["crf"] is None else f"{rung['output']} crf {rung['crf']}"
    return f"{name}: {escape(rung['outcome'])}"


def _yes(value: bool) -> str:
    return "[green]yes[/]" if value else "[red]no[/]"
