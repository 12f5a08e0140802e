"""The compiled head of the network against the ordinary layers: values, gradients, and when it steps aside."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.pooled_stem import pooled_stem
from models.rectified_max_pool import rectified_max_pool
from models.resnet3d import ResNet3D
from models.scattered_gradient import scattered_gradient
from models.space_to_depth_stem import SpaceToDepthStem


def _head(
    kernel_time: int = 7, stride_time: int = 1, out: int = 5
) -> tuple[SpaceToDepthStem, nn.BatchNorm3d]:
    torch.manual_seed(1)
    convolution = SpaceToDepthStem(3, out, kernel_time=kernel_time, stride_time=stride_time)
    norm = nn.BatchNorm3d(out)
    for values in (norm.running_mean, norm.bias):
        nn.init.normal_(values)
    for values in (norm.running_var, norm.weight):
        nn.init.uniform_(values, 0.5, 2)
    return convolution.eval().requires_grad_(False), norm.eval().requires_grad_(False)


def _reference(convolution: SpaceToDepthStem, norm: nn.BatchNorm3d, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Output and gradient (of the output's squares) in float64 by ordinary layers."""
    exact = clips.double().requires_grad_(True)
    dense = functional.conv3d(
        exact, convolution.weight.double(), None, convolution.stride, convolution.padding
    )
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    dense = (dense - norm.running_mean.double().reshape(-1, 1, 1, 1)) * scale.reshape(-1, 1, 1, 1)
    output = functional.max_pool3d(functional.relu(dense + norm.bias.double().reshape(-1, 1, 1, 1)), 3, 2, 1)
    (gradient,) = torch.autograd.grad(output.square().sum(), exact)
    return output.detach(), gradient


def _gradient(
    convolution: SpaceToDepthStem, norm: nn.BatchNorm3d, clips: Tensor, pool: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    clips = clips.clone().requires_grad_(True)
    output = pooled_stem(convolution, norm, pool or nn.MaxPool3d(3, 2, 1), clips)
    (gradient,) = torch.autograd.grad(output.square().sum(), clips)
    return output.detach(), gradient


@pytest.mark.parametrize("size", [(16, 32, 32), (7, 30, 26), (5, 21, 33), (1, 8, 8), (2, 1, 3)])
@pytest.mark.parametrize(("kernel_time", "stride_time"), [(7, 1), (3, 2), (1, 1)])
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_the_layers_it_stands_for(
    size: tuple[int, int, int], kernel_time: int, stride_time: int, batch: int
) -> None:
    convolution, norm = _head(kernel_time, stride_time)
    clips = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(2))
    expected, by_clips = _reference(convolution, norm, clips)
    output, gradient = _gradient(convolution, norm, clips)
    torch.testing.assert_close(output.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient.double(), by_clips, atol=1e-4, rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(pooled_stem(convolution, norm, nn.MaxPool3d(3, 2, 1), clips), output)


def test_the_gradient_is_compiled_and_not_twice_differentiable() -> None:
    convolution, norm = _head()
    clips = torch.rand(1, 3, 4, 8, 8, requires_grad=True)
    output = pooled_stem(convolution, norm, nn.MaxPool3d(3, 2, 1), clips)
    assert "_PooledStem" in type(output.grad_fn).__name__
    (gradient,) = torch.autograd.grad(output.square().sum(), clips, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_same_bits_in_any_batch_with_any_number_of_threads() -> None:
    convolution, _ = _head()
    pooled = torch.rand(3, 5, 6, 13, 12, generator=torch.Generator().manual_seed(3)) + 1
    whole = _scattered(pooled, convolution, slice(None))
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            assert torch.equal(_scattered(pooled, convolution, slice(None)), whole)
            for sample in range(len(pooled)):
                alone = _scattered(pooled, convolution, slice(sample, sample + 1))
                assert torch.equal(alone, whole[sample : sample + 1])
    finally:
        torch.set_num_threads(threads)


def _scattered(pooled: Tensor, convolution: SpaceToDepthStem, samples: slice) -> Tensor:
    places = torch.randint(6 * 13 * 12, pooled.shape, generator=torch.Generator().manual_seed(4)).int()
    chosen = pooled[samples].contiguous()
    return scattered_gradient(
        chosen,
        chosen,
        places[samples].contiguous(),
        convolution.weight,
        shape=torch.Size((len(chosen), 3, 6, 26, 24)),
        stride_time=1,
    )


@pytest.mark.parametrize("shape", [(2, 5, 7, 9, 11), (1, 3, 1, 1, 1), (1, 3, 2, 5, 1), (2, 2, 8, 28, 28)])
@pytest.mark.parametrize("case", ["random", "ties", "not a number"])
def test_pools_as_torch_does(shape: tuple[int, ...], case: str) -> None:
    dense = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    if case == "ties":
        dense = dense.round()
    if case == "not a number":
        dense[dense > 1.5] = torch.nan
    expected, expected_places = functional.max_pool3d_with_indices(dense, 3, 2, 1)
    output, places = rectified_max_pool(dense)
    assert torch.equal(output.nan_to_num(7), expected.relu().nan_to_num(7))
    if case != "not a number":
        assert torch.equal(places.long(), expected_places)


def test_a_still_grey_clip_has_the_gradient_of_the_ordinary_layers() -> None:
    # All values of a window are equal there, and the pool's choice among them shows.
    convolution, norm = _head()
    clips = torch.full((1, 3, 8, 40, 40), 0.5)
    _, by_clips = _reference(convolution, norm, clips)
    assert (by_clips[0, :, 3:5, 15:25, 15:25] != 0).any()
    dense = functional.conv3d(clips, convolution.weight, None, 1, convolution.padding)
    exact = torch.nn.functional.max_pool3d_with_indices(dense, 3, 2, 1)[1]
    assert torch.equal(rectified_max_pool(dense)[1].long(), exact)


def test_not_a_number_reaches_the_logits() -> None:
    network = ResNet3D(4, depth=10, widen_factor=0.1).eval().requires_grad_(False)
    clips = torch.rand(1, 3, 8, 32, 32)
    clips[0, 0, 0, 0, 0] = torch.nan
    with torch.no_grad():
        assert network(clips).isnan().all()


def test_steps_aside_for_whoever_watches_learns_or_trains() -> None:
    convolution, norm = _head()
    pool, seen = nn.MaxPool3d(3, 2, 1), []
    pool.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    clips = torch.rand(1, 3, 4, 16, 16)
    _gradient(convolution, norm, clips, pool)
    assert seen == [(1, 5, 2, 4, 4)]
    convolution.requires_grad_(True)
    pooled_stem(convolution, norm, nn.MaxPool3d(3, 2, 1), clips).sum().backward()
    assert convolution.weight.grad is not None
    norm.train()
    before = norm.running_mean.clone()
    pooled_stem(convolution, norm, nn.MaxPool3d(3, 2, 1), clips)
    assert not torch.equal(norm.running_mean, before)
