"""What is left of an attack after rounding and after H.264, with and without the channel in the loop.

    python bench/delivery_survival.py [--scale 2] [--clips 60] [--epsilon 1.04] [--steps 5 20]

Held-out clips of the built-in set are rendered at `scale` times the model's size and attacked on those source
frames (label: the truth). Each row is one way to attack; the columns say on how many of the clips the model is
still right: on the clean clip, on the float clip, on its 8-bit levels, and after H.264 at falling quality. Fewer is
a stronger attack. `lost` is what H.264 crf 23 costs: its column minus the float one.
"""

import argparse
import time
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoints import load
from multav.attacks.catalogue import parse_attack
from multav.attacks.spec import AttackSpec
from multav.crafting import Crafter
from multav.geometry import InputGeometry
from multav.prediction import Scorer, window_positions
from multav.preprocessing import preprocessing
from multav.quantise import LevelBounds
from multav.synthetic.camera_motion import camera_motion_clips
from multav.video.passage import through_h264
from multav.windows import Segment, dense_segments

Pictures = NDArray[np.uint8]

FACTORS = (10, 18, 23, 30)
FRAME_RATE = 25
CHECKPOINT = "models/checkpoints/camera-motion-r3d18.safetensors"
SEED = 987


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=int, default=2, help="source size / model size")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--epsilon", type=float, default=1.04)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--channels", nargs="+", default=["none", "levels", "codec"])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(CHECKPOINT)
    model.requires_grad_(False)
    geometry = model.geometry.model_copy(update={"stride": 1})
    side = geometry.short_side * options.scale
    maps = preprocessing(geometry, side, side)
    scorer = Scorer(model, maps, model.classes, torch.device("cpu"))
    clips = camera_motion_clips(range(options.clips), seed=SEED, frames=geometry.frames, pixels=side)
    # (N, 3, T, H, W) -> (N, T, H, W, 3)
    videos = np.ascontiguousarray(clips.pixels.transpose(0, 2, 3, 4, 1))
    header = ["attack", "clean", "float", "8-bit", *(f"crf {crf}" for crf in FACTORS), "lost", "s/clip"]
    print(f"{options.clips} clips of {side}x{side}, model {geometry.width}x{geometry.height}; % still right")
    print(f"{header[0]:<30}" + "".join(f"{name:>8}" for name in header[1:]))
    for steps in options.steps:
        step_size = max(1.01, options.epsilon ** (2 / steps))
        attack = parse_attack(
            {"kind": "multav-linf", "epsilon": options.epsilon, "step_size": step_size, "steps": steps}
        )
        for channel in options.channels:
            row(scorer, videos, clips.labels, attack, channel)


def row(
    scorer: Scorer, videos: Pictures, labels: NDArray[np.int64], attack: AttackSpec, channel: str
) -> None:
    """Attack every clip one way and print who is still right where."""
    started = time.monotonic()
    right: dict[str, int] = {}
    passage = partial(through_h264, crf=23, frame_rate=FRAME_RATE) if channel == "codec" else None
    for video, label in zip(videos, labels.tolist(), strict=True):
        (segment,) = dense_segments(list(video), _geometry_of(scorer, video))
        crafter = Crafter(
            scorer,
            attack,
            attack.region,
            LevelBounds.of(attack),
            label,
            0,
            passages=() if passage is None else (passage,),
            levels_in_loop=channel == "levels",
        )
        made = crafter.craft(segment, on_step=lambda _: None, keep_clips=True)
        crafted = np.stack(made.pictures)
        seen = {"clean": predict(scorer, segment, video), "8-bit": predict(scorer, segment, crafted)}
        seen["float"] = int(scorer.logits(scorer.preprocessing.apply(made.clips[0])[None]).argmax())
        for crf in FACTORS:
            arrived = through_h264(crafted, crf=crf, frame_rate=FRAME_RATE)
            seen[f"crf {crf}"] = predict(scorer, segment, arrived)
        for name, index in seen.items():
            right[name] = right.get(name, 0) + (index == label)
    share = {name: 100 * count / len(videos) for name, count in right.items()}
    columns = [share[name] for name in ("clean", "float", "8-bit", *(f"crf {crf}" for crf in FACTORS))]
    columns += [share["crf 23"] - share["float"], (time.monotonic() - started) / len(videos)]
    name = f"{attack.steps} steps, channel {channel}"
    print(f"{name:<30}" + "".join(f"{value:>8.1f}" for value in columns), flush=True)


def _geometry_of(scorer: Scorer, video: Pictures) -> InputGeometry:
    return scorer.model.geometry.model_copy(update={"stride": 1, "frames": len(video)})


def predict(scorer: Scorer, segment: Segment[Pictures], pictures: Pictures) -> int:
    """The model's class for a clip that is one window."""
    with torch.no_grad():
        small = scorer.preprocessing.apply(scorer.seen(list(pictures)).float().div_(255))
        clips = torch.stack([small[:, positions] for positions in window_positions(segment)])
        return int(scorer.logits(clips).softmax(1).mean(0).argmax())


if __name__ == "__main__":
    main()
