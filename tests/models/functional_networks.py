"""Every architecture once more, as plain functions of a state dict: ordinary convolutions and norms in written order.

Independent of `models/`: what a network looks like is read off the keys and shapes of its state dict.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


def hara(
    state: State, clips: Tensor, *, shortcut: str, time_stride: int = 1, pool: bool = True, cut: bool = False
) -> Tensor:
    """Logits of Hara's 3D ResNet, wide ResNet or ResNeXt."""

    def block(prefix: str, x: Tensor, stride: int) -> Tensor:
        deep = f"{prefix}.conv3.weight" in state
        out = conv(state, f"{prefix}.conv1", x, 1 if deep else stride)
        out = norm(state, f"{prefix}.bn1", out).relu()
        out = conv(state, f"{prefix}.conv2", out, stride if deep else 1)
        out = norm(state, f"{prefix}.bn2", out)
        if deep:
            out = norm(state, f"{prefix}.bn3", conv(state, f"{prefix}.conv3", out.relu()))
        return (out + around(state, prefix, x, out, stride, shortcut, cut)).relu()

    return _behind_the_stem(state, _hara_stem(state, clips, time_stride, pool), block)


def preact(
    state: State, clips: Tensor, *, shortcut: str, time_stride: int = 1, pool: bool = True, cut: bool = False
) -> Tensor:
    """Logits of Hara's pre-activation 3D ResNet."""

    def block(prefix: str, x: Tensor, stride: int) -> Tensor:
        deep = f"{prefix}.conv3.weight" in state
        out = norm(state, f"{prefix}.bn1", x).relu()
        out = conv(state, f"{prefix}.conv1", out, 1 if deep else stride)
        out = norm(state, f"{prefix}.bn2", out).relu()
        out = conv(state, f"{prefix}.conv2", out, stride if deep else 1)
        if deep:
            out = conv(state, f"{prefix}.conv3", norm(state, f"{prefix}.bn3", out).relu())
        return out + around(state, prefix, x, out, stride, shortcut, cut)

    return _behind_the_stem(state, _hara_stem(state, clips, time_stride, pool), block)


def hara_r2plus1d(
    state: State, clips: Tensor, *, shortcut: str, time_stride: int = 1, pool: bool = True, cut: bool = False
) -> Tensor:
    """Logits of Hara's R(2+1)D."""

    def halves(prefix: str, number: int, x: Tensor, stride: int) -> Tensor:
        out = conv(state, f"{prefix}conv{number}_s", x, (1, stride, stride))
        out = norm(state, f"{prefix}bn{number}_s", out).relu()
        out = conv(state, f"{prefix}conv{number}_t", out, (stride, 1, 1))
        return norm(state, f"{prefix}bn{number}_t", out)

    def block(prefix: str, x: Tensor, stride: int) -> Tensor:
        if f"{prefix}.conv3.weight" in state:
            out = norm(state, f"{prefix}.bn1", conv(state, f"{prefix}.conv1", x)).relu()
            out = halves(f"{prefix}.", 2, out, stride).relu()
            out = norm(state, f"{prefix}.bn3", conv(state, f"{prefix}.conv3", out))
        else:
            out = halves(f"{prefix}.", 2, halves(f"{prefix}.", 1, x, stride).relu(), 1)
        return (out + around(state, prefix, x, out, stride, shortcut, cut)).relu()

    out = norm(state, "bn1_s", conv(state, "conv1_s", clips, (1, 2, 2))).relu()
    out = norm(state, "bn1_t", conv(state, "conv1_t", out, (time_stride, 1, 1))).relu()
    return _behind_the_stem(state, functional.max_pool3d(out, 3, 2, 1) if pool else out, block)


def torchvision(state: State, clips: Tensor) -> Tensor:
    """Logits of torchvision's r3d_18, mc3_18 and r2plus1d_18."""

    def convolution(name: str, x: Tensor, stride: int) -> Tensor:
        if f"{name}.3.weight" in state:
            out = norm(state, f"{name}.1", conv(state, f"{name}.0", x, (1, stride, stride))).relu()
            return conv(state, f"{name}.3", out, (stride, 1, 1))
        flat = state[f"{name}.weight"].shape[2] == 1
        return conv(state, name, x, (1 if flat else stride, stride, stride))

    def block(prefix: str, x: Tensor, stride: int) -> Tensor:
        out = norm(state, f"{prefix}.conv1.1", convolution(f"{prefix}.conv1.0", x, stride)).relu()
        out = norm(state, f"{prefix}.conv2.1", convolution(f"{prefix}.conv2.0", out, 1))
        if f"{prefix}.downsample.0.weight" in state:
            strides = tuple(round(a / b) for a, b in zip(x.shape[2:], out.shape[2:], strict=True))
            x = norm(state, f"{prefix}.downsample.1", conv(state, f"{prefix}.downsample.0", x, strides))
        return (out + x).relu()

    out = norm(state, "stem.1", conv(state, "stem.0", clips, (1, 2, 2))).relu()
    if "stem.3.weight" in state:
        out = norm(state, "stem.4", conv(state, "stem.3", out)).relu()
    return _behind_the_stem(state, out, block)


def conv(state: State, name: str, x: Tensor, stride: int | tuple[int, ...] = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    assert f"{name}.bias" not in state
    padding = tuple(size // 2 for size in weight.shape[2:])
    return functional.conv3d(x, weight, None, stride, padding, groups=x.shape[1] // weight.shape[1])


def norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, variance, gamma, beta = (
        state[f"{name}.{part}"].reshape(-1, 1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * gamma + beta


def around(
    state: State, prefix: str, x: Tensor, out: Tensor, stride: int, shortcut: str, cut: bool
) -> Tensor:
    """What is added to a block's result; the original's type A takes `x.data`."""
    if shortcut == "B":
        if f"{prefix}.downsample.0.weight" not in state:
            return x
        return norm(state, f"{prefix}.downsample.1", conv(state, f"{prefix}.downsample.0", x, stride))
    if out.shape == x.shape:
        return x
    kept = functional.avg_pool3d(x, 1, stride)
    if cut:
        kept = kept.data
    return functional.pad(kept, (0, 0, 0, 0, 0, 0, 0, out.shape[1] - x.shape[1]))


def _hara_stem(state: State, clips: Tensor, time_stride: int, pool: bool) -> Tensor:
    out = norm(state, "bn1", conv(state, "conv1", clips, (time_stride, 2, 2))).relu()
    return functional.max_pool3d(out, 3, 2, 1) if pool else out


def _behind_the_stem(state: State, x: Tensor, block: Callable[[str, Tensor, int], Tensor]) -> Tensor:
    for layer in (1, 2, 3, 4):
        places = {int(name.split(".")[1]) for name in state if name.startswith(f"layer{layer}.")}
        for place in range(len(places)):
            x = block(f"layer{layer}.{place}", x, 2 if layer > 1 and place == 0 else 1)
    pooled = functional.adaptive_avg_pool3d(x, 1).flatten(1)
    return pooled @ state["fc.weight"].T + state["fc.bias"]


def randomised(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The network in eval mode, with batch norms that do something."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point() and not name.startswith("fc."):
            low = -0.5 if name.endswith(("bias", "running_mean")) else 0.5
            tensor.copy_(low + torch.rand(tensor.shape, generator=generator))
    return network.eval()
