"""The network as shipped beside the same network of ordinary convolutions, with the same weights."""

import torch

from models.resnet3d import ResNet3D

CLASSES = 101


def twins(seed: int = 0, device: str = "cpu") -> tuple[ResNet3D, ResNet3D]:
    """A 3D ResNet-18 of full width with random weights, and its plain twin; both in eval mode."""
    torch.manual_seed(seed)
    fast, plain = ResNet3D(CLASSES).eval(), ResNet3D(CLASSES, plain=True).eval()
    plain.load_state_dict(fast.state_dict())
    return fast.to(device), plain.to(device)
