"""What is attacked: one video as one model sees it, under one request."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from torch import nn

from multav.attack_request import AttackRequest, refuse_misfit
from multav.attacks.regions import Region
from multav.crafting import Crafter, Passage
from multav.delivery import Segments
from multav.errors import NoFrames
from multav.footage import Footage
from multav.geometry import InputGeometry
from multav.grid import Grid
from multav.precision import gradient_type
from multav.prediction import Prediction, RunningPrediction, Scorer
from multav.preprocessing import Preprocessing, no_preprocessing, preprocessing
from multav.quantise import LevelBounds
from multav.video.decode import Summary
from multav.video.depth import read_bits
from multav.video.info import VideoInfo
from multav.video.limits import Limits
from multav.video.passage import through_h264
from multav.video.picture import Picture
from multav.video.probe import probe
from multav.windows import clip_segments, dense_segments, middle_frames, window_count


@dataclass
class Subject:
    """The video at `path`, and what follows for it from the model and the request.

    `frames` is known once it was `read`, and `damaged` after each whole pass.
    """

    path: Path
    model: nn.Module
    request: AttackRequest
    geometry: InputGeometry
    classes: tuple[str, ...]
    limits: Limits
    frames: int = 0
    damaged: bool = False

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

    def read(self, check: Callable[[], None]) -> Prediction:
        """Count the frames and predict the clean video; `check` is called before every picture. Raises `NoFrames`."""
        prediction = RunningPrediction(self.scorer, self.grid.clean_peak)
        if self.request.coverage == "clip":
            # The middle is known only when all frames have been counted: container headers lie.
            self.frames = sum(1 for _ in self.pictures(check))
            if self.frames and self.request.domain == "model_input":
                self.footage = replace(self.footage, keep=middle_frames(self.frames, self.geometry))
        passed = 0

        def counted() -> Iterator[Picture]:
            nonlocal passed
            for picture in self.pictures(check):
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

    def crafter(self, label: int) -> Crafter:
        """The attack on this video away from (or toward) the class `label`. Raises `InvalidSpec` as `region` does."""
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

    def pictures(self, check: Callable[[], None]) -> Iterator[Picture]:
        """The attacked pictures, from the first to the last; `check` is called before each and may raise."""
        with self.footage.open() as frames:
            for frame in frames:
                check()
                yield frame.rgb
