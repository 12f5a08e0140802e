"""The whole journey of one video: read, predict, craft, write, read again, judge.

    read and predict ─► choose the label ─► craft segment by segment ─► climb the delivery ladder ─► result

Memory stays flat in the video's length: pictures pass in segments (`multav.windows`), crafted ones wait on
disk as packed differences (`multav.crafted_frames`), and every comparison is a running one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from multav.attack_artifacts import ArtifactFile, AttackArtifacts
from multav.attack_request import AttackRequest, label_index
from multav.crafted_frames import CraftedFrames, packed_bytes
from multav.deep_measure import DeepComparison, comparison
from multav.delivery import Deliverer, Delivery, ladder
from multav.errors import InvalidSpec
from multav.feature_files import FeatureFiles
from multav.loss_history import LossHistory
from multav.measure import Comparison
from multav.needs import Needs
from multav.prediction import Prediction, RunningPrediction
from multav.progress import Pace, Progress
from multav.subject import Subject
from multav.video.picture import Picture
from multav.windows import middle_frames

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

    subject: Subject
    folder: Path
    name: str
    scratch: Path
    max_output_bytes: int
    on_progress: Callable[[Progress], None]
    check: Callable[[], None]
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def request(self) -> AttackRequest:
        """What was asked for."""
        return self.subject.request

    def run(self) -> tuple[dict[str, Any], tuple[ArtifactFile, ...]]:
        """The result object and the files."""
        subject = self.subject
        started = time.monotonic()
        with self._timed("reading"):
            clean = subject.read(self.check)
        _ = subject.bounds  # refuses what this file cannot hold before the work begins
        self._refuse_size()
        self.features.refuse_unknown()
        self._needs().refuse(self.folder, self.max_output_bytes)
        label = (
            clean.index if self.request.label is None else label_index(self.request.label, subject.classes)
        )
        window = subject.scorer.preprocessing.window
        with CraftedFrames(self.scratch / "differences", window, subject.grid) as crafted:
            with self._timed("crafting"):
                crafting = self._craft(crafted, label)
            with self._timed("delivering"):
                delivery = self._deliver(crafted, crafting, label)
        self.artifacts.save_preview(delivery, clean)
        self.artifacts.save_loss_plot(crafting.losses, subject.classes[label])
        self.timings["total"] = time.monotonic() - started
        files = (*self.artifacts.files(delivery, crafting.losses), *self.features.files())
        return self._result(clean, label, crafting, delivery), files

    # -- what the stages share

    @cached_property
    def artifacts(self) -> AttackArtifacts:
        """Writes the files beside the adversarial video."""
        subject = self.subject
        return AttackArtifacts(
            folder=self.folder,
            name=self.name,
            request=self.request,
            info=subject.info,
            size=subject.size,
            window=subject.scorer.preprocessing.window,
            frames=subject.geometry.frames,
            values=3 * subject.geometry.frames * subject.geometry.height * subject.geometry.width,
            grid=subject.grid,
            limits=subject.limits,
        )

    @cached_property
    def features(self) -> FeatureFiles:
        """Looks into the model at the middle window; needs `frames`."""
        subject = self.subject
        return FeatureFiles(
            layers=self.request.features,
            window=subject.windows // 2,
            scorer=subject.scorer,
            geometry=subject.geometry,
            grid=subject.grid,
            folder=self.folder,
            name=self.name,
        )

    # -- the stages

    def _craft(self, crafted: CraftedFrames, label: int) -> _Crafting:
        subject = self.subject
        crafter = subject.crafter(label)
        prediction, change = RunningPrediction(subject.scorer, subject.grid.peak), comparison(subject.grid)
        pace = Pace(subject.windows, "windows", self.on_progress, after_seconds=self._delivery_seconds())
        # Summed, not collected: small tensors that stay would keep the heap from reusing what lies around them.
        losses = LossHistory(self.request.attack.steps)
        artifacts, respected, gradients = self.artifacts, True, 0
        with ExitStack() as stack:
            frames = stack.enter_context(subject.footage.open())
            tensors = (
                stack.enter_context(artifacts.open_tensor(subject.windows))
                if artifacts.wants_tensor
                else None
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

            for segment in subject.segments(pictures()):
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
        subject = self.subject
        started, passed = time.monotonic(), 0

        def on_frame() -> None:
            nonlocal passed
            passed += 1
            # One rung writes and reads every frame once; a further rung starts the count again.
            rest = -passed % (2 * subject.frames)
            eta = (time.monotonic() - started) / passed * rest
            self.on_progress(Progress(subject.windows, subject.windows, "windows", eta))

        deliverer = Deliverer(
            footage=subject.footage,
            crafted=crafted,
            segments=subject.segments,
            scorer=subject.scorer,
            info=subject.info,
            size=subject.size,
            frames=subject.frames,
            source=subject.path if self.request.domain == "source" else None,
            folder=self.folder,
            name=self.name,
            limits=subject.limits,
            max_bytes=self.max_output_bytes,
            sheet_frames=self._sheet_frames,
            check=self.check,
            on_frame=on_frame,
            keeps_bound=subject.crafter(label).keeps_bound,
            grid=subject.grid,
        )
        return deliverer.deliver(
            ladder(self.request),
            adversarial=lambda prediction: self._fools(prediction, label),
            worth=self._fools(crafting.prediction, label),
        )

    @property
    def _sheet_frames(self) -> frozenset[int]:
        """Indices of the frames that the contact sheet shows, evenly spread over those that are attacked."""
        subject = self.subject
        attacked: Sequence[int] = range(subject.frames)
        if self.request.coverage == "clip":
            attacked = sorted(middle_frames(subject.frames, subject.geometry))
        count = len(attacked)
        return frozenset(attacked[(2 * row + 1) * count // (2 * _SHEET_ROWS)] for row in range(_SHEET_ROWS))

    # -- what comes out

    def _fools(self, prediction: Prediction, label: int) -> bool:
        """Whether a prediction is what the attacker wants: away from `label`, or on it when targeted."""
        return (prediction.index == label) == self.request.attack.targeted

    def _result(
        self, clean: Prediction, label: int, crafting: _Crafting, delivery: Delivery
    ) -> dict[str, Any]:
        subject = self.subject
        change = crafting.change
        return {
            "clean": clean.as_dict(),
            "adversarial": crafting.prediction.as_dict(),
            "delivered": delivery.file.prediction.as_dict(),
            "label": {"label": subject.classes[label], "index": label},
            "label_source": "predicted" if self.request.label is None else "given",
            "success_clean": self._fools(clean, label),
            "success": self._fools(crafting.prediction, label),
            "success_delivered": self._fools(delivery.file.prediction, label),
            "perturbation": {
                "ratio_max": change.ratio_max,
                "linf": change.linf,
                "l2": change.l2,
                "psnr_db": change.psnr_db,
                "ssim": change.ssim,
                "changed_pixels": change.changed_pixels,
                "pixels": subject.frames * subject.size[0] * subject.size[1],
                "bound_respected": crafting.bound_respected and change.within(subject.bounds),
            },
            "delivery": delivery.as_dict(subject.bounds, everywhere=subject.region.name == "whole-clip"),
            "video": {
                "width": subject.size[1],
                "height": subject.size[0],
                "frames": subject.frames,
                "windows": subject.windows,
                "bits": subject.grid.clean_bits,
                # Parts of the source were missing or could not be decoded: the attack is on the rest.
                "damaged": subject.damaged,
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
        if min(self.subject.size) < least:
            height, width = self.subject.size
            detail = f"{self.request.output} holds no pictures of {width}x{height}: choose another output"
            raise InvalidSpec.at("/output", detail)

    def _needs(self) -> Needs:
        """Bytes on disk that the attack is going to take; needs `frames`."""
        subject = self.subject
        rung = ladder(self.request)[0]
        height, width = subject.size
        maps = subject.scorer.preprocessing
        clip = 3 * 4 * subject.geometry.frames * height * width
        return Needs(
            output_name=rung.format.name,
            output=rung.format.estimate_bytes(width, height, subject.frames, crf=rung.crf),
            differences=packed_bytes(
                subject.frames * maps.rows.shape[1] * maps.columns.shape[1] * 3, subject.grid.bits
            ),
            tensor=subject.windows * clip if self.artifacts.wants_tensor else 0,
        )

    def _delivery_seconds(self) -> float:
        """The first guess of what writing and checking the file takes."""
        height, width = self.subject.size
        return self.subject.frames * height * width / 1e6 / _DELIVERY_SPEED

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.timings[stage] = time.monotonic() - started
