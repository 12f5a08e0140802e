"""Which videos of a dataset a job looks at, as options of a command."""

import argparse
from typing import Any


def add_subset(group: argparse._ArgumentGroup) -> None:
    """Give the group the options of a subset."""
    group.add_argument(
        "--count", type=int, metavar="N", help="so many videos, stratified by class (default: all)"
    )
    group.add_argument(
        "--per-class", type=int, metavar="N", help="so many videos of each class at most (default: all)"
    )
    group.add_argument(
        "--class",
        dest="classes",
        action="append",
        metavar="CLASS",
        help="only videos of this class; repeatable (default: all)",
    )
    group.add_argument("--subset-seed", type=int, metavar="N", help="seed of the draw of videos (default 0)")


def given_subset(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of the subset that the options give."""
    subset = {
        "count": options.count,
        "per_class": options.per_class,
        "classes": options.classes,
        "seed": options.subset_seed,
    }
    return {name: value for name, value in subset.items() if value is not None}
