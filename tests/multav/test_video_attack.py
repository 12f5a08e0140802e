"""The whole journey on real files, checked by independent code: other decoder calls, other resize, other loop."""

import json
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import multav
from multav.artifact_roles import ATTACK_ROLES
from multav.attacks.catalogue import ATTACKS
from multav.errors import Cancelled, InvalidSpec, NotAVideo, OutputTooLarge
from multav.geometry import InputGeometry
from multav.progress import Progress
from multav.video.decode import decode

torch.set_num_threads(1)
GEOMETRY = InputGeometry(frames=4, stride=2, short_side=24, height=20, width=24)
CLASSES = ("left", "right", "up", "down")


class Filter(nn.Module):
    """Four linear space-time filters on the clip: smooth, quick, and easy to fool."""

    geometry = GEOMETRY
    classes = CLASSES

    def __init__(self, sharpness: float = 30.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        filters = torch.randn(4, 3, 4, 5, 6, generator=generator)
        self.filters = nn.Parameter(functional.interpolate(filters, size=(4, 20, 24)))
        self.sharpness = sharpness

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = (
            torch.einsum("bcthw,kcthw->bk", clips - 0.5, self.filters) / 5760**0.5 * self.sharpness
        )
        return logits


@pytest.fixture(scope="module")
def model() -> Filter:
    return Filter().eval()


def write(
    path: Path, frames: int, size: tuple[int, int], *, lossless: bool = True, times: list[int] | None = None
) -> Path:
    """Smooth moving colours; FFV1 in Matroska keeps every level, so that sources are known exactly."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1" if lossless else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0" if lossless else "yuv420p"
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(frames):
            waves = [np.sin(7 * (x + 0.02 * index) + color) * np.cos(5 * y + color) for color in range(3)]
            rgb = (np.stack(waves, -1) * 100 + 128).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = times[index] if times else 40 * index
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 frames of 97x131: two runs and a part, odd in both directions."""
    return write(tmp_path_factory.mktemp("videos") / "clip.mkv", 21, (97, 131))


def pictures(path: Path) -> np.ndarray:
    """Every frame as (frames, H, W, 3), read with the library's plain call."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def reference_clip(frames: Tensor) -> Tensor:
    """(3, T, H, W) -> (1, 3, T, 20, 24) by torch's own antialiased resize."""
    height, width = frames.shape[-2:]
    size = (24, 24 * width // height) if height <= width else (24 * height // width, 24)
    small = functional.interpolate(
        frames.transpose(0, 1), size=size, mode="bilinear", antialias=True, align_corners=False
    )
    top, left = round((size[0] - 20) / 2), round((size[1] - 24) / 2)
    return small[:, :, top : top + 20, left : left + 24].transpose(0, 1)[None]


def reference_attack(model: nn.Module, clean: np.ndarray, label: int, steps: int = 5) -> np.ndarray:
    """MultAV-linf on one window of full-size frames by plain autograd through the resize; (T, H, W, 3) levels."""
    x0 = torch.from_numpy(clean).permute(3, 0, 1, 2).float() / 255
    x = x0.clone()
    for _ in range(steps):
        leaf = x.clone().requires_grad_()
        loss = functional.cross_entropy(model(reference_clip(leaf)), torch.tensor([label]))
        (slope,) = torch.autograd.grad(loss, leaf)
        x = (x * 1.01 ** slope.sign()).clamp(x0 / 1.04, x0 * 1.04).clamp(0, 1)
    values, levels = (x * 255).double().numpy(), clean.astype(np.float64).transpose(3, 0, 1, 2)
    rounded = np.where(values > levels, np.floor(values + 1e-4), np.ceil(values - 1e-4))
    return rounded.transpose(1, 2, 3, 0)


def test_source_frames_are_attacked_as_by_plain_autograd(model: Filter, video: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(video, model, {"kind": "multav-linf"}, output="ffv1-mkv", folder=tmp_path)
    clean, crafted = pictures(video), pictures(outcome.video)
    label = outcome.result["label"]["index"]
    # The first run: two interleaved windows of its own.
    for phase in (0, 1):
        positions = list(range(phase, 8, 2))
        expected = reference_attack(model, clean[positions], label)
        differs = np.abs(crafted[positions] - expected) > 0
        assert differs.mean() < 0.01
    assert (crafted != clean).any(axis=(1, 2, 3)).all(), "dense coverage attacks every frame"


def test_the_result_tells_the_truth(model: Filter, video: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    outcome = multav.attack_video(
        video, model, {"kind": "multav-linf"}, output="ffv1-mkv", folder=tmp_path, on_progress=seen.append
    )
    result = outcome.result
    clean, crafted = pictures(video).astype(np.float64), pictures(outcome.video).astype(np.float64)
    assert crafted.shape == clean.shape
    bright = clean > 0
    ratio = np.maximum(crafted[bright] / clean[bright], clean[bright] / crafted[bright])
    assert ratio.max() <= 1.04 + 1e-9
    assert (crafted[~bright] == 0).all()
    change = result["perturbation"]
    assert change["bound_respected"] is True
    assert change["ratio_max"] == pytest.approx(ratio.max())
    assert change["linf"] == pytest.approx(np.abs(crafted - clean).max() / 255)
    assert change["l2"] == pytest.approx(np.linalg.norm((crafted - clean) / 255))
    assert change["psnr_db"] == pytest.approx(10 * np.log10(255**2 / ((crafted - clean) ** 2).mean()))
    assert change["changed_pixels"] == (crafted != clean).any(-1).sum()
    delivery = result["delivery"]
    assert (delivery["output"], delivery["codec"], delivery["lossless"]) == ("ffv1-mkv", "ffv1", True)
    assert delivery["bytes"] == outcome.video.stat().st_size
    assert delivery["psnr_to_crafted_db"] is None
    assert delivery["bound_respected"] is True
    assert result["delivered"] == result["adversarial"]

    def predicted(video: np.ndarray) -> tuple[int, float]:
        scaled = torch.from_numpy(video).float().permute(3, 0, 1, 2) / 255
        windows = [list(range(start + phase, start + phase + 8, 2)) for start in (0,) for phase in (0, 1)]
        # The rest, 13 frames, is one run and a part: the tail's windows end with the video.
        windows += [[8 + phase + 2 * step for step in range(4)] for phase in (0, 1)]
        windows += [[14, 16, 18, 20], [13, 15, 17, 19]]
        with torch.no_grad():
            mean = sum(model(reference_clip(scaled[:, window])).softmax(1)[0] for window in windows) / len(
                windows
            )
        return int(mean.argmax()), float(mean.max())

    for name, frames in (("clean", clean), ("delivered", crafted)):
        index, confidence = predicted(frames)
        assert result[name]["index"] == index
        assert result[name]["confidence"] == pytest.approx(confidence, abs=1e-4)
        assert result[name]["label"] == CLASSES[index]
        assert [row["confidence"] for row in result[name]["top5"]] == sorted(
            (row["confidence"] for row in result[name]["top5"]), reverse=True
        )
    assert result["success"] == (result["adversarial"]["index"] != result["label"]["index"])
    assert result["label_source"] == "predicted"
    assert len(result["losses"]) == 6
    assert result["losses"][-1] > result["losses"][0]
    assert result["video"] == {
        "width": 131,
        "height": 97,
        "frames": 21,
        "windows": 6,
        "bits": 8,
        "damaged": False,
    }
    assert result["gradient_evaluations"] == 30
    assert result["seconds"] > 0
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    crafting = [progress for progress in seen if progress.done < progress.total]
    assert [progress.done for progress in crafting] == sorted(progress.done for progress in crafting)
    assert {progress.done for progress in crafting} == {0, 2}
    # How long it takes is told from the second step on, long before the first windows are done.
    assert [progress.eta_seconds is None for progress in crafting if not progress.done][:3] == [
        True,
        False,
        False,
    ]
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (6, 6, "windows")
    assert {artifact.role for artifact in outcome.artifacts} == {
        "adversarial-video",
        "difference-map",
        "loss-plot",
        "preview",
        "ratio-map",
        "signed-difference-map",
    }
    assert all(artifact.path.stat().st_size > 0 for artifact in outcome.artifacts)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        artifact.path.name for artifact in outcome.artifacts
    )


def test_the_maps_show_the_crafted_change(model: Filter, video: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(
        video, model, {"kind": "multav-roa", "size": [8, 10]}, output="ffv1-mkv", folder=tmp_path
    )
    files = {artifact.role: artifact.path for artifact in outcome.artifacts}
    assert {*files} == {*ATTACK_ROLES} - {"adversarial-tensor", "feature-maps", "feature-tensors"}
    clean, crafted = (frames[:, :96, :130].astype(float) for frames in map(pictures, (video, outcome.video)))
    change = (crafted - clean).mean(-1)
    expected = {
        "difference-map": np.clip(15 * np.abs(crafted - clean), 0, 255).mean(-1),
        "signed-difference-map": np.clip(128 + 15 * (crafted - clean), 0, 255).mean(-1),
    }
    for role, values in expected.items():
        shown = pictures(files[role])
        assert shown.shape == (21, 96, 130, 3)
        # The map's own compression blurs edges.
        assert np.corrcoef(shown.mean(-1).ravel(), values.ravel())[0, 1] > 0.97, role
    ratio = pictures(files["ratio-map"]).astype(float)
    red_over_blue = ratio[..., 0] - ratio[..., 2]
    assert (red_over_blue[change > 20] > 0).mean() > 0.9
    assert (red_over_blue[change < -20] < 0).mean() > 0.9
    amber = pictures(files["changed-region"]).astype(float)
    changed = (crafted != clean).any(-1)
    saturation = amber.max(-1) - amber.min(-1)
    assert (saturation[changed] > 60).mean() > 0.95
    assert (saturation[~changed] < 40).mean() > 0.98
    for role in ("preview", "loss-plot"):
        with Image.open(files[role]) as image:
            image.verify()


def test_the_losses_of_the_result_are_those_of_the_plot(
    model: Filter, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted = []
    monkeypatch.setattr(
        "multav.attack_artifacts.loss_plot",
        lambda history, **words: plotted.append((history, words)) or np.zeros((1, 1, 3), np.uint8),
    )
    result = multav.attack_video(video, model, {"kind": "multav-linf"}, folder=tmp_path).result
    ((history, words),) = plotted
    assert result["losses"] == pytest.approx(history.loss.tolist(), abs=1e-6)
    # Two whole phases, and the two of the run and the part that end the video.
    assert history.clips == 4
    assert words == {
        "title": "multav-linf, epsilon 1.04",
        "label": result["label"]["label"],
        "loss": "cross-entropy",
    }


def test_a_model_that_answers_no_number_has_no_plot(video: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(
        video, Filter(sharpness=float("nan")), {"kind": "multav-linf", "steps": 1}, label=0, folder=tmp_path
    )
    assert "loss-plot" not in {artifact.role for artifact in outcome.artifacts}
    assert not list(tmp_path.glob("loss-plot*"))


def test_the_ladder_ends_where_the_file_is_adversarial(video: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(video, Filter(sharpness=300.0), folder=tmp_path, label="left")
    tried = outcome.result["delivery"]["tried"]
    assert outcome.result["label_source"] == "given"
    assert [rung["crf"] for rung in tried] == [23, 18, 12, 6, None][: len(tried)]
    assert [rung["outcome"] for rung in tried[:-1]] == ["lost"] * (len(tried) - 1)
    with decode(outcome.video) as frames:
        assert (frames.info.width, frames.info.height) == (131, 97)
        assert sum(1 for _ in frames) == 21


@pytest.mark.parametrize("output", ["h264-mp4", "vp9-mp4", "h264rgb-mp4"])
def test_every_output(model: Filter, video: Path, tmp_path: Path, output: str) -> None:
    outcome = multav.attack_video(video, model, output=output, folder=tmp_path)
    delivery = outcome.result["delivery"]
    assert (delivery["output"], len(delivery["tried"])) == (output, 1)
    with decode(outcome.video) as frames:
        delivered = np.stack([frame.rgb for frame in frames])
    clean = pictures(video)
    assert delivered.shape == clean.shape
    if output != "h264-mp4":
        assert delivery["bound_respected"] is True
        assert np.abs(delivered.astype(int) - clean).max() <= 10


def test_pgd_targeted_reaches_its_class(model: Filter, video: Path, tmp_path: Path) -> None:
    spec = {"kind": "pgd-linf", "epsilon": 0.1, "step_size": 0.02, "steps": 10, "targeted": True}
    outcome = multav.attack_video(video, model, spec, label="up", output="ffv1-mkv", folder=tmp_path)
    assert outcome.result["adversarial"]["label"] == "up"
    assert outcome.result["success"]
    change = np.abs(pictures(outcome.video).astype(int) - pictures(video))
    assert change.max() <= 0.1 * 255
    assert outcome.result["perturbation"]["bound_respected"]


@pytest.mark.parametrize("coverage", ["dense", "clip"])
def test_the_models_own_clips(model: Filter, video: Path, tmp_path: Path, coverage: str) -> None:
    outcome = multav.attack_video(
        video, model, domain="model_input", coverage=coverage, output="ffv1-mkv", folder=tmp_path
    )
    delivered = pictures(outcome.video)
    clips = load_file(next(each.path for each in outcome.artifacts if each.role == "adversarial-tensor"))[
        "clips"
    ]
    frames, windows = (21, 6) if coverage == "dense" else (4, 1)
    assert delivered.shape == (frames, 20, 24, 3)
    assert clips.shape == (windows, 3, 4, 20, 24)
    with torch.no_grad():
        assert int(model(clips).softmax(1).mean(0).argmax()) == outcome.result["adversarial"]["index"]
    # The clean clip has the paper's 8-bit levels; the float clip keeps the ratio bound around it.
    positions = [7, 9, 11, 13] if coverage == "clip" else [0, 2, 4, 6]
    source = torch.from_numpy(pictures(video)[positions]).float().permute(3, 0, 1, 2)
    clean = reference_clip(source)[0].round() / 255
    assert (clips[0] <= clean * 1.04 + 1e-5).all()
    assert (clips[0] * 1.04 + 1e-5 >= clean).all()
    assert outcome.result["perturbation"]["bound_respected"]


def test_one_clip_of_the_source(model: Filter, video: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(
        video, model, coverage="clip", output="ffv1-mkv", tensor=True, folder=tmp_path
    )
    clean, crafted = pictures(video), pictures(outcome.video)
    changed = (clean != crafted).any(axis=(1, 2, 3))
    assert np.flatnonzero(changed).tolist() == [7, 9, 11, 13]
    clips = load_file(next(each.path for each in outcome.artifacts if each.role == "adversarial-tensor"))[
        "clips"
    ]
    assert clips.shape == (1, 3, 4, 97, 131)
    floats = clips[0].permute(1, 2, 3, 0).numpy() * 255
    assert np.abs(floats - crafted[[7, 9, 11, 13]]).max() < 1 + 1e-3
    # The sheet has no rows of frames that were left alone: panels of twice 96x130, the third column is the difference.
    with Image.open(next(each.path for each in outcome.artifacts if each.role == "preview")) as sheet:
        differences = np.asarray(sheet)[32:, 6 + 2 * 266 :][:, :260]
    assert all(differences[row : row + 192].any() for row in (0, 198, 396))


@pytest.mark.parametrize(("frames", "windows"), [(1, 1), (3, 1), (5, 2), (8, 2), (9, 3)])
def test_short_videos(model: Filter, tmp_path: Path, frames: int, windows: int) -> None:
    short = write(tmp_path / "short.mkv", frames, (40, 52))
    outcome = multav.attack_video(short, model, output="ffv1-mkv", folder=tmp_path / "made")
    assert outcome.result["video"] == {
        "width": 52,
        "height": 40,
        "frames": frames,
        "windows": windows,
        "bits": 8,
        "damaged": False,
    }
    assert len(pictures(outcome.video)) == frames


def test_uneven_times_are_kept(model: Filter, tmp_path: Path) -> None:
    times = [0, 40, 130, 140, 300, 333, 334, 500, 900, 1000]
    uneven = write(tmp_path / "uneven.mkv", 10, (40, 52), times=times)
    for output in ("h264-mp4", "ffv1-mkv"):
        outcome = multav.attack_video(uneven, model, output=output, folder=tmp_path / output)
        with decode(outcome.video) as frames:
            base = Fraction(frames.info.time_base)
            assert [round(frame.pts * base * 1000) for frame in frames] == times


def test_the_same_seed_gives_the_same_bytes(model: Filter, video: Path, tmp_path: Path) -> None:
    spec = {"kind": "multav-linf", "random_start": True}
    made = [
        pictures(
            multav.attack_video(
                video, model, spec, seed=seed, output="ffv1-mkv", folder=tmp_path / name
            ).video
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_work_stops_when_asked(model: Filter, video: Path, tmp_path: Path) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 30:
            raise Cancelled

    with pytest.raises(Cancelled):
        multav.attack_video(
            video, model, {"kind": "multav-linf", "steps": 1000}, folder=tmp_path, check=check
        )
    assert asked == 31
    assert list(tmp_path.iterdir()) == []


def test_the_model_is_given_back_as_it_was(video: Path, tmp_path: Path) -> None:
    model = Filter().train()
    multav.attack_video(video, model, {"kind": "multav-linf", "steps": 1}, folder=tmp_path)
    assert model.training
    assert model.filters.requires_grad
    assert model.filters.grad is None


def test_refusals(model: Filter, video: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputTooLarge, match="allowed"):
        multav.attack_video(video, model, output="ffv1-mkv", max_output_bytes=10_000, folder=tmp_path)
    with pytest.raises(InvalidSpec, match="walking"):
        multav.attack_video(video, model, label="walking", folder=tmp_path)
    with pytest.raises(InvalidSpec, match="alpha"):
        multav.attack_video(video, model, {"kind": "multav-linf", "alpha": 2}, folder=tmp_path)
    with pytest.raises(TypeError, match="geometry"):
        multav.attack_video(video, nn.Linear(1, 1), folder=tmp_path)


def test_a_failure_leaves_no_temporary_folder(
    model: Filter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(FileNotFoundError, match=r"there is no file nope\.mp4"):
        multav.attack_video("nope.mp4", model)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        multav.attack_video(tmp_path, model)
    with pytest.raises(NotAVideo):
        multav.attack_video(tmp_path / "text.mp4", model)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    """Ten times the frames must not take ten times the memory; measured in fresh processes."""
    code = (
        "import sys, multav, torch\n"
        "from multav.geometry import InputGeometry\n"
        "torch.set_num_threads(1)\n"
        "class Mean(torch.nn.Module):\n"
        "    geometry = InputGeometry(frames=4, stride=1, short_side=24, height=24, width=24)\n"
        "    classes = ('dark', 'bright')\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.scale = torch.nn.Parameter(torch.ones(1))\n"
        "    def forward(self, clips):\n"
        "        mean = clips.mean((1, 2, 3, 4)) - 0.5\n"
        "        return torch.stack([-mean, mean], 1) * self.scale\n"
        "multav.attack_video(sys.argv[1], Mean(), {'kind': 'multav-linf', 'steps': 1}, folder=sys.argv[2])\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]\n"
        "print(int(peak.split()[1]) / 1024)\n"
    )

    def peak(frames: int) -> float:
        path = write(tmp_path / f"{frames}.mp4", frames, (240, 320), lossless=False)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(tmp_path / f"made-{frames}")],
            check=True,
            capture_output=True,
            text=True,
        )
        return float(done.stdout)

    short, long = peak(24), peak(300)
    # 276 more frames of 320x240 would be 64 MB as bytes and 254 MB as floats.
    assert long < short + 40


@pytest.mark.parametrize("size", [(2, 20000), (20000, 2)], ids=["wide", "tall"])
def test_a_long_thin_video_costs_no_memory_and_an_encoder_that_refuses_it_is_passed_over(
    tmp_path: Path, model: Filter, size: tuple[int, int]
) -> None:
    thin = write(tmp_path / "thin.mkv", 16, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = multav.attack_video(thin, model, {"kind": "multav-linf", "steps": 1}, folder=tmp_path)
    # The resize of such a side as a whole matrix would be 1.6 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    tried = outcome.result["delivery"]["tried"]
    assert tried[0]["outcome"].startswith(f"failed: the encoder failed on pictures of {size[1]}x{size[0]}")
    assert outcome.result["delivery"]["output"] == "vp9-mp4"


def test_a_damaged_source_is_said_to_be(tmp_path: Path, model: Filter) -> None:
    whole = write(tmp_path / "whole.mkv", 40, (64, 64))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    for path, damaged in ((whole, False), (cut, True)):
        result = multav.attack_video(path, model, {"kind": "multav-linf", "steps": 1}, folder=tmp_path).result
        assert result["video"]["damaged"] is damaged
    assert result["video"]["frames"] < 40


SMALL_REGIONS = {
    "multav-roa": {"size": [8, 10]},
    "roa": {"size": [8, 10], "init": "grey"},
    "multav-af": {"width": 3},
    "af": {"width": 3},
    "multav-spa": {"pixels": 12},
    "spa": {"pixels": 12, "init": "black"},
    "pgd-l2": {"epsilon": 2.0, "random_start": True},
    "apgd-ratio": {"steps": 4},
    "apgd-linf": {"steps": 4},
}


@pytest.mark.parametrize(
    ("fields", "gradients"),
    [
        ({"kind": "multav-linf", "steps": 3}, 18),
        ({"kind": "multav-spa", "steps": 3, "pixels": 12, "restarts": 2}, 36),
        # The first look shows that the bound does not hold the label: nothing is left to climb after it.
        ({"kind": "multav-linf", "steps": 3, "epsilon": 1.9, "step_size": 1.9, "early_stop": True}, 12),
        # One more gradient of every window, to place the rectangles by.
        ({"kind": "multav-roa", "steps": 3, "size": [8, 10], "placement": "gradient"}, 24),
    ],
)
def test_gradients_are_counted_as_they_are_computed(
    fields: dict[str, Any], gradients: int, video: Path, model: Filter, tmp_path: Path
) -> None:
    result = multav.attack_video(video, model, fields, folder=tmp_path, output="ffv1-mkv").result
    assert result["gradient_evaluations"] == gradients


def test_sizes_that_an_encoder_does_not_take_are_refused(model: Filter, tmp_path: Path) -> None:
    wide = write(tmp_path / "wide.mkv", 2, (16, 16400))
    with pytest.raises(InvalidSpec, match=r"H\.264 does not take pictures of 16400x16") as caught:
        multav.attack_video(
            wide, model, {"kind": "multav-linf", "steps": 1}, channel="codec", folder=tmp_path
        )
    assert caught.value.errors[0]["pointer"] == "/channel"
    thin = write(tmp_path / "thin.mp4", 2, (2, 2), lossless=False)
    multav.attack_video(thin, model, output="ffv1-mkv", folder=tmp_path)


def test_a_lossy_file_keeps_no_region(model: Filter, video: Path, tmp_path: Path) -> None:
    attack = {"kind": "roa", "size": [8, 10], "steps": 1}
    lossy = multav.attack_video(video, model, attack, output="h264-mp4", folder=tmp_path).result
    exact = multav.attack_video(video, model, attack, output="vp9-mp4", folder=tmp_path).result
    for result, kept in ((lossy, False), (exact, True)):
        assert result["perturbation"]["bound_respected"]
        assert result["delivery"]["bound_respected"] is kept


@pytest.mark.parametrize(
    ("kind", "fields"), [("pgd-l2", {"step_size": 3.0}), ("multav-l2", {"step_size": 900.0})]
)
def test_a_bound_on_whole_clips_means_the_same_at_every_size(
    kind: str, fields: dict[str, Any], model: Filter, tmp_path: Path
) -> None:
    moved = []
    for size in ((66, 90), (198, 270)):
        # The same waves, and nine times as many pixels of them.
        path = write(tmp_path / f"{size[0]}.mkv", 21, size)
        result = multav.attack_video(
            path, model, {"kind": kind, **fields}, output="ffv1-mkv", folder=tmp_path
        ).result
        assert result["perturbation"]["bound_respected"]
        moved.append(result["perturbation"]["psnr_db"])
    # 9.5 dB apart, if the bound and the steps stayed as long as they are.
    assert moved[0] == pytest.approx(moved[1], abs=2.5)


# On the model's own clips every kind is tested by `craft`; here one of each region is enough for every run.
QUICK = ("multav-linf", "roa", "multav-af", "spa")


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        (domain, kind)
        if domain == "source" or kind in QUICK
        else pytest.param(domain, kind, marks=pytest.mark.slow)
        for domain in ("source", "model_input")
        for kind in ATTACKS
    ],
)
def test_every_kind_on_a_file(kind: str, domain: str, video: Path, model: Filter, tmp_path: Path) -> None:
    attack = {"kind": kind, "steps": 2, **SMALL_REGIONS.get(kind, {})}
    outcome = multav.attack_video(video, model, attack, domain=domain, output="ffv1-mkv", folder=tmp_path)
    result = outcome.result
    assert result["perturbation"]["bound_respected"]
    # Lossless: the bound is the file's as well.
    assert result["delivery"]["bound_respected"]
    assert result["perturbation"]["changed_pixels"] > 0
    assert len(result["losses"]) == attack["steps"] + 1
    share = result["perturbation"]["changed_pixels"] / result["perturbation"]["pixels"]
    # On source frames a region covers the same share of what the model sees as on the model's own.
    if kind.endswith("roa"):
        assert share < 1.2 * 8 * 10 / (20 * 24)
    if kind.endswith("spa"):
        assert share < 1.3 * 12 / (20 * 24)
    if kind.endswith("af"):
        assert share < 1.1 * (1 - 14 * 18 / (20 * 24))


@pytest.mark.parametrize(
    ("attack", "pointer"),
    [
        ({"kind": "roa", "size": 21}, "/attack/size"),
        ({"kind": "multav-roa", "size": 4, "placement": "fixed", "position": [18, 0]}, "/attack/position"),
        ({"kind": "af", "width": 11}, "/attack/width"),
        ({"kind": "spa", "pixels": 481}, "/attack/pixels"),
    ],
    ids=str,
)
def test_a_region_that_the_model_cannot_see_is_refused(
    attack: dict[str, object], pointer: str, video: Path, model: Filter, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSpec, match=r"fit|have|leaves") as caught:
        multav.attack_video(video, model, attack, folder=tmp_path)
    assert [error["pointer"] for error in caught.value.errors] == [pointer]


@pytest.mark.parametrize(
    "fields",
    [
        {"channel": "levels"},
        pytest.param({"channel": "codec", "channel_crf": [18, 28]}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_channel_in_the_loop(fields: dict[str, Any], video: Path, model: Filter, tmp_path: Path) -> None:
    attack = {"kind": "multav-linf", "steps": 4}
    outcome = multav.attack_video(video, model, attack, output="h264-mp4", folder=tmp_path, **fields)
    plain = multav.attack_video(video, model, attack, output="h264-mp4", folder=tmp_path)
    assert outcome.result["losses"] != plain.result["losses"]
    assert outcome.result["perturbation"]["bound_respected"]
    assert outcome.result["losses"][-1] > outcome.result["losses"][0]
    assert outcome.result["delivered"]["label"] in CLASSES
