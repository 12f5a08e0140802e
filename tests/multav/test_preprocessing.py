"""The linear map equals the reference resize, and its adjoint equals autograd through it."""

import pytest
import torch
from torch.nn import functional

from multav.geometry import InputGeometry
from multav.preprocessing import no_preprocessing, preprocessing

SIZES = [(720, 1280), (1280, 720), (113, 97), (56, 56), (40, 300), (240, 320)]


def reference(pictures: torch.Tensor, geometry: InputGeometry) -> torch.Tensor:
    """Resize of the short side and centre crop with torch's own antialiased resize."""
    height, width = pictures.shape[-2:]
    short = min(height, width)
    size = (geometry.short_side * height // short, geometry.short_side * width // short)
    small = functional.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False)
    top = round((size[0] - geometry.height) / 2)
    left = round((size[1] - geometry.width) / 2)
    return small[..., top : top + geometry.height, left : left + geometry.width]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("short_side", "crop"), [(56, (56, 56)), (64, (48, 56))])
def test_apply_and_adjoint(size: tuple[int, int], short_side: int, crop: tuple[int, int]) -> None:
    geometry = InputGeometry(frames=1, stride=1, short_side=short_side, height=crop[0], width=crop[1])
    maps = preprocessing(geometry, *size)
    rows, columns = maps.window
    pictures = torch.rand(2, 3, *size, requires_grad=True)
    expected = reference(pictures, geometry)
    seen = pictures.detach()[..., rows, columns]
    torch.testing.assert_close(maps.apply(seen), expected, atol=2e-6, rtol=0)

    weights = torch.randn_like(expected)
    (by_source,) = torch.autograd.grad((expected * weights).sum(), pictures)
    outside = by_source.clone()
    outside[..., rows, columns] = 0
    assert outside.abs().max() == 0
    out = torch.empty_like(seen)
    assert maps.adjoint(weights, out=out).data_ptr() == out.data_ptr()
    torch.testing.assert_close(out, by_source[..., rows, columns], atol=1e-5, rtol=0)
    torch.testing.assert_close(maps.adjoint(weights), out)


def test_the_paper_sizes() -> None:
    maps = preprocessing(InputGeometry(frames=40, stride=1, short_side=112, height=112, width=112), 240, 320)
    # 149 x 112 after the resize, cropped from column 18 (18.5 rounded half to even).
    assert maps.left == pytest.approx(18 * 320 / 149, abs=3)
    assert maps.columns.shape[0] == 112


def test_pictures_of_the_right_size_pass_unchanged() -> None:
    maps = no_preprocessing(10, 12)
    pictures = torch.rand(3, 2, 10, 12)
    assert maps.identity
    assert maps.apply(pictures) is pictures
    assert maps.adjoint(pictures).equal(pictures)
    assert maps.adjoint(pictures).data_ptr() != pictures.data_ptr()
