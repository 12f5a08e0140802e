"""What is left of an attack in files of 8 and of more bits, on bright and on dark clips.

    python bench/dark_delivery.py [--video samples/bigbuckbunny.mp4] [--clips 8] [--scale 4] [--steps 5]

Real clips are windows of the video, cut where `--clips` is reached from left, middle and right; synthetic ones are
held-out clips of the built-in set. Each is used as it is and darkened: its 8-bit levels times the factor, rounded, as a
dark scene would have them. The attack moves away from what the model says of the (dark) clean clip, so success is a
changed prediction. `float` is the crafted clip itself; `8-bit` and deeper are files (FFV1) that were written, read and
judged; `crf` is the 8-bit clip through H.264. `moved` is the share of non-black values that the file could move.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoints import load
from multav.attacks.catalogue import parse_attack
from multav.attacks.spec import AttackSpec
from multav.crafting import Crafter
from multav.geometry import InputGeometry
from multav.grid import Grid
from multav.prediction import RunningPrediction, Scorer
from multav.preprocessing import preprocessing
from multav.quantise import LevelBounds, levels_toward
from multav.synthetic.camera_motion import camera_motion_clips
from multav.video.decode import decode
from multav.video.encode import encode
from multav.video.formats import FORMATS
from multav.video.passage import through_h264
from multav.video.picture import Picture
from multav.windows import Segment, dense_segments

Clip = NDArray[np.uint8]

CHECKPOINT = "models/checkpoints/camera-motion-r3d18.safetensors"
FACTORS = (1.0, 0.25, 0.1)
DEPTHS = (8, 10, 12, 16)
CRF = (6, 23)
SEED = 987


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, default=Path("samples/bigbuckbunny.mp4"))
    parser.add_argument("--clips", type=int, default=8, help="of each kind")
    parser.add_argument("--scale", type=int, default=4, help="source size / model size")
    parser.add_argument("--brightness", type=float, nargs="+", default=FACTORS, help="factors of the levels")
    parser.add_argument("--epsilon", type=float, default=1.04)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--channel", choices=("none", "levels"), default="none")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(CHECKPOINT)
    model.requires_grad_(False)
    geometry = model.geometry.model_copy(update={"stride": 1})
    side = geometry.short_side * options.scale
    scorer = Scorer(model, preprocessing(geometry, side, side), model.classes, torch.device("cpu"), None)
    step_size = max(1.01, options.epsilon ** (2 / options.steps))
    attack = parse_attack(
        {
            "kind": "multav-linf",
            "epsilon": options.epsilon,
            "step_size": step_size,
            "steps": options.steps,
        }
    )
    bench = Bench(scorer, geometry, attack, options.channel == "levels")
    made = camera_motion_clips(range(options.clips), seed=SEED, frames=geometry.frames, pixels=side)
    sets = {
        options.video.stem: cut(options.video, options.clips, geometry.frames, side),
        # (N, 3, T, H, W) -> (N, T, H, W, 3)
        "synthetic": list(np.ascontiguousarray(made.pixels.transpose(0, 2, 3, 4, 1))),
    }
    names = ["float", *(f"{bits}-bit" for bits in DEPTHS), *(f"crf {crf}" for crf in CRF)]
    names += [f"moved at {bits}" for bits in (8, 16)]
    print(
        f"{side}x{side}, epsilon {options.epsilon}, {options.steps} steps, channel {options.channel}; success in %"
    )
    print("| clips | brightness | mean level | " + " | ".join(names) + " | s/clip |")
    print("|---" * (len(names) + 4) + "|")
    for name, clips in sets.items():
        for factor in options.brightness:
            dark = [np.rint(clip * factor).astype(np.uint8) for clip in clips]
            started = time.monotonic()
            figures = bench.attack(dark)
            level = np.mean([clip.mean() for clip in dark])
            spent = (time.monotonic() - started) / len(dark)
            cells = " | ".join(f"{100 * figures[column] / len(dark):.0f}" for column in names)
            print(f"| {len(dark)} {name} | x{factor:g} | {level:.0f} | {cells} | {spent:.1f} |", flush=True)


def cut(path: Path, count: int, frames: int, side: int) -> list[Clip]:
    """Up to `count` clips (T, side, side, 3): windows one after the other, each left, in the middle and right."""
    with decode(path) as video:
        pictures = [frame.rgb for frame in video]
    height, width = pictures[0].shape[:2]
    top = (height - side) // 2
    clips = []
    for left in ((width - side) // 2, 0, width - side):
        for start in range(0, len(pictures) - frames + 1, frames):
            window = pictures[start : start + frames]
            clips.append(np.stack([each[top : top + side, left : left + side] for each in window]))
    return clips[:count]


@dataclass(frozen=True)
class Bench:
    """Everything that all clips share."""

    scorer: Scorer
    geometry: InputGeometry
    attack_spec: AttackSpec
    levels_in_loop: bool

    def attack(self, clips: list[Clip]) -> dict[str, float]:
        """On how many clips the attack succeeds, by column; and the summed shares of values that moved."""
        found: dict[str, float] = {}
        crafted: dict[int, list[Picture]] = {bits: [] for bits in DEPTHS}
        asked = []
        for clip in clips:
            (segment,) = dense_segments(list(clip), self.geometry)
            label = self._predict(segment, clip, 255)
            asked.append((segment, label))
            made = self._craft(segment, label, crafted)
            small = self.scorer.preprocessing.apply(made)[None]
            _count(found, "float", int(self.scorer.logits(small).argmax()) != label)
            for crf in CRF:
                arrived = through_h264(crafted[8][-1].astype(np.uint8), crf=crf, frame_rate=25)
                _count(found, f"crf {crf}", self._predict(segment, arrived, 255) != label)
            for bits in DEPTHS:
                moved = crafted[bits][-1] != Grid(bits, 8).unmoved(clip)
                _count(found, f"moved at {bits}", float(moved[clip > 0].mean()))
        for bits in DEPTHS:
            delivered = self._delivered(np.concatenate(crafted[bits]), bits)
            for (segment, label), pictures in zip(asked, np.split(delivered, len(clips)), strict=True):
                said = self._predict(segment, pictures, Grid(bits, 8).peak)
                _count(found, f"{bits}-bit", said != label)
        return found

    def _craft(
        self, segment: Segment[Picture], label: int, crafted: dict[int, list[Picture]]
    ) -> torch.Tensor:
        """Append the crafted pictures of every depth; the float clip (3, T, H, W) at 8 bits."""
        floats = torch.empty(0)
        for bits in DEPTHS:
            bounds = LevelBounds.of(self.attack_spec, Grid(bits, 8))
            if self.levels_in_loop or not floats.numel():
                region = self.attack_spec.region
                crafter = Crafter(
                    self.scorer,
                    self.attack_spec,
                    region,
                    bounds,
                    label,
                    0,
                    levels_in_loop=self.levels_in_loop,
                )
                made = crafter.craft(segment, on_step=lambda _: None, keep_clips=True)
                crafted[bits].append(np.stack(made.pictures))
                floats = made.clips[0] if bits == 8 else floats
                continue
            # Without a channel the floats are the same at every depth, and the file's part is only the rounding.
            clean = self.scorer.seen(segment.pictures)
            codes = bounds.clamp(levels_toward(floats, clean, bounds.grid).numpy(), clean.numpy())
            crafted[bits].append(codes.transpose(1, 2, 3, 0).astype(bounds.grid.dtype))
        return floats

    def _predict(self, segment: Segment[Picture], pictures: Picture, peak: int) -> int:
        prediction = RunningPrediction(self.scorer, peak)
        prediction.add(segment, list(pictures))
        return prediction.result().index

    def _delivered(self, pictures: Picture, bits: int) -> Picture:
        """The pictures as a file of that depth gives them back."""
        height, width = pictures.shape[1:3]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mkv"
            form = FORMATS["ffv1-mkv"].at(bits)
            with encode(path, form, width=width, height=height, time_base="1/25", frame_rate=25) as writer:
                for index, picture in enumerate(pictures):
                    writer.write(picture, index)
            with decode(path, bits=bits) as frames:
                return np.stack([frame.rgb for frame in frames])


def _count(found: dict[str, float], column: str, value: float) -> None:
    found[column] = found.get(column, 0) + value


if __name__ == "__main__":
    main()
