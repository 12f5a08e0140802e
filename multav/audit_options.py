"""What `multav audit` takes: its options, each with its meaning and default."""

import argparse
from pathlib import Path
from typing import Any, get_args

from multav.attacks.catalogue import ATTACKS
from multav.audits.request import PRIORITIES, AuditRequest, Checks
from multav.exit_codes import INTERRUPTED
from multav.local_file import json_object
from multav.name_value import finite, kind_with_settings
from multav.subset_options import add_subset, given_subset

EPILOG = f"""\
examples:
  multav audit --count 100                             the default model, MultAV-linf, 100 clips of the built-in set
  multav audit --count 200 --kind multav-linf --kind pgd-linf \\
      --epsilons multav-linf=1.01,1.02,1.04 --epsilons pgd-linf=0.004,0.008,0.016
  multav audit --model clean --model hardened --dataset ucf101-test-1 --transfer --dry-run
  multav audit --from-manifest audit/manifest.json     the same audit again; says whether the outcomes are identical

Everything can also be written as JSON (--spec FILE, the body of POST /v1/audits); options come on top of it.
Ctrl-C leaves the audit running: `multav wait JOB` follows it again, `multav pause JOB` and `multav resume JOB` stop it
and let it go on, `multav cancel JOB` ends it. A failed or cancelled audit can be resumed, too.
exit codes: 0 robust; 1 refused or failed; 2 wrong usage; 3 not robust, undecided or not to be trusted;
with --from-manifest 0 for the same outcomes, 4 for others; {INTERRUPTED} broken off (Ctrl-C)
"""


def add_audit(command: argparse.ArgumentParser) -> None:
    """Give the parser of `multav audit` its options."""
    command.epilog = EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "--to",
        type=Path,
        default=Path("multav-audit"),
        metavar="FOLDER",
        help="where the report goes; made if it is not there (default %(default)s)",
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--spec",
        type=Path,
        metavar="FILE",
        help="the request as JSON, under the options (default: options alone)",
    )
    source.add_argument(
        "--from-manifest",
        type=Path,
        metavar="FILE",
        help="run a report's manifest.json again (default: a new audit)",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what it would cost (default: run it)",
    )
    about = command.add_argument_group("what is audited")
    about.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="NAME",
        help="a registered model; give it again for more (default: the service's)",
    )
    about.add_argument("--dataset", help=f"a registered dataset (default {_default('dataset')})")
    add_subset(about)
    about.add_argument(
        "--recipe", choices=_choices("recipe"), help=f"how videos become clips (default {_default('recipe')})"
    )
    attacks = command.add_argument_group("how it is attacked")
    attacks.add_argument(
        "--kind",
        dest="kinds",
        action="append",
        type=kind_with_settings,
        metavar="KIND[,NAME=VALUE...]",
        help=f"an attack with settings, as pgd-linf,steps=20; repeatable (default {_default('attacks')[0].kind}); "
        f"kinds: {', '.join(ATTACKS)}",
    )
    attacks.add_argument(
        "--epsilons",
        action="append",
        type=_grid,
        metavar="KIND=E[,E...]",
        help="bounds at which the attacks of a kind are run; step sizes keep their share (default: each attack's own)",
    )
    attacks.add_argument(
        "--last-step",
        dest="early_stop",
        action="store_false",
        default=None,
        help="judge the last step alone, as the paper does (default: any step that fools the model counts)",
    )
    attacks.add_argument(
        "--transfer",
        action="store_true",
        default=None,
        help="try each model's attacks on the others (default: not)",
    )
    attacks.add_argument(
        "--minimum-epsilon",
        action="store_true",
        default=None,
        help="look for the smallest epsilon that fools the model, clip by clip (default: not)",
    )
    attacks.add_argument("--seed", type=int, help=f"seed of every random draw (default {_default('seed')})")
    attacks.add_argument(
        "--precision",
        choices=_choices("precision"),
        help=f"arithmetic of gradients (default {_default('precision')})",
    )
    attacks.add_argument(
        "--batch-size", type=int, metavar="N", help=f"clips at a time (default {_default('batch_size')})"
    )
    report = command.add_argument_group("how it is judged and reported")
    report.add_argument(
        "--check-clips",
        type=int,
        metavar="N",
        help=f"clips on which the audit doubts itself; 0: no doubts (default {Checks().clips})",
    )
    report.add_argument(
        "--robust-at",
        type=finite,
        metavar="SHARE",
        help=f"share of known clips that must stay right, with 95 %% confidence (default {_default('robust_at')})",
    )
    report.add_argument(
        "--examples",
        type=int,
        metavar="N",
        help=f"clips to look at, per model (default {_default('examples')})",
    )
    report.add_argument(
        "--priority", choices=list(PRIORITIES), help=f"which audits go first (default {_default('priority')})"
    )


def audit_spec(options: argparse.Namespace) -> dict[str, Any]:
    """The request that the options stand for; what was not given is left to the service.

    Raises `OSError` and `ValueError` for a file that cannot be read.
    """
    spec: dict[str, Any] = {}
    if options.spec is not None:
        spec = json_object(options.spec)
    if options.from_manifest is not None:
        manifest = json_object(options.from_manifest)
        if not isinstance(manifest.get("request"), dict):
            raise ValueError(f"{options.from_manifest} is no manifest of an audit: it holds no request")
        spec = manifest["request"]
    names = ("models", "dataset", "recipe", "early_stop", "transfer", "minimum_epsilon", "seed", "precision")
    for name in (*names, "batch_size", "robust_at", "examples", "priority"):
        value = getattr(options, name)
        if value is not None:
            spec[name] = value
    subset = given_subset(options)
    if subset:
        spec["subset"] = {**spec.get("subset", {}), **subset}
    if options.kinds:
        spec["attacks"] = options.kinds
    if options.epsilons:
        spec["epsilons"] = dict(options.epsilons)
    if options.check_clips is not None:
        spec["checks"] = {"clips": options.check_clips} if options.check_clips else None
    return spec


def _grid(text: str) -> tuple[str, list[float]]:
    kind, equals, numbers = text.partition("=")
    try:
        return kind, [float(number) for number in numbers.split(",")] if equals else _not_a_grid(text)
    except ValueError:
        return kind, _not_a_grid(text)


def _not_a_grid(text: str) -> list[float]:
    raise argparse.ArgumentTypeError(f"{text!r} is not KIND=E,E,...: write multav-linf=1.01,1.02")


def _default(name: str) -> Any:
    return AuditRequest.model_fields[name].get_default(call_default_factory=True)


def _choices(name: str) -> tuple[str, ...]:
    return get_args(AuditRequest.model_fields[name].annotation)
