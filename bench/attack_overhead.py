"""What an attack costs beyond its gradients.

    python bench/attack_overhead.py [--steps 5 20] [--batch 1 4] [--repeats 5]

One T-step `multav.craft` on a 3D ResNet-18 (full width, 16x112x112, float32), divided by the bare cost of T passes
"forward + gradient by the input" in the same run: of the same network, and of the plain network (ordinary
convolutions everywhere), which is what one would write without this library. The attack also evaluates its last clip
(T + 1 forwards, T gradients), because its logits and its loss are part of the result.

All of them keep their memory as a worker process does (`worker/memory.py`). The variants are timed in turn, round
after round (every second one backwards); a ratio is the median over the rounds of the ratio within one.
"""

import argparse
from collections.abc import Callable

import torch
from bare_passes import bare_passes
from plain_twin import CLASSES, twins
from torch import Tensor, nn
from turns import in_turn

import multav
from worker.memory import keep_large_buffers


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_large_buffers()
    fast, plain = twins()
    print(
        f"torch {torch.__version__}, {options.threads} threads, {options.repeats} rounds; seconds are medians"
    )
    print(f"{'B':>3} {'T':>4} {'attack s':>9} {'bare s':>8} {'plain s':>8} {'/ same':>7} {'/ plain':>8}")
    for batch in options.batch:
        clips = torch.rand(batch, 3, options.frames, options.size, options.size)
        labels = torch.arange(batch) % CLASSES
        for steps in options.steps:
            report(fast, plain, clips, labels, steps, options.repeats)


def report(
    fast: nn.Module, plain: nn.Module, clips: Tensor, labels: Tensor, steps: int, repeats: int
) -> None:
    """Time one batch size and number of steps and print its line."""
    attack = multav.parse_attack({"kind": "multav-linf", "steps": steps})
    variants: list[Callable[[], object]] = [
        lambda: multav.craft(fast, clips, labels, attack),
        lambda: bare_passes(fast, clips, labels, steps),
        lambda: bare_passes(plain, clips, labels, steps),
    ]
    for variant in variants:
        variant()
    turns = in_turn(variants, repeats)
    attacked, same, original = (turns.median(variant) for variant in range(3))
    print(
        f"{len(clips):>3} {steps:>4} {attacked:>9.3f} {same:>8.3f} {original:>8.3f} "
        f"{turns.ratio(0, 1):>7.3f} {turns.ratio(0, 2):>8.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
