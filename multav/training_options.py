"""What `multav train` takes: its options, each with its meaning and default."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from multav.attacks.catalogue import ATTACKS
from multav.exit_codes import exit_codes
from multav.local_file import json_object
from multav.name_value import finite, kind_with_settings, setting
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
  multav train --spec training.json --size 40 --dry-run    the file's training on smaller clips: what would it cost?

Everything can also be written as JSON (--spec FILE, the body of POST /v1/trainings, docs/trainings.md). Options come on
top of it, field by field; an attack, an optimiser or a schedule takes the place of the file's with all its settings.
The training runs in the service: without --wait, and after Ctrl-C, it goes on. `multav wait JOB` follows it, `multav
pause JOB` and `multav resume JOB` stop it and let it go on from its last checkpoint, `multav cancel JOB` ends it. The
model is registered when it is done (`multav models show NAME`), and audited unless --no-audit is given.
{exit_codes({0: "accepted, or with --wait or --to done"})}
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
        help="follow it to its end, with its curve (default: only say the job's id, and what follows it)",
    )
    command.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="follow it as --wait does, then fetch the model and its curve into this folder (default: leave them with "
        "the service)",
    )
    _add_start(command.add_argument_group("what is trained"))
    _add_videos(command.add_argument_group("on what"))
    _add_attacks(command.add_argument_group("against what"))
    _add_descent(command.add_argument_group("how long and how fast"))


def _add_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--name", help=f"what the model is registered as: {NAME_IN_WORDS} (default: made up)")
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--model",
        metavar="NAME",
        help="a registered model to start from, as `multav models` lists them (default: the service's own); takes the "
        "place of an architecture and its arguments in --spec",
    )
    start.add_argument(
        "--architecture",
        metavar="NAME",
        help="start from random weights of a network, such as resnet3d (docs/models/architectures.md; default: from a "
        "model); takes the place of a model and what is said of it in --spec",
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
        ("stride", "source frames from one of them to the next"),
        ("size", "pixels of a side of the square that is seen of each"),
    ):
        value = getattr(PAPER_GEOMETRY, "height" if name == "size" else name)
        group.add_argument(
            f"--{name}",
            type=int,
            metavar="N",
            help=f"{what} (default: the model's own; with --architecture {value})",
        )
    group.add_argument(
        "--head",
        choices=get_args(Start.model_fields["head"].annotation),
        help=f"{Start.model_fields['head'].description} (default {Start.model_fields['head'].default})",
    )


def _add_videos(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--dataset",
        metavar="NAME",
        help=f"a registered dataset, as `multav datasets` lists them (default {_default('dataset')})",
    )
    add_subset(group)
    group.add_argument("--recipe", choices=_choices("recipe"), help=_help("recipe"))
    group.add_argument(
        "--augment",
        action="append",
        type=setting,
        metavar="NAME=VALUE",
        help="a random change of the training clips: flip=0.5, shift=4, brightness=0.1; repeatable (default: none)",
    )
    group.add_argument(
        "--validation",
        metavar="NAME",
        help="a registered dataset of the same classes, whose clips choose the checkpoint (default: "
        f"{_validation('share'):.0%} of the videos, set aside)".replace("%", "%%"),
    )
    for option, field, kind, metavar, what in (
        ("share", "share", float, "SHARE", "share that is set aside "),
        ("clips", "clips", int, "N", ""),
        ("every", "every_epochs", int, "N", ""),
    ):
        info = Validation.model_fields[field]
        group.add_argument(
            f"--validation-{option}",
            dest=f"validation_{field}",
            type=kind,
            metavar=metavar,
            help=f"{what}{info.description} (default {info.default})",
        )
    group.add_argument(
        "--validation-kind",
        type=kind_with_settings,
        metavar="KIND[,NAME=VALUE...]",
        help="what the validation clips are attacked with (default: what is trained on)",
    )
    group.add_argument("--select", choices=_choices("select"), help=_help("select"))
    group.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop after so many looks at the validation clips without a new best (default: never)",
    )
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
        help=f"an attack with settings, as pgd-linf,steps=5 (`multav kinds` explains them); given again, a mixture of "
        f"them (default {_default('attack').kind}); kinds: {', '.join(ATTACKS)}",
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
    group.add_argument("--clean-fraction", type=finite, metavar="SHARE", help=_help("clean_fraction"))
    group.add_argument("--beta", type=finite, help=_help("beta"))
    group.add_argument("--crafting", choices=_choices("crafting"), help=_help("crafting"))
    group.add_argument("--replays", type=int, metavar="N", help=_help("replays"))
    group.add_argument("--ramp", type=finite, metavar="SHARE", help=_help("ramp"))


def _add_descent(group: argparse._ArgumentGroup) -> None:
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=int, metavar="N", help=f"{_help('epochs')}; takes the place of steps in --spec"
    )
    length.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="so many steps of the optimiser in place of whole epochs (default: epochs); takes the place of epochs in "
        "--spec",
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
    group.add_argument("--average", type=finite, metavar="SHARE", help=_help("average", "none"))
    group.add_argument("--label-smoothing", type=finite, metavar="SHARE", help=_help("label_smoothing"))
    group.add_argument(
        "--gradient-norm", type=finite, metavar="LENGTH", help=_help("gradient_norm", "not cut")
    )
    group.add_argument("--precision", choices=_choices("precision"), help=_help("precision"))
    group.add_argument("--seed", type=int, help=_help("seed"))
    group.add_argument("--devices", type=int, metavar="N", help=_help("devices"))
    group.add_argument("--hosts", type=int, metavar="N", help=_help("hosts"))
    group.add_argument(
        "--checkpoint-minutes", type=finite, metavar="MINUTES", help=_help("checkpoint_minutes")
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

_MERGED: Final = ("arguments", "geometry")
"""Objects of which an option gives one field each."""


@dataclass(frozen=True)
class _Instead:
    """Where `given` comes from an option, and a file has another `over`, these `fields` of the file are left out.

    All are fields of the object `part` of the request, or of the request itself ("").
    """

    part: str
    given: str
    over: str
    fields: tuple[str, ...]


_INSTEAD: Final = (
    _Instead("", "epochs", "steps", ("steps",)),
    _Instead("", "steps", "epochs", ("epochs",)),
    _Instead("", "dataset", "dataset", ("dataset_sha256",)),
    # What is said of one kind of start says nothing of the other.
    _Instead("start", "model", "architecture", ("architecture", "arguments")),
    _Instead("start", "architecture", "model", ("model", "model_sha256", "arguments", "head")),
    _Instead("start", "model", "model", ("model_sha256",)),
    _Instead("subset", "count", "per_class", ("per_class",)),
    _Instead("subset", "per_class", "count", ("count",)),
    _Instead("validation", "dataset", "share", ("share",)),
    _Instead("validation", "dataset", "dataset", ("dataset_sha256",)),
    _Instead("validation", "share", "dataset", ("dataset", "dataset_sha256")),
)


def training_spec(options: argparse.Namespace) -> dict[str, Any]:
    """The request that the options stand for; what was not given is left to the service.

    Raises `OSError` and `ValueError` for a file that cannot be read, and `ValueError` for options that need another.
    """
    spec: dict[str, Any] = {} if options.spec is None else json_object(options.spec)
    given = {name: getattr(options, name) for name in _PLAIN}
    if options.clean:
        spec["attack"] = None
    elif options.kinds:
        spec["attack"] = (
            options.kinds[0] if len(options.kinds) == 1 else {"kind": "mixture", "attacks": options.kinds}
        )
    if options.choice is not None:
        mixture = spec.get("attack")
        if not isinstance(mixture, dict) or mixture.get("kind") != "mixture":
            raise ValueError("--choice is of a mixture: give --kind twice or more")
        spec["attack"] = mixture | {"choice": options.choice}
    spec = _laid_over(spec, given, "")
    for part, fields in _parts(options).items():
        before = spec.get(part) or {}
        if not isinstance(before, dict):
            # The service says what is wrong with it.
            continue
        found = _laid_over(before, fields, part)
        if found:
            spec[part] = found
    return spec


def _parts(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The objects of the request that options give fields of; None is not given."""
    return {
        "start": {
            "model": options.model,
            "architecture": options.architecture,
            "head": options.head,
            "arguments": dict(options.arguments) if options.arguments else None,
            "geometry": _geometry(options) or None,
        },
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


def _geometry(options: argparse.Namespace) -> dict[str, int]:
    """The fields that the options give; what is left out of them is the file's, or the service's to know."""
    sizes = {
        "frames": options.frames,
        "stride": options.stride,
        **dict.fromkeys(("short_side", "height", "width"), options.size),
    }
    return {name: value for name, value in sizes.items() if value is not None}


def _laid_over(before: dict[str, Any], fields: dict[str, Any], part: str) -> dict[str, Any]:
    """What the file says, with the fields that were given, and without what they take the place of."""
    given = {name: value for name, value in fields.items() if value is not None}
    gone = {
        name
        for rule in _INSTEAD
        if rule.part == part and rule.given in given
        if before.get(rule.over) not in (None, given.get(rule.over))
        for name in rule.fields
    }
    kept = {name: value for name, value in before.items() if name not in gone}
    for name in _MERGED:
        if name in given and isinstance(kept.get(name), dict):
            given[name] = kept[name] | given[name]
    return kept | given


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
