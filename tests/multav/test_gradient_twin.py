"""Twins in halves: gradients as of autocast, of any module, of its weights as they are, and nothing left behind."""

import gc
import threading
import weakref
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from multav import craft, parse_attack, prepare, prepared_model
from multav.clip_loss import ClipLoss
from multav.gradient_twin import GradientTwin, full_weight, in_a_twin, kept, twin_of
from multav.prepared_model import GradientMeans, kept_bytes
from tests.multav.laws import clips_of

torch.set_num_threads(1)

HALF = torch.bfloat16
LINF = parse_attack({"kind": "multav-linf", "steps": 2})


def clips_and_labels(batch: int = 3) -> tuple[Tensor, Tensor]:
    return clips_of(batch, 3, 4, 8, 8).float(), torch.arange(batch) % 4


def gradient(model: nn.Module, dtype: torch.dtype | None, *, twin: bool = True) -> Tensor:
    """Of the cross-entropy of a model in eval mode with frozen parameters."""
    clips, labels = clips_and_labels()
    model.eval().requires_grad_(False)
    means = GradientMeans.of(model, dtype, clips.device) if twin else GradientMeans()
    return ClipLoss(model, "cross-entropy", autocast=dtype, means=means).gradient(clips, labels).gradient


def assert_alike(one: Tensor, other: Tensor, least: float) -> None:
    assert functional.cosine_similarity(one.flatten(1), other.flatten(1)).min() > least


class Body(nn.Module):
    """Clips -> 4 logits through whatever a case puts in the middle, (B, 6, T) -> (B, 6, T)."""

    def __init__(self, middle: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm3d(6)
        self.head = nn.Linear(6, 4)
        self.middle = middle

    def forward(self, clips: Tensor) -> Tensor:
        features = torch.tanh(self.norm(self.conv(clips - 0.5))).square().mean(dim=(3, 4))
        if self.middle is not None:
            features = self.middle(features)
        logits: Tensor = self.head(features.mean(2)) * 4
        return logits


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 6, batch_first=True)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.lstm(features.transpose(1, 2))[0].transpose(1, 2)


class DoubleBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((1,), 1.5, dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        return (features.double() * self.scale).float()


class Standardised(nn.Conv1d):
    """Looks at its weight: in halves its mean would be another."""

    def forward(self, features: Tensor) -> Tensor:
        assert self.weight.dtype == torch.float32
        return functional.conv1d(features, self.weight - self.weight.mean(), self.bias, padding=1)


class Precise(nn.Module):
    """A layer that is kept out of autocast, so that halves do not fit it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return features + self.layer(features.float().transpose(1, 2)).transpose(1, 2)


class Tied(nn.Module):
    """One weight in a layer and in a sum of the module's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.weight = self.layer.weight

    def forward(self, features: Tensor) -> Tensor:
        assert self.weight.dtype == torch.float32
        return self.layer(features.transpose(1, 2)).transpose(1, 2) + self.weight.sum()


class Uncopyable(nn.Module):
    """Holds what cannot be copied, and a layer that is no part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.other = [nn.Linear(6, 6).requires_grad_(False)]

    def forward(self, features: Tensor) -> Tensor:
        with self.lock:
            return features + self.other[0](features.transpose(1, 2)).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, features: Tensor) -> Tensor:
        sequence = features.transpose(1, 2)
        return features + self.layer(sequence, sequence, sequence)[0].transpose(1, 2)


CASES: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "conv1d": lambda: nn.Conv1d(6, 6, 3, padding=1),
    "recurrent": Recurrent,
    "attention": Attention,
    "double buffer": DoubleBuffer,
    "lambda": lambda: lambda features: features * 2,
    "subclass": lambda: Standardised(6, 6, 3),
    "out of autocast": Precise,
    "tied": Tied,
    "uncopyable": Uncopyable,
    "parametrised": lambda: parametrizations.weight_norm(nn.Conv1d(6, 6, 3, padding=1)),
}


@pytest.mark.parametrize("case", CASES)
def test_any_module_has_the_gradient_of_autocast(case: str) -> None:
    torch.manual_seed(3)
    model = Body(CASES[case]())
    twin, cast, own = gradient(model, HALF), gradient(model, HALF, twin=False), gradient(model, None)
    assert twin.dtype == torch.float32
    assert_alike(twin, cast, 0.999)
    assert_alike(twin, own, 0.99)
    clips, labels = clips_and_labels()
    crafted = craft(model, clips, labels, LINF, precision="bfloat16")
    with torch.no_grad():
        torch.testing.assert_close(crafted.logits, model(crafted.clips))


def test_a_layer_kept_out_of_autocast_gets_its_model_back() -> None:
    torch.manual_seed(3)
    model = Body(Precise()).eval().requires_grad_(False)
    twin = twin_of(model, HALF)
    assert twin.module is not None
    with torch.autocast("cpu", dtype=HALF):
        GradientTwin(model, twin)(clips_and_labels()[0])
    assert twin.module is None


def test_what_the_model_itself_refuses_is_the_models_own_error() -> None:
    model = Body().eval().requires_grad_(False)
    with pytest.raises(RuntimeError, match="expected input"):
        GradientTwin(model, twin_of(model, HALF))(torch.rand(1, 5, 2, 4, 4))


def test_layers_hold_halves_and_everything_else_is_the_models_own() -> None:
    model = Body(Tied()).eval()
    twin = twin_of(model, HALF).module
    assert isinstance(twin, Body)
    assert twin is not model
    assert isinstance(twin.middle, Tied)
    assert twin.conv.weight.dtype == twin.conv.bias.dtype == twin.head.weight.dtype == HALF  # type: ignore[union-attr]
    assert twin.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert not any(each.requires_grad for each in (twin.conv.weight, twin.head.bias))
    assert twin.norm.weight is model.norm.weight
    assert twin.norm.running_mean is model.norm.running_mean
    assert twin.middle.layer.weight is model.middle.layer.weight  # type: ignore[union-attr]
    assert full_weight(twin.conv) is model.conv.weight
    assert full_weight(model.conv) is model.conv.weight
    assert in_a_twin(twin.conv)
    assert not in_a_twin(model.conv)
    assert not in_a_twin(twin.norm)


def test_there_is_no_twin_of_who_is_watched_or_has_nothing_in_float32() -> None:
    for register in ("register_forward_hook", "register_forward_pre_hook"):
        model = Body()
        getattr(model.head, register)(lambda *_: None)
        assert twin_of(model, HALF).module is None
    assert twin_of(Body().double(), HALF).module is None
    assert twin_of(Body().to(HALF), HALF).module is None
    assert twin_of(nn.Flatten(), HALF).module is None


def test_a_hook_sees_every_gradient_of_the_model_itself() -> None:
    model, (clips, labels) = Body(), clips_and_labels()
    seen = []
    model.conv.register_forward_hook(lambda module, *_: seen.append(module))
    craft(model, clips, labels, parse_attack({"kind": "multav-linf", "steps": 3}), precision="bfloat16")
    # And the look at the result.
    assert seen == [model.conv] * 4


def test_an_attack_follows_the_weights_and_leaves_nothing_behind() -> None:
    torch.manual_seed(5)
    model, (clips, labels) = Body(nn.Conv1d(6, 6, 3, padding=1)).train(), clips_and_labels()
    before = {
        name: (each, each.clone()) for name, each in [*model.named_parameters(), *model.named_buffers()]
    }
    attributes = {name: set(module.__dict__) for name, module in model.named_modules()}
    first = craft(model, clips, labels, LINF, precision="bfloat16")
    assert model.training
    assert {name: set(module.__dict__) for name, module in model.named_modules()} == attributes
    for name, each in [*model.named_parameters(), *model.named_buffers()]:
        same, value = before[name]
        assert each is same
        assert torch.equal(each, value)
    assert all(parameter.requires_grad for parameter in model.parameters())
    # As training does it, and as nobody counts it.
    with torch.no_grad():
        model.conv.weight.add_(torch.randn_like(model.conv.weight))
    model.head.weight.data.neg_()
    second = craft(model, clips, labels, LINF, precision="bfloat16")
    fresh = Body(nn.Conv1d(6, 6, 3, padding=1))
    fresh.load_state_dict(model.state_dict())
    expected = craft(fresh, clips, labels, LINF, precision="bfloat16")
    assert torch.equal(second.clips, expected.clips)
    assert not torch.equal(second.clips, first.clips)


def test_a_batch_in_pieces_moves_the_same_way() -> None:
    torch.manual_seed(6)
    model = Body()
    clips, labels = clips_and_labels(5)
    attack = parse_attack({"kind": "multav-linf", "steps": 3})
    whole = craft(model, clips, labels, attack, precision="bfloat16").clips
    for index in range(5):
        one = slice(index, index + 1)
        alone = craft(model, clips[one], labels[one], attack, first_sample=index, precision="bfloat16").clips
        # A gradient that is nearly 0 may round to the other side.
        assert (alone != whole[one]).float().mean() < 0.02


def test_what_is_kept_is_made_once_in_a_twin_and_every_time_outside() -> None:
    model = Body().eval()
    twin = twin_of(model, HALF).module
    assert isinstance(twin, Body)
    made = iter(range(10))
    assert [kept(twin.conv, "what", lambda: next(made)) for _ in range(3)] == [0, 0, 0]
    assert kept(twin.conv, "other", lambda: next(made)) == 1
    assert kept(twin.head, "what", lambda: next(made)) == 2
    assert [kept(model.conv, "what", lambda: next(made)) for _ in range(2)] == [3, 4]


# Prepared models.


def test_a_prepared_models_twin_is_made_once_and_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    model, (clips, labels) = Body(), clips_and_labels()
    expected = craft(model, clips, labels, LINF, precision="bfloat16")
    made = []

    def counted(*arguments: Any) -> Any:
        made.append(twin_of(*arguments))
        return made[-1]

    monkeypatch.setattr(prepared_model, "twin_of", counted)
    assert prepare(model) is model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert kept_bytes(model) == 0
    for _ in range(3):
        again = craft(model, clips, labels, LINF, precision="bfloat16")
        assert torch.equal(again.clips, expected.clips)
    assert len(made) == 1
    layers = (model.conv.weight, model.conv.bias, model.head.weight, model.head.bias)
    assert kept_bytes(model) == sum(2 * each.numel() for each in layers)  # type: ignore[union-attr]
    craft(model, clips, labels, LINF)
    assert len(made) == 1, "in float32 a CPU needs none"
    there = weakref.ref(made[0].module.conv.weight)
    made.clear()
    del model, again, layers
    gc.collect()
    assert there() is None


def test_a_copy_of_a_prepared_model_has_promised_nothing() -> None:
    model, (clips, labels) = prepare(Body()), clips_and_labels()
    craft(model, clips, labels, LINF, precision="bfloat16")
    fresh = Body()
    fresh.load_state_dict(model.state_dict())
    other = deepcopy(model)
    other.conv.weight.data.neg_()
    fresh.conv.weight.data.neg_()
    expected = craft(fresh, clips, labels, LINF, precision="bfloat16").clips
    assert torch.equal(craft(other, clips, labels, LINF, precision="bfloat16").clips, expected)
    assert kept_bytes(other) == 0
