"""What every kind of attack costs beside the plain network, and whether it finds the same there.

    python bench/every_kind.py [--steps 10] [--batch 1 4] [--repeats 3] [--kinds apgd-ratio roa] [--json FILE]
        [--device cuda] [--precision auto] [--unprepared]

For every kind, with its own defaults but for the number of gradients T: one `multav.craft` on a 3D ResNet-18 (full
width, 16x112x112) divided by T bare passes "forward + gradient by the input" of the plain network in float32
(ordinary convolutions everywhere), the least that an attack written without this library would do. Every kind
spends T gradients, the adaptive ones too, and one more forward on the result. Attack and passes take turns: `ratio`
is the median over the rounds of the ratio within one, `of minima` the ratio of both shortest times.

`--precision` is that of the attack's gradients; the plain network's are always float32. The network is prepared
(`multav.prepare`), as a worker's are, unless `--unprepared` says otherwise.

Beside it, how far the result is from that of the same attack on the plain network. Both networks are the same
function up to rounding. But where a gradient is nearly 0, or an activation before its ReLU, the sign is a matter of
rounding, and values there go another way: `apart` is the share of the values that differ by more than 1e-6,
`furthest` the largest difference. `logits` is the largest difference of the adversarial logits, as a share of what
the attack changed in them. `same` counts the clips that both networks say the same class of.

Labels are the network's own predictions. Memory is kept between passes as a worker process does. `--clock processor
--threads 1` is for a machine that others use (`turns.py`).
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, get_args

import torch
from bare_passes import bare_passes
from conditions import conditions, in_one_line
from plain_twin import twins
from torch import Tensor, nn
from turns import CLOCKS, in_turn

import multav
from multav.attacks.catalogue import ATTACKS
from multav.precision import Precision, gradient_type
from worker.memory import keep_large_buffers

BARS: Final = {None: {1: 0.80, 4: 0.70}, torch.bfloat16: {1: 0.28, 4: 0.36}}
"""Largest ratio that is good enough, by what gradients are computed in (None: float32) and batch size."""

APART: Final = 1e-6


@dataclass(frozen=True)
class Figures:
    """One line of the table; times are in seconds."""

    kind: str
    batch: int
    steps: int
    attack: float
    plain: float
    ratio: float
    ratio_of_minima: float
    furthest: float
    apart: float
    logits: float
    same: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=list(ATTACKS), default=list(ATTACKS), metavar="KIND")
    parser.add_argument("--steps", type=int, default=10, help="gradients of every attack")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="what is timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--unprepared", action="store_true", help="promise nothing of the network")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_large_buffers()
    before = conditions(options.device)
    print(f"{in_one_line(before)}; {options.repeats} rounds, {options.clock} time, {options.precision}\n")
    print("| kind | B | T | attack s | plain s | ratio | of minima | apart | furthest | logits | same |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    fast, plain = twins(device=options.device)
    if not options.unprepared:
        multav.prepare(fast)
    found = []
    for batch in options.batch:
        generator = torch.Generator().manual_seed(batch)
        clips = torch.rand(batch, 3, options.frames, options.size, options.size, generator=generator).to(
            options.device
        )
        # Two passes each, so that no kind pays for the first ones.
        for network in (fast, plain):
            bare_passes(network, clips, torch.zeros(batch, dtype=torch.int64, device=options.device), 2)
        for kind in options.kinds:
            found.append(measured(kind, fast, plain, clips, options))
            print(line(found[-1]), flush=True)
    print()
    for batch in options.batch:
        arithmetic = gradient_type(options.precision, torch.device(options.device))
        bar = BARS[arithmetic].get(batch)
        print(verdict(batch, [figures for figures in found if figures.batch == batch], bar))
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


def measured(
    kind: str, fast: nn.Module, plain: nn.Module, clips: Tensor, options: argparse.Namespace
) -> Figures:
    """Compare one kind on both networks, then time it."""
    steps = options.steps
    attack = multav.parse_attack({"kind": kind, "steps": steps})
    with torch.no_grad():
        clean = plain(clips)
    labels = clean.argmax(1)

    def attacked() -> multav.Crafted:
        return multav.craft(fast, clips, labels, attack, precision=options.precision)

    ours = attacked()
    theirs = multav.craft(plain, clips, labels, attack)
    difference = (ours.clips - theirs.clips).abs()
    turns = in_turn(
        [
            attacked,
            lambda: bare_passes(plain, clips, labels, steps),
        ],
        options.repeats,
        options.clock,
        options.device,
    )
    return Figures(
        kind=kind,
        batch=len(clips),
        steps=steps,
        attack=turns.median(0),
        plain=turns.median(1),
        ratio=turns.ratio(0, 1),
        ratio_of_minima=turns.ratio_of_least(0, 1),
        furthest=float(difference.max()),
        apart=float((difference > APART).double().mean()),
        logits=float((ours.logits - theirs.logits).abs().max() / (theirs.logits - clean).abs().max()),
        same=int((ours.logits.argmax(1) == theirs.logits.argmax(1)).sum()),
    )


def line(figures: Figures) -> str:
    """A row of the table."""
    cells = [
        figures.kind,
        figures.batch,
        figures.steps,
        f"{figures.attack:.3f}",
        f"{figures.plain:.3f}",
        f"{figures.ratio:.3f}",
        f"{figures.ratio_of_minima:.3f}",
        f"{figures.apart:.1e}",
        f"{figures.furthest:.1e}",
        f"{figures.logits:.1e}",
        f"{figures.same}/{figures.batch}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def verdict(batch: int, found: list[Figures], bar: float | None) -> str:
    """How many kinds of one batch size are within the bar, and that all find the same."""
    worst = max(found, key=lambda figures: figures.ratio)
    agree = sum(figures.same == batch for figures in found)
    text = f"B = {batch}: largest ratio {worst.ratio:.3f} ({worst.kind})"
    if bar is not None:
        within = sum(figures.ratio <= bar for figures in found)
        text += f"; at most {bar:.2f}: {within} of {len(found)} kinds"
    return f"{text}; the same classes: {agree} of {len(found)} kinds"


if __name__ == "__main__":
    main()
