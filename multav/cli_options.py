"""What the `multav` command takes: its subcommands and options, each with its meaning and default."""

import argparse
import os
from importlib.metadata import version
from pathlib import Path
from textwrap import fill
from typing import Any, get_args

from multav.attack_request import AttackRequest
from multav.attacks.catalogue import ATTACKS
from multav.audit_options import add_audit
from multav.client import service_url
from multav.dataset_commands import add_datasets
from multav.exit_codes import exit_codes
from multav.model_options import add_models
from multav.name_value import finite, setting
from multav.reproduce_options import add_reproduce
from multav.training_options import add_train
from multav.video.formats import DEFAULT_CRF

_EPILOG = f"""\
examples:
  multav attack clip.mp4                               the paper's MultAV-linf, every default
  multav attack clip.mp4 --kind pgd-linf --epsilon 0.02 --output ffv1-mkv
  multav attack clip.mp4 --label "pan left" --targeted --steps 20
  multav attack clip.mp4 --kind multav-roa --set size=40 --set placement=gradient
  multav kinds                                         threat models and their settings
  multav models import resnet.pth --classes ucf101     bring your own model; `multav attack --model` names it
  multav audit --count 100                             how robust the default model is, with doubts and intervals
  multav train --name hardened --wait                  train it on attacked clips; `multav train --help` has a recipe
  multav reproduce table1 --small                      the paper's table in small, with one command
  multav job JOB                                       a job as JSON; `multav cancel JOB` stops it

`multav COMMAND --help` lists the options of a command.
The service must run (`make up`, or `python -m service`); --server says where.
{exit_codes({3: "not fooled, or not robust"})}
"""
_PORT_VARIABLE = "MULTAV_PORT"
# Of help that is printed as it stands, for the sake of its examples.
_HELP_WIDTH = 110


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command; `command` names the subcommand that was chosen."""
    whole = argparse.ArgumentParser(
        prog="multav",
        description="Attack videos through a running multav service, and fetch what it made.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"multav {version('multav')}")
    _add_server(whole, default=None)
    commands = whole.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _add_attack(
        _command(
            commands,
            "attack",
            "attack a video and fetch what was made",
            "Post a video, follow the job, show its result and fetch its files. An option that is left out is "
            "left to the service, whose defaults are given here.",
        )
    )
    add_audit(
        _command(
            commands,
            "audit",
            "measure how robust models are, and fetch the report",
            "Post an audit, follow it, show its verdicts and fetch its report: every model meets every attack at "
            "every epsilon on the same videos.",
        )
    )
    add_train(
        _command(
            commands,
            "train",
            "harden a model by adversarial training, or train one",
            "Post a training: a model learns on attacked clips, the best checkpoint on validation clips is registered, "
            "and audited. An option that is left out is left to the service, whose defaults, given here, are the "
            "paper's recipe.",
        )
    )
    for name, text, description in (
        (
            "job",
            "show a job as JSON",
            "Print a job as it is now, as JSON: state, progress, result or problem.",
        ),
        ("cancel", "ask a job to stop", "Ask a job to stop. Asking twice does no harm."),
        ("pause", "let a job rest", "Let a job rest until it is resumed; what it has done is kept."),
        (
            "resume",
            "let a job go on",
            "Let a paused job go on, or run a failed or cancelled one again: of an audit only what is missing, a "
            "training from its last checkpoint.",
        ),
        (
            "wait",
            "follow a job to its end",
            "Show a job's progress until it has ended, then its result, and with --to fetch its files. The job goes on "
            "whether it is followed or not.",
        ),
    ):
        command = _command(commands, name, text, description)
        command.add_argument("job", metavar="JOB", help="the job's id, as it was printed when it was posted")
        if name == "wait":
            command.epilog = exit_codes({3: "of an audit: not every model is robust"})
            command.add_argument(
                "--to",
                type=Path,
                metavar="FOLDER",
                help="also fetch its files into this folder (default: leave them)",
            )
    _command(
        commands,
        "kinds",
        "list the threat models",
        "List the attack kinds of the service, each with its equation, source and default settings.",
    )
    add_reproduce(
        _command(
            commands,
            "reproduce",
            "make the paper's Table 1 anew, at its scale or in small",
            "Train and audit every model of the paper's Table 1 as jobs of a service, and print the table beside the "
            "printed one, with intervals and the significance of each gap.",
        )
    )
    add_datasets(
        _command(
            commands,
            "datasets",
            "list the registered datasets, or add, show or delete one",
            "Without an action: list the datasets of the service.",
        ),
        _command,
    )
    add_models(
        _command(
            commands,
            "models",
            "list the registered models, or import, show or delete one",
            "Without an action: list the models of the service with their classes.",
        ),
        _command,
    )
    return whole


def _command(commands: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=fill(description, _HELP_WIDTH), epilog=exit_codes()
    )
    # Where it is not given again, the one before the subcommand counts.
    _add_server(command, default=argparse.SUPPRESS)
    return command


def _add_server(command: argparse.ArgumentParser, *, default: str | None) -> None:
    command.add_argument(
        "--server",
        type=_server,
        default=default,
        metavar="URL",
        help=f"where the service is (default {default_server()}, with the port of {_PORT_VARIABLE}, as the service "
        "itself); http:// may be left out",
    )


def _add_attack(command: argparse.ArgumentParser) -> None:
    command.epilog = exit_codes({3: "the delivered video does not fool the model"})
    command.add_argument("video", type=Path, metavar="VIDEO", help="the video file to attack")
    command.add_argument(
        "--to",
        type=Path,
        default=Path("multav-output"),
        metavar="FOLDER",
        help="where the files go; made if it is not there (default %(default)s)",
    )
    attack = command.add_argument_group("the threat model")
    attack.add_argument(
        "--kind", help=f"attack kind, one of `multav kinds` (default {_request_default('attack').kind})"
    )
    attack.add_argument(
        "--epsilon",
        type=finite,
        help="bound of the perturbation: the largest factor of a multiplicative attack, the largest change of "
        f"an additive one with values in [0, 1] ({_kind_defaults('epsilon')})",
    )
    attack.add_argument(
        "--step-size",
        type=finite,
        help=f"length of one step, in the unit of --epsilon ({_kind_defaults('step_size')})",
    )
    attack.add_argument("--steps", type=int, help=f"number of gradient steps ({_kind_defaults('steps')})")
    attack.add_argument(
        "--random-start",
        action="store_true",
        default=None,
        help="start at a random point within the bound (default: at the clean video)",
    )
    attack.add_argument(
        "--targeted",
        action="store_true",
        default=None,
        help="move toward the class of --label, which must be given (default: away from it)",
    )
    attack.add_argument(
        "--set",
        action="append",
        type=setting,
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="any other setting of the kind, as often as needed: restarts=3, placement=gradient; `multav kinds` "
        "lists them with their defaults",
    )
    attack.add_argument(
        "--label",
        type=_label,
        help="class to move away from: a name, or an index if it is digits only (default: the model's own "
        "prediction)",
    )
    attack.add_argument(
        "--model",
        metavar="NAME",
        help="a registered model, one of `multav models` (default: the service's, marked there)",
    )
    attack.add_argument(
        "--domain",
        choices=_choices("domain"),
        help="perturb the original frames (source), or the clip that the model sees (model_input) "
        f"(default {_request_default('domain')})",
    )
    attack.add_argument(
        "--channel",
        choices=_choices("channel"),
        help="what the attack takes into its loop: nothing (none), the rounding to the file's values (levels), or "
        f"H.264 itself (codec) (default {_request_default('channel')})",
    )
    attack.add_argument(
        "--channel-crf",
        type=_whole_numbers,
        metavar="CRF[,CRF...]",
        help="rate factors of the codec in the loop; of several the average is attacked (default 23)",
    )
    attack.add_argument(
        "--coverage",
        choices=_choices("coverage"),
        help="attack every frame (dense), or only the clip in the middle of the video (clip) "
        f"(default {_request_default('coverage')})",
    )
    attack.add_argument(
        "--seed", type=int, help=f"seed of every random draw (default {_request_default('seed')})"
    )
    attack.add_argument(
        "--precision",
        choices=_choices("precision"),
        help="arithmetic of the attack's gradients; auto is bfloat16 where the processor has it, else float32 "
        f"(default {_request_default('precision')})",
    )
    delivered = command.add_argument_group("what is delivered")
    delivered.add_argument(
        "--output",
        choices=_choices("output"),
        help="the file to write; auto is the smallest that stays adversarial "
        f"(default {_request_default('output')})",
    )
    delivered.add_argument(
        "--crf",
        type=int,
        help="constant rate factor, 0 (best) to 51 (smallest); only with --output h264-mp4 "
        f"(default {DEFAULT_CRF})",
    )
    delivered.add_argument(
        "--bits",
        type=int,
        choices=_choices("bits"),
        help="bits of a channel in the file; more than 8 let dark pixels move, and need --output ffv1-mkv "
        f"(default {_request_default('bits')})",
    )
    delivered.add_argument(
        "--features",
        type=_names,
        metavar="LAYER[,LAYER...]",
        help="also deliver what these layers of the model see, clean and adversarial: a picture and the tensors "
        "(default: none)",
    )
    delivered.add_argument(
        "--tensor",
        action="store_true",
        default=None,
        help="also deliver the adversarial clips as float32 in safetensors (default: only with --domain "
        "model_input)",
    )


def _request_default(name: str) -> Any:
    """The default of a field of the attack request."""
    return AttackRequest.model_fields[name].get_default(call_default_factory=True)


def _kind_defaults(name: str) -> str:
    """The default of a field of the attack, for each kind that has it where they differ."""
    values = {
        kind: f"{spec.model_fields[name].default:.4g}"
        for kind, spec in ATTACKS.items()
        if name in spec.model_fields
    }
    if len(set(values.values())) == 1:
        return f"default {next(iter(values.values()))}"
    return "default " + ", ".join(f"{value} for {kind}" for kind, value in values.items())


def _choices(name: str) -> tuple[str, ...]:
    """What a field of the attack request may be."""
    return get_args(AttackRequest.model_fields[name].annotation)


def default_server() -> str:
    """Where `make up` puts the service in the same environment."""
    return f"http://127.0.0.1:{os.environ.get(_PORT_VARIABLE) or 8000}"


def _names(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",")]


def _whole_numbers(text: str) -> list[int]:
    """Numbers between commas."""
    return [int(number) for number in text.split(",")]


def _label(text: str) -> int | str:
    """A class index when `text` is digits only, else a class name."""
    return int(text) if text.isascii() and text.isdigit() else text


def _server(text: str) -> str:
    try:
        return service_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
