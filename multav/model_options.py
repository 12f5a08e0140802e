"""What `multav models` takes: its actions and options, each with its meaning and default."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from multav.exit_codes import exit_codes
from multav.model_upload import KnownClasses
from multav.name_value import setting
from multav.names import NAME_IN_WORDS

Command = Callable[[Any, str, str, str], argparse.ArgumentParser]
_LISTS = ", ".join(get_args(KnownClasses))

_IMPORT_EPILOG = f"""\
examples:
  multav models import model.safetensors                            a native checkpoint says everything itself
  multav models import r3d18_K_200ep.pth --name kinetics-r3d18      a published one is mostly recognised
  multav models import save_200.pth --name mine --classes names.txt --frames 16 --stride 2 --size 112 \\
      --mean 0.4345,0.4051,0.3775 --std 0.2768,0.2713,0.2737 --licence MIT --provenance "trained on UCF101 split 1"

What the file does not say and you leave out is recognised, or taken for granted and listed as an assumption; what
cannot be guessed is asked for. Nothing in the file is executed. The model is tried before it is registered.
{exit_codes()}
"""


def add_models(models: argparse.ArgumentParser, command: Command) -> None:
    """Give the parser of `multav models` its actions; `command` makes the parser of one."""
    actions = models.add_subparsers(
        metavar="ACTION", dest="action", help="import, show or delete; without one the models are listed"
    )
    _add_import(
        command(
            actions,
            "import",
            "upload a checkpoint and register it",
            "Upload a checkpoint (native safetensors, or a legacy .pth, .pt or .tar of tensors), have the service read "
            "and try it, and show what was registered.",
        )
    )
    command(actions, "show", "show a model", "Show everything that is known of a model.").add_argument(
        "name", metavar="NAME", help="a registered model, one of `multav models`"
    )
    command(
        actions,
        "delete",
        "delete a model",
        "Delete a model that no waiting or running job uses. Jobs that have ended keep their results.",
    ).add_argument("name", metavar="NAME", help="a registered model, one of `multav models`")


def _add_import(command: argparse.ArgumentParser) -> None:
    command.epilog = _IMPORT_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("checkpoint", type=Path, metavar="FILE", help="the checkpoint to register")
    command.add_argument(
        "--name",
        help=f"what requests will call it: {NAME_IN_WORDS} (default: the checkpoint's own name, or made from the "
        "file's)",
    )
    # `--version` alone would be taken for the program's.
    command.add_argument(
        "--model-version",
        dest="version",
        metavar="VERSION",
        help="a model of another version is named NAME@VERSION (default 1)",
    )
    network = command.add_argument_group("the network")
    network.add_argument("--architecture", help="e.g. resnet3d (default: read from the tensors)")
    network.add_argument(
        "--set",
        action="append",
        type=setting,
        default=[],
        metavar="NAME=VALUE",
        dest="arguments",
        help="an argument of the architecture, as often as needed (default: read from the tensors)",
    )
    network.add_argument(
        "--classes",
        type=_classes,
        metavar="FILE_OR_LIST",
        help=f"a text file with one class name a line, in the order of the logits, or a known list: {_LISTS} "
        "(default: the checkpoint's, or the known list of so many classes)",
    )
    seen = command.add_argument_group("what it sees")
    for name, text in (
        ("frames", "pictures in a clip"),
        ("stride", "source frames from one picture of a clip to the next"),
        ("size", "side of the square that is seen, pixels"),
        ("short-side", "short side of the picture that the square is cut from, pixels; default --size"),
    ):
        default = "" if "default" in text else " (default: recognised or assumed)"
        seen.add_argument(f"--{name}", type=int, help=text + default)
    for name, text in (("mean", "subtracted from"), ("std", "what then divides")):
        seen.add_argument(
            f"--{name}",
            type=_three_numbers,
            metavar="R,G,B",
            help=f"{text} pixels in [0, 1], per channel or one number for all (default: recognised or assumed)",
        )
    said = command.add_argument_group("what others should know")
    said.add_argument("--description", help="a sentence (default: none)")
    said.add_argument("--licence", help="under which the weights may be used (default: unknown)")
    said.add_argument(
        "--provenance", help="where the weights came from, how to make them again (default: unknown)"
    )


def _classes(text: str) -> str | list[str]:
    """A known list by name, or the lines of a file."""
    path = Path(text)
    if text in get_args(KnownClasses) and not path.exists():
        return text
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a known list ({_LISTS}) nor a readable text file: {error}"
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _three_numbers(text: str) -> list[float]:
    """Numbers between commas; one stands for three."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not R,G,B") from error
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} has {len(numbers)} numbers: give three, or one for all")
    return numbers * 3 if len(numbers) == 1 else numbers
