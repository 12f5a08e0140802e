"""The page about the demo model, written from the card inside its checkpoint, beside which it lies.

    python -m models.demo_model_page models/checkpoints/camera-motion-r3d18.safetensors

Nothing on it is typed by hand that the card knows: classes, input, training command, measured accuracies.
"""

import argparse
from pathlib import Path

from multav.model_card import ModelCard, read_card

_FOLDER = "models/checkpoints"
_MEANINGS = {
    "held-out synthetic clips": "2000 clips of the built-in set, of a seed that training never saw",
    "middle frame repeated": "the same clips with nothing but their middle frame: the accuracy of a guess is "
    "wanted here, since one frame cannot tell a motion",
    "reversed in time": "the same clips run backwards, with their old labels: few should still be right, since "
    "only static and shake stay what they were",
    "reversed in time, as the opposite motion": "the same clips run backwards, with the labels that follow "
    "(pan left becomes pan right)",
    "moving crops of bigbuckbunny": "500 clips cut out of real pictures (one frame per second of "
    "`samples/bigbuckbunny.mp4`) by a window that moves",
}


def page(card: ModelCard) -> str:
    """The page about the model of `card`, in Markdown."""
    checkpoint = f"{_FOLDER}/{card.name}.safetensors"
    training, _, data = card.provenance.partition(" (")
    shape = card.geometry
    metrics = "\n".join(
        f"| {name} | {accuracy} | {_MEANINGS.get(name, '')} |" for name, accuracy in card.metrics.items()
    )
    classes = "\n".join(f"| {index} | {name} |" for index, name in enumerate(card.classes))
    return f"""\
# {card.name}

{card.description}

It is the default model of the service and of `make demo`. Its labels can be checked by eye on any clip. This page is
written from the card inside the checkpoint:

```sh
python -m models.demo_model_page {checkpoint}
```

| | |
|---|---|
| architecture | `{card.architecture}` of `models/architectures.py`, with {_settings(card)} |
| parameters | {card.parameters} |
| stored as | float16 in safetensors, computed in float32 |
| licence | {card.licence}, as the whole repository |

## Classes

| index | class |
|---|---|
{classes}

## Input

- Clips of {shape.frames} frames, {shape.stride} source frames apart: one window covers {shape.span} source frames.
- Each frame is resized (bilinear, antialiased) to a short side of {shape.short_side} pixels; the middle \
{shape.width}x{shape.height} pixels are kept.
- Float tensors (batch, 3, {shape.frames}, {shape.height}, {shape.width}), RGB in [0, 1]. The model normalises them \
itself:
  mean {_numbers(shape.mean)}, standard deviation {_numbers(shape.std)}.

## Training

```sh
{training} \\
    --out {checkpoint}
```

Training data: {data.removesuffix(")")}. The clips are made by the command itself.
Each is seen mirrored, turned and reversed in time with the label that follows. AdamW with a one-cycle learning rate and
cross-entropy; the result is the running average of the weights.

## Measured accuracy

| clips | accuracy | what they are |
|---|---|---|
{metrics}

Measured by the training command on the stored checkpoint. The same measurement again:

```sh
python -m models.evaluate_demo_model {checkpoint}
```

`--pictures` and `--videos` measure it on photographs and videos of your own.

## Limits

- It knows nothing of human actions, objects or scenes: it names the motion of the camera and nothing else.
- It was trained on synthetic clips alone, and each has one motion of the camera. Where motions are mixed or
  change within a window, or where something large moves before a camera that stands still, its answer may be wrong.
- It always names one of its {len(card.classes)} classes; there is no "none of these".
- It sees the middle square of the picture, at {shape.width}x{shape.height} pixels.
- It is a demonstration for attacks, trained without any defence. How easily it is fooled says nothing of other models.
"""


def _settings(card: ModelCard) -> str:
    return ", ".join(f"`{name}={value!r}`" for name, value in card.arguments.items())


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(str(value) for value in values)


def write_page(checkpoint: Path) -> Path:
    """Write the page beside `checkpoint`; the path of the page."""
    path = checkpoint.with_suffix(".md")
    path.write_text(page(read_card(checkpoint)), encoding="utf-8")
    return path


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the page about the demo model from its checkpoint.")
    parser.add_argument(
        "checkpoint", type=Path, help="the checkpoint (.safetensors); the page lies beside it"
    )
    print(write_page(parser.parse_args().checkpoint))


if __name__ == "__main__":
    main()
