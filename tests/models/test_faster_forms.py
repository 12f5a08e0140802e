"""Stems for matrix units, kernels without what only meets the border, and networks whose twins fold batch norm once."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.folded_batch_norm import folded, normalised
from models.halved_conv3d import HalvedConv3d
from models.resnet3d import ResNet3D
from models.space_to_depth_stem import SpaceToDepthStem
from multav.gradient_twin import twin_of
from tests.models.small_networks import trained

torch.set_num_threads(1)

HALF = torch.bfloat16


def assert_same(one: nn.Module, other: nn.Module, clips: Tensor, **how: float) -> None:
    """Output, and the gradients by clips and weight."""
    found = []
    for convolution in (one, other):
        leaf = clips.clone().requires_grad_()
        output = convolution(leaf)
        along = torch.rand(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
        found.append((output, *torch.autograd.grad(output, (leaf, convolution.weight), along)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, **how)


class BySixteens(nn.Module):
    """A stem in the form of a GPU (`across` 4) or of a processor for halves (1), in its own type."""

    def __init__(self, stem: SpaceToDepthStem, across: int) -> None:
        super().__init__()
        self.stem, self.across, self.weight = stem, across, stem.weight

    def forward(self, clips: Tensor) -> Tensor:
        return self.stem._by_sixteens(clips, self.weight, None, clips.dtype, across=self.across)


@pytest.mark.parametrize("across", [1, 4])
@pytest.mark.parametrize(("kernel_time", "stride_time"), [(7, 1), (3, 2), (1, 1)])
@pytest.mark.parametrize("shape", [(3, 5, 12, 14), (3, 6, 11, 13), (4, 2, 7, 8), (1, 3, 8, 7)])
def test_the_stem_by_sixteens_is_exact(
    shape: tuple[int, ...], kernel_time: int, stride_time: int, across: int
) -> None:
    torch.manual_seed(1)
    stem = SpaceToDepthStem(shape[0], 5, kernel_time=kernel_time, stride_time=stride_time).double()
    plain = nn.Conv3d(
        shape[0], 5, (kernel_time, 7, 7), (stride_time, 2, 2), (kernel_time // 2, 3, 3), bias=False
    ).double()
    plain.load_state_dict(stem.state_dict())
    assert_same(BySixteens(stem, across), plain, torch.rand(2, *shape).double(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [
        (3, 1, (1, 4, 4)),
        (3, 2, (2, 4, 4)),
        (3, 2, (1, 2, 1)),
        (3, 1, (1, 1, 5)),
        (5, 3, (2, 1, 9)),
        (5, 4, (3, 3, 3)),
        (3, 1, (3, 4, 4)),
    ],
)
@pytest.mark.parametrize("batch", [1, 2])
def test_a_kernel_without_what_meets_the_border_is_exact(
    kernel: int, stride: int, size: tuple[int, int, int], batch: int
) -> None:
    torch.manual_seed(1)
    ours = HalvedConv3d(4, 6, kernel, stride=stride, padding=kernel // 2, bias=False).double()
    plain = nn.Conv3d(4, 6, kernel, stride=stride, padding=kernel // 2, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    assert_same(ours, plain, torch.rand(batch, 4, *size).double(), rtol=1e-10, atol=1e-11)


def test_what_meets_the_border_is_not_read() -> None:
    convolution = HalvedConv3d(2, 3, 3, padding=1, bias=False)
    with torch.no_grad():
        convolution.weight[:, :, [0, 2]] = torch.nan
    assert convolution(torch.rand(1, 2, 1, 4, 4)).isfinite().all()


def pair() -> nn.Sequential:
    torch.manual_seed(2)
    layers = trained(nn.Sequential(HalvedConv3d(4, 6, 3, padding=1, bias=False), nn.BatchNorm3d(6)))
    assert isinstance(layers, nn.Sequential)
    return layers.requires_grad_(False)


def test_a_twin_folds_batch_norm_from_the_weight_as_it_was_and_once() -> None:
    layers = pair()
    twin = twin_of(layers, HALF).module
    assert isinstance(twin, nn.Sequential)
    weight, bias = folded(twin[0], twin[1])
    precise = folded(layers[0], layers[1])
    assert torch.equal(weight, precise[0].to(HALF))
    assert torch.equal(bias, precise[1].to(HALF))
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert folded(twin[0], twin[1])[0] is weight
    assert folded(layers[0], layers[1])[0] is not precise[0]


def test_a_twin_folds_where_the_model_would_not_and_minds_which_norm() -> None:
    layers, other = pair(), nn.BatchNorm3d(6).eval().requires_grad_(False)
    other.running_mean = torch.ones(6)
    twin = twin_of(nn.ModuleList([layers, other]), torch.float32).module
    assert isinstance(twin, nn.ModuleList)
    convolution, norm = twin[0]
    # One output a channel: fewer than the weights.
    features = torch.rand(1, 4, 1, 1, 1)
    for following, expected in ((norm, layers[1]), (twin[1], other), (norm, layers[1])):
        torch.testing.assert_close(
            normalised(convolution, following, features), expected(layers[0](features)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("arguments", [{"depth": 10}, {"depth": 50}, {"depth": 10, "no_max_pool": True}])
def test_a_networks_twin_points_the_same_way(arguments: dict[str, int]) -> None:
    torch.manual_seed(3)
    network = trained(ResNet3D(5, widen_factor=0.25, **arguments)).requires_grad_(False)  # type: ignore[arg-type]
    twin = twin_of(network, HALF).module
    layout = twin_of(network, torch.float32).module
    assert twin is not None
    assert layout is not None
    clips = torch.rand(2, 3, 8, 32, 32)
    gradients = []
    for model, dtype in ((network, None), (layout, None), (network, HALF), (twin, HALF)):
        leaf = clips.clone().requires_grad_()
        with torch.autocast("cpu", dtype=HALF, enabled=dtype is not None):
            logits = model(leaf)
        (gradient,) = torch.autograd.grad(
            functional.cross_entropy(logits.float(), torch.tensor([1, 3])), leaf
        )
        gradients.append(gradient.flatten(1))
    own, laid_out, cast, twins = gradients
    assert functional.cosine_similarity(own, laid_out).min() > 0.999
    assert functional.cosine_similarity(own, twins).min() > 0.9
    # As near as autocast is to it.
    apart = 1 - functional.cosine_similarity(own, twins).min()
    assert apart < 2 * (1 - functional.cosine_similarity(own, cast).min()) + 0.01
