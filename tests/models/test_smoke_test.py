"""Networks with one named defect each: the smoke test finds it, and passes those without."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.architectures import ARCHITECTURES, build
from models.pixel_classifier import PixelClassifier
from models.smoke_test import smoke_test
from multav.model_card import ModelCard

torch.set_num_threads(1)
CLASSES = 5
SMALL: dict[str, dict[str, Any]] = {
    "resnet3d": {"depth": 10, "widen_factor": 0.125},
    "preact-resnet3d": {"depth": 10, "widen_factor": 0.125},
    "r2plus1d": {"depth": 10, "widen_factor": 0.125},
    "wide-resnet3d": {"k": 1},
    "resnext3d": {"depth": 50, "cardinality": 1},
}


def card(architecture: str = "resnet3d", frames: int = 8, size: int = 32, **arguments: Any) -> ModelCard:
    return ModelCard(
        name="tried",
        architecture=architecture,
        arguments=arguments,
        classes=tuple(f"c{index}" for index in range(CLASSES)),
        geometry={
            "frames": frames,
            "stride": 1,
            "short_side": size,
            "height": size,
            "width": size,
            "mean": (0.4, 0.5, 0.6),
            "std": (0.2, 0.3, 0.4),
        },
    )


class Sound(nn.Module):
    """A network without a defect, for others to spoil."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm3d(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.features(self.before(clips)))

    def before(self, clips: Tensor) -> Tensor:
        return clips

    def features(self, clips: Tensor) -> Tensor:
        return self.norm(self.convolution(clips)).relu()

    def head(self, features: Tensor) -> Tensor:
        return self.fc(features.mean(dim=(2, 3, 4)))


class NotFinite(Sound):
    def head(self, features: Tensor) -> Tensor:
        return super().head(features) * float("inf")


class OneTooMany(Sound):
    def head(self, features: Tensor) -> Tensor:
        logits = super().head(features)
        return torch.cat([logits, logits[:, :1]], dim=1)


class Detached(Sound):
    def before(self, clips: Tensor) -> Tensor:
        return clips.detach()


class DetachedButTrainable(Sound):
    """Logits have a gradient, but not with respect to the clip."""

    def head(self, features: Tensor) -> Tensor:
        return super().head(features.detach()) * torch.ones((), requires_grad=True)


class HalfDetached(Sound):
    """As shortcut A of the original code: one of two ways has no gradient."""

    def features(self, clips: Tensor) -> Tensor:
        return super().features(clips) + super().features(clips.detach().flip(2))


class Rounding(Sound):
    """8-bit preprocessing: its gradient is zero."""

    def before(self, clips: Tensor) -> Tensor:
        return (clips * 255).round() / 255


class StraightThrough(Sound):
    """8-bit preprocessing with a made-up gradient."""

    def before(self, clips: Tensor) -> Tensor:
        return clips + ((clips * 255).round() / 255 - clips).detach()


class Shattered(Sound):
    """A thermometer-like step whose gradient says nothing of the step."""

    def before(self, clips: Tensor) -> Tensor:
        return clips + (clips * 40).floor() / 40


class Random(Sound):
    def head(self, features: Tensor) -> Tensor:
        return super().head(nn.functional.dropout(features, 0.5, training=True))


class BatchStatistics(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(6, track_running_stats=False)


class Crosstalk(Sound):
    def head(self, features: Tensor) -> Tensor:
        return super().head(features + features.flip(0))


class SkipsFrames(Sound):
    def before(self, clips: Tensor) -> Tensor:
        return torch.stack([clips[:, :, 0], clips[:, :, 6]], dim=2)


class DetachesFrames(Sound):
    def before(self, clips: Tensor) -> Tensor:
        return torch.cat([clips[:, :, :3].detach(), clips[:, :, 3:]], dim=2)


class Dead(Sound):
    def head(self, features: Tensor) -> Tensor:
        return super().head((features - 1e6).relu())


class InfiniteGradient(Sound):
    def before(self, clips: Tensor) -> Tensor:
        return clips + (clips * 0).sqrt()


class OtherSize(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6 * 16**2, CLASSES)

    def head(self, features: Tensor) -> Tensor:
        return self.fc(features.mean(dim=2).flatten(1))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (NotFinite, "not finite"),
        (OneTooMany, r"gives \(2, 6\) for 2 clips, not one logit for each of the 5 classes"),
        (Detached, "no gradient reaches the clip"),
        (DetachedButTrainable, "no gradient reaches the clip"),
        (HalfDetached, "the gradient is masked"),
        (Rounding, "zero everywhere"),
        (StraightThrough, "the gradient is masked"),
        (Random, "the network is random"),
        (BatchStatistics, "depend on the other clips"),
        (Crosstalk, "depend on the other clips"),
        (DetachesFrames, "the gradient is masked"),
        (Dead, "zero everywhere"),
        (InfiniteGradient, "gradient with respect to the clip is not finite"),
        (OtherSize, "cannot be run on clips of its geometry"),
    ],
)
def test_each_defect_is_found(network: type[Sound], words: str) -> None:
    torch.manual_seed(0)
    report = smoke_test(PixelClassifier(network(), card()))
    assert not report.passed
    assert len(report.faults) == 1
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(report.faults[0])


def test_frames_that_are_not_looked_at_are_told() -> None:
    torch.manual_seed(0)
    report = smoke_test(PixelClassifier(SkipsFrames(), card()))
    assert report.passed
    assert report.frames_reached == 2
    assert report.remarks == ("the network does not look at the frames [1, 2, 3, 4, 5, 7] of 8",)


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_network_passes(seed: int) -> None:
    torch.manual_seed(seed)
    report = smoke_test(PixelClassifier(Sound(), card()))
    assert report.passed
    assert report.frames_reached == 8
    assert report.gradient_error is not None
    assert report.gradient_error < 1e-3
    assert report.as_dict()["passed"] is True


def test_a_step_whose_gradient_is_that_of_its_neighbourhood_passes() -> None:
    """The smooth part is attackable; what jumps is flat almost everywhere, and no gradient can say more."""
    torch.manual_seed(0)
    assert smoke_test(PixelClassifier(Shattered(), card())).passed


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_passes(architecture: str) -> None:
    torch.manual_seed(0)
    described = card(architecture, frames=4, size=16, **SMALL.get(architecture, {}))
    report = smoke_test(PixelClassifier(build(described), described))
    assert report.faults == ()
    assert report.gradient_error is not None
    assert report.gradient_error < 1e-3


@pytest.mark.parametrize("asked", [True, False])
def test_the_cut_gradient_of_shortcut_a_is_allowed_where_it_was_asked_for(asked: bool) -> None:
    torch.manual_seed(0)
    cut = {"depth": 10, "widen_factor": 0.125, "shortcut": "A", "cut_shortcut_gradient": True}
    network = build(card(**cut))
    report = smoke_test(PixelClassifier(network, card(**(cut | {"cut_shortcut_gradient": asked}))))
    if asked:
        assert report.passed
        assert "cut_shortcut_gradient lets no gradient through" in report.remarks[0]
    else:
        assert "the gradient is masked" in report.faults[0]


def test_the_classifier_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    classifier = PixelClassifier(Sound(), card()).train()
    classifier.backbone.get_submodule("norm").eval()
    classifier.backbone.get_parameter("fc.bias").requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    modes = {name: module.training for name, module in classifier.named_modules()}
    state = torch.random.get_rng_state()
    smoke_test(classifier)
    assert {name: module.training for name, module in classifier.named_modules()} == modes
    assert not classifier.backbone.get_parameter("fc.bias").requires_grad
    assert classifier.backbone.get_parameter("fc.weight").requires_grad
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert torch.random.get_rng_state().equal(state)
    for name, tensor in classifier.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert tensor.equal(before[name])
