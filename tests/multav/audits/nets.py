"""Small networks of moving patterns: honest ones, a hardened one, and ones that hide their gradients."""

from collections.abc import Callable
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from multav import craft, parse_attack

CLASSES: Final = 4
SHAPE: Final = (3, 4, 8, 8)


def patterns(indices: range, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Clips (n, 3, 4, 8, 8) float32 in [0, 1] of a bright bar that goes down, up, right or left, and their class."""
    draw = torch.Generator().manual_seed(1000 * seed + indices.start)
    labels = torch.tensor([index % CLASSES for index in indices])
    frames, size = SHAPE[1], SHAPE[2]
    clips = torch.rand((len(indices), *SHAPE), generator=draw) * 0.35 + 0.2
    firsts = torch.randint(size, (len(indices),), generator=draw)
    time, place = torch.arange(frames), torch.arange(size)
    moved = firsts[:, None] + torch.where(labels % 2 == 0, 1, -1)[:, None] * time
    # (n, T, size): the bar is two pixels wide, and comes in again where it leaves.
    bar = ((place - moved[..., None]) % size < 2) * 0.3
    upright = bar[:, None, :, :, None].expand_as(clips)
    across = bar[:, None, :, None, :].expand_as(clips)
    clips = clips + torch.where((labels < 2)[:, None, None, None, None], upright, across)
    return clips.clamp(0, 1), labels


class SmallNet(nn.Module):
    """One hidden layer over all values; dropout, so that a network left in training mode shows."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.hidden = nn.Linear(3 * 4 * 8 * 8, width)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 4)."""
        features = functional.relu(self.hidden((clips.flatten(1) - 0.4) / 0.2))
        logits: Tensor = self.head(self.dropout(features))
        return logits


@cache
def trained(seed: int = 0, hardened: bool = False) -> SmallNet:
    """A network that knows `patterns`; a hardened one was trained on clips under the attack."""
    torch.manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = SmallNet()
        steps = 200
        optimiser = torch.optim.AdamW(net.parameters(), lr=0.005)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.005, total_steps=steps)
        attack = parse_attack(
            {"kind": "pgd-linf", "epsilon": 0.06, "step_size": 0.03, "steps": 3, "random_start": True}
        )
        for step in range(steps):
            clips, labels = patterns(range(32 * step, 32 * step + 32), seed=seed + 1)
            if hardened:
                clips = craft(net, clips, labels, attack, first_sample=32 * step).clips
            net.train()
            optimiser.zero_grad()
            functional.cross_entropy(net(clips), labels).backward()
            optimiser.step()
            scheduler.step()
    return net.eval()


class Before(nn.Module):
    """A network behind a change of its clips."""

    def __init__(self, net: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.change = net, change

    def forward(self, clips: Tensor) -> Tensor:
        """Logits of the changed clips."""
        logits: Tensor = self.net(self.change(clips))
        return logits


class After(nn.Module):
    """A network whose logits are changed."""

    def __init__(self, net: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.change = net, change

    def forward(self, clips: Tensor) -> Tensor:
        """The changed logits."""
        return self.change(self.net(clips))
