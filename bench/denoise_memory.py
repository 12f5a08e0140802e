"""Peak memory of one pass forward and back through a 3D ResNet-18 with denoising blocks.

    python bench/denoise_memory.py --denoise space_time [--train]

One variant a process, because the peak is the process's own. Depth 18, shortcut A, one clip, float32 on the CPU.
Without `--train` as an attack does it: eval mode, the gradient by the clip. With it also by all weights.
"""

import argparse
import resource
import time

import torch

from models.denoising_options import VARIANTS
from models.resnet3d import ResNet3D


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--denoise", choices=sorted(VARIANTS), help="left out: no blocks")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    arguments = {"frames": options.frames} if options.denoise == "frame_separate" else None
    network = ResNet3D(101, shortcut="A", denoise=options.denoise, denoise_options=arguments)
    network.train(options.train).requires_grad_(options.train)
    clip = torch.rand(1, 3, options.frames, options.size, options.size, requires_grad=True)
    started = time.perf_counter()
    torch.autograd.backward(network(clip).square().sum())
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{options.denoise or 'none'}: {peak:.0f} MB, {seconds:.1f} s, {'training' if options.train else 'attack'}"
    )


if __name__ == "__main__":
    main()
