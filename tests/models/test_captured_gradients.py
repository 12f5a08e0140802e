"""Recorded passes of a GPU; what can be said of them without one is said first."""

import pytest
import torch
from torch import Tensor, nn

from models.resnet3d import ResNet3D
from multav import captured_gradients, craft, parse_attack, prepare
from multav.captured_gradients import CapturedGradients
from multav.clip_loss import ClipLoss
from multav.free_memory import free_bytes
from multav.prepared_model import GradientMeans

CUDA = torch.cuda.is_available()
on_a_gpu = pytest.mark.skipif(not CUDA, reason="no CUDA device")


def test_on_a_cpu_nothing_is_recorded() -> None:
    model = prepare(nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 4 * 4, 3)))
    assert GradientMeans.of(model, None, torch.device("cpu")) == GradientMeans()
    assert GradientMeans.of(model, torch.bfloat16, torch.device("cpu")).captured is None


def network(classes: int = 5) -> nn.Module:
    torch.manual_seed(3)
    return ResNet3D(classes, depth=10, widen_factor=0.25).cuda().eval()


def scene(batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    return torch.rand(batch, 3, 8, 32, 32, generator=generator).cuda(), (torch.arange(batch) % 5).cuda()


def recorded(model: nn.Module) -> CapturedGradients:
    captured = GradientMeans.of(model, None, torch.device("cuda")).captured
    assert captured is not None
    return captured


@on_a_gpu
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("loss", ["cross-entropy", "dlr"])
def test_a_recording_gives_what_the_pass_gives_for_clips_and_labels_of_now(
    loss: str, dtype: torch.dtype | None
) -> None:
    model = prepare(network())
    means = GradientMeans.of(model, dtype, torch.device("cuda"))
    quick = ClipLoss(model, loss, autocast=dtype, means=means)  # type: ignore[arg-type]
    slow = ClipLoss(model, loss, autocast=dtype, means=GradientMeans(means.twin))  # type: ignore[arg-type]
    clips, labels = scene()
    kept = []
    for turn in range(5):
        shifted, others = clips.roll(turn, 3), (labels + turn) % 5
        ours, theirs = quick.gradient(shifted, others), slow.gradient(shifted, others)
        kept.append((ours, theirs))
        (losses, logits), expected = quick.score(shifted, others), slow.score(shifted, others)
        torch.testing.assert_close(losses, expected[0])
        torch.testing.assert_close(logits, expected[1])
    assert len(recorded(model)) == 2
    # Results are copies: later passes leave them alone.
    for ours, theirs in kept:
        torch.testing.assert_close(ours.losses, theirs.losses, rtol=1e-2, atol=1e-3)
        torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-2, atol=1e-2)
        # Some are 0 everywhere, as DLR does not change while the label is the third.
        largest = theirs.gradient.abs().amax((1, 2, 3, 4))
        apart = (ours.gradient - theirs.gradient).abs().amax((1, 2, 3, 4))
        assert (apart <= 0.05 * largest).all()


@on_a_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["multav-linf", "roa", "apgd-ratio"])
def test_a_prepared_model_is_attacked_as_any_other(kind: str, precision: str) -> None:
    clips, labels = scene(4)
    attack = parse_attack({"kind": kind, "steps": 4})
    prepared = prepare(network())
    for _ in range(3):
        ours = craft(prepared, clips, labels, attack, precision=precision)  # type: ignore[arg-type]
    theirs = craft(network(), clips, labels, attack, precision=precision)  # type: ignore[arg-type]
    assert len(recorded(prepared)) > 0
    with torch.no_grad():
        torch.testing.assert_close(ours.logits, prepared(ours.clips), rtol=1e-3, atol=1e-3)
    gained, due = (found.losses[-1] - found.losses[0] for found in (ours, theirs))
    torch.testing.assert_close(gained, due, rtol=0.2, atol=0.05)


@on_a_gpu
def test_targets_early_stop_and_a_label_out_of_range() -> None:
    model, (clips, labels) = prepare(network()), scene(4)
    for fields in ({"loss": "dlr-targeted", "target_classes": 2}, {"early_stop": True}, {"targeted": True}):
        kind = "apgd-linf" if "loss" in fields else "pgd-linf"
        for _ in range(3):
            found = craft(model, clips, labels, parse_attack({"kind": kind, "steps": 3} | fields))
            assert found.logits.shape == (4, 5)
    attack = parse_attack({"kind": "pgd-linf", "steps": 2})
    for _ in range(3):
        craft(model, clips, labels, attack)
    with pytest.raises(ValueError, match="label 5 is out of range: the model has 5 classes"):
        craft(model, clips, labels + 2, attack)
    # The device is still of use.
    craft(model, clips, labels, attack)


class Waiting(nn.Module):
    """Asks the processor what to do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.inner(clips)
        return logits * (2 if float(clips.detach().sum()) > 0 else 1)


@on_a_gpu
def test_what_cannot_be_recorded_runs_as_it_is() -> None:
    model, (clips, labels) = prepare(Waiting(network())), scene()
    attack = parse_attack({"kind": "pgd-linf", "steps": 4})
    ours = craft(model, clips, labels, attack)
    assert len(recorded(model)) == 0
    theirs = craft(Waiting(network()), clips, labels, attack)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-2, atol=1e-2)
    means = GradientMeans.of(model, None, torch.device("cuda"))
    assert means.twin is not None
    assert means.twin.twin.module is not None


@on_a_gpu
def test_many_shapes_leave_few_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured_gradients, "_MOST", 3)
    model = prepare(network())
    loss = ClipLoss(model, "cross-entropy", means=GradientMeans.of(model, None, torch.device("cuda")))
    for batch in (1, 2, 3, 4, 5):
        for _ in range(3):
            loss.gradient(*scene(batch))
    assert len(recorded(model)) == 3
    monkeypatch.setattr(captured_gradients, "_LARGEST", 10)
    assert recorded(model).outputs("pass", lambda clips: (clips,), scene()[:1], lambda _: True) is None


@on_a_gpu
def test_where_memory_runs_out_recordings_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (clips, labels) = prepare(network()), scene(4)
    loss = ClipLoss(model, "cross-entropy", means=GradientMeans.of(model, None, torch.device("cuda")))
    expected = [loss.gradient(clips, labels).logits for _ in range(3)][-1]
    captured = recorded(model)
    assert len(captured) == 1
    sizes: list[int] = []
    own = ClipLoss._pass

    def refused(self: ClipLoss, clips: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sizes.append(len(clips))
        if len(clips) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return own(self, clips, *rest)

    monkeypatch.setattr(ClipLoss, "_pass", refused)
    more, of_more = torch.cat([clips, clips]), torch.cat([labels, labels])
    found = loss.gradient(more, of_more)
    assert sizes == [8, 8, 4, 2, 2, 2, 2]
    assert len(captured) == 0
    torch.testing.assert_close(found.logits[:4], expected, rtol=1e-3, atol=1e-3)
    assert free_bytes(torch.device("cuda")) is not None


@on_a_gpu
def test_on_another_stream_nothing_is_played() -> None:
    model, (clips, labels) = prepare(network()), scene()
    loss = ClipLoss(model, "cross-entropy", means=GradientMeans.of(model, None, torch.device("cuda")))
    for _ in range(3):
        expected = loss.gradient(clips, labels)
    captured, stream = recorded(model), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        assert captured.outputs("pass", lambda clips: (clips,), (clips,), lambda _: True) is None
        found = loss.gradient(clips, labels)
    stream.synchronize()
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-3, atol=1e-3)
