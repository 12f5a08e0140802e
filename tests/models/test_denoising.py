"""Denoising blocks against written-out einsums, their starts, and what may be chosen about them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.attention import Attention
from models.denoising import Denoising, DenoisingBlock
from models.denoising_options import VARIANTS
from models.resnet3d import ResNet3D

torch.set_num_threads(1)
CHANNELS, SIZE = 6, (4, 3, 5)
# Without embeddings there is nothing to be separate.
FORMS = [
    (variant, embed)
    for variant in VARIANTS
    for embed in (True, False)
    if embed or variant != "frame_separate"
]


def block(variant: str, length: int = SIZE[0], **options: Any) -> DenoisingBlock:
    """In eval mode, float64, with weights and norms that matter."""
    torch.manual_seed(0)
    denoising = Denoising.checked(variant, options)
    assert denoising is not None
    made = DenoisingBlock(CHANNELS, denoising, length).double().eval()
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) if "bn" in name else torch.randn_like(tensor))
    return made


def written_out(
    state: dict[str, Tensor], x: Tensor, *, whole: bool, dot: bool, batch_norm: bool, relu: bool
) -> Tensor:
    """The block in einsums, with its matrix of weights in full."""
    query, key = x, x
    if "theta.weight" in state:
        query = torch.einsum("dc,bcthw->bdthw", state["theta.weight"].flatten(1), x)
        key = torch.einsum("dc,bcthw->bdthw", state["phi.weight"].flatten(1), x)
    elif "theta.0.weight" in state:
        query, key = (
            torch.stack(
                [
                    torch.einsum("dc,bchw->bdhw", state[f"{name}.{t}.weight"].flatten(1), x[:, :, t])
                    for t in range(x.shape[2])
                ],
                dim=2,
            )
            for name in ("theta", "phi")
        )
    size = query.shape[1]
    if whole:
        similar = torch.einsum("bdthw,bdsij->bthwsij", query, key)
        flat = similar.flatten(4)
        weights = flat / flat.shape[-1] if dot else (flat / size**0.5).softmax(-1)
        mixed = torch.einsum("bthwsij,bcsij->bcthw", weights.reshape(similar.shape), x)
    else:
        similar = torch.einsum("bdthw,bdtij->bthwij", query, key)
        flat = similar.flatten(4)
        weights = flat / flat.shape[-1] if dot else (flat / size**0.5).softmax(-1)
        mixed = torch.einsum("bthwij,bctij->bcthw", weights.reshape(similar.shape), x)
    out = torch.einsum("dc,bcthw->bdthw", state["conv_out.weight"].flatten(1), mixed)
    if batch_norm:
        mean, variance, gamma, beta = (
            state[f"bn_out.{part}"].reshape(-1, 1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        out = (out - mean) / (variance + 1e-5).sqrt() * gamma + beta
    return (x + out).relu() if relu else x + out


@pytest.mark.parametrize(("variant", "embed"), FORMS)
@pytest.mark.parametrize("norm", ["batch", "unused", "none"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("affinity", ["softmax", "dot_product"])
def test_equals_the_written_out_form(variant: str, norm: str, relu: bool, embed: bool, affinity: str) -> None:
    made = block(variant, norm=norm, relu=relu, embed=embed, affinity=affinity)
    x = torch.randn(2, CHANNELS, *SIZE, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    theirs = written_out(
        made.state_dict(),
        y,
        whole=variant == "space_time",
        dot=affinity == "dot_product",
        batch_norm=norm == "batch",
        relu=relu,
    )
    ours = made(x)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    weights = torch.randn_like(theirs)
    by_x = torch.autograd.grad((ours * weights).sum(), x)[0]
    by_y = torch.autograd.grad((theirs * weights).sum(), y)[0]
    torch.testing.assert_close(by_x, by_y, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("variant", "norm", "relu"),
    [
        ("official", True, False),
        ("space_time", True, False),
        ("frame_shared", False, True),
        ("frame_separate", False, False),
    ],
)
def test_each_variant_has_its_own_defaults(variant: str, norm: bool, relu: bool) -> None:
    made = block(variant)
    x = torch.randn(1, CHANNELS, *SIZE, dtype=torch.float64)
    expected = written_out(
        made.state_dict(), x, whole=variant == "space_time", dot=False, batch_norm=norm, relu=relu
    )
    torch.testing.assert_close(made(x), expected)
    assert ("bn_out.weight" in made.state_dict()) == norm


def test_in_single_precision_a_long_clip_is_the_same() -> None:
    torch.manual_seed(0)
    made = Attention("softmax")
    queries, keys = torch.randn(2, 1, 1, 1500, 8, requires_grad=True).unbind(0)
    values = torch.randn(1, 1, 1500, 16)
    weights = (queries[0, 0] @ keys[0, 0].T / 8**0.5).softmax(-1)
    torch.testing.assert_close(
        made(queries, keys, values)[0, 0], weights @ values[0, 0], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("variant", "embed"), FORMS)
@pytest.mark.parametrize("affinity", ["softmax", "dot_product"])
def test_no_matrix_of_weights_is_kept(variant: str, affinity: str, embed: bool) -> None:
    """What is saved for the backward pass grows with the positions, not with their square."""
    denoising = Denoising.checked(variant, {"affinity": affinity, "embed": embed})
    assert denoising is not None
    made = DenoisingBlock(8, denoising, 2).eval()
    features = torch.randn(1, 8, 2, 30, 35, requires_grad=True)
    saved: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made(features)
    assert saved
    assert max(saved) <= features.numel()


@pytest.mark.parametrize("variant", ["official", "space_time"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_a_gamma_of_zero_starts_as_the_network_without(variant: str, training: bool) -> None:
    torch.manual_seed(0)
    bare = ResNet3D(5, depth=10, widen_factor=0.1).train(training)
    torch.manual_seed(0)
    denoised = ResNet3D(5, depth=10, widen_factor=0.1, denoise=variant).train(training)
    clips = torch.rand(2, 3, 8, 24, 24)
    torch.testing.assert_close(denoised(clips), bare(clips))
    state = denoised.state_dict()
    embeddings = torch.cat([state["denoise_res5.theta.weight"], state["denoise_res5.phi.weight"]])
    assert 0.007 < float(embeddings.std()) < 0.013
    assert not denoised.denoise_res2.bn_out.weight.any()


@pytest.mark.parametrize("variant", ["frame_shared", "frame_separate"])
def test_the_authors_blocks_start_as_torchs_layers(variant: str) -> None:
    torch.manual_seed(0)
    denoised = ResNet3D(5, depth=10, denoise=variant, denoise_options={})
    for name, tensor in denoised.state_dict().items():
        if "denoise" in name:
            # uniform within 1 / sqrt(channels)
            limit = tensor.shape[1] ** -0.5
            assert 0.9 * limit < float(tensor.abs().max()) <= limit, name
    clips = torch.rand(1, 3, 8, 24, 24)
    torch.manual_seed(0)
    assert not torch.allclose(ResNet3D(5, depth=10).eval()(clips), denoised.eval()(clips))


def test_a_block_after_each_stage_and_its_keys() -> None:
    with torch.device("meta"):
        keys = {
            variant: ResNet3D(5, depth=18, shortcut="A", denoise=variant).state_dict() for variant in VARIANTS
        }
        bare = ResNet3D(5, depth=18, shortcut="A").state_dict()
        unused = ResNet3D(
            5, depth=18, shortcut="A", denoise="frame_shared", denoise_options={"norm": "unused"}
        ).state_dict()
    assert all(bare.keys() < names.keys() for names in keys.values())
    added = {
        f"denoise_res{stage}.{name}.weight" for stage in (2, 3, 4, 5) for name in ("theta", "phi", "conv_out")
    }
    assert keys["frame_shared"].keys() - bare.keys() == added
    norms = {
        f"denoise_res{stage}.bn_out.{name}"
        for stage in (2, 3, 4, 5)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    for names in (keys["official"], keys["space_time"], unused):
        assert names.keys() - bare.keys() == added | norms
    assert keys["official"]["denoise_res4.theta.weight"].shape == (128, 256, 1, 1, 1)
    separate = keys["frame_separate"]
    pairs = [
        sum(name.startswith(f"denoise_res{stage}.theta.") for name in separate) for stage in (2, 3, 4, 5)
    ]
    assert pairs == [20, 10, 5, 3]
    assert separate["denoise_res2.phi.19.weight"].shape == (32, 64, 1, 1)


@pytest.mark.parametrize(
    ("name", "options", "pairs"),
    [
        ("resnet3d", {"frames": 16}, [8, 4, 2, 1]),
        ("resnet3d", {"frames": 16, "pairs": "all"}, [8, 8, 8, 8]),
        ("resnet3d", {"frames": 15}, [8, 4, 2, 1]),
        ("r2plus1d", {"frames": 40}, [20, 10, 5, 3]),
        ("r3d_18", {"frames": 16}, [16, 8, 4, 2]),
        ("mc3_18", {"frames": 16}, [16, 16, 16, 16]),
        ("r2plus1d_18", {"frames": 16}, [16, 8, 4, 2]),
    ],
)
def test_as_many_separate_pairs_as_places_in_time(
    name: str, options: dict[str, Any], pairs: list[int]
) -> None:
    from models.architectures import ARCHITECTURES

    with torch.device("meta"):
        network = ARCHITECTURES[name](5, denoise="frame_separate", denoise_options=options).eval()
        seen: list[int] = []
        for stage in (2, 3, 4, 5):
            denoise = network.get_submodule(f"denoise_res{stage}")
            assert len(denoise.theta) == pairs[stage - 2]
            denoise.register_forward_hook(lambda *args: seen.append(args[2].shape[2]))
        network(torch.empty(1, 3, options["frames"], 32, 32))
        assert options.get("pairs") == "all" or seen == pairs
        with pytest.raises(ValueError, match="places in time"):
            network(torch.empty(1, 3, options["frames"] + 16, 32, 32))


def test_time_is_mixed_by_space_time_only() -> None:
    x = torch.randn(1, CHANNELS, *SIZE, dtype=torch.float64, requires_grad=True)
    for variant in VARIANTS:
        made = block(variant)
        by_x = torch.autograd.grad(made(x)[:, :, 0].sum(), x)[0]
        assert bool(by_x[:, :, 1:].any()) == (variant == "space_time")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_clip_does_not_feel_its_neighbours(variant: str) -> None:
    made = block(variant)
    x = torch.randn(3, CHANNELS, *SIZE, dtype=torch.float64)
    together = made(x)
    for index in range(3):
        torch.testing.assert_close(made(x[index : index + 1])[0], together[index], atol=1e-12, rtol=1e-12)


def test_weights_with_the_unused_norm_load_and_it_is_not_applied() -> None:
    without = ResNet3D(5, depth=10, widen_factor=0.1, denoise="frame_shared").eval()
    unused = ResNet3D(
        5, depth=10, widen_factor=0.1, denoise="frame_shared", denoise_options={"norm": "unused"}
    )
    unused.load_state_dict(without.state_dict(), strict=False)
    for stage in (2, 3, 4, 5):
        torch.nn.init.constant_(unused.get_submodule(f"denoise_res{stage}.bn_out").running_mean, 9.0)
    clips = torch.rand(1, 3, 8, 24, 24)
    torch.testing.assert_close(unused.eval()(clips), without(clips))


@pytest.mark.parametrize(
    ("denoise", "options", "error", "words"),
    [
        ("3d", None, ValueError, "'official', 'space_time', 'frame_shared', 'frame_separate'"),
        (3, None, TypeError, "is not one of 'official'"),
        (None, {"relu": True}, ValueError, "need denoise to be one of"),
        ("official", ["relu"], TypeError, "must map names to values"),
        ("official", {"bias": True}, ValueError, "affinity, embed, norm, relu; not 'bias'"),
        ("official", {"frames": 16}, ValueError, "not 'frames'"),
        ("official", {"relu": 1}, TypeError, "true or false"),
        ("official", {"norm": "group"}, ValueError, "'batch', 'unused', 'none'"),
        ("official", {"affinity": "cosine"}, ValueError, "'softmax', 'dot_product'"),
        ("frame_separate", {"frames": 10**9}, ValueError, "from 1 to 512"),
        ("frame_separate", {"frames": 16.0}, TypeError, "whole number"),
        ("frame_separate", {"pairs": "twenty"}, ValueError, "'used', 'all'"),
        ("frame_separate", {"embed": False}, ValueError, "nothing to be separate"),
    ],
    ids=str,
)
def test_wrong_choices_are_refused(
    denoise: object, options: object, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ResNet3D(5, depth=10, widen_factor=0.1, denoise=denoise, denoise_options=options)
