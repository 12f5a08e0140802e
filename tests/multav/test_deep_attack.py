"""Deep files end to end: read, attacked, written, read again; checked in integers by other code than the library's."""

import json
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import multav
from multav.attack_request import AttackRequest
from multav.attacks.catalogue import ATTACKS
from multav.errors import InvalidSpec, OutputTooLarge
from multav.geometry import InputGeometry
from multav.video.decode import decode
from multav.video.encode import encode
from multav.video.formats import FORMATS
from multav.video.probe import probe

torch.set_num_threads(1)
CLASSES = ("left", "right", "up", "down")
DEEP = {"output": "ffv1-mkv", "bits": 16}


class Filter(nn.Module):
    """Four linear space-time filters, and every clip that was shown to them where `seen` is a list."""

    geometry = InputGeometry(frames=4, stride=2, short_side=24, height=20, width=24)
    classes = CLASSES

    def __init__(self) -> None:
        super().__init__()
        filters = torch.randn(4, 3, 4, 5, 6, generator=torch.Generator().manual_seed(5))
        self.filters = nn.Parameter(functional.interpolate(filters, size=(4, 20, 24)))
        self.seen: list[Tensor] | None = None

    def forward(self, clips: Tensor) -> Tensor:
        if self.seen is not None:
            self.seen.append(clips.detach().clone())
        logits: Tensor = torch.einsum("bcthw,kcthw->bk", clips - 0.5, self.filters) / 20
        return logits


@pytest.fixture
def model() -> Filter:
    return Filter().eval()


def write(
    path: Path,
    frames: int,
    size: tuple[int, int],
    *,
    dim: int = 1,
    times: list[int] | None = None,
    sound: bool = False,
) -> Path:
    """Smooth moving colours from 0 to 228, divided by `dim`, kept level by level."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        track = container.add_stream("aac", rate=48_000) if sound else None
        for index in range(frames):
            waves = [np.sin(7 * (x + 0.02 * index) + color) * np.cos(5 * y + color) for color in range(3)]
            rgb = (np.stack(waves, -1) * 114 + 114).astype(np.uint8) // dim
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = times[index] if times else 40 * index
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            for block in range(20):
                silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
                silence.sample_rate, silence.pts = 48_000, 1024 * block
                container.mux(track.encode(silence))
            container.mux(track.encode(None))
    return path


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 frames of 97x131 whose levels are below 25."""
    return write(tmp_path_factory.mktemp("dark") / "dark.mkv", 21, (97, 131), dim=10)


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("bright") / "bright.mkv", 21, (97, 131))


def stored(path: Path) -> np.ndarray:
    """The samples of the file as (frames, H, W, 3) int64: planes as they are, or plain rgb24."""
    pictures = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if not frame.format.name.startswith("gbrp1"):
                pictures.append(frame.to_ndarray(format="rgb24").astype(np.int64))
                continue
            planes = [
                np.frombuffer(plane, np.uint16).reshape(frame.height, -1)[:, : frame.width]
                for plane in frame.planes
            ]
            pictures.append(np.stack([planes[2], planes[0], planes[1]], -1).astype(np.int64))
    return np.stack(pictures)


def keeps_ratio(clean: np.ndarray, clean_peak: int, codes: np.ndarray, peak: int) -> np.ndarray:
    """Whether codes / peak is within 1.04 of clean / clean_peak, in integers."""
    there, here = codes * clean_peak, clean * peak
    return (100 * there <= 104 * here) & (104 * there >= 100 * here)


def test_dark_pixels_move_on_16_bits_and_cannot_on_8(model: Filter, dark: Path, tmp_path: Path) -> None:
    shallow = multav.attack_video(dark, model, output="ffv1-mkv", folder=tmp_path / "8").result
    assert shallow["perturbation"]["changed_pixels"] == 0
    assert shallow["delivery"]["bits"] == 8
    outcome = multav.attack_video(dark, model, folder=tmp_path / "16", **DEEP)
    clean, codes = stored(dark), stored(outcome.video)
    assert clean.max() < 25
    assert codes.shape == clean.shape
    assert keeps_ratio(clean, 255, codes, 65535).all()
    moved = codes != 257 * clean
    assert moved[clean > 0].mean() > 0.5
    assert not moved[clean == 0].any()

    result = outcome.result
    change, delivery = result["perturbation"], result["delivery"]
    here, there = clean / 255, codes / 65535
    lit = clean > 0
    ratio = np.maximum(there[lit] / here[lit], here[lit] / there[lit]).max()
    assert 1.02 < change["ratio_max"] == pytest.approx(ratio, rel=1e-12)
    assert change["linf"] == pytest.approx(np.abs(there - here).max(), rel=1e-9)
    assert change["l2"] == pytest.approx(np.linalg.norm(there - here), rel=1e-9)
    assert change["psnr_db"] == pytest.approx(-10 * np.log10(((there - here) ** 2).mean()), rel=1e-9)
    assert change["changed_pixels"] == moved.any(-1).sum()
    assert change["bound_respected"] is True
    assert (delivery["bits"], delivery["pixel_format"], delivery["lossless"]) == (16, "gbrp16le", True)
    assert delivery["bound_respected"] is True
    assert delivery["psnr_to_crafted_db"] is None
    assert delivery["bytes"] == outcome.video.stat().st_size
    assert result["delivered"] == result["adversarial"]
    assert result["losses"][-1] > result["losses"][0]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    # What the clean video is does not depend on the file that is written.
    assert result["clean"] == shallow["clean"]


def test_the_prediction_is_that_of_the_deep_values(model: Filter, dark: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(dark, model, folder=tmp_path, **DEEP)
    codes = torch.from_numpy(stored(outcome.video)).float() / 65535
    clips = codes.permute(3, 0, 1, 2)
    windows = [range(phase, phase + 8, 2) for phase in (0, 1)]
    windows += [range(8 + phase, 16 + phase, 2) for phase in (0, 1)]
    windows += [range(14, 21, 2), range(13, 20, 2)]
    mean = torch.zeros(4)
    for window in windows:
        small = functional.interpolate(
            clips[:, list(window)].transpose(0, 1), size=(24, 32), mode="bilinear", antialias=True
        )
        with torch.no_grad():
            mean += model(small[:, :, 2:22, 4:28].transpose(0, 1)[None]).softmax(1)[0] / len(windows)
    delivered = outcome.result["delivered"]
    assert delivered["index"] == int(mean.argmax())
    assert delivered["confidence"] == pytest.approx(float(mean.max()), abs=2e-5)


@pytest.mark.parametrize(
    "bits", [10, pytest.param(12, marks=pytest.mark.slow), pytest.param(14, marks=pytest.mark.slow), 16]
)
def test_the_bound_holds_on_every_stored_value(
    model: Filter, bright: Path, tmp_path: Path, bits: int
) -> None:
    outcome = multav.attack_video(bright, model, output="ffv1-mkv", bits=bits, folder=tmp_path)
    clean, codes = stored(bright), stored(outcome.video)
    peak = (1 << bits) - 1
    assert keeps_ratio(clean, 255, codes, peak).all()
    assert (codes != np.rint(clean * (peak / 255))).mean() > 0.5
    assert outcome.result["delivery"]["bits"] == bits
    assert outcome.result["delivery"]["bound_respected"]
    assert outcome.result["perturbation"]["ratio_max"] <= 1.04


@pytest.mark.slow
def test_a_delivered_file_is_attacked_again(model: Filter, bright: Path, tmp_path: Path) -> None:
    first = multav.attack_video(bright, model, folder=tmp_path / "first", **DEEP)
    assert probe(first.video).bit_depth == 16
    clean = stored(first.video)
    again = multav.attack_video(first.video, model, label="up", folder=tmp_path / "again", **DEEP)
    codes = stored(again.video)
    assert keeps_ratio(clean, 65535, codes, 65535).all()
    assert (codes != clean).mean() > 0.5
    assert again.result["clean"] == first.result["delivered"]
    assert again.result["perturbation"]["bound_respected"]
    # At fewer bits the clean value is the nearest code; at 8 the level that everybody else reads.
    fewer = multav.attack_video(first.video, model, output="ffv1-mkv", bits=10, folder=tmp_path / "10")
    nearest = (2 * clean * 1023 + 65535) // (2 * 65535)
    assert keeps_ratio(nearest, 1023, stored(fewer.video), 1023).all()
    assert fewer.result["delivery"]["bound_respected"]
    plain = multav.attack_video(first.video, model, output="ffv1-mkv", folder=tmp_path / "8")
    assert plain.result["delivery"]["bits"] == 8
    assert plain.result["delivery"]["bound_respected"]


@pytest.mark.slow
def test_the_same_values_in_a_deep_source_are_attacked_the_same(
    model: Filter, bright: Path, tmp_path: Path
) -> None:
    deep = tmp_path / "deep.mkv"
    with encode(
        deep, FORMATS["ffv1-mkv"].at(16), width=131, height=97, time_base="1/25", frame_rate=25
    ) as writer:
        for index, picture in enumerate(stored(bright)):
            writer.write((257 * picture).astype(np.uint16), index)
    made = [
        multav.attack_video(path, model, folder=tmp_path / name, **DEEP)
        for name, path in (("from-8", bright), ("from-16", deep))
    ]
    assert np.array_equal(*(stored(each.video) for each in made))
    same = ("clean", "adversarial", "delivered", "losses")
    assert [made[0].result[key] for key in same] == [made[1].result[key] for key in same]
    assert made[0].result["perturbation"] == pytest.approx(made[1].result["perturbation"])


def test_a_10_bit_camera_file(model: Filter, bright: Path, tmp_path: Path) -> None:
    path = tmp_path / "camera.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 130, 96, "yuv420p10le"
        for picture in stored(bright)[:8, :96, :130]:
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p10le")))
        container.mux(stream.encode(None))
    with decode(path, bits=16) as frames:
        assert frames.bits == 16
        clean = np.stack([frame.rgb for frame in frames]).astype(np.int64)
    assert (clean % 257 != 0).any()
    outcome = multav.attack_video(path, model, folder=tmp_path / "made", **DEEP)
    assert keeps_ratio(clean, 65535, stored(outcome.video), 65535).all()
    assert outcome.result["perturbation"]["changed_pixels"] > 0


REGIONS = {
    "multav-roa": {"size": [8, 10], "init": "grey"},
    "roa": {"size": [8, 10]},
    "multav-af": {"width": 3},
    "af": {"width": 3, "init": "black"},
    "multav-spa": {"pixels": 12},
    "spa": {"pixels": 12},
    "pgd-l2": {"epsilon": 2.0, "random_start": True},
}


# One of each rule, ball and region; the others only in `make test-all`, as they take a minute together.
QUICK = ("multav-linf", "pgd-l2", "multav-roa", "spa")


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in ATTACKS]
)
def test_every_kind(kind: str, model: Filter, bright: Path, tmp_path: Path) -> None:
    attack = {"kind": kind, "steps": 2, **REGIONS.get(kind, {})}
    result = multav.attack_video(bright, model, attack, folder=tmp_path, **DEEP).result
    assert result["perturbation"]["bound_respected"]
    assert result["delivery"]["bound_respected"]
    assert result["perturbation"]["changed_pixels"] > 0


@pytest.mark.parametrize("bits", [10, pytest.param(16, marks=pytest.mark.slow)])
def test_outside_of_the_region_nothing_moves(bits: int, model: Filter, bright: Path, tmp_path: Path) -> None:
    attack = {"kind": "multav-roa", "size": 6, "placement": "fixed"}
    outcome = multav.attack_video(bright, model, attack, output="ffv1-mkv", bits=bits, folder=tmp_path)
    peak = (1 << bits) - 1
    moved = stored(outcome.video) != np.rint(stored(bright) * (peak / 255))
    share = outcome.result["perturbation"]["changed_pixels"] / outcome.result["perturbation"]["pixels"]
    assert 0 < moved.any(-1).mean() == pytest.approx(share)
    assert share < 1.3 * 36 / (24 * 32)


def test_the_models_own_clips(model: Filter, dark: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(dark, model, domain="model_input", folder=tmp_path, **DEEP)
    tensor = next(each.path for each in outcome.artifacts if each.role == "adversarial-tensor")
    floats = load_file(tensor)["clips"][0].permute(1, 2, 3, 0).double().numpy() * 65535
    codes = stored(outcome.video)[[0, 2, 4, 6]]
    # Each code is the last one before the float value, on the clean level's side.
    assert np.abs(codes - floats).max() < 1.05
    assert outcome.result["perturbation"]["bound_respected"]
    assert outcome.result["perturbation"]["changed_pixels"] > 0


@pytest.mark.parametrize(
    ("bits", "on_grid"), [(8, 255), pytest.param(10, 1023, marks=pytest.mark.slow), (16, 65535)]
)
def test_the_levels_in_the_loop_are_those_of_the_file(
    bits: int, on_grid: int, model: Filter, bright: Path, tmp_path: Path
) -> None:
    model.seen = []
    multav.attack_video(
        bright,
        model,
        {"kind": "multav-linf", "steps": 3},
        domain="model_input",
        channel="levels",
        output="ffv1-mkv",
        bits=bits,
        folder=tmp_path,
    )
    # Clean clips have 8-bit levels; whatever else the model is shown can be stored.
    crafted = [clip.double() for clip in model.seen if ((clip * 255).round() / 255 - clip).abs().max() > 1e-6]
    for clip in crafted:
        assert ((clip * on_grid).round() / on_grid - clip).abs().max() < 1e-6 / 8
    assert bool(crafted) == (bits > 8)


def test_what_arrived_in_the_loop_is_what_the_file_holds(model: Filter, bright: Path, tmp_path: Path) -> None:
    outcome = multav.attack_video(
        bright,
        model,
        label="up",
        domain="model_input",
        coverage="clip",
        channel="levels",
        folder=tmp_path,
        **DEEP,
    )
    clip = torch.from_numpy(stored(outcome.video)).permute(3, 0, 1, 2)[None].float() / 65535
    with torch.no_grad():
        loss = functional.cross_entropy(model(clip), torch.tensor([CLASSES.index("up")]))
    assert outcome.result["losses"][-1] == pytest.approx(float(loss), abs=2e-6)


def test_without_a_channel_the_loop_sees_floats(model: Filter, bright: Path, tmp_path: Path) -> None:
    model.seen = []
    multav.attack_video(bright, model, domain="model_input", folder=tmp_path, **DEEP)
    assert any(((clip * 65535).round() / 65535 - clip).abs().max() > 1e-6 for clip in model.seen)


@pytest.mark.slow
def test_of_several_codecs_the_average_is_attacked(model: Filter, bright: Path, tmp_path: Path) -> None:
    losses = {}
    for factors in ([18], [45], [18, 45]):
        result = multav.attack_video(
            bright,
            model,
            {"kind": "multav-linf", "steps": 1},
            channel="codec",
            channel_crf=factors,
            coverage="clip",
            folder=tmp_path,
        ).result
        losses[tuple(factors)] = result["losses"][0]
        assert result["gradient_evaluations"] == len(factors) * result["video"]["windows"]
    assert losses[18,] != losses[45,]
    assert losses[18, 45] == pytest.approx((losses[18,] + losses[45,]) / 2, abs=1e-5)


def test_uneven_times_odd_sizes_and_sound_are_kept(model: Filter, tmp_path: Path) -> None:
    times = [0, 40, 130, 140, 300, 333, 334, 500, 900, 1000]
    source = write(tmp_path / "uneven.mkv", 10, (41, 53), times=times, sound=True)
    outcome = multav.attack_video(source, model, folder=tmp_path / "made", **DEEP)
    with decode(outcome.video, bits=16) as frames:
        base = Fraction(frames.info.time_base)
        assert [round(frame.pts * base * 1000) for frame in frames] == times
        assert [track.codec for track in frames.info.audio] == ["aac"]
    assert outcome.result["delivery"]["audio"]["copied"]
    assert outcome.result["video"]["width"] == 53


@pytest.mark.slow
def test_pictures_for_people_show_what_8_bits_would_hide(model: Filter, dark: Path, tmp_path: Path) -> None:
    spread = []
    for bits in (8, 16):
        outcome = multav.attack_video(dark, model, output="ffv1-mkv", bits=bits, folder=tmp_path / str(bits))
        made = {each.role: each.path for each in outcome.artifacts}
        with decode(made["signed-difference-map"]) as frames:
            maps = np.stack([frame.rgb for frame in frames]).astype(int)
        spread.append(maps.std())
        assert made["preview"].stat().st_size > 0
        assert abs(maps.mean() - 128) < 4
    assert spread[0] < 0.5 < 2 < spread[1]


@pytest.mark.slow
def test_the_estimate_knows_the_depth(model: Filter, bright: Path, tmp_path: Path) -> None:
    made = [
        multav.attack_video(bright, model, output="ffv1-mkv", bits=bits, folder=tmp_path).video.stat().st_size
        for bits in (8, 10, 16)
    ]
    assert all(less < more for less, more in pairwise(made))
    # 21 frames of 97x131: 464 kB at 8 bits with what is added for safety, three times as much at 16.
    multav.attack_video(bright, model, output="ffv1-mkv", max_output_bytes=900_000, folder=tmp_path)
    with pytest.raises(OutputTooLarge, match="allowed"):
        multav.attack_video(bright, model, max_output_bytes=900_000, folder=tmp_path, **DEEP)


def test_a_bound_that_the_depth_cannot_keep_is_refused(model: Filter, bright: Path, tmp_path: Path) -> None:
    attack = {"kind": "multav-linf", "epsilon": 1.002, "step_size": 1.001}
    with pytest.raises(InvalidSpec, match="set bits 16") as caught:
        multav.attack_video(bright, model, attack, output="ffv1-mkv", bits=10, folder=tmp_path)
    assert caught.value.errors[0]["pointer"] == "/bits"
    outcome = multav.attack_video(bright, model, attack, folder=tmp_path, **DEEP)
    clean, codes = stored(bright) * 257, stored(outcome.video)
    assert ((1000 * codes <= 1002 * clean) & (1002 * codes >= 1000 * clean)).all()
    assert (codes != clean).any()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"bits": 16}, "/bits"),
        ({"bits": 10, "output": "h264-mp4"}, "/bits"),
        ({"bits": 12, "output": "vp9-mp4"}, "/bits"),
        ({"bits": 14, "output": "h264rgb-mp4"}, "/bits"),
        ({"bits": 11, "output": "ffv1-mkv"}, "/bits"),
        ({"bits": "16", "output": "ffv1-mkv"}, "/bits"),
        ({"bits": True, "output": "ffv1-mkv"}, "/bits"),
        ({"bits": 16, "output": "ffv1-mkv", "channel": "codec"}, "/channel"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_named(body: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        AttackRequest.parse(body)
    assert [error["pointer"] for error in caught.value.errors] == [pointer]
    if body["bits"] in (10, 12, 14) or len(body) == 1:
        assert 'set output "ffv1-mkv"' in caught.value.detail


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
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
        "multav.attack_video(sys.argv[1], Mean(), {'kind': 'multav-linf', 'steps': 1}, folder=sys.argv[2],\n"
        "                    output='ffv1-mkv', bits=16)\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]\n"
        "print(int(peak.split()[1]) / 1024)\n"
    )

    def peak(frames: int) -> float:
        path = write(tmp_path / f"{frames}.mkv", frames, (240, 320))
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(tmp_path / f"made-{frames}")],
            check=True,
            capture_output=True,
            text=True,
        )
        return float(done.stdout)

    short, long = peak(24), peak(168)
    # 144 more frames of 320x240 would be 66 MB as 16-bit codes.
    assert long < short + 40
