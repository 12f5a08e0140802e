"""The pictures of the threat models' pages: what every kind does to a real clip, beside what it looks like.

    python docs/threat-models/pictures.py [--kinds multav-linf spa] [--to docs/threat-models/pictures]

From the repository's root; all kinds take three to ten minutes on one core, most of it for the two that spend 50
gradients. The clip is the one in the middle of `samples/bigbuckbunny.mp4`, the model is the demo model, every
setting is the kind's default. Frames are attacked as `domain: "source"`, `coverage: "clip"` does it, down to 8 bits;
the kinds whose bound is a Euclidean length, which means less on larger frames, as `domain: "model_input"` does it. In
the captions stands what the model says of the clip and of the crafted frames, before any encoder.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import multav
from models.checkpoints import load
from multav.attacks.catalogue import ATTACKS
from multav.attacks.spec import AttackSpec
from multav.crafting import Crafter
from multav.figures import changed_region, difference_map, ratio_map, signed_difference_map
from multav.figures.changed_region import TINT
from multav.figures.contact_sheet import Column, Scale, compose, ratio_scale
from multav.footage import shrink
from multav.map_videos import has_region
from multav.prediction import RunningPrediction, Scorer
from multav.preprocessing import no_preprocessing, preprocessing
from multav.quantise import LevelBounds
from multav.video.decode import decode
from multav.windows import Segment, clip_segments

Picture = NDArray[np.uint8]

VIDEO: Final = Path("samples/bigbuckbunny.mp4")
CHECKPOINT: Final = Path("models/checkpoints/camera-motion-r3d18.safetensors")
SHOWN: Final = (0, 7)
"""Frames of the clip that are shown."""
TWIN_RATIO: Final = 1.04
"""Full colour in the ratio maps of the kinds that bound no ratio: the bound of MultAV-linf."""
QUALITY: Final = 82
GAIN: Final = 30
"""Of the difference maps: more than the 15 of the service's artifacts, as these are shown small."""


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=list(ATTACKS), default=list(ATTACKS), metavar="KIND")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "pictures", metavar="FOLDER")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    model = load(CHECKPOINT)
    source = middle_clip(VIDEO, model.geometry)
    size = source.pictures[0].shape[:2]
    resize = preprocessing(model.geometry, *size)
    shrunk = replace(source, pictures=tuple(shrink(picture, resize) for picture in source.pictures))
    scorer = Scorer(model.eval(), resize, model.classes, torch.device("cpu"))
    unsized = replace(scorer, preprocessing=no_preprocessing(*shrunk.pictures[0].shape[:2]))
    for kind in options.kinds:
        started = time.monotonic()
        path = options.to / f"{kind}.jpg"
        attack = multav.parse_attack({"kind": kind})
        attacked = (scorer, source) if attack.ball.elementwise else (unsized, shrunk)
        picture, words = sheet(*attacked, attack)
        Image.fromarray(picture).save(path, quality=QUALITY, optimize=True)
        print(
            f"{path}  {words}  {path.stat().st_size // 1000} kB, {time.monotonic() - started:.0f} s",
            flush=True,
        )


def middle_clip(path: Path, geometry: multav.InputGeometry) -> Segment[Picture]:
    """The one window in the middle of the video."""
    with decode(path) as frames:
        pictures = [frame.rgb for frame in frames]
    return next(segment for segment in clip_segments(pictures, geometry, len(pictures)) if segment.samples)


def sheet(scorer: Scorer, segment: Segment[Picture], attack: AttackSpec) -> tuple[Picture, str]:
    """The contact sheet of one attack, and what came of it in words."""
    clean, _ = said(scorer, segment, segment.pictures)
    height, width = segment.pictures[0].shape[:2]
    factor = min(height, width) / scorer.preprocessing.rows.shape[0]
    region = attack.region.enlarged(factor)
    crafter = Crafter(scorer, attack, region, LevelBounds.of(attack), clean[0], seed=0)
    crafted = crafter.craft(segment, on_step=lambda _: None, keep_clips=False).pictures
    frames = segment.samples[0].frames
    before, after = ([pictures[frames[at]] for at in SHOWN] for pictures in (segment.pictures, crafted))
    now, words = said(scorer, segment, crafted)
    columns = [
        Column(f"clean: {scorer.classes[clean[0]]} {clean[1]:.0%}", before),
        Column(f"{attack.kind}: {scorer.classes[now[0]]} {now[1]:.0%}", after),
        *maps(attack, before, after),
    ]
    change = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(before, after, strict=True))
    return compose(columns), f"{words}, largest change {change} levels"


def said(
    scorer: Scorer, segment: Segment[Picture], pictures: Sequence[Picture]
) -> tuple[tuple[int, float], str]:
    """The class that the model names, how sure it is, and both in words."""
    prediction = RunningPrediction(scorer)
    prediction.add(segment, pictures)
    row = prediction.result().as_dict()
    return (row["index"], row["confidence"]), f"{row['label']} {row['confidence']:.1%}"


def maps(attack: AttackSpec, before: list[Picture], after: list[Picture]) -> list[Column]:
    """The two columns that tell most about an attack."""
    pairs = list(zip(before, after, strict=True))
    multiplicative = attack.rule.name == "multiplicative"
    epsilon = attack.epsilon if multiplicative and attack.ball.elementwise else TWIN_RATIO
    ratios = Column("ratio to clean", [ratio_map(*pair, epsilon) for pair in pairs], ratio_scale(epsilon))
    if has_region(attack):
        signed = Column(
            "signed difference",
            [signed_difference_map(*pair, gain=1) for pair in pairs],
            grey("-128", "0", "+127 levels"),
        )
        regions = Column(
            "changed pixels",
            [changed_region(*pair) for pair in pairs],
            Scale(np.array([TINT], np.uint8), "", "changed", ""),
        )
        return [regions, ratios if multiplicative else signed]
    differences = Column(
        f"difference x{GAIN}",
        [difference_map(*pair, gain=GAIN) for pair in pairs],
        grey("0", "", f"{255 / GAIN:.0f} levels or more"),
    )
    return [differences, ratios]


def grey(left: str, middle: str, right: str) -> Scale:
    """From black to white."""
    return Scale(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1), left, middle, right)


if __name__ == "__main__":
    main()
