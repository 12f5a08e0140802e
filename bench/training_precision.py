"""Whether hardening with gradients in bfloat16 costs robustness: paired trainings of a few seeds.

    python bench/training_precision.py [--seeds 1 2 3] [--steps 600] [--clips 3000] [--held-out 500] [--size 40]
        [--kind multav-linf] [--device cuda] [--threads 2]

From the shipped demo model, clips of 8 frames, AdamW with a one-cycle rate, the attack ramped over 40 % of the
steps. Each seed is trained twice, in float32 and in bfloat16; both models meet the same attack, in float32, on the same
held-out clips. `p` is the exact McNemar test over the clips of all seeds.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch
from conditions import conditions, in_one_line
from numpy.typing import NDArray

from models.beginnings import beginning
from models.checkpoints import load
from multav import craft, prepare
from multav.datasets.synthetic import Synthetic
from multav.statistics.paired import mcnemar
from multav.synthetic.camera_motion import camera_motion_clips
from multav.training.memory_cache import MemoryCache
from multav.training.request import TrainingRequest
from multav.training.train import train
from multav.training.videos import training_videos
from multav.video.limits import Limits
from worker.memory import keep_large_buffers

CHECKPOINT: Final = Path(__file__).parents[1] / "models/checkpoints/camera-motion-r3d18.safetensors"
HELD_OUT_SEED: Final = 555
PRECISIONS: Final = ("float32", "bfloat16")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--held-out", type=int, default=500)
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--kind", default="multav-linf")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_large_buffers()
    print(in_one_line(conditions(options.device)), end="\n\n")
    kept = MemoryCache(None, 2**32)
    print("| seed | precision | clean | robust | s |\n|---|---|---|---|---|")
    robust: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in PRECISIONS}
    for seed in options.seeds:
        for precision in PRECISIONS:
            started = time.perf_counter()
            clean, held = hardened(options, seed, precision, kept)
            seconds = time.perf_counter() - started
            robust[precision].append(held)
            print(f"| {seed} | {precision} | {clean:.1%} | {held.mean():.1%} | {seconds:.0f} |", flush=True)
    fine, coarse = (np.concatenate(robust[name]) for name in PRECISIONS)
    only_fine, only_coarse = int((fine & ~coarse).sum()), int((coarse & ~fine).sum())
    _, p = mcnemar(only_fine, only_coarse)
    print(
        f"\nbfloat16 less float32: {coarse.mean() - fine.mean():+.2%} of {len(fine)} clips ({only_fine} robust in "
        f"float32 alone, {only_coarse} in bfloat16 alone, p = {p:.3f})"
    )


def hardened(
    options: argparse.Namespace, seed: int, precision: str, kept: MemoryCache
) -> tuple[float, NDArray[np.bool_]]:
    """Clean accuracy of a model that was hardened in `precision`, and which held-out clips withstand the attack."""
    size = options.size
    geometry = load(CHECKPOINT).geometry.model_copy(
        update={"short_side": size, "height": size, "width": size}
    )
    request = TrainingRequest.parse(
        {
            "start": {"model": "camera-motion-r3d18", "geometry": geometry.model_dump()},
            "attack": {"kind": options.kind},
            "batch_size": 32,
            "steps": options.steps,
            "optimiser": {"kind": "adamw"},
            "schedule": {"kind": "cosine", "warm_up": 0.2},
            "ramp": 0.4,
            "seed": seed,
            "precision": precision,
            "select": "last",
            "validation": {"clips": 100, "every_epochs": 1000},
        }
    )
    listing = Synthetic(clips=options.clips, size=size, seed=1).listing()
    videos = training_videos(request.model_copy(update={"seed": 1}), listing)
    classifier = beginning(request.start, videos.classes, seed, load(CHECKPOINT)).to(options.device)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(
            classifier,
            request,
            videos,
            geometry,
            limits=Limits(),
            checkpoint_at=Path(folder) / "checkpoint.safetensors",
            cache=kept,
            decoders=options.threads,
        )
    model = prepare(trained.model)
    made = camera_motion_clips(range(options.held_out), seed=HELD_OUT_SEED, frames=8, pixels=size)
    clips = torch.from_numpy(made.pixels).float().div_(255).to(options.device)
    labels = torch.from_numpy(made.labels).to(options.device)
    with torch.no_grad():
        clean = float((model(clips).argmax(1) == labels).double().mean())
    found = craft(model, clips, labels, request.attacks[0])
    return clean, (found.logits.argmax(1) == labels).cpu().numpy()


if __name__ == "__main__":
    main()
