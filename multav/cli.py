"""The `multav` command: a client of the service."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from multav.client import Client, ServiceProblem
from multav.job_display import follow, show_result

_EPILOG = """\
examples:
  multav attack clip.mp4                               the paper's MultAV-linf, every default
  multav attack clip.mp4 --kind pgd-linf --epsilon 0.02 --output ffv1-mkv
  multav attack clip.mp4 --label "pan left" --targeted --steps 20
  multav kinds                                         threat models and their settings
  multav job JOB                                       a job as JSON; `multav cancel JOB` stops it

The service must run (`make up`, or `python -m service`); --server says where.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 1 refused or failed, 2 wrong usage, 3 the model was not fooled."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        with Client(options.server) as client:
            code: int = options.run(client, options, console)
            return code
    except ServiceProblem as problem:
        console.print(f"[red]refused:[/] {problem.detail}")
        return 1
    except httpx.TransportError as error:
        console.print(
            f"[red]no answer from {options.server}[/] ({error}): is the service running? `make up` starts it"
        )
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="multav",
        description="Multiplicative adversarial videos.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="the service (default %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    attack = commands.add_parser("attack", help="attack a video and fetch what was made")
    attack.set_defaults(run=_attack)
    attack.add_argument("video", type=Path)
    attack.add_argument(
        "--to", type=Path, default=Path("multav-output"), metavar="FOLDER", help="where files go"
    )
    attack.add_argument("--kind", help="attack kind (default multav-linf)")
    attack.add_argument("--epsilon", type=float, help="bound of the perturbation")
    attack.add_argument("--step-size", type=float, help="length of one step")
    attack.add_argument("--steps", type=int, help="number of steps")
    attack.add_argument("--targeted", action="store_true", default=None, help="move toward --label")
    attack.add_argument("--random-start", action="store_true", default=None, help="start within the bound")
    attack.add_argument("--model", help="a registered model")
    attack.add_argument("--label", help="class name to move away from (default: the model's own prediction)")
    attack.add_argument("--domain", choices=["source", "model_input"])
    attack.add_argument("--coverage", choices=["dense", "clip"])
    attack.add_argument("--output", choices=["auto", "h264-mp4", "vp9-mp4", "ffv1-mkv", "h264rgb-mp4"])
    attack.add_argument("--crf", type=int, help="of h264-mp4")
    attack.add_argument("--seed", type=int)
    for name, run, text in (
        ("job", _job, "show a job as JSON"),
        ("cancel", _cancel, "ask a job to stop"),
        ("wait", _wait, "follow a job to its end"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("job")
        command.set_defaults(run=run)
    commands.add_parser("kinds", help="list the threat models").set_defaults(run=_kinds)
    commands.add_parser("models", help="list the registered models").set_defaults(run=_models)
    return parser


def _spec(options: argparse.Namespace) -> dict[str, Any]:
    """The request that the options stand for; what was not given is left to the service's defaults."""
    attack = _given(options, "epsilon", "step_size", "steps", "targeted", "random_start")
    spec = _given(options, "model", "label", "domain", "coverage", "output", "crf", "seed")
    if attack or options.kind:
        spec["attack"] = {"kind": options.kind or "multav-linf", **attack}
    return spec


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _attack(client: Client, options: argparse.Namespace, console: Console) -> int:
    if not options.video.is_file():
        console.print(f"[red]there is no file {options.video}[/]")
        return 2
    job = client.attack(options.video, _spec(options))
    console.print(f"job {job['id']}")
    try:
        job = follow(client, job, console)
    except KeyboardInterrupt:
        client.cancel(job["id"])
        console.print("cancelled")
        return 130
    return _ended(client, job, options.to, console)


def _ended(client: Client, job: dict[str, Any], folder: Path, console: Console) -> int:
    if job["state"] != "succeeded":
        console.print(f"[red]{job['state']}[/] {(job['problem'] or {}).get('detail', '')}")
        return 1
    show_result(job["result"], console)
    for role, path in client.download_all(job["id"], folder).items():
        console.print(f"  {role:<18} {path}", soft_wrap=True)
    return 0 if job["result"]["success_delivered"] else 3


def _job(client: Client, options: argparse.Namespace, _: Console) -> int:
    print(json.dumps(client.job(options.job), indent=2, ensure_ascii=False))
    return 0


def _wait(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = follow(client, client.job(options.job), console)
    if job["state"] == "succeeded":
        show_result(job["result"], console)
    return 0 if job["state"] == "succeeded" else 1


def _cancel(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = client.cancel(options.job)
    console.print("asked to stop" if job["state"] == "running" else job["state"])
    return 0


def _kinds(client: Client, _: argparse.Namespace, console: Console) -> int:
    for kind in client.attack_kinds():
        console.print(f"[bold]{kind['kind']}[/]  {kind['meaning']}")
        console.print(f"    {kind['equation']}", markup=False)
        console.print(f"    {kind['source']}; defaults {json.dumps(kind['defaults'])}", markup=False)
    return 0


def _models(client: Client, _: argparse.Namespace, console: Console) -> int:
    for model in client.models():
        mark = " (default)" if model["default"] else ""
        console.print(f"[bold]{model['name']}[/]{mark}  {model['description']}")
        console.print(f"    classes: {', '.join(model['classes'])}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
