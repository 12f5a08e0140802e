"""Tiny networks and the files that people save them in."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.conversion import converted
from models.resnet3d import ResNet3D
from multav.model_upload import ModelUpload

CLASSES = ["a", "b", "c"]
GEOMETRY = {
    "frames": 4,
    "stride": 1,
    "short_side": 16,
    "height": 16,
    "width": 16,
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.4],
}
SAID = {"classes": CLASSES, "geometry": GEOMETRY, "name": "tiny"}
CHANNELS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """`network` in eval mode with running statistics that are not those of a new one."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)  # type: ignore[union-attr]
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)  # type: ignore[union-attr]
            module.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    return network.eval()


def tiny(shortcut: Any = "A", **more: Any) -> nn.Module:
    torch.manual_seed(0)
    return trained(ResNet3D(3, **{"depth": 10, "widen_factor": 0.0625, "shortcut": shortcut} | more))


def hara_2018(network: nn.Module, arch: str | None = "resnet-10") -> dict[str, Any]:
    """As his code of 2018 saved it under torch 0.3: wrapped by DataParallel, no num_batches_tracked, SGD's momenta."""
    state = {
        f"module.{name}": tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    return {"epoch": 201, "arch": arch, "state_dict": state, "optimizer": momenta(network)}


def hara(network: nn.Module, arch: str = "resnet-10") -> dict[str, Any]:
    """As his code since 2019 saves it."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimiser, [50, 100, 150])
    return {
        "epoch": 201,
        "arch": arch,
        "state_dict": network.state_dict(),
        "optimizer": momenta(network),
        "scheduler": scheduler.state_dict(),
    }


def momenta(network: nn.Module) -> dict[str, Any]:
    """The state of SGD with momentum: a tensor for each parameter."""
    return {
        "state": {
            index: {"momentum_buffer": torch.ones_like(each)}
            for index, each in enumerate(network.parameters())
        },
        "param_groups": [{"lr": 0.1, "momentum": 0.9, "dampening": 0.9, "nesterov": False}],
    }


def pickled(what: Any, *, legacy: bool = False) -> bytes:
    """What torch.save writes, today or before 1.6."""
    file = io.BytesIO()
    torch.save(what, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def on_the_gpu(legacy: bytes) -> bytes:
    """A file of torch.save before 1.6 whose storages say that they were on a GPU.

    Pickled strings have their length before them: a short one in protocol 2 is X and four bytes.
    """
    assert legacy.count(b"X\x03\x00\x00\x00cpu")
    moved = legacy.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    return moved.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")


def convert(path: Path, **said: Any) -> bytes:
    """In this process, without the bounded child."""
    upload = ModelUpload.parse(SAID | said)
    message = {"upload": upload.model_dump(mode="json", exclude_unset=True)}
    return converted(path, message | {"file_name": path.name, "source_sha256": "0" * 64}, max_values=10**8)


def normalised(clips: Tensor) -> Tensor:
    """As a classifier of `GEOMETRY` shows clips to its network."""
    mean, std = (torch.tensor(CHANNELS[name]).reshape(1, 3, 1, 1, 1) for name in ("mean", "std"))
    return (clips - mean) / std
