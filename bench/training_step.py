"""One step of adversarial training beside the bare parts that it cannot do without, on the plain network.

    python bench/training_step.py [--batch 32] [--frames 8] [--size 56] [--width 0.25] [--steps 5] [--repeats 5]
        [--kind multav-linf] [--device cuda] [--precision auto] [--threads 2]

Bare parts: T times forward and gradient by the input, then forward, backward and a step of the optimiser, all on the
network of ordinary convolutions with the same weights, in float32. `ratio` is the median over the rounds of the step of
training by theirs within a round; the bar is 0.75 in float32 at a batch of 32.

A row more says what share of the time a training waits for its clips: in its first epoch, when they are made or
decoded, and in a later one.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final, get_args

import torch
from bare_passes import bare_passes
from conditions import conditions, in_one_line
from torch import Tensor, nn
from torch.nn import functional
from turns import in_turn

from models.beginnings import beginning
from models.resnet3d import ResNet3D
from multav.datasets.synthetic import Synthetic
from multav.precision import Precision
from multav.training.curve import CurvePoint
from multav.training.request import TrainingRequest
from multav.training.train import train
from multav.training.trainer import Trainer
from multav.training.videos import training_videos
from multav.video.limits import Limits
from worker.memory import keep_large_buffers

BAR: Final = 0.75


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=56)
    parser.add_argument("--width", type=float, default=0.25, help="of the network; 1 is the paper's")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5, help="of the attack")
    parser.add_argument("--kind", default="multav-linf")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--no-waiting", action="store_true", help="leave the waiting for clips out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_large_buffers()
    print(f"{in_one_line(conditions(options.device))}; {options.repeats} rounds, {options.precision}\n")
    request = specification(options)
    trainer, plain = networks(request, options)
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, 3, options.frames, options.size, options.size)
    clips = torch.rand(shape, generator=generator).to(options.device)
    labels = (torch.arange(options.batch) % options.classes).to(options.device)
    optimiser = torch.optim.SGD(plain.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        trainer.train_on(clips, labels)

    def bare() -> None:
        plain.eval()
        bare_passes(plain, clips, labels, options.steps)
        plain.requires_grad_(True).train()
        descend(plain, clips, labels, optimiser)

    for way in (step, bare):
        way()
    turns = in_turn([step, bare], options.repeats, device=options.device)
    print("| clips | T | step s | bare parts s | ratio |\n|---|---|---|---|---|")
    print(
        f"| {options.batch} x {options.frames}x{options.size}x{options.size} | {options.steps} | {turns.median(0):.3f} "
        f"| {turns.median(1):.3f} | {turns.ratio(0, 1):.3f} |"
    )
    print(
        f"\n{options.batch / turns.median(0):.1f} clips a second; bar of the ratio: {BAR} (float32, batch 32)"
    )
    if not options.no_waiting:
        early, late = waiting(request, options)
        print(
            f"waiting for clips: {100 * early:.1f} % of the time in the first epoch, {100 * late:.1f} % in the next"
        )
    print(f"load at the end: {conditions(options.device)['load']}")


def specification(options: argparse.Namespace) -> TrainingRequest:
    """What is trained."""
    return TrainingRequest.parse(
        {
            "start": {
                "architecture": "resnet3d",
                "arguments": {"widen_factor": options.width},
                "geometry": {
                    "frames": options.frames,
                    "stride": 1,
                    "short_side": options.size,
                    "height": options.size,
                    "width": options.size,
                },
            },
            "attack": {"kind": options.kind, "steps": options.steps},
            "batch_size": options.batch,
            "optimiser": {"kind": "sgd", "learning_rate": 1e-4},
            "precision": options.precision,
            "epochs": 1000,
        }
    )


def networks(request: TrainingRequest, options: argparse.Namespace) -> tuple[Trainer, nn.Module]:
    """A trainer of the shipped network, and the plain network with the same weights."""
    classes = tuple(map(str, range(options.classes)))
    classifier = beginning(request.start, classes, request.seed)
    plain = ResNet3D(options.classes, widen_factor=options.width, plain=True)
    plain.load_state_dict(classifier.backbone.state_dict())
    trainer = Trainer(classifier.to(options.device), request, steps=10**6, steps_per_epoch=10**6)
    return trainer, plain.to(options.device)


def descend(network: nn.Module, clips: Tensor, labels: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """Forward, backward, and a step."""
    optimiser.zero_grad()
    functional.cross_entropy(network(clips), labels).backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def waiting(request: TrainingRequest, options: argparse.Namespace) -> tuple[float, float]:
    """The share of the time that a training on made clips waits, in the first and the second epoch."""
    request = request.model_copy(
        update={
            "epochs": 2,
            "validation": request.validation.model_copy(update={"clips": 8, "every_epochs": 2}),
        }
    )
    listing = Synthetic(clips=10 * options.batch, frames=options.frames, size=options.size).listing()
    videos = training_videos(request, listing)
    classifier = beginning(request.start, videos.classes, request.seed).to(options.device)
    points: list[CurvePoint] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            classifier,
            request,
            videos,
            classifier.geometry,
            limits=Limits(),
            checkpoint_at=Path(folder) / "checkpoint.safetensors",
            decoders=options.threads,
            on_point=points.append,
        )
    shares: tuple[list[float], list[float]] = ([], [])
    for point in points:
        if point.waiting is not None:
            shares[point.epoch > 1].append(point.waiting)
    return tuple(sum(each) / len(each) for each in shares)  # type: ignore[return-value]


if __name__ == "__main__":
    main()
