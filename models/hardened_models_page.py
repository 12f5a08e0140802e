"""The page about the demo model's siblings, written from the cards inside their checkpoints.

    python -m models.hardened_models_page

They differ in what they were trained against and in nothing else. Nothing on the page is typed by hand that a card
knows.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from multav.attacks.catalogue import AnyAttack
from multav.attacks.multav_linf import MultavLinf
from multav.attacks.pgd_linf import PgdLinf
from multav.model_card import ModelCard, read_card
from multav.training.request import TrainingRequest

CLIPS: Final = 500
MEASURED: Final[dict[str, AnyAttack | None]] = {
    "held-out clips": None,
    "under MultAV-linf, ratio bound 1.04": MultavLinf(),
    "under PGD-linf, 4/255": PgdLinf(),
}
"""What each of them is measured by: the paper's attacks, five steps, the last one counts."""

NAMES: Final = ("camera-motion-r3d18-clean", "camera-motion-r3d18-pgd", "camera-motion-r3d18-multav")
FOLDER: Final = Path(__file__).parent / "checkpoints"
PAGE: Final = "camera-motion-r3d18-hardened.md"


def page(cards: Sequence[ModelCard]) -> str:
    """The page about the models of `cards`, in Markdown."""
    first = cards[0]
    shape = first.geometry
    rows = "\n".join(
        f"| `{card.name}` | {_against(card)} | "
        + " | ".join(f"{100 * card.metrics[metric]:.1f} %" for metric in MEASURED)
        + " |"
        for card in cards
    )
    bodies = "\n\n".join(
        f"`{card.name}`:\n\n```json\n{json.dumps(_body(card), separators=(', ', ': '))}\n```"
        for card in cards
    )
    return f"""\
# The demo model, hardened

Three siblings of [camera-motion-r3d18](camera-motion-r3d18.md) are registered with it. Each began with its weights and
went through the same training; they differ in what they were trained against. So a difference between them is one of
hardening:

| model | trained against | {" | ".join(MEASURED)} |
|---|---|{"---|" * len(MEASURED)}
{rows}

Accuracy on {CLIPS} held-out clips of the built-in set (`camera-motion`), by `python -m models.ship_trained` on
the stored checkpoint. The attacks are the paper's, with five steps; more steps find more, which is what an audit is
for:

```sh
multav audit --model {NAMES[0]} --model {NAMES[1]} --model {NAMES[2]} --kind multav-linf --kind pgd-linf
```

| | |
|---|---|
| architecture | `{first.architecture}`, as the demo model |
| input | as the demo model: {shape.frames} frames of {shape.width}x{shape.height} pixels, {shape.stride} source \
frames apart |
| stored as | float16 in safetensors, computed in float32 |
| licence | {first.licence} |

They are small networks after a short training: that hardening helps is plain on them, how far it can help is not.

## How they were made

By trainings of the service, whose requests these are (`POST /v1/trainings`, or `multav train --spec FILE`):

{bodies}
"""


def _against(card: ModelCard) -> str:
    # The body leaves out what is the default.
    attacks = TrainingRequest.parse(_body(card)).attacks
    return (
        " and ".join(f"{attack.kind} at {attack.epsilon:.4g}" for attack in attacks) or "nothing: clean clips"
    )


def _body(card: ModelCard) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(card.provenance.removeprefix("POST /v1/trainings "))
    return body


def write_page(folder: Path = FOLDER) -> Path:
    """Write the page beside the checkpoints; its path."""
    cards = [read_card(path) for name in NAMES if (path := folder / f"{name}.safetensors").is_file()]
    path = folder / PAGE
    path.write_text(page(cards), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write_page())
