"""Feature maps against the network's steps taken one by one, and their files against the files that were delivered."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

import multav
from multav import figures
from multav.errors import InvalidSpec
from multav.feature_change import FeatureChange
from multav.geometry import InputGeometry

torch.set_num_threads(1)


class Body(nn.Module):
    """Two convolutions, the second one after a ReLU that writes into the first one's output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 4, 3, padding=1)
        self.layer1 = nn.Sequential(nn.ReLU(inplace=True), nn.Conv3d(4, 5, 3, stride=2, padding=1))
        self.unused = nn.Conv3d(4, 5, 3)
        self.dropout = nn.Dropout(0.9)
        self.fc = nn.Linear(5, 3)

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(self.layer1(self.conv1(clips))).mean(dim=(2, 3, 4)))
        return logits * 50


class Wrapped(nn.Module):
    """As models are registered: the network inside something that prepares its clips."""

    geometry = InputGeometry(frames=4, stride=2, short_side=16, height=16, width=16)
    classes = ("a", "b", "c")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.backbone = Body()

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.backbone(clips - 0.5)
        return logits


def by_hand(model: Wrapped, clips: Tensor) -> dict[str, Tensor]:
    body = model.backbone
    with torch.no_grad():
        first = functional.conv3d(clips - 0.5, body.conv1.weight, body.conv1.bias, padding=1)
        convolution = body.layer1[1]
        assert isinstance(convolution, nn.Conv3d)
        second = functional.conv3d(
            first.clamp(min=0), convolution.weight, convolution.bias, stride=2, padding=1
        )
    return {"conv1": first, "layer1": second}


def test_maps_are_what_the_layers_answer() -> None:
    model, clips = Wrapped().train(), torch.rand(2, 3, 4, 16, 16)
    maps = multav.feature_maps(model, clips, ("conv1", "layer1"))
    expected = by_hand(model, clips)
    assert list(maps) == ["conv1", "layer1"]
    for layer, answer in expected.items():
        # The first one is what the layer said, not what the ReLU after it made of that.
        torch.testing.assert_close(maps[layer], answer, rtol=1e-5, atol=1e-6)
    assert model.training
    assert model.backbone.dropout.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("layer", ["layer1", "backbone.layer1"])
def test_a_layer_may_be_named_without_what_is_around_it(layer: str) -> None:
    model, clips = Wrapped(), torch.rand(1, 3, 4, 16, 16)
    assert multav.feature_maps(model, clips, (layer,))[layer].shape == (1, 5, 2, 8, 8)


def test_of_equal_names_the_outermost_is_meant() -> None:
    model = nn.Sequential()
    model.add_module("layer", nn.Conv3d(3, 2, 1))
    model.add_module("inner", nn.Sequential())
    inner = model.get_submodule("inner")
    inner.add_module("layer", nn.Conv3d(2, 7, 1))
    clips = torch.rand(1, 3, 2, 4, 4)
    assert multav.feature_maps(model, clips, ("layer",))["layer"].shape[1] == 2
    assert multav.feature_maps(model, clips, ("inner.layer",))["inner.layer"].shape[1] == 7


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer9", "no layer 'layer9'; it has: conv1, layer1, unused"),
        ("x", "no layer 'x'; it has: conv1, layer1, unused"),
        ("unused", "'unused' is never called"),
        ("fc", r"'fc' answers \(1, 3\): feature maps are"),
    ],
)
def test_layers_without_maps_are_refused(layer: str, message: str) -> None:
    model = Wrapped()
    with pytest.raises(ValueError, match=message):
        multav.feature_maps(model, torch.rand(1, 3, 4, 16, 16), (layer,))
    assert not any(module._forward_hooks for module in model.modules())


def test_two_layers_of_one_name_are_told_apart() -> None:
    model = nn.ModuleDict({side: nn.ModuleDict({"layer": nn.Conv3d(3, 2, 1)}) for side in ("left", "right")})
    with pytest.raises(ValueError, match=r"left\.layer or right\.layer"):
        multav.feature_maps(model, torch.rand(1, 3, 2, 4, 4), ("layer",))


def test_the_change_of_a_layer() -> None:
    clean, other = np.random.default_rng(2).normal(size=(2, 6, 2, 3, 3))
    other[4] = clean[4] + 5
    change = FeatureChange.of(torch.from_numpy(clean), torch.from_numpy(other))
    assert change.shape == (6, 2, 3, 3)
    assert change.relative == pytest.approx(
        ((other - clean) ** 2).sum() ** 0.5 / (clean**2).sum() ** 0.5, rel=1e-12
    )
    assert change.channel == 4
    zeros = torch.zeros(2, 1, 2, 2)
    assert FeatureChange.of(zeros, zeros + 1).as_dict()["relative_change"] is None


def test_the_sheet_shows_both_maps_in_the_same_greys() -> None:
    clean = torch.zeros(2, 3, 2, 2)
    other = clean.clone()
    # The middle moment: both channels at one place, the second one most.
    other[0, 1, 0, 0], other[1, 1, 0, 0] = 1.0, 3.0
    frames = np.zeros((6, 4, 4, 3), np.uint8)
    frames[3] = 200
    sheet = figures.feature_sheet(frames, frames, {"layer": (clean, other)})
    # Panels are 360 wide (4 pixels, 90 times) and lie below the captions and the row's label.
    panels = [sheet[32 + 24 :, 6 + 366 * index :][:360, :360] for index in range(7)]
    assert (panels[0] == 200).all(), "the frame in the middle of those that the moment stands for"
    assert (panels[2] == 0).all()
    for bright in (panels[3], panels[6]):
        assert (bright[:180, :180] == 255).all()
        assert (bright[180:] == 0).all()
    assert panels[4][0, 0].tolist() == [103, 0, 31]
    assert panels[4][-1, -1].tolist() == [247, 247, 247]
    assert (panels[5] == 0).all()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({}, "no layer"),
        ({"layer": (torch.zeros(2, 1, 2, 2), torch.zeros(2, 2, 2, 2))}, "expected twice"),
        ({"layer": (torch.zeros(2, 2, 2), torch.zeros(2, 2, 2))}, "expected twice"),
    ],
)
def test_what_makes_no_sheet(features: dict[str, Any], message: str) -> None:
    frames = np.zeros((6, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=message):
        figures.feature_sheet(frames, frames, features)


# -- with a video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35 frames of the model's own size, so that clips are read off the files."""
    path = tmp_path_factory.mktemp("videos") / "clip.mkv"
    frames = np.random.default_rng(4).integers(30, 220, (35, 16, 16, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "bgr0"
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def clip(path: Path, frames: list[int]) -> Tensor:
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack([pictures[frame] for frame in frames])).permute(3, 0, 1, 2)[None] / 255


@pytest.mark.parametrize("coverage", ["dense", "clip"])
@pytest.mark.parametrize("domain", ["source", "model_input"])
def test_the_files_hold_what_the_layers_see(coverage: str, domain: str, video: Path, tmp_path: Path) -> None:
    model = Wrapped()
    outcome = multav.attack_video(
        video,
        model,
        coverage=coverage,
        domain=domain,
        output="ffv1-mkv",
        folder=tmp_path,
        features=("layer1", "backbone.conv1"),
    )
    files = {artifact.role: artifact.path for artifact in outcome.artifacts}
    with Image.open(files["feature-maps"]) as picture:
        assert picture.size[0] > 7 * 256
    with safe_open(files["feature-tensors"], "pt") as tensors:
        frames = [int(frame) for frame in tensors.metadata()["frames"].split(",")]
        found = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping
    delivered = files["adversarial-video"]
    expected_after = by_hand(model, clip(delivered, frames))
    if domain == "model_input" and coverage == "clip":
        assert frames == [0, 1, 2, 3], "nothing but the clip was attacked and delivered"
    else:
        assert all(12 <= frame < 24 for frame in frames), "the middle of the video"
        assert np.unique(np.diff(frames)).tolist() == [2]
        expected = by_hand(model, clip(video, frames))
        torch.testing.assert_close(found["layer1.clean"], expected["layer1"][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["backbone.conv1.clean"], expected["conv1"][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["layer1.adversarial"], expected_after["layer1"][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        found["backbone.conv1.adversarial"], expected_after["conv1"][0], rtol=1e-4, atol=1e-5
    )
    change = outcome.result["features"]["layer1"]
    moved = (found["layer1.adversarial"] - found["layer1.clean"]).norm() / found["layer1.clean"].norm()
    assert change["shape"] == [5, 2, 8, 8]
    assert change["relative_change"] == pytest.approx(float(moved), abs=2e-6)
    assert change["relative_change"] > 0


def test_a_layer_without_maps_is_refused_before_the_work(video: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    with pytest.raises(InvalidSpec, match="no layer 'layer7'") as caught:
        multav.attack_video(
            video,
            Wrapped(),
            folder=tmp_path,
            features=("layer1", "layer7"),
            on_progress=lambda _: reports.append("progress"),
        )
    assert [error["pointer"] for error in caught.value.errors] == ["/features/1"]
    assert reports == []
    with pytest.raises(InvalidSpec, match="named twice"):
        multav.attack_video(video, Wrapped(), folder=tmp_path, features=("layer1", "layer1"))


def test_without_layers_nothing_is_written(video: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(video, Wrapped(), folder=tmp_path)
    assert "features" not in outcome.result
    assert not {"feature-maps", "feature-tensors"} & {artifact.role for artifact in outcome.artifacts}
