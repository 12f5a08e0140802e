"""What attacks are said to ask of a model is what they ask of one that counts."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multav.attacks.catalogue import parse_attack
from multav.attacks.cost import Cost, cost_of
from multav.clip_attack import craft
from multav.geometry import InputGeometry

GEOMETRY = InputGeometry(frames=2, stride=1, short_side=14, height=14, width=12)
CLIPS = 3
PGD = {"kind": "pgd-linf", "epsilon": 1e-5, "step_size": 1e-6, "steps": 3}
ROA = {"kind": "roa", "epsilon": 1e-5, "step_size": 1e-6, "steps": 2, "size": [4, 3]}


class Counting(nn.Module):
    """A linear classifier of six classes that counts the clips that it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 6)
        self.gradients = self.predictions = 0

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 6)."""
        if clips.requires_grad:
            self.gradients += len(clips)
        else:
            self.predictions += len(clips)
        logits: Tensor = self.head(clips.mean((2, 3, 4)) * 9)
        return logits


@pytest.mark.parametrize(
    ("body", "expected", "looks"),
    [
        (PGD, Cost(3, 0), False),
        (PGD | {"random_start": True, "restarts": 4}, Cost(12, 4), True),
        # Nobody is fooled by so little, and leaves early.
        (PGD | {"early_stop": True}, Cost(3, 1), True),
        (PGD | {"loss": "dlr"}, Cost(3, 0), False),
        (PGD | {"loss": "dlr-targeted", "target_classes": 2}, Cost(6, 3), True),
        ({"kind": "apgd-linf", "epsilon": 1e-5, "steps": 7}, Cost(7, 1), True),
        (ROA, Cost(2, 0), False),
        # Places at 0, 3, 6, 9 from the top, and 0, 3, 6, 9 from the left.
        (ROA | {"placement": "exhaustive", "stride": 3}, Cost(2, 16), False),
        (ROA | {"placement": "gradient", "stride": 3, "candidates": 7}, Cost(3, 7), False),
        (ROA | {"placement": "gradient", "stride": 3, "candidates": 99}, Cost(3, 16), False),
        (ROA | {"placement": "fixed", "random_start": True, "restarts": 2}, Cost(4, 2), True),
        ({"kind": "multav-spa", "pixels": 5, "steps": 2, "restarts": 2}, Cost(4, 2), True),
    ],
    ids=str,
)
@pytest.mark.parametrize("look_at_end", [False, True])
def test_what_is_asked_is_what_is_said(
    body: dict[str, Any], expected: Cost, looks: bool, look_at_end: bool
) -> None:
    """`looks`: the attack looks at what it made whether it is told to or not."""
    torch.manual_seed(0)
    net, attack = Counting(), parse_attack(body)
    clips = torch.rand(CLIPS, 3, GEOMETRY.frames, GEOMETRY.height, GEOMETRY.width) * 0.8 + 0.1
    labels = net(clips).argmax(1)
    net.predictions = 0
    craft(net, clips, labels, attack, look_at_end=look_at_end)
    said = cost_of(attack, GEOMETRY, look_at_end=look_at_end)
    assert (net.gradients, net.predictions) == (CLIPS * said.gradients, CLIPS * said.predictions)
    assert said == expected + Cost(predictions=look_at_end and not looks)


def test_costs_add_up() -> None:
    cost = (Cost(2, 1) + Cost(3, 4)) * 2
    assert cost == Cost(10, 10)
    assert cost.in_gradients == pytest.approx(16)
