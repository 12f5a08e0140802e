"""What `multav reproduce` takes: its options, each with its meaning and default."""

import argparse
from pathlib import Path
from typing import Final

from multav.exit_codes import exit_codes
from multav.reproduction.printed import COLUMNS, NETWORKS

EPILOG = f"""\
examples:
  multav reproduce table1 --small                      the whole table in small, on this machine
  multav reproduce table1 --small --dry-run            what would be trained and audited
  multav reproduce table1 --small --networks r18 --columns linf
  multav reproduce table1 --data /data/ucf101 --kinetics resnet-18-kinetics.pth --to table1

Without --server a service is started for the time of the command, with its data in the folder of --to. Everything runs
as jobs, so that the same command goes on where it was broken off (Ctrl-C, a power cut), and never does a thing twice.
{exit_codes({0: "the table was made", 1: "a part of it could not be made"})}
"""


_SAMPLE: Final = Path(__file__).resolve().parents[1] / "samples" / "bigbuckbunny.mp4"


def add_reproduce(command: argparse.ArgumentParser) -> None:
    """Give the parser of `multav reproduce` its options."""
    command.epilog = EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("what", choices=["table1"], help="the paper's table of accuracies under attack")
    size = command.add_mutually_exclusive_group(required=True)
    size.add_argument(
        "--small",
        action="store_true",
        help="networks of a quarter's width on the built-in clips: 54 models, the l-inf column with 3 seeds "
        "each (default: name this or --data)",
    )
    size.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="UCF101 with its official lists: 33 models at the paper's scale (default: name this or --small)",
    )
    command.add_argument(
        "--kinetics",
        metavar="NAME_OR_FILE",
        help="with --data: what every model starts from, a registered model or a checkpoint to be registered "
        "(the paper: resnet-18-kinetics.pth; no default)",
    )
    command.add_argument(
        "--to",
        type=Path,
        default=Path("multav-table1"),
        metavar="FOLDER",
        help="where the table, its figures, and the data of a service of its own go (default %(default)s)",
    )
    command.add_argument(
        "--steps",
        type=_positive,
        default=None,
        metavar="N",
        help="with --small: optimiser steps of each training (default: what the committed table was made with)",
    )
    command.add_argument(
        "--clips",
        type=_positive,
        default=None,
        metavar="N",
        help="with --small: test clips (default: as many as the committed table has)",
    )
    command.add_argument(
        "--networks",
        type=_some_of(tuple(NETWORKS)),
        default=tuple(NETWORKS),
        metavar="LIST",
        help=f"only these, between commas: {', '.join(NETWORKS)} (default: all)",
    )
    command.add_argument(
        "--columns",
        type=_some_of(COLUMNS),
        default=COLUMNS,
        metavar="LIST",
        help=f"only these attacks: {', '.join(COLUMNS)} (default: all)",
    )
    command.add_argument(
        "--workers",
        type=_positive,
        default=None,
        metavar="N",
        help="with a service of its own: trainings side by side (default: one for each GPU, or each CPU core)",
    )
    command.add_argument(
        "--video",
        type=Path,
        metavar="FILE",
        default=_SAMPLE if _SAMPLE.is_file() else None,
        help="of which Fig. 1 and Fig. 2 are made (default: the sample that comes with the source, if it is there)",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only say what would be done (default: do it)"
    )


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count of one or more")
    return number


def _some_of(known: tuple[str, ...]):  # type: ignore[no-untyped-def]
    def parse(text: str) -> tuple[str, ...]:
        named = tuple(part.strip() for part in text.split(","))
        wrong = [name for name in named if name not in known]
        if wrong or len(set(named)) < len(named):
            raise argparse.ArgumentTypeError(f"{text!r}: name some of {', '.join(known)}, each once")
        return tuple(name for name in known if name in named)

    return parse
