"""The network's size, keys and shapes, and its exact fast stem."""

import pytest
import torch
from torch import nn

from models.halved_conv3d import HalvedConv3d
from models.resnet3d import ResNet3D
from models.space_to_depth_stem import SpaceToDepthStem

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("arguments", "classes", "parameters"),
    [
        ({"shortcut": "A"}, 101, 33_081_893),
        ({"shortcut": "B"}, 101, 33_255_717),
        ({"shortcut": "A"}, 400, 33_235_280),
        ({"shortcut": "B"}, 700, 33_563_004),
        ({"shortcut": "B", "depth": 34}, 101, 63_565_349),
        ({"shortcut": "A", "depth": 34}, 101, 63_391_525),
        ({"shortcut": "B", "widen_factor": 0.25}, 10, 2_090_682),
    ],
    ids=str,
)
def test_parameters(arguments: dict[str, object], classes: int, parameters: int) -> None:
    with torch.device("meta"):
        net = ResNet3D(classes, **arguments)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def test_state_dict_keys_are_those_of_haras_checkpoints() -> None:
    with torch.device("meta"):
        a, b = ResNet3D(101, shortcut="A").state_dict(), ResNet3D(101, shortcut="B").state_dict()
    assert (len(a), len(b)) == (104, 122)
    assert b["conv1.weight"].shape == (64, 3, 7, 7, 7)
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_var", "fc.bias"} <= b.keys()
    assert {"layer1.1.conv2.weight", "layer4.0.bn1.bias", "bn1.running_mean"} <= a.keys()
    assert not any("downsample" in name for name in a)
    assert b.keys() - a.keys() == {name for name in b if "downsample" in name}


@pytest.mark.parametrize(
    ("frames", "shapes"),
    [
        (40, [(64, 40, 56, 56), (64, 20, 28, 28), (128, 10, 14, 14), (256, 5, 7, 7), (512, 3, 4, 4)]),
        (16, [(64, 16, 56, 56), (64, 8, 28, 28), (128, 4, 14, 14), (256, 2, 7, 7), (512, 1, 4, 4)]),
    ],
)
def test_shapes(frames: int, shapes: list[tuple[int, ...]]) -> None:
    seen = []
    with torch.device("meta"):
        net = ResNet3D(7).eval()
        for part in (net.conv1, net.layer1, net.layer2, net.layer3, net.layer4):
            part.register_forward_hook(lambda *args: seen.append(tuple(args[2].shape[1:])))
        assert net(torch.empty(2, 3, frames, 112, 112)).shape == (2, 7)
    assert seen == shapes


@pytest.mark.parametrize("size", [(8, 56, 56), (5, 57, 64), (4, 112, 97), (1, 7, 7)])
@pytest.mark.parametrize(("kernel_time", "stride_time"), [(7, 1), (7, 2), (3, 1), (1, 1)])
@pytest.mark.parametrize("narrow", [True, False], ids=["narrow", "wide"])
def test_the_stem_is_exact(
    size: tuple[int, int, int], kernel_time: int, stride_time: int, narrow: bool
) -> None:
    torch.manual_seed(0)
    stem = SpaceToDepthStem(3, 5, kernel_time=kernel_time, stride_time=stride_time, narrow_vectors=narrow)
    stem = stem.double()
    plain = nn.Conv3d(3, 5, (kernel_time, 7, 7), (stride_time, 2, 2), (kernel_time // 2, 3, 3), bias=False)
    plain.double().load_state_dict(stem.state_dict())
    x, y = twins(2, 3, *size, dtype=torch.float64)
    ours, theirs = stem(x), plain(y)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    weights = torch.randn_like(theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-12, rtol=0)
    torch.testing.assert_close(stem.weight.grad, plain.weight.grad, atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", [(8, 9, 10), (7, 8, 9), (1, 14, 13), (5, 17, 8), (2, 7, 7), (4, 4, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_halved_convolution_is_exact(size: tuple[int, int, int], stride: int, batch: int) -> None:
    torch.manual_seed(0)
    halved = HalvedConv3d(8, 16, 3, stride=stride, padding=1, bias=False)
    plain = nn.Conv3d(8, 16, 3, stride=stride, padding=1, bias=False)
    plain.load_state_dict(halved.state_dict())
    x, y = twins(batch, 8, *size)
    ours, theirs = halved(x), plain(y)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    weights = torch.randn_like(theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-5, rtol=0)
    torch.testing.assert_close(halved.weight.grad, plain.weight.grad, atol=1e-3, rtol=1e-4)


def twins(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """The same random leaf twice."""
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return values.clone().requires_grad_(), values.clone().requires_grad_()


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize(
    "options", [{}, {"conv1_t_size": 3, "no_max_pool": True}, {"conv1_t_stride": 2}], ids=str
)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_fast_network_equals_the_plain_one(
    shortcut: str, options: dict[str, object], training: bool
) -> None:
    torch.manual_seed(0)
    fast = ResNet3D(6, widen_factor=0.125, shortcut=shortcut, **options).train(training)
    plain = ResNet3D(6, widen_factor=0.125, shortcut=shortcut, plain=True, **options).train(training)
    for name, tensor in fast.state_dict().items():
        # Batch norms that change something: the folded ones must do the same.
        if "bn" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    plain.load_state_dict(fast.state_dict())
    fast, plain = fast.double(), plain.double()
    x, y = twins(2, 3, 8, 40, 44, dtype=torch.float64)
    ours, theirs = fast(x), plain(y)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(x.grad, y.grad, atol=1e-9, rtol=1e-9)
    for (name, one), other in zip(fast.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(
            one.grad, other.grad, atol=1e-8, rtol=1e-8, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_watched_batch_norm_is_not_folded_away() -> None:
    torch.manual_seed(0)
    net = ResNet3D(6, widen_factor=0.125).eval()
    seen: list[torch.Tensor] = []
    net.layer1[0].bn1.register_forward_hook(lambda *args: seen.append(args[2]))
    clip = torch.rand(1, 3, 8, 32, 32)
    watched = net(clip)
    assert [tuple(tensor.shape) for tensor in seen] == [(1, 8, 4, 8, 8)]
    net.layer1[0].bn1._forward_hooks.clear()
    torch.testing.assert_close(net(clip), watched, atol=1e-5, rtol=1e-5)


def test_the_original_cuts_the_gradient_of_shortcut_a() -> None:
    torch.manual_seed(0)
    full = ResNet3D(6, widen_factor=0.125, shortcut="A").eval()
    cut = ResNet3D(6, widen_factor=0.125, shortcut="A", cut_shortcut_gradient=True).eval()
    cut.load_state_dict(full.state_dict())
    x, y = twins(1, 3, 8, 32, 32)
    a, b = full(x), cut(y)
    torch.testing.assert_close(a, b)
    a.sum().backward()
    b.sum().backward()
    assert not torch.allclose(x.grad, y.grad)


@pytest.mark.parametrize("arguments", [{"depth": 19}, {"conv1_t_size": 4}, {"widen_factor": 0.001}], ids=str)
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="="):
        ResNet3D(10, **arguments)


def test_in_bfloat16_the_gradient_points_the_same_way() -> None:
    torch.manual_seed(3)
    network = ResNet3D(5, depth=10, widen_factor=0.25).eval().requires_grad_(False)
    clips = torch.rand(2, 3, 8, 32, 32)
    gradients = []
    for enabled in (False, True):
        leaf = clips.clone().requires_grad_(True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            logits = network(leaf)
        assert logits.dtype == (torch.bfloat16 if enabled else torch.float32)
        gradients.append(torch.autograd.grad(logits.float()[:, 0].sum(), leaf)[0].flatten(1))
    assert torch.nn.functional.cosine_similarity(*gradients).min() > 0.9
