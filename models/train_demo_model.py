"""Make the demo model: train a small 3D ResNet on the built-in camera-motion set, measure it, save it.

    python -m models.train_demo_model --out models/checkpoints/camera-motion-r3d18.safetensors

Purely synthetic: no video and no picture is needed, other than for the measurement at the end. Each clip is
seen mirrored, turned and reversed in time with the label that follows, which makes sixteen clips of one.
The page about the model (`models.demo_model_page`) is written beside the checkpoint.
Takes about 1 minute for the clips and 6 for the training on two cores.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.architectures import build
from models.checkpoints import load, save
from models.demo_model_page import write_page
from models.evaluate_demo_model import evaluate, picture_scores, print_scores, sample_pictures
from models.pixel_classifier import PixelClassifier
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.synthetic.camera_motion import CLASSES, FRAMES, PIXELS, LabelledClips, camera_motion_clips
from multav.synthetic.symmetries import SYMMETRIES, apply_symmetry

NAME = "camera-motion-r3d18"
GEOMETRY = InputGeometry(
    frames=FRAMES,
    stride=2,
    short_side=PIXELS,
    height=PIXELS,
    width=PIXELS,
    mean=(0.45, 0.45, 0.45),
    std=(0.25, 0.25, 0.25),
)
_CHUNK = 250
_REPORT_SECONDS = 10


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights; the defaults made the shipped checkpoint."""

    seed: int = 1
    clips: int = 10_000
    steps: int = 3200
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    average: float = 0.99
    """What each step keeps of the running average of the weights; the average is the result."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train, measure and save the demo model.")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write (.safetensors)")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads to train with, processes to make clips"
    )
    for field in fields(Recipe):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default
        )
    arguments = parser.parse_args()
    recipe = Recipe(**{field.name: getattr(arguments, field.name) for field in fields(Recipe)})
    torch.set_num_threads(arguments.threads)
    print(recipe, flush=True)

    classifier = train(make_clips(recipe, processes=arguments.threads), recipe)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save(classifier, arguments.out)  # before the measurement, which must not cost a training if it fails
    classifier = load(arguments.out)
    scores = evaluate(classifier) | picture_scores(classifier, "bigbuckbunny", sample_pictures())
    print_scores(scores)
    metrics = {name: round(score.accuracy, 4) for name, score in scores.items()}
    save(PixelClassifier(classifier.backbone, demo_card(recipe, metrics)), arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB, page {write_page(arguments.out)}")


def demo_card(recipe: Recipe, metrics: dict[str, float]) -> ModelCard:
    """What the checkpoint says of itself."""
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in vars(recipe).items())
    return ModelCard(
        name=NAME,
        architecture="resnet3d",
        arguments={"depth": 18, "widen_factor": 0.25, "shortcut": "B"},
        classes=CLASSES,
        geometry=GEOMETRY,
        description=(
            "Names what the camera does in a clip (pan, tilt, zoom, roll, shake or nothing). A demonstration: "
            "it does not know human actions."
        ),
        licence="Apache-2.0",
        provenance=f"python -m models.train_demo_model {options} (multav.synthetic.camera_motion, no other data)",
        metrics=metrics,
    )


def make_clips(recipe: Recipe, *, processes: int) -> LabelledClips:
    """The training clips, made in several processes."""
    starts = range(0, recipe.clips, _CHUNK)
    spans = [(recipe.seed, start, min(start + _CHUNK, recipe.clips)) for start in starts]
    report = _progress("clips", total=recipe.clips)
    made: list[LabelledClips] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for (_, _, end), part in zip(spans, pool.map(_make_chunk, spans), strict=True):
            made.append(part)
            report(end, "")
    return LabelledClips(
        np.concatenate([part.pixels for part in made]), np.concatenate([part.labels for part in made])
    )


def _make_chunk(span: tuple[int, int, int]) -> LabelledClips:
    """In a worker process: clips `start` to `end` of a seed."""
    torch.set_num_threads(1)
    seed, start, end = span
    return camera_motion_clips(range(start, end), seed=seed)


def train(clips: LabelledClips, recipe: Recipe) -> PixelClassifier:
    """A classifier trained on `clips` by AdamW with a one-cycle learning rate; its weights are the average."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    card = demo_card(recipe, {})
    # no input gradient is needed here, and without one the plain stem is the faster form of the same thing
    plain = card.model_copy(update={"arguments": card.arguments | {"plain": True}})
    classifier = PixelClassifier(build(plain), card)
    average_weights = get_ema_multi_avg_fn(recipe.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(classifier, multi_avg_fn=average_weights, use_buffers=True)
    optimiser = torch.optim.AdamW(
        classifier.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.2
    )
    classifier.train()
    report = _progress("steps", total=recipe.steps)
    loss_average = 0.0
    for step, (batch, labels) in enumerate(_batches(clips, recipe, generator), start=1):
        loss = functional.cross_entropy(classifier(batch), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(classifier)
        loss_average += (loss.item() - loss_average) * max(1 / step, 0.02)
        report(step, f"loss {loss_average:.3f}")
    trained = PixelClassifier(build(card), card)
    trained.load_state_dict(average.module.state_dict())
    return trained.eval()


def _batches(
    clips: LabelledClips, recipe: Recipe, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches, float32 (B,3,T,H,W) in [0, 1] and labels (B,), each clip under a random symmetry."""
    pixels, labels = torch.from_numpy(clips.pixels), torch.from_numpy(clips.labels)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(recipe.steps):
        if len(order) < recipe.batch:
            order = torch.randperm(len(labels), generator=generator)
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        symmetries = torch.randint(SYMMETRIES, (len(chosen),), generator=generator)
        changed = [
            apply_symmetry(pixels[index, None], labels[index, None], int(symmetry))
            for index, symmetry in zip(chosen, symmetries, strict=True)
        ]
        yield torch.cat([clip for clip, _ in changed]) / 255, torch.cat([label for _, label in changed])


def _progress(unit: str, *, total: int) -> Callable[[int, str], None]:
    """A function (done, remark) that prints a line with the time left, at most every 10 seconds."""
    started = last = time.monotonic()

    def report(done: int, remark: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _REPORT_SECONDS and done < total:
            return
        last = now
        left = (now - started) / done * (total - done)
        print(f"{done}/{total} {unit}, {left:.0f} s left {remark}".rstrip(), flush=True)

    return report


if __name__ == "__main__":
    main()
