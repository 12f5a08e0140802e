"""What an attack costs beyond its gradients.

    python bench/attack_overhead.py [--steps 5 20] [--batch 1 4] [--repeats 5]

One T-step `multav.craft` on a 3D ResNet-18 (full width, 16x112x112, float32), divided by the bare cost of T passes
"forward + gradient by the input" in the same run: of the same network, and of the plain network (ordinary
convolutions everywhere), which is what one would write without this library. The attack also evaluates its last clip
(T + 1 forwards, T gradients), because its logits and its loss are part of the result.

All of them keep their memory as a worker process does (`worker/memory.py`). The variants are timed in turn, round
after round; a ratio is the median over the rounds of the ratio within one.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import multav
from models.resnet3d import ResNet3D
from worker.memory import keep_large_buffers

CLASSES = 101


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
    torch.manual_seed(0)
    fast, plain = ResNet3D(CLASSES).eval(), ResNet3D(CLASSES, plain=True).eval()
    plain.load_state_dict(fast.state_dict())
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
        lambda: bare(fast, clips, labels, steps),
        lambda: bare(plain, clips, labels, steps),
    ]
    for variant in variants:
        variant()
    rounds = [[seconds(variant) for variant in variants] for _ in range(repeats)]
    attacked, same, original = (statistics.median(column) for column in zip(*rounds, strict=True))
    to_same = statistics.median(times[0] / times[1] for times in rounds)
    to_plain = statistics.median(times[0] / times[2] for times in rounds)
    print(
        f"{len(clips):>3} {steps:>4} {attacked:>9.3f} {same:>8.3f} {original:>8.3f} {to_same:>7.3f} {to_plain:>8.3f}",
        flush=True,
    )


def bare(network: nn.Module, clips: Tensor, labels: Tensor, steps: int) -> None:
    """`steps` forwards with the gradient by the input, and nothing else; parameters take no gradient."""
    network.requires_grad_(False)
    for _ in range(steps):
        leaf = clips.clone().requires_grad_()
        loss = functional.cross_entropy(network(leaf), labels, reduction="sum")
        torch.autograd.grad(loss, leaf)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of `work`."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
