"""Clips in pieces: equal results, halving where memory runs out for real, planning, and the precision of gradients."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor, nn

from multav import craft, parse_attack
from multav.clip_loss import ClipLoss
from multav.free_memory import free_bytes, was_refused
from multav.precision import gradient_type
from tests.multav.laws import clips_of, small
from tests.multav.threshold import Threshold, near

torch.set_num_threads(1)


class Limited(nn.Module):
    """Runs out of memory where more than `most` clips come at once, and counts the clips of each call."""

    def __init__(self, net: nn.Module, most: int) -> None:
        super().__init__()
        self.net, self.most = net, most
        self.calls: list[int] = []

    def forward(self, clips: Tensor) -> Tensor:
        if len(clips) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        self.calls.append(len(clips))
        logits: Tensor = self.net(clips)
        return logits


@pytest.mark.parametrize("kind", ["multav-linf", "multav-l2", "multav-spa", "apgd-ratio"])
def test_a_piece_that_memory_refuses_is_halved_and_the_result_is_the_same(
    kind: str, tiny_net: nn.Module
) -> None:
    clips, labels = clips_of(7, 3, 4, 8, 8), torch.arange(7) % 4
    attack = small(kind)
    whole = craft(tiny_net, clips, labels, attack)
    limited = Limited(tiny_net, 2)
    pieces = craft(limited, clips, labels, attack)
    torch.testing.assert_close(pieces.clips, whole.clips)
    torch.testing.assert_close(pieces.losses, whole.losses, atol=1e-6, rtol=1e-6)
    # 7 and 4 are refused; from then on pieces of 2, in each of `steps` gradients and the last look.
    assert limited.calls == [2, 2, 2, 1] * (attack.steps + 1)


def test_a_single_clip_that_does_not_fit_is_an_error(tiny_net: nn.Module) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        craft(Limited(tiny_net, 0), clips_of(2, 3, 4, 8, 8), torch.tensor([0, 1]), small("pgd-linf"))


def test_other_errors_are_not_tried_again() -> None:
    def broken(clips: Tensor) -> Tensor:
        calls.append(len(clips))
        raise RuntimeError("shapes do not match")

    calls: list[int] = []
    with pytest.raises(RuntimeError, match="shapes do not match"):
        ClipLoss(broken, "cross-entropy").score(clips_of(4, 3, 2, 4, 4), torch.zeros(4, dtype=torch.int64))
    assert calls == [4]


def test_what_is_a_refusal() -> None:
    assert was_refused(RuntimeError("[enforce fail at alloc] DefaultCPUAllocator: can't allocate memory"))
    assert was_refused(torch.OutOfMemoryError("CUDA out of memory"))
    assert was_refused(MemoryError())
    assert not was_refused(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not was_refused(ValueError("out of memory"))


def test_free_memory_is_a_number_of_bytes_of_this_machine() -> None:
    free = free_bytes(torch.device("cpu"))
    assert free is not None
    assert 2**20 < free < 2**50
    assert free_bytes(torch.device("meta")) is None


def test_planned_from_what_one_clip_keeps() -> None:
    class Keeps(nn.Module):
        """Keeps its input forty times for the gradient."""

        def __init__(self) -> None:
            super().__init__()
            self.calls: list[int] = []

        def forward(self, clips: Tensor) -> Tensor:
            self.calls.append(len(clips))
            for _ in range(40):
                clips = clips.sin()
            return clips.flatten(1)[:, :3]

    clips, labels = clips_of(8, 3, 4, 16, 16), torch.zeros(8, dtype=torch.int64)
    each = clips[0].nbytes
    for room, calls in ((2, [1, 2, 2, 2, 2]), (0.5, [1, *[1] * 8]), (3, [1, 3, 3, 2]), (1000, [8])):
        model = Keeps()
        loss = ClipLoss(model, "cross-entropy", free=lambda _device, room=room: int(2 * room * 42 * each))
        loss.gradient(clips, labels)
        assert model.calls == calls


def test_a_larger_batch_is_planned_anew_and_what_was_refused_is_remembered(tiny_net: nn.Module) -> None:
    limited = Limited(tiny_net.eval().requires_grad_(False), 4)
    loss = ClipLoss(limited, "cross-entropy")
    for samples in (2, 4, 8, 8):
        loss.gradient(clips_of(samples, 3, 4, 8, 8).float(), torch.zeros(samples, dtype=torch.int64))
    # 8 are refused once only; 2 before did not make pieces of 2.
    assert limited.calls == [2, 4, 4, 4, 4, 4]


@pytest.mark.slow
def test_memory_that_really_runs_out_on_a_cpu() -> None:
    code = textwrap.dedent(
        """
        import resource, torch
        from models.resnet3d import ResNet3D
        from multav import craft, parse_attack
        torch.set_num_threads(1); torch.manual_seed(0)
        net = ResNet3D(5, depth=10).eval()
        clips, labels = torch.rand(16, 3, 16, 112, 112), torch.zeros(16, dtype=torch.int64)
        craft(net, clips[:1], labels[:1], parse_attack({"kind": "multav-linf", "steps": 1}))
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
        print(craft(net, clips, labels, parse_attack({"kind": "multav-linf", "steps": 1})).clips.shape)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.stdout.strip() == "torch.Size([16, 3, 16, 112, 112])", done.stderr[-2000:]


def test_bfloat16_moves_as_float32_does_and_is_judged_in_float32(tiny_net: nn.Module) -> None:
    clips, labels = clips_of(6, 3, 4, 12, 12).float(), torch.arange(6) % 4
    for kind in ("multav-linf", "apgd-ratio"):
        attack = small(kind)
        precise = craft(tiny_net, clips, labels, attack)
        rough = craft(tiny_net, clips, labels, attack, precision="bfloat16")
        assert not torch.equal(rough.clips, precise.clips)
        moved = (rough.clips - clips).sign() == (precise.clips - clips).sign()
        assert moved.float().mean() > 0.8
        with torch.no_grad():
            expected = tiny_net.eval()(rough.clips)
        torch.testing.assert_close(rough.logits, expected)
        torch.testing.assert_close(
            rough.losses[-1], nn.functional.cross_entropy(expected, labels, reduction="none")
        )


def test_early_stop_in_bfloat16_is_judged_in_float32(tiny_net: nn.Module) -> None:
    clips, labels = clips_of(6, 3, 4, 12, 12).float(), torch.arange(6) % 4
    attack = parse_attack({"kind": "multav-linf", "early_stop": True})
    rough = craft(tiny_net, clips, labels, attack, precision="bfloat16")
    with torch.no_grad():
        torch.testing.assert_close(rough.logits, tiny_net.eval()(rough.clips))


@pytest.mark.parametrize("targeted", [False, True])
def test_a_clip_is_not_left_where_bfloat16_alone_is_fooled(targeted: bool) -> None:
    clips, labels, attack = near(targeted)
    net, heard = Threshold(), list[int]()
    rough = craft(net, clips, labels, attack, precision="bfloat16", on_step=heard.append)
    precise = craft(net, clips, labels, attack)
    assert precise.logits.argmax(1).tolist() == [1, 1, 0]
    torch.testing.assert_close(rough.clips, precise.clips)
    torch.testing.assert_close(rough.logits, precise.logits)
    torch.testing.assert_close(rough.losses[-1], precise.losses[-1])
    # Those of both attacks count.
    assert precise.gradients.tolist() == [2, 2, 2]
    assert rough.gradients.tolist() == [3, 4, 2]
    assert heard == [0, 1, 0, 1]


def test_what_is_attacked_again_does_not_depend_on_its_batch() -> None:
    clips, labels, attack = near()
    attack = attack.model_copy(update={"random_start": True, "epsilon": 0.006, "steps": 4})
    numbers = [5, 9, 2]
    whole = craft(Threshold(), clips, labels, attack, first_sample=numbers, precision="bfloat16")
    for row, number in enumerate(numbers):
        one = slice(row, row + 1)
        alone = craft(
            Threshold(), clips[one], labels[one], attack, first_sample=[number], precision="bfloat16"
        )
        torch.testing.assert_close(alone.clips, whole.clips[one])
        torch.testing.assert_close(alone.logits, whole.logits[one])
        assert alone.gradients.equal(whole.gradients[one])
    assert int(whole.gradients[0]) > 1


def test_auto_is_the_processors_own() -> None:
    able = torch.cpu.get_capabilities()
    expected = torch.bfloat16 if able["avx512_bf16"] or able["amx_bf16"] else None
    assert gradient_type("auto", torch.device("cpu")) == expected
    assert gradient_type("float32", torch.device("cpu")) is None
    assert gradient_type("bfloat16", torch.device("cpu")) == torch.bfloat16
