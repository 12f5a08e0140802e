"""What a worker does to a loaded model, each way beside the one that it takes.

    python bench/model_preparation.py [--batch 1 4] [--repeats 5] [--clock processor --threads 1] [--device cuda]

One pass, "forward + gradient by the input", of a 3D ResNet-18 (full width, 16x112x112, float32) with random weights,
and of the demo model:

    as loaded      eval mode, frozen parameters, contiguous, batch norm folded where that pays: what a worker does
    unfolded       batch norm of the residual blocks as it is written
    not frozen     parameters that ask for gradients (which nobody takes: the gradient is asked for by the input alone)
    channels last  weights and clip in `torch.channels_last_3d`

`ratio` is the median over the rounds of the time beside "as loaded" in the same round; `of least` that of the shortest
times. Above 1 is slower.
"""

import argparse
import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from conditions import conditions, in_one_line
from plain_twin import twins
from torch import Tensor, nn
from turns import CLOCKS, in_turn

from models.checkpoints import load
from models.folded_batch_norm import one_after_the_other
from worker.memory import keep_large_buffers

DEMO = Path(__file__).parents[1] / "models" / "checkpoints" / "camera-motion-r3d18.safetensors"


def as_loaded(network: nn.Module) -> nn.Module:
    """A copy as a worker has it."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def unfolded(network: nn.Module) -> nn.Module:
    """Batch norm after each convolution of the blocks, as it is written."""
    changed = as_loaded(network)
    for module in changed.modules():
        if hasattr(module, "normalised"):
            module.normalised = one_after_the_other
    return changed


def not_frozen(network: nn.Module) -> nn.Module:
    """Parameters that ask for gradients."""
    return as_loaded(network).requires_grad_(True)


def channels_last(network: nn.Module) -> nn.Module:
    """Weights in the other memory format."""
    return as_loaded(network).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


VARIANTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as loaded": as_loaded,
    "unfolded": unfolded,
    "not frozen": not_frozen,
    "channels last": channels_last,
}


def one_pass(network: nn.Module, clips: Tensor) -> None:
    """Forward and gradient by the clips."""
    asked = clips.detach().requires_grad_()
    torch.autograd.grad(network(asked).sum(), asked)
    if clips.is_cuda:
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_large_buffers()
    print(in_one_line(conditions()))
    print("| network | B | way | seconds | ratio | of least |\n|---|---|---|---|---|---|")
    demo = load(DEMO)
    geometry = demo.geometry
    networks = {
        "3D ResNet-18": (twins()[0], (16, 112, 112)),
        "demo model": (demo, (geometry.frames, geometry.height, geometry.width)),
    }
    for name, (network, size) in networks.items():
        prepared = {way: prepare(network).to(options.device) for way, prepare in VARIANTS.items()}
        for batch in options.batch:
            clips = torch.rand(batch, 3, *size, device=options.device)
            laid_out = clips.to(memory_format=torch.channels_last_3d)
            passes = [
                partial(one_pass, each, laid_out if way == "channels last" else clips)
                for way, each in prepared.items()
            ]
            in_turn(passes, 1)
            turns = in_turn(passes, options.repeats, options.clock)
            for index, way in enumerate(prepared):
                figures = (turns.median(index), turns.ratio(index, 0), turns.ratio_of_least(index, 0))
                told = " | ".join(f"{figure:.3f}" for figure in figures)
                print(f"| {name} | {batch} | {way} | {told} |", flush=True)


if __name__ == "__main__":
    main()
