"""How strong the attacks under a ratio bound are: robust accuracy of the demo model, attack by attack.

    python bench/attack_strength.py [--clips 500] [--epsilons 1.005 1.01 1.02 1.04] [--steps 50] [--precision bfloat16]
        [--only TEXT] [--device cuda]

Held-out clips of the built-in set, label: the truth. Each row is one attack, each column one epsilon; the figures are
the per cent of the clips on which the model is still right (fewer is a stronger attack). The fixed-step attack of T
steps has the step size 1.01 of the paper, or the T-th root of epsilon to the power of 2.5, which reaches every point
of the bound; the adaptive ones find theirs. `--additive` does the same for the additive twins, at
(epsilon - 1) / 2, the bound that a ratio means for the mean pixel.
"""

import argparse
import time
from typing import Any

import torch

import multav
from models.checkpoints import load
from multav.synthetic.camera_motion import camera_motion_clips

CHECKPOINT = "models/checkpoints/camera-motion-r3d18.safetensors"
SEED = 555
BATCH = 50


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1.005, 1.01, 1.02, 1.04])
    parser.add_argument("--steps", type=int, default=50, help="of the long attacks")
    parser.add_argument("--additive", action="store_true")
    parser.add_argument("--precision", default="float32", help="of the gradients: float32, bfloat16 or auto")
    parser.add_argument("--only", default="", help="rows whose names hold this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = multav.prepare(load(CHECKPOINT).to(options.device))
    geometry = model.geometry
    made = camera_motion_clips(
        range(options.clips), seed=SEED, frames=geometry.frames, pixels=geometry.short_side
    )
    clips = torch.from_numpy(made.pixels).float().div_(255).to(options.device)
    labels = torch.from_numpy(made.labels).to(options.device)
    names = [
        name for name in attacks(options.epsilons[0], options.steps, options.additive) if options.only in name
    ]
    print(f"{options.clips} held-out clips; % still right")
    print(f"{'attack':<34}" + "".join(f"{epsilon:>9g}" for epsilon in options.epsilons) + f"{'s/clip':>9}")
    for name in names:
        started = time.monotonic()
        shares = []
        for epsilon in options.epsilons:
            attack = multav.parse_attack(attacks(epsilon, options.steps, options.additive)[name])
            right = 0
            for start in range(0, len(clips), BATCH):
                batch = slice(start, start + BATCH)
                crafted = multav.craft(
                    model,
                    clips[batch],
                    labels[batch],
                    attack,
                    first_sample=start,
                    precision=options.precision,
                )
                right += int((crafted.logits.argmax(1) == labels[batch]).sum())
            shares.append(100 * right / len(clips))
        seconds = (time.monotonic() - started) / len(clips) / len(shares)
        print(f"{name:<34}" + "".join(f"{share:>9.1f}" for share in shares) + f"{seconds:>9.2f}", flush=True)


def attacks(epsilon: float, steps: int, additive: bool) -> dict[str, dict[str, Any]]:
    """Specifications by the names of the rows."""
    fixed, adaptive = ("pgd-linf", "apgd-linf") if additive else ("multav-linf", "apgd-ratio")
    bound = (epsilon - 1) / 2 if additive else epsilon

    def far(count: int) -> float:
        return 2.5 * bound / count if additive else epsilon ** (2.5 / count)

    paper = min(1 / 255, bound) if additive else min(1.01, epsilon)
    rows: dict[str, dict[str, Any]] = {}
    for count in (5, steps):
        rows[f"{fixed}, {count} steps, the paper's"] = {
            "kind": fixed, "epsilon": bound, "steps": count, "step_size": paper
        }  # fmt: skip
        rows[f"{fixed}, {count} steps, to the edge"] = {
            "kind": fixed, "epsilon": bound, "steps": count, "step_size": far(count)
        }  # fmt: skip
    for loss in ("cross-entropy", "dlr", "dlr-targeted"):
        rows[f"{adaptive}, {steps} steps, {loss}"] = {
            "kind": adaptive, "epsilon": bound, "steps": steps, "loss": loss
        }  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
