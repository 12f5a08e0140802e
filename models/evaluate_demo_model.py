"""Measure a camera-motion model: held-out clips, controls, moving crops of real pictures, real footage.

    python -m models.evaluate_demo_model models/checkpoints/camera-motion-r3d18.safetensors \
        --pictures photographs/*.jpg --videos holiday.mp4

The controls show that it looks at time: with the middle frame repeated it must be at chance, and a clip run
backwards must read as the opposite motion.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.checkpoints import load
from models.pixel_classifier import PixelClassifier
from multav.geometry import InputGeometry
from multav.preprocessing import Preprocessing, preprocessing
from multav.synthetic.camera_motion import camera_motion_clips
from multav.synthetic.moving_crops import moving_crops
from multav.synthetic.symmetries import REVERSED_IN_TIME, apply_symmetry
from multav.video.decode import decode
from multav.video.limits import Limits
from multav.windows import dense_segments

HELD_OUT_SEED = 1_000_003
SAMPLE = Path(__file__).parents[1] / "samples" / "bigbuckbunny.mp4"
_BATCH = 100

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Score:
    """How many of the clips were named right."""

    correct: int
    clips: int

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.correct / self.clips

    def __str__(self) -> str:
        return f"{self.accuracy:.1%} ({self.correct}/{self.clips})"


def evaluate(classifier: PixelClassifier, *, clips: int = 2000) -> dict[str, Score]:
    """Held-out synthetic clips (another seed than training's) and the controls on them."""
    held_out = camera_motion_clips(range(clips), seed=HELD_OUT_SEED)
    pixels, labels = torch.from_numpy(held_out.pixels), torch.from_numpy(held_out.labels)
    middle = pixels[:, :, pixels.shape[2] // 2, None].expand_as(pixels)
    backwards, opposite = apply_symmetry(pixels, labels, REVERSED_IN_TIME)
    predicted_backwards = predict(classifier, backwards)
    return {
        "held-out synthetic clips": _score(predict(classifier, pixels), labels),
        "middle frame repeated": _score(predict(classifier, middle), labels),
        "reversed in time": _score(predicted_backwards, labels),
        "reversed in time, as the opposite motion": _score(predicted_backwards, opposite),
    }


def picture_scores(
    classifier: PixelClassifier, name: str, pictures: Sequence[Picture], *, clips: int = 500
) -> dict[str, Score]:
    """Moving crops of real `pictures`, uint8 (H,W,3)."""
    crops = moving_crops(pictures, range(clips), seed=HELD_OUT_SEED)
    predicted = predict(classifier, torch.from_numpy(crops.pixels))
    return {f"moving crops of {name}": _score(predicted, torch.from_numpy(crops.labels))}


def predict(classifier: PixelClassifier, pixels: Tensor) -> Tensor:
    """Classes (N,) of uint8 clips (N,3,T,H,W)."""
    return probabilities(classifier, pixels).argmax(dim=1)


def probabilities(classifier: PixelClassifier, pixels: Tensor) -> Tensor:
    """Probabilities (N,classes) of uint8 clips (N,3,T,H,W)."""
    with torch.inference_mode():
        batches = [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]
        return torch.cat([classifier(batch / 255).softmax(dim=1) for batch in batches])


def footage_windows(path: Path, geometry: InputGeometry) -> Tensor:
    """Every window of a video, cut and resized as for an attack: uint8 (N,3,T,H,W)."""
    windows: list[Tensor] = []
    with decode(path, Limits()) as frames:
        resize = preprocessing(geometry, frames.info.height, frames.info.width)
        pictures = (_resized(frame.rgb, resize) for frame in frames)
        for segment in dense_segments(pictures, geometry):
            for sample in segment.samples:
                shown = [segment.pictures[index] for index in sample.frames]
                windows += [
                    torch.stack([shown[index] for index in window], dim=1) for window in sample.windows
                ]
    return torch.stack(windows)


def sample_pictures(path: Path = SAMPLE) -> list[Picture]:
    """One frame per second of a video, each uint8 (H,W,3)."""
    with decode(path, Limits()) as frames:
        every = max(1, round(frames.info.frame_rate))
        return [frame.rgb for index, frame in enumerate(frames) if index % every == 0]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure a camera-motion model.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--clips", type=int, default=2000, help="held-out synthetic clips")
    parser.add_argument(
        "--pictures", type=Path, nargs="*", default=[], help="photographs to cut crops out of"
    )
    parser.add_argument("--videos", type=Path, nargs="*", default=[SAMPLE], help="real footage")
    arguments = parser.parse_args()
    classifier = load(arguments.checkpoint)
    print_scores(evaluate(classifier, clips=arguments.clips))
    if arguments.pictures:
        photographs = [np.asarray(Image.open(path).convert("RGB")) for path in arguments.pictures]
        print_scores(picture_scores(classifier, f"{len(photographs)} photographs", photographs))
    for path in arguments.videos:
        print_scores(picture_scores(classifier, path.name, sample_pictures(path)))
        confidences, labels = probabilities(classifier, footage_windows(path, classifier.geometry)).max(dim=1)
        names = Counter(classifier.classes[label] for label in labels.tolist())
        print(f"windows of {path.name}: {dict(names)}, mean confidence {confidences.mean():.2f}")


def print_scores(scores: dict[str, Score]) -> None:
    """One line each."""
    for name, score in scores.items():
        print(f"{name}: {score}", flush=True)


def _score(predicted: Tensor, labels: Tensor) -> Score:
    return Score(correct=int((predicted == labels).sum()), clips=len(labels))


def _resized(rgb: Picture, resize: Preprocessing) -> Tensor:
    """One frame (H,W,3) as the model sees it, uint8 (3,H,W)."""
    seen = torch.from_numpy(rgb).permute(2, 0, 1)[:, *resize.window].float()
    return resize.apply(seen).round().clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    main()
