"""What `multav train` takes: its options, each with its meaning and default."""

import argparse
from pathlib import Path
from typing import Any, get_args

from multav.attacks.catalogue import ATTACKS
from multav.exit_codes import exit_codes
from multav.local_file import json_object
from multav.name_value import kind_with_settings, setting
from multav.names import NAME_IN_WORDS
from multav.subset_options import add_subset, given_subset
from multav.training.request import PAPER_GEOMETRY, Mixture, Start, TrainingRequest, Validation

EPILOG = f"""\
examples:
  multav train --wait                                  the default model, the paper's recipe against MultAV-linf
  multav train --name hardened --steps 800 --batch-size 32 --optimiser adamw --schedule cosine,warm_up=0.2 \\
      --ramp 0.4 --wait                                for small networks (docs/trainings.md)
  multav train --kind multav-linf --kind pgd-linf --choice worst --dataset MINE --validation HELD-OUT --dry-run
  multav train --architecture resnet3d --argument depth=10 --frames 8 --size 56 --clean

Everything can also be written as JSON (--spec FILE, the body of POST /v1/trainings); options come on top of it.
The training runs in the service: without --wait, and after Ctrl-C, it goes on. `multav wait JOB` follows it, `multav
pause JOB` and `multav resume JOB` stop it and let it go on from its last checkpoint, `multav cancel JOB` ends it. The
model is registered when it is done (`multav models show NAME`), and audited unless --no-audit is given.
{exit_codes({0: "accepted, or with --wait done"})}
"""


def add_train(command: argparse.ArgumentParser) -> None:
    """Give the parser of `multav train` its options."""
    command.epilog = EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "--spec",
        type=Path,
        metavar="FILE",
        help="the request as JSON, under the options (default: options alone)",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only say what it would cost (default: run it)"
    )
    command.add_argument(
        "--wait",
        action="store_true",
        help="follow it to its end, with its curve (default: only say the job's id)",
    )
    command.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="with --wait, also fetch the model and the curve into this folder (default: leave them)",
    )
    _add_start(command.add_argument_group("what is trained"))
    _add_videos(command.add_argument_group("on what"))
    _add_attacks(command.add_argument_group("against what"))
    _add_descent(command.add_argument_group("how long and how fast"))


def _add_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--name", help=f"what the model is registered as: {NAME_IN_WORDS} (default: made up)")
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--model", metavar="NAME", help="a registered model to start from (default: the service's)"
    )
    start.add_argument(
        "--architecture", metavar="NAME", help="start from random weights of it (default: from a model)"
    )
    group.add_argument(
        "--argument",
        dest="arguments",
        action="append",
        type=setting,
        metavar="NAME=VALUE",
        help="an argument of the architecture, or beside --model one in which the network is to differ; repeatable "
        "(default: the architecture's or the model's own)",
    )
    for name, what in (
        ("frames", "pictures of a clip"),
        ("stride", "source frames between two of them"),
        ("size", "pixels of a side"),
    ):
        value = getattr(PAPER_GEOMETRY, "height" if name == "size" else name)
        group.add_argument(
            f"--{name}", type=int, metavar="N", help=f"with --architecture, {what} (default {value})"
        )
    group.add_argument(
        "--head",
        choices=get_args(Start.model_fields["head"].annotation),
        help=f"the last layer: {Start.model_fields['head'].description} (default {Start.model_fields['head'].default})",
    )


def _add_videos(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dataset", help=f"a registered dataset (default {_default('dataset')})")
    add_subset(group)
    group.add_argument(
        "--recipe",
        choices=_choices("recipe"),
        help=f"how videos become clips (default {_default('recipe')})",
    )
    group.add_argument(
        "--augment",
        action="append",
        type=setting,
        metavar="NAME=VALUE",
        help="a random change of the training clips: flip=0.5, shift=4, brightness=0.1; repeatable (default: none)",
    )
    group.add_argument(
        "--validation",
        metavar="DATASET",
        help="a registered dataset of the same classes that chooses the checkpoint (default: "
        f"{_validation('share'):.0%} of the videos, set aside)".replace("%", "%%"),
    )
    for option, field, kind in (
        ("share", "share", float),
        ("clips", "clips", int),
        ("every", "every_epochs", int),
    ):
        info = Validation.model_fields[field]
        group.add_argument(
            f"--validation-{option}",
            dest=f"validation_{field}",
            type=kind,
            metavar="N",
            help=f"{info.description} (default {info.default})",
        )
    group.add_argument(
        "--validation-kind",
        type=kind_with_settings,
        metavar="KIND[,NAME=VALUE...]",
        help="what the validation clips are attacked with (default: what is trained on)",
    )
    group.add_argument("--select", choices=_choices("select"), help=_help("select"))
    group.add_argument("--patience", type=int, metavar="N", help=_help("patience", "never"))
    group.add_argument(
        "--no-audit",
        dest="audit",
        action="store_false",
        default=None,
        help="do not audit the finished model (default: audit it)",
    )


def _add_attacks(group: argparse._ArgumentGroup) -> None:
    against = group.add_mutually_exclusive_group()
    against.add_argument(
        "--kind",
        dest="kinds",
        action="append",
        type=kind_with_settings,
        metavar="KIND[,NAME=VALUE...]",
        help=f"an attack with settings, as pgd-linf,steps=5; given again, a mixture of them (default "
        f"{_default('attack').kind}); kinds: {', '.join(ATTACKS)}",
    )
    against.add_argument(
        "--clean", action="store_true", default=None, help="train without an attack (default: with one)"
    )
    choice = Mixture.model_fields["choice"]
    group.add_argument(
        "--choice",
        choices=get_args(choice.annotation),
        help=f"which attack of a mixture a batch meets; {choice.description} (default {choice.default})",
    )
    group.add_argument("--method", choices=_choices("method"), help=_help("method"))
    group.add_argument("--clean-fraction", type=float, metavar="SHARE", help=_help("clean_fraction"))
    group.add_argument("--beta", type=float, help=_help("beta"))
    group.add_argument("--crafting", choices=_choices("crafting"), help=_help("crafting"))
    group.add_argument("--replays", type=int, metavar="N", help=_help("replays"))
    group.add_argument("--ramp", type=float, metavar="SHARE", help=_help("ramp"))


def _add_descent(group: argparse._ArgumentGroup) -> None:
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=int, metavar="N", help=f"{_help('epochs')}; takes the place of steps in --spec"
    )
    length.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"{_help('steps', 'whole epochs')}; takes the place of epochs in --spec",
    )
    group.add_argument("--batch-size", type=_number_or_auto, metavar="N|auto", help=_help("batch_size"))
    group.add_argument("--accumulation", type=int, metavar="N", help=_help("accumulation"))
    group.add_argument(
        "--optimiser",
        type=kind_with_settings,
        metavar="KIND[,NAME=VALUE...]",
        help="sgd or adamw with settings, as adamw,learning_rate=0.002 (default sgd, with the paper's)",
    )
    group.add_argument(
        "--schedule",
        type=kind_with_settings,
        metavar="KIND[,NAME=VALUE...]",
        help="constant, multistep or cosine with settings, as cosine,warm_up=0.2 (default multistep, with the paper's)",
    )
    group.add_argument("--average", type=float, metavar="SHARE", help=_help("average", "none"))
    group.add_argument("--label-smoothing", type=float, metavar="SHARE", help=_help("label_smoothing"))
    group.add_argument(
        "--gradient-norm", type=float, metavar="LENGTH", help=_help("gradient_norm", "not cut")
    )
    group.add_argument("--precision", choices=_choices("precision"), help=_help("precision"))
    group.add_argument("--seed", type=int, help=_help("seed"))
    group.add_argument("--devices", type=int, metavar="N", help=_help("devices"))
    group.add_argument("--hosts", type=int, metavar="N", help=_help("hosts"))
    group.add_argument(
        "--checkpoint-minutes", type=float, metavar="MINUTES", help=_help("checkpoint_minutes")
    )


_PLAIN = (
    "name",
    "dataset",
    "recipe",
    "method",
    "clean_fraction",
    "beta",
    "crafting",
    "replays",
    "ramp",
    "epochs",
    "steps",
    "batch_size",
    "accumulation",
    "optimiser",
    "schedule",
    "average",
    "label_smoothing",
    "gradient_norm",
    "select",
    "patience",
    "precision",
    "seed",
    "checkpoint_minutes",
    "devices",
    "hosts",
    "audit",
)
"""Fields of the request that an option of the same name gives."""


def training_spec(options: argparse.Namespace) -> dict[str, Any]:
    """The request that the options stand for; what was not given is left to the service.

    Raises `OSError` and `ValueError` for a file that cannot be read, and `ValueError` for options that need another.
    """
    spec: dict[str, Any] = {} if options.spec is None else json_object(options.spec)
    # The service would count steps, whatever is said of epochs.
    if options.epochs is not None:
        spec.pop("steps", None)
    if options.steps is not None:
        spec.pop("epochs", None)
    spec |= {name: getattr(options, name) for name in _PLAIN if getattr(options, name) is not None}
    groups = {
        "start": _start(options, spec.get("start") or {}),
        "subset": given_subset(options),
        "augmentation": dict(options.augment or ()),
        "validation": {
            "dataset": options.validation,
            "share": options.validation_share,
            "clips": options.validation_clips,
            "every_epochs": options.validation_every_epochs,
            "attack": options.validation_kind,
        },
    }
    for name, fields in groups.items():
        given = {field: value for field, value in fields.items() if value is not None}
        if given:
            spec[name] = {**(spec.get(name) or {}), **given}
    if options.clean:
        spec["attack"] = None
    elif options.kinds:
        spec["attack"] = (
            options.kinds[0] if len(options.kinds) == 1 else {"kind": "mixture", "attacks": options.kinds}
        )
    if options.choice is not None:
        if (spec.get("attack") or {}).get("kind") != "mixture":
            raise ValueError("--choice is of a mixture: give --kind twice or more")
        spec["attack"]["choice"] = options.choice
    return spec


def _start(options: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    start: dict[str, Any] = {
        "model": options.model,
        "architecture": options.architecture,
        "head": options.head,
        "arguments": dict(options.arguments) if options.arguments else None,
    }
    sizes = {name: getattr(options, name) for name in ("frames", "stride", "size")}
    if any(value is not None for value in sizes.values()):
        if options.architecture is None and before.get("architecture") is None:
            raise ValueError(
                "--frames, --stride and --size need --architecture: a model brings its own input"
            )
        side = sizes["size"] or PAPER_GEOMETRY.height
        start["geometry"] = {
            "frames": sizes["frames"] or PAPER_GEOMETRY.frames,
            "stride": sizes["stride"] or PAPER_GEOMETRY.stride,
            "short_side": side,
            "height": side,
            "width": side,
        }
    return start


def _number_or_auto(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _help(name: str, default: str | None = None) -> str:
    """What a field means, with its default."""
    said = _default(name) if default is None else default
    return f"{TrainingRequest.model_fields[name].description} (default {said})".replace("%", "%%")


def _default(name: str) -> Any:
    return TrainingRequest.model_fields[name].get_default(call_default_factory=True)


def _validation(name: str) -> Any:
    return Validation.model_fields[name].default


def _choices(name: str) -> tuple[str, ...]:
    return get_args(TrainingRequest.model_fields[name].annotation)
