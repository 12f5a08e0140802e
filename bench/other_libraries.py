"""The same PGD by this library and by three others: how long each takes, and how far apart the results are.

    python bench/other_libraries.py [--norms linf l2] [--steps 10] [--batch 1 4] [--repeats 3] [--frozen] [--json FILE]
        [--device cuda] [--precision auto] [--unprepared]

All attack the same clips on the same 3D ResNet-18 (full width, 16x112x112) from the clean clip, with the same bound,
step size and number of steps. The others get the plain network (ordinary convolutions everywhere) in float32, this
library both that and the network as shipped: with gradients in `--precision`, and prepared (`multav.prepare`) as a
worker's networks are, unless `--unprepared` says otherwise. All take turns; `times` is the median over the rounds of
the seconds divided by those of this library within a round: of the network as shipped, and of the plain one. Objects
are made before the clock starts.

`furthest` is the largest difference of a value from this library's result on the plain network, `apart` the share of
the values that differ by more than 1e-6, and `loss` the mean cross-entropy that the plain network has on the result.

foolbox and ART take the gradient by the network's parameters as well, unless their user has frozen them; this library
does that for its user. With `--frozen` each is timed on a frozen network too. `--clock processor --threads 1` is for a
machine that others use (`turns.py`).
"""

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, get_args

import torch
from conditions import conditions, in_one_line
from library_attacks import LIBRARIES, Setting, Victim
from plain_twin import CLASSES, twins
from torch import Tensor, nn
from torch.nn import functional
from turns import CLOCKS, in_turn

import multav
from multav.precision import Precision, gradient_type
from worker.memory import keep_large_buffers

BARS: Final = {
    None: {"art": 1.9, "foolbox": 1.9, "torchattacks": 1.3},
    torch.bfloat16: {"art": 4.0, "foolbox": 4.0, "torchattacks": 3.0},
}
"""How many times as long each library should take at least, with linf, by what our gradients are computed in."""

APART: Final = 1e-6
OURS: Final = ("multav, as shipped", "multav, plain network")


@dataclass(frozen=True)
class Figures:
    """One line of the table; `seconds` is a median, `times` compares with both of `OURS`."""

    norm: str
    batch: int
    steps: int
    who: str
    seconds: float
    times: tuple[float, float]
    furthest: float
    apart: float
    loss: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--norms", nargs="+", choices=["linf", "l2"], default=["linf", "l2"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frozen", action="store_true", help="time the others on a frozen network too")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="what is timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--unprepared", action="store_true", help="promise nothing of the network")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_large_buffers()
    here = [name for name in LIBRARIES if find_spec(name)]
    missing = sorted(LIBRARIES.keys() - here)
    if missing:
        print(f"not installed and left out: {', '.join(missing)} (CONTRIBUTING.md says how)\n")
    before = conditions(options.device)
    print(f"{in_one_line(before)}; {options.repeats} rounds, {options.clock} time, {options.precision}\n")
    print("| attack | B | T | by | s | times as shipped | times plain | furthest | apart | loss |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    fast, plain = twins(device=options.device)
    if not options.unprepared:
        multav.prepare(fast)
    networks = {"": plain}
    if options.frozen:
        networks[", frozen"] = copy.deepcopy(plain).requires_grad_(False)
    found: list[Figures] = []
    for batch in options.batch:
        generator = torch.Generator().manual_seed(batch)
        clips = torch.rand(batch, 3, options.frames, options.size, options.size, generator=generator).to(
            options.device
        )
        for norm in options.norms:
            setting = setting_of(norm, options.steps)
            ways = ours(fast, plain, setting, options.precision)
            for name in here:
                for how, network in networks.items():
                    victim = Victim(network, tuple(clips.shape[1:]), CLASSES, options.device)
                    ways[name + how] = LIBRARIES[name](victim, setting)
            rows = compared(ways, plain, clips, setting, options)
            print("\n".join(map(line, rows)), flush=True)
            found += rows
    print()
    bars = BARS[gradient_type(options.precision, torch.device(options.device))]
    for figures in found:
        if figures.norm == "linf" and figures.who in bars:
            print(verdict(figures, bars[figures.who]))
    print(f"load at the end: {conditions()['load']}")
    if options.json:
        body = {
            "conditions": before,
            "rounds": options.repeats,
            "clock": options.clock,
            "precision": options.precision,
            "prepared": not options.unprepared,
            "figures": [asdict(each) for each in found],
        }
        options.json.write_text(json.dumps(body, indent=2) + "\n")


def setting_of(norm: Literal["linf", "l2"], steps: int) -> Setting:
    """The paper's additive setting; in l2 with a bound that half of the steps reach (the paper's never acts)."""
    if norm == "linf":
        return Setting("linf", epsilon=4 / 255, step_size=1 / 255, steps=steps)
    return Setting("l2", epsilon=steps / 2, step_size=1.0, steps=steps)


def ours(
    fast: nn.Module, plain: nn.Module, setting: Setting, precision: Precision
) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """This library's attack on both networks, on the plain one in float32."""
    attack = multav.parse_attack(
        {
            "kind": f"pgd-{setting.norm}",
            "epsilon": setting.epsilon,
            "step_size": setting.step_size,
            "steps": setting.steps,
        }
    )
    shipped, ordinary = OURS
    return {
        shipped: lambda clips, labels: multav.craft(fast, clips, labels, attack, precision=precision).clips,
        ordinary: lambda clips, labels: multav.craft(plain, clips, labels, attack).clips,
    }


def compared(
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]],
    plain: nn.Module,
    clips: Tensor,
    setting: Setting,
    options: argparse.Namespace,
) -> list[Figures]:
    """Run every way once to compare the results, then time them in turn."""
    with torch.no_grad():
        labels = plain(clips).argmax(1)
    results = {name: way(clips, labels) for name, way in ways.items()}
    if any(module.training for module in plain.modules()):
        raise SystemExit("the network was left in training mode: what follows would attack another one")
    names = list(ways)
    turns = in_turn(
        [partial(way, clips, labels) for way in ways.values()], options.repeats, options.clock, options.device
    )
    shipped, ordinary = (names.index(name) for name in OURS)
    rows = []
    for index, name in enumerate(names):
        difference = (results[name] - results[OURS[1]]).abs()
        with torch.no_grad():
            loss = functional.cross_entropy(plain(results[name]), labels)
        rows.append(
            Figures(
                norm=setting.norm,
                batch=len(clips),
                steps=setting.steps,
                who=name,
                seconds=turns.median(index),
                times=(turns.ratio(index, shipped), turns.ratio(index, ordinary)),
                furthest=float(difference.max()),
                apart=float((difference > APART).double().mean()),
                loss=float(loss),
            )
        )
    return rows


def line(figures: Figures) -> str:
    """A row of the table."""
    cells = [
        f"pgd-{figures.norm}",
        figures.batch,
        figures.steps,
        figures.who,
        f"{figures.seconds:.3f}",
        f"{figures.times[0]:.2f}",
        f"{figures.times[1]:.2f}",
        f"{figures.furthest:.1e}",
        f"{figures.apart:.1e}",
        f"{figures.loss:.3f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def verdict(figures: Figures, bar: float) -> str:
    """Whether one library takes as many times as long as it should."""
    met = "met" if figures.times[0] >= bar else "missed"
    return f"B = {figures.batch}, {figures.who}: {figures.times[0]:.2f} times, at least {bar}: {met}"


if __name__ == "__main__":
    main()
