"""An audit's inner loop beside the loop that one would write with ART or foolbox: time, and outcomes clip by clip.

    python bench/audit_speed.py [--clips 40] [--steps 20] [--epsilon 0.004] [--batch 20] [--repeats 1] [--threads 2]
        [--device cuda]

Held-out clips of the built-in set and the demo model, PGD in l-inf from the clean clip. The plain loops attack every
clip of every batch with all steps, on the network of ordinary convolutions with the same weights, and then ask the
network what it says of the result. The audit (`multav.audits.evaluation`) leaves a clip as soon as it is misread, does
not attack what is misread without an attack, and has the network as shipped. `times` is the median over the rounds of
seconds divided by those of the audit within a round, in float32 and with `precision: auto`.

`agree` counts the clips with the same outcome (still right or not). They can differ: a plain loop judges the last step
alone, the audit any step. `inside` is the share of the audit's wall time that passes within the network's forward and
backward passes.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from conditions import conditions, in_one_line
from library_attacks import LIBRARIES, Attack, Setting, Victim
from torch import Tensor, nn
from turns import in_turn

import multav
from models.checkpoints import load
from models.pixel_classifier import PixelClassifier
from models.resnet3d import ResNet3D
from multav import parse_attack
from multav.audits.cells import cells
from multav.audits.evaluation import VideoClips, attack_outcomes, clean_outcomes
from multav.precision import Precision, gradient_type
from multav.synthetic.camera_motion import camera_motion_clips
from worker.memory import keep_large_buffers

CHECKPOINT: Final = Path(__file__).parents[1] / "models/checkpoints/camera-motion-r3d18.safetensors"
SEED: Final = 555
OTHERS: Final = ("art", "foolbox")
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "auto")

Outcomes = list[bool]
"""Whether the model is still right, clip by clip."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--epsilon", type=float, default=1 / 255)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1, help="rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_large_buffers()
    device = torch.device(options.device)
    shipped = load(CHECKPOINT).to(device)
    plain = plain_twin(shipped).to(device)
    model = multav.prepare(shipped)
    clips, labels = (each.to(device) for each in held_out(model, options.clips))
    setting = Setting("linf", options.epsilon, options.epsilon / 4, options.steps)
    outcomes: dict[str, Outcomes] = {}
    ways: dict[str, Callable[[], None]] = {}
    for precision in PRECISIONS:
        ways[f"audit, {precision}"] = keeping(
            outcomes,
            f"audit, {precision}",
            partial(audit, model, clips, labels, setting, options.batch, precision),
        )
    for name in OTHERS:
        if find_spec(name) is None:
            print(f"{name} is not installed and left out (CONTRIBUTING.md says how)")
            continue
        victim = Victim(plain, tuple(clips.shape[1:]), len(model.classes), options.device)
        attack = LIBRARIES[name](victim, setting)
        ways[name] = keeping(outcomes, name, partial(plain_loop, plain, attack, clips, labels, options.batch))
    arithmetic = gradient_type("auto", device) or torch.float32
    print(f"{in_one_line(conditions(options.device))}; auto: {str(arithmetic).removeprefix('torch.')}")
    print(f"{options.repeats} rounds of {len(clips)} clips, {setting}\n")
    # What is made once, by whoever comes first, is nobody's cost.
    for run in ways.values():
        run()
    names = list(ways)
    turns = in_turn([ways[name] for name in names], options.repeats, device=options.device)
    print("| by | s | times, float32 | times, auto | still right | agree |\n|---|---|---|---|---|---|")
    for place, name in enumerate(names):
        agree = sum(a == b for a, b in zip(outcomes[name], outcomes[names[0]], strict=True))
        print(
            f"| {name} | {turns.median(place):.2f} | {turns.ratio(place, 0):.2f} "
            f"| {turns.ratio(place, 1):.2f} | {sum(outcomes[name])} "
            f"| {agree} of {len(clips)} |"
        )
    if options.device == "cpu":
        # A GPU is still at work when its calls return.
        share = inside(model, lambda: audit(model, clips, labels, setting, options.batch, "float32"))
        print(f"\ninside the network: {100 * share:.1f} % of the audit's wall time in float32")
    print(f"load at the end: {conditions(options.device)['load']}")


def held_out(model: PixelClassifier, count: int) -> tuple[Tensor, Tensor]:
    """Clips (count, 3, T, H, W) of a seed that training never saw, and their classes."""
    geometry = model.geometry
    made = camera_motion_clips(range(count), seed=SEED, frames=geometry.frames, pixels=geometry.short_side)
    return torch.from_numpy(made.pixels).float().div_(255), torch.from_numpy(made.labels)


def plain_twin(model: PixelClassifier) -> PixelClassifier:
    """The same weights in ordinary convolutions."""
    network = ResNet3D(len(model.classes), plain=True, **model.card.arguments)
    network.load_state_dict(model.backbone.state_dict())
    return PixelClassifier(network, model.card).eval()


def audit(
    model: nn.Module, clips: Tensor, labels: Tensor, setting: Setting, batch: int, precision: Precision
) -> Outcomes:
    """As the worker audits: clean outcomes, then those under the attack."""
    (cell,) = cells(
        [
            parse_attack(
                {
                    "kind": "pgd-linf",
                    "epsilon": setting.epsilon,
                    "step_size": setting.step_size,
                    "steps": setting.steps,
                    "early_stop": True,
                }
            )
        ]
    )
    right: Outcomes = []
    for start in range(0, len(clips), batch):
        videos = [
            VideoClips(index, int(labels[index]), clips[index : index + 1])
            for index in range(start, min(start + batch, len(clips)))
        ]
        clean = clean_outcomes(model, "demo", videos)
        rows = attack_outcomes(model, "demo", cell, videos, clean, precision=precision)
        right += [row.right for row in rows]
    return right


def plain_loop(model: nn.Module, attack: Attack, clips: Tensor, labels: Tensor, batch: int) -> Outcomes:
    """Attack all clips of every batch, then ask the network."""
    right: Outcomes = []
    for start in range(0, len(clips), batch):
        part = slice(start, start + batch)
        adversarial = attack(clips[part], labels[part])
        with torch.no_grad():
            right += (model(adversarial).argmax(1) == labels[part]).tolist()
    return right


def keeping(kept: dict[str, Outcomes], name: str, run: Callable[[], Outcomes]) -> Callable[[], None]:
    """`run`, whose outcomes are kept under `name`."""

    def ran() -> None:
        kept[name] = run()

    return ran


def inside(model: nn.Module, run: Callable[[], object]) -> float:
    """The share of `run`'s wall time that passes in forward passes of `model` and in backward passes."""
    spent = [0.0]
    started = time.perf_counter()
    with timed_passes(model, spent):
        run()
    return spent[0] / (time.perf_counter() - started)


@contextmanager
def timed_passes(model: nn.Module, spent: list[float]) -> Iterator[None]:
    """Add the seconds of forward passes of `model`, and of all backward passes, to `spent[0]`."""
    entered: list[float] = []

    def enter(*_: Any) -> None:
        entered.append(time.perf_counter())

    def leave(*_: Any) -> None:
        spent[0] += time.perf_counter() - entered.pop()

    backward = torch.autograd.grad

    def timed(*arguments: Any, **options: Any) -> Any:
        enter()
        try:
            return backward(*arguments, **options)
        finally:
            leave()

    hooks = [model.register_forward_pre_hook(enter), model.register_forward_hook(leave)]
    torch.autograd.grad = timed
    try:
        yield
    finally:
        torch.autograd.grad = backward
        for hook in hooks:
            hook.remove()


if __name__ == "__main__":
    main()
