"""The whole journey of one video: read, predict, craft, write, read again, judge.

    read and predict ─► choose the label ─► craft segment by segment ─► climb the delivery ladder ─► result

Memory stays flat in the video's length: pictures pass in segments (`multav.windows`), crafted ones wait on
disk as packed differences (`multav.crafted_frames`), and every comparison is a running one.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn

from multav.attack_artifacts import ArtifactFile, AttackArtifacts
from multav.attack_request import AttackRequest, label_index, refuse_misfit
from multav.attacks.regions import Region
from multav.crafted_frames import CraftedFrames, packed_bytes
from multav.crafting import Crafter, Passage
from multav.deep_measure import DeepComparison, comparison
from multav.delivery import Deliverer, Delivery, Segments, ladder
from multav.errors import FieldError, InvalidSpec, NoFrames
from multav.feature_files import FeatureFiles
from multav.footage import Footage
from multav.geometry import InputGeometry
from multav.grid import Grid
from multav.loss_history import LossHistory
from multav.measure import Comparison
from multav.needs import Needs
from multav.precision import gradient_type
from multav.prediction import Prediction, RunningPrediction, Scorer
from multav.preprocessing import Preprocessing, no_preprocessing, preprocessing
from multav.progress import Pace, Progress
from multav.quantise import LevelBounds
from multav.video.decode import Summary
from multav.video.depth import read_bits
from multav.video.info import VideoInfo
from multav.video.limits import Limits
from multav.video.passage import through_h264
from multav.video.picture import Picture
from multav.video.probe import probe
from multav.windows import clip_segments, dense_segments, middle_frames, window_count

# Megapixels a second that two cores write and check; only the first guess of the time left.
_DELIVERY_SPEED = 18.0
_SHEET_ROWS = 3


@dataclass(frozen=True)
class _Crafting:
    """What crafting left behind: the prediction on the crafted pictures, the change, the losses.

    `bound_respected` is about bounds on whole samples; those on single values are read off the change.
    """

    prediction: Prediction
    change: Comparison | DeepComparison
    losses: LossHistory
    bound_respected: bool
    gradient_evaluations: int


@dataclass
class Journey:
    """One run of `attack_video`; each stage is a method, in order."""

    path: Path
    model: nn.Module
    request: AttackRequest
    folder: Path
    name: str
    scratch: Path
    geometry: InputGeometry
    classes: tuple[str, ...]
    limits: Limits
    max_output_bytes: int
    on_progress: Callable[[Progress], None]
    check: Callable[[], None]
    timings: dict[str, float] = field(default_factory=dict)
    frames: int = 0
    damaged: bool = False

    def run(self) -> tuple[dict[str, Any], tuple[ArtifactFile, ...]]:
        """The result object and the files."""
        started = time.monotonic()
        with self._timed("reading"):
            clean = self._read()
        _ = self.bounds  # refuses what this file cannot hold before the work begins
        self._refuse_size()
        self.features.refuse_unknown()
        self._needs().refuse(self.folder, self.max_output_bytes)
        label = clean.index if self.request.label is None else label_index(self.request.label, self.classes)
        window = self.scorer.preprocessing.window
        with CraftedFrames(self.scratch / "differences", window, self.grid) as crafted:
            with self._timed("crafting"):
                crafting = self._craft(crafted, label)
            with self._timed("delivering"):
                delivery = self._deliver(crafted, crafting, label)
        self.artifacts.save_preview(delivery, clean)
        self.artifacts.save_loss_plot(crafting.losses, self.classes[label])
        self.timings["total"] = time.monotonic() - started
        files = (*self.artifacts.files(delivery, crafting.losses), *self.features.files())
        return self._result(clean, label, crafting, delivery), files

    # -- what the stages share

    @cached_property
    def info(self) -> VideoInfo:
        """The source video as its container describes it."""
        return probe(self.path, self.limits)

    @cached_property
    def scorer(self) -> Scorer:
        """The model behind the preprocessing of the attacked pictures."""
        device = next(self.model.parameters()).device
        height, width = self.size
        maps: Preprocessing = (
            preprocessing(self.geometry, height, width, device)
            if self.request.domain == "source"
            else no_preprocessing(height, width, device)
        )
        return Scorer(self.model, maps, self.classes, device)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the attacked pictures."""
        if self.request.domain == "source":
            return self.info.height, self.info.width
        return self.geometry.height, self.geometry.width

    @cached_property
    def footage(self) -> Footage:
        """The attacked pictures; frames outside the one clip are left out of the model's domain."""
        if self.request.domain == "source":
            return Footage(self.path, self.limits, on_end=self._note, bits=self.request.bits)
        resize = preprocessing(self.geometry, self.info.height, self.info.width)
        return Footage(self.path, self.limits, resize=resize, on_end=self._note)

    def _note(self, summary: Summary) -> None:
        self.damaged = summary.damaged

    @cached_property
    def segments(self) -> Segments:
        """How the attacked pictures are cut into segments; needs `frames`."""
        if self.request.coverage == "dense":
            return partial(dense_segments, geometry=self.geometry)
        if self.request.domain == "source":
            return partial(clip_segments, geometry=self.geometry, frames=self.frames)
        return partial(dense_segments, geometry=self.geometry.model_copy(update={"stride": 1}))

    @property
    def windows(self) -> int:
        """How many windows are attacked; needs `frames`."""
        return window_count(self.frames, self.geometry) if self.request.coverage == "dense" else 1

    @cached_property
    def grid(self) -> Grid:
        """The values that the file is going to hold; the model's own pictures start from 8 bits."""
        bits = self.request.bits
        own = self.request.domain == "source"
        return Grid(bits, read_bits(self.info.pixel_format, self.info.bit_depth, bits) if own else 8)

    @cached_property
    def bounds(self) -> LevelBounds:
        """What the threat model allows each clean value."""
        return LevelBounds.of(self.request.attack, self.grid)

    @cached_property
    def artifacts(self) -> AttackArtifacts:
        """Writes the files beside the adversarial video."""
        return AttackArtifacts(
            folder=self.folder,
            name=self.name,
            request=self.request,
            info=self.info,
            size=self.size,
            window=self.scorer.preprocessing.window,
            frames=self.geometry.frames,
            values=3 * self.geometry.frames * self.geometry.height * self.geometry.width,
            grid=self.grid,
            limits=self.limits,
        )

    @cached_property
    def features(self) -> FeatureFiles:
        """Looks into the model at the middle window; needs `frames`."""
        return FeatureFiles(
            layers=self.request.features,
            window=self.windows // 2,
            scorer=self.scorer,
            geometry=self.geometry,
            grid=self.grid,
            folder=self.folder,
            name=self.name,
        )

    # -- the stages

    def _read(self) -> Prediction:
        """Count the frames and predict the clean video."""
        prediction = RunningPrediction(self.scorer, self.grid.clean_peak)
        if self.request.coverage == "clip":
            # The middle is known only when all frames have been counted: container headers lie.
            self.frames = sum(1 for _ in self._pictures())
            if self.frames and self.request.domain == "model_input":
                self.footage = replace(self.footage, keep=middle_frames(self.frames, self.geometry))
        passed = 0

        def counted() -> Iterator[Picture]:
            nonlocal passed
            for picture in self._pictures():
                passed += 1
                yield picture

        for segment in self.segments(counted()):
            prediction.add(segment, segment.pictures)
        self.frames = passed
        if prediction.windows == 0:
            raise NoFrames(
                "the video holds no picture that can be decoded: send a video with at least one frame"
            )
        return prediction.result()

    @cached_property
    def region(self) -> Region:
        """The attack's region on the pictures that are attacked. Raises `InvalidSpec` when it does not fit."""
        region = self.request.attack.region
        refuse_misfit(self.request.attack, self.geometry)
        if self.request.domain == "model_input":
            return region
        return region.enlarged(min(self.size) / self.geometry.short_side)

    def _crafter(self, label: int) -> Crafter:
        return Crafter(
            self.scorer,
            self.request.attack,
            self.region,
            self.bounds,
            label,
            self.request.seed,
            autocast=gradient_type(self.request.precision, self.scorer.device),
            passages=self._passages() if self.request.channel == "codec" else (),
            levels_in_loop=self.request.channel == "levels",
        )

    def _passages(self) -> tuple[Passage, ...]:
        """H.264 at each of the request's rate factors."""
        return tuple(
            partial(through_h264, crf=crf, frame_rate=self.info.frame_rate, threads=self.limits.threads)
            for crf in self.request.channel_crf
        )

    def _craft(self, crafted: CraftedFrames, label: int) -> _Crafting:
        crafter = self._crafter(label)
        prediction, change = RunningPrediction(self.scorer, self.grid.peak), comparison(self.grid)
        pace = Pace(self.windows, "windows", self.on_progress, after_seconds=self._delivery_seconds())
        # Summed, not collected: small tensors that stay would keep the heap from reusing what lies around them.
        losses = LossHistory(self.request.attack.steps)
        artifacts, respected, gradients = self.artifacts, True, 0
        with ExitStack() as stack:
            frames = stack.enter_context(self.footage.open())
            tensors = (
                stack.enter_context(artifacts.open_tensor(self.windows)) if artifacts.wants_tensor else None
            )
            maps = stack.enter_context(artifacts.open_maps())
            times: list[int] = []

            def pictures() -> Iterator[Picture]:
                for frame in frames:
                    times.append(frame.pts)
                    yield frame.rgb

            def stepped(windows: int, share: float) -> None:
                self.check()
                pace.glimpse(share * windows)

            for segment in self.segments(pictures()):
                made = crafter.craft(
                    segment, on_step=partial(stepped, segment.windows), keep_clips=tensors is not None
                )
                prediction.add(segment, made.pictures)
                losses.add(made.losses)
                self.features.add(segment, made.pictures)
                respected = respected and made.bound_respected
                gradients += made.gradient_evaluations
                for index, (source, picture) in enumerate(zip(segment.pictures, made.pictures, strict=True)):
                    self.check()
                    crafted.write(source, picture)
                    change.add(source, picture)
                    maps.write(source, picture, times[segment.start + index])
                if tensors is not None:
                    artifacts.write_clips(tensors, segment, made)
                if segment.samples:
                    pace.advance(segment.windows)
        return _Crafting(prediction.result(), change, losses, respected, gradients)

    def _deliver(self, crafted: CraftedFrames, crafting: _Crafting, label: int) -> Delivery:
        started, passed = time.monotonic(), 0

        def on_frame() -> None:
            nonlocal passed
            passed += 1
            # One rung writes and reads every frame once; a further rung starts the count again.
            rest = -passed % (2 * self.frames)
            eta = (time.monotonic() - started) / passed * rest
            self.on_progress(Progress(self.windows, self.windows, "windows", eta))

        chosen = frozenset((2 * row + 1) * self.frames // (2 * _SHEET_ROWS) for row in range(_SHEET_ROWS))
        deliverer = Deliverer(
            footage=self.footage,
            crafted=crafted,
            segments=self.segments,
            scorer=self.scorer,
            info=self.info,
            size=self.size,
            frames=self.frames,
            source=self.path if self.request.domain == "source" else None,
            folder=self.folder,
            name=self.name,
            limits=self.limits,
            max_bytes=self.max_output_bytes,
            sheet_frames=chosen,
            check=self.check,
            on_frame=on_frame,
            keeps_bound=self._crafter(label).keeps_bound,
            grid=self.grid,
        )
        return deliverer.deliver(
            ladder(self.request),
            adversarial=lambda prediction: self._fools(prediction, label),
            worth=self._fools(crafting.prediction, label),
        )

    # -- what comes out

    def _fools(self, prediction: Prediction, label: int) -> bool:
        """Whether a prediction is what the attacker wants: away from `label`, or on it when targeted."""
        return (prediction.index == label) == self.request.attack.targeted

    def _result(
        self, clean: Prediction, label: int, crafting: _Crafting, delivery: Delivery
    ) -> dict[str, Any]:
        change = crafting.change
        return {
            "clean": clean.as_dict(),
            "adversarial": crafting.prediction.as_dict(),
            "delivered": delivery.file.prediction.as_dict(),
            "label": {"label": self.classes[label], "index": label},
            "label_source": "predicted" if self.request.label is None else "given",
            "success": self._fools(crafting.prediction, label),
            "success_delivered": self._fools(delivery.file.prediction, label),
            "perturbation": {
                "ratio_max": change.ratio_max,
                "linf": change.linf,
                "l2": change.l2,
                "psnr_db": change.psnr_db,
                "ssim": change.ssim,
                "changed_pixels": change.changed_pixels,
                "pixels": self.frames * self.size[0] * self.size[1],
                "bound_respected": crafting.bound_respected and change.within(self.bounds),
            },
            "delivery": delivery.as_dict(self.bounds, everywhere=self.region.name == "whole-clip"),
            "video": {
                "width": self.size[1],
                "height": self.size[0],
                "frames": self.frames,
                "windows": self.windows,
                "bits": self.grid.clean_bits,
                # Parts of the source were missing or could not be decoded: the attack is on the rest.
                "damaged": self.damaged,
            },
            **({"features": self.features.as_dict()} if self.request.features else {}),
            "losses": [round(loss, 6) for loss in crafting.losses.loss.tolist()],
            "gradient_evaluations": crafting.gradient_evaluations,
            "seconds": round(self.timings["total"], 3),
            "timings": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
        }

    # -- needs

    def _refuse_size(self) -> None:
        """Raise `InvalidSpec` where the file that is asked for cannot hold such pictures."""
        least = ladder(self.request)[0].format.least_side
        if min(self.size) < least:
            height, width = self.size
            detail = f"{self.request.output} holds no pictures of {width}x{height}: choose another output"
            raise InvalidSpec(detail, errors=[FieldError(pointer="/output", detail=detail)])

    def _needs(self) -> Needs:
        """Bytes on disk that the attack is going to take; needs `frames`."""
        rung = ladder(self.request)[0]
        height, width = self.size
        maps = self.scorer.preprocessing
        clip = 3 * 4 * self.geometry.frames * height * width
        return Needs(
            output_name=rung.format.name,
            output=rung.format.estimate_bytes(width, height, self.frames, crf=rung.crf),
            differences=packed_bytes(
                self.frames * maps.rows.shape[1] * maps.columns.shape[1] * 3, self.grid.bits
            ),
            tensor=self.windows * clip if self.artifacts.wants_tensor else 0,
        )

    def _delivery_seconds(self) -> float:
        """The first guess of what writing and checking the file takes."""
        height, width = self.size
        return self.frames * height * width / 1e6 / _DELIVERY_SPEED

    def _pictures(self) -> Iterator[Picture]:
        """The attacked pictures, from the first to the last."""
        with self.footage.open() as frames:
            for frame in frames:
                self.check()
                yield frame.rgb

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.timings[stage] = time.monotonic() - started
