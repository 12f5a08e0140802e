"""A network that two precisions read differently, and clips beside its threshold."""

import torch
from torch import Tensor, nn

from multav.attacks.catalogue import AnyAttack, parse_attack


class Threshold(nn.Module):
    """Knows clips whose mean is above 0.5005, which bfloat16 cannot tell from 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.mean.weight)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 2)."""
        known = self.mean(clips.mean(dim=(1, 2, 3, 4))[:, None])[:, 0].float() - 0.5005
        return torch.stack([known, torch.zeros_like(known)], 1)


# In bfloat16 these are fooled at once, before the last step of two, and only as float32 is.
NEAR = torch.tensor([0.5012, 0.506, 0.520])


def near(targeted: bool = False) -> tuple[Tensor, Tensor, AnyAttack]:
    """Clips (3, 3, 2, 4, 4) that the network knows, labels, and an attack of two small steps that stops early."""
    fields = {"epsilon": 0.05, "step_size": 0.005, "steps": 2, "early_stop": True, "targeted": targeted}
    clips = NEAR.reshape(-1, 1, 1, 1, 1).expand(-1, 3, 2, 4, 4).contiguous()
    return clips, torch.full((3,), int(targeted)), parse_attack({"kind": "pgd-linf", **fields})
