"""The additive kinds against PGD of torchattacks, foolbox and ART; each library is left out where it is missing.

They are not among the development packages: CONTRIBUTING.md says how to install them.
"""

from importlib.util import find_spec

import pytest
import torch
from library_attacks import LIBRARIES, FramesAsChannels, Setting, Victim
from torch import Tensor, nn

import multav

SHAPE = (3, 4, 12, 10)
SETTINGS = [
    pytest.param(Setting("linf", epsilon=0.03, step_size=0.01, steps=7), id="linf, at the bound"),
    pytest.param(Setting("linf", epsilon=0.9, step_size=0.2, steps=3), id="linf, at the range"),
    pytest.param(Setting("l2", epsilon=2.0, step_size=0.9, steps=7), id="l2, at the bound"),
    pytest.param(Setting("l2", epsilon=50.0, step_size=0.9, steps=3), id="l2, within the bound"),
]


def needs(library: str) -> pytest.MarkDecorator:
    """A test that is about one library."""
    return pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed")


@pytest.fixture
def net() -> nn.Module:
    """A small smooth network in eval mode, with a batch norm, so that training mode would show."""
    torch.manual_seed(7)
    layers = [nn.Conv3d(3, 6, 3, padding=1), nn.BatchNorm3d(6), nn.Tanh()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(48, 4)).eval()


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([0, 1, 2, 3])


def clips_of(dtype: torch.dtype, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Four clips of values in [low, high]."""
    values = torch.rand(4, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return values.mul(high - low).add(low).to(dtype)


def ours(net: nn.Module, clips: Tensor, labels: Tensor, setting: Setting) -> Tensor:
    attack = multav.parse_attack(
        {
            "kind": f"pgd-{setting.norm}",
            "epsilon": setting.epsilon,
            "step_size": setting.step_size,
            "steps": setting.steps,
        }
    )
    return multav.craft(net, clips, labels, attack).clips


def theirs(library: str, net: nn.Module, clips: Tensor, labels: Tensor, setting: Setting) -> Tensor:
    return LIBRARIES[library](Victim(net, SHAPE, 4), setting)(clips, labels)


def furthest(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    return float((one - other).abs().max())


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "library",
    [
        pytest.param("torchattacks", marks=needs("torchattacks")),
        pytest.param("foolbox", marks=needs("foolbox")),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_same_clips(
    net: nn.Module, labels: Tensor, library: str, setting: Setting, dtype: torch.dtype
) -> None:
    clips = clips_of(dtype)
    net.to(dtype)
    made = ours(net, clips, labels, setting)
    most = 2e-6 if dtype == torch.float32 else 1e-12
    if library == "torchattacks" and setting.norm == "l2":
        # It adds 1e-10 to the norm of every gradient; see the next test.
        most = max(most, 1e-7)
    assert furthest(made, clips) > 1e-3
    assert furthest(theirs(library, net, clips, labels, setting), made) < most


@needs("torchattacks")
def test_torchattacks_lengthens_the_gradient(net: nn.Module, labels: Tensor) -> None:
    """Without what it adds to the gradient's norm, its l2 result is ours to the last digits of float64."""
    import torchattacks

    clips, setting = clips_of(torch.float64), Setting("l2", epsilon=2.0, step_size=0.9, steps=7)
    attack = torchattacks.PGDL2(
        FramesAsChannels(net.double()).eval(),
        eps=setting.epsilon,
        alpha=setting.step_size,
        steps=setting.steps,
        random_start=False,
        eps_for_division=0,
    )
    other = attack(clips.flatten(1, 2), labels).reshape(clips.shape)
    made = ours(net, clips, labels, setting)
    assert furthest(other, made) < 1e-12
    assert furthest(theirs("torchattacks", net, clips, labels, setting), made) > 1e-11


@needs("art")
@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if "l2, at" not in str(setting.id)])
def test_same_clips_in_art(net: nn.Module, labels: Tensor, setting: Setting) -> None:
    clips = clips_of(torch.float32)
    assert furthest(theirs("art", net, clips, labels, setting), ours(net, clips, labels, setting)) < 2e-6


@needs("art")
def test_art_clips_to_the_range_before_it_projects(net: nn.Module, labels: Tensor) -> None:
    """Its l2 result differs from ours where both the range and the bound act, and only there."""
    setting = Setting("l2", epsilon=2.0, step_size=0.9, steps=7)
    inside = clips_of(torch.float32, low=0.4, high=0.6)
    made = ours(net, inside, labels, setting)
    assert made.min() > 0
    assert made.max() < 1
    assert furthest(theirs("art", net, inside, labels, setting), made) < 2e-6
    clips = clips_of(torch.float32)
    other, made = theirs("art", net, clips, labels, setting), ours(net, clips, labels, setting)
    assert furthest(other, made) > 1e-3
    # Both keep the bound and the range: neither order is wrong.
    for result in (other, made):
        assert (result - clips).flatten(1).norm(dim=1).max() <= 2.0 + 1e-5
        assert result.min() >= 0
        assert result.max() <= 1


@needs("torchattacks")
def test_l2_of_torchattacks_takes_images_only(net: nn.Module, labels: Tensor) -> None:
    """Why `torchattacks_pgd` hands PGDL2 the clips as images.

    The norms of B samples, (B, 1, 1, 1), meet the channels of a clip: an error unless B is 1 or 3. Three clips get
    each other's norms without a word, and leave the bound.
    """
    import torchattacks

    attack = torchattacks.PGDL2(net, eps=2.0, alpha=0.9, steps=7, random_start=False)
    clips = clips_of(torch.float32)
    with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match the size of tensor b \(4\)"):
        attack(clips, labels)
    broken = attack(clips[:3], labels[:3])
    assert (broken - clips[:3]).flatten(1).norm(dim=1).max() > 2.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("library", [pytest.param(name, marks=needs(name)) for name in LIBRARIES])
def test_network_left_in_eval_mode(net: nn.Module, labels: Tensor, library: str, norm: str) -> None:
    theirs(library, net, clips_of(torch.float32), labels, Setting(norm, 0.5, 0.1, 1))  # type: ignore[arg-type]
    assert not any(module.training for module in net.modules())
