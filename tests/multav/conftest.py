"""Small smooth networks that attacks are checked on."""

import pytest
import torch
from torch import Tensor, nn


class TinyNet(nn.Module):
    """Any clip size -> 4 logits; batch norm and dropout, so that a model left in training mode shows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm3d(6)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(6, 4)

    def forward(self, clips: Tensor) -> Tensor:
        features = torch.tanh(self.norm(self.conv(clips - 0.5)))
        logits: Tensor = self.head(self.dropout(features.square().mean(dim=(2, 3, 4)))) * 20
        return logits


@pytest.fixture
def tiny_net() -> TinyNet:
    """A fresh network, the same every time."""
    torch.manual_seed(7)
    net = TinyNet()
    with torch.no_grad():
        net.norm.running_mean.uniform_(-0.2, 0.2)
        net.norm.running_var.uniform_(0.5, 1.5)
    return net
