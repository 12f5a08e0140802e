"""Make a shipped checkpoint of a model that a training of the service made: stored in float16, measured, described.

    curl -o trained.safetensors http://127.0.0.1:8000/v1/models/NAME/content
    python -m models.ship_trained trained.safetensors --name camera-motion-r3d18-multav

What is measured is the stored checkpoint, on held-out clips of the built-in set, under the paper's two l-inf attacks
with their five steps, judged by the last one. The page about all such models is written anew beside them.
"""

import argparse
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from models.checkpoints import load, save
from models.hardened_models_page import CLIPS, MEASURED, write_page
from models.pixel_classifier import PixelClassifier
from multav import craft, prepare
from multav.datasets.clips import load_clip
from multav.datasets.synthetic import Synthetic

_FOLDER: Final = Path(__file__).parent / "checkpoints"
_BATCH: Final = 50


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Ship a trained model.")
    parser.add_argument("checkpoint", type=Path, help="what the training registered (.safetensors)")
    parser.add_argument("--name", required=True, help="what the shipped model is called")
    parser.add_argument("--to", type=Path, default=_FOLDER, help="folder of the shipped checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = ship(options.checkpoint, options.name, options.to)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, page {write_page(options.to)}")
    for name, accuracy in load(path).card.metrics.items():
        print(f"  {name}: {accuracy:.1%}")


def ship(checkpoint: Path, name: str, folder: Path, *, clips: int = CLIPS) -> Path:
    """Write the model of `checkpoint` as `name` into `folder`, with what is measured on so many clips on its card."""
    trained = load(checkpoint)
    path = folder / f"{name}.safetensors"
    # The job is in nobody else's database.
    card = trained.card.model_copy(update={"name": name, "training_job": None, "metrics": {}})
    save(PixelClassifier(trained.backbone, card), path)
    stored = load(path)
    metrics = {metric: round(accuracy, 4) for metric, accuracy in measured(stored, clips).items()}
    save(
        PixelClassifier(stored.backbone, stored.card.model_copy(update={"metrics": metrics, "smoke": None})),
        path,
    )
    return path


def measured(classifier: PixelClassifier, clips: int) -> dict[str, float]:
    """Accuracies in [0, 1] on the first `clips` held-out clips: clean, and under each attack of `MEASURED`."""
    listing = Synthetic(clips=clips).listing()
    videos, classes = listing.videos, listing.classes
    model = prepare(classifier)
    right: dict[str, list[Tensor]] = {metric: [] for metric in MEASURED}
    for start in range(0, clips, _BATCH):
        batch = videos[start : start + _BATCH]
        pixels = torch.cat([load_clip(video, classifier.geometry, "model").pixels for video in batch])
        labels = torch.tensor([classifier.classes.index(classes[video.label]) for video in batch])
        for metric, attack in MEASURED.items():
            if attack is None:
                with torch.no_grad():
                    logits = model(pixels)
            else:
                logits = craft(model, pixels, labels, attack).logits
            right[metric].append(logits.argmax(dim=1) == labels)
    return {metric: float(torch.cat(hits).double().mean()) for metric, hits in right.items()}


if __name__ == "__main__":
    main()
