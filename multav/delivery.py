"""From crafted pictures to a file that is known to work: encode, decode again, let the model judge.

The ladder starts with an ordinary H.264 file and lowers its crf until the decoded file is still adversarial;
lossless comes last. Nothing about a file is assumed: what is reported was measured on its bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multav.attack_request import AttackRequest
from multav.crafted_frames import CraftedFrames
from multav.deep_measure import DeepComparison, comparison
from multav.errors import EncodingFailed
from multav.footage import Footage
from multav.grid import Grid
from multav.measure import Comparison
from multav.needs import output_too_large
from multav.pictures import Sheet
from multav.prediction import Prediction, RunningPrediction, Scorer
from multav.quantise import LevelBounds
from multav.read_ahead import read_ahead
from multav.video.decode import decode
from multav.video.encode import encode
from multav.video.formats import FORMATS, OutputFormat
from multav.video.info import VideoInfo
from multav.video.limits import Limits
from multav.video.picture import Picture
from multav.windows import Segment

Segments = Callable[[Iterator[Picture]], Iterator[Segment[Picture]]]

DEFAULT_CRF = 23
_FALLING_CRF = (DEFAULT_CRF, 18, 12, 6)
_LAST_STEP = "vp9-mp4"


@dataclass(frozen=True)
class Rung:
    """One way to write the file: a format, and for H.264 its constant rate factor."""

    format: OutputFormat
    crf: int | None = None


def ladder(request: AttackRequest) -> tuple[Rung, ...]:
    """The rungs that `request.output` stands for, the smallest file first."""
    if request.output == "auto":
        lossy = tuple(Rung(FORMATS["h264-mp4"], crf) for crf in _FALLING_CRF)
        return (*lossy, Rung(FORMATS[_LAST_STEP]))
    if request.output == "h264-mp4":
        return (Rung(FORMATS["h264-mp4"], DEFAULT_CRF if request.crf is None else request.crf),)
    return (Rung(FORMATS[request.output].at(request.bits)),)


@dataclass(frozen=True)
class Written:
    """A file that was written, decoded again and judged."""

    rung: Rung
    path: Path
    size: int
    codec: str
    pixel_format: str
    audio: dict[str, Any]
    prediction: Prediction
    to_source: Comparison | DeepComparison
    to_crafted: Comparison | DeepComparison
    bound_respected: bool
    sheet: Sheet


@dataclass(frozen=True)
class Delivery:
    """The file that is handed out, and every rung that was tried before it."""

    file: Written
    tried: tuple[dict[str, Any], ...]

    def as_dict(self, bounds: LevelBounds, *, everywhere: bool) -> dict[str, Any]:
        """The `delivery` object of a result.

        Unless the attack may act `everywhere`, a file keeps its bound only by changing nothing: an encoder's own noise
        knows no region.
        """
        file = self.file
        placed = everywhere or file.to_crafted.psnr_db is None
        return {
            "output": file.rung.format.name,
            "codec": file.codec,
            "pixel_format": file.pixel_format,
            "lossless": file.rung.format.lossless,
            "bits": file.rung.format.bits,
            "crf": file.rung.crf,
            "bytes": file.size,
            "psnr_to_crafted_db": file.to_crafted.psnr_db,
            "bound_respected": placed and file.bound_respected and file.to_source.within(bounds),
            "audio": file.audio,
            "tried": list(self.tried),
        }


@dataclass(frozen=True)
class Deliverer:
    """Everything that the rungs of one video's ladder share.

    `source` is the file whose sound and pixel shape the delivered one keeps; None in the model's domain. `grid` is
    that of the crafted pictures; above 8 bits every rung holds it.
    """

    footage: Footage
    crafted: CraftedFrames
    segments: Segments
    scorer: Scorer
    info: VideoInfo
    size: tuple[int, int]
    frames: int
    source: Path | None
    folder: Path
    name: str
    limits: Limits
    max_bytes: int
    sheet_frames: frozenset[int]
    check: Callable[[], None]
    on_frame: Callable[[], None]
    keeps_bound: Callable[[Segment[Picture], Sequence[Picture], Sequence[Picture]], bool]
    grid: Grid

    def deliver(
        self, rungs: tuple[Rung, ...], *, adversarial: Callable[[Prediction], bool], worth: bool
    ) -> Delivery:
        """Climb `rungs` until a file is adversarial; the last rung that fits is delivered in any case.

        With `worth` unset (the crafted pictures do not fool the model themselves) the first rung is enough.
        """
        tried: list[dict[str, Any]] = []
        file: Written | None = None
        for rung in rungs:
            entry: dict[str, Any] = {"output": rung.format.name, "crf": rung.crf}
            needed = self.estimate(rung)
            if needed > self.max_bytes:
                if file is None and rung is rungs[-1]:
                    raise output_too_large(rung.format.name, needed, self.max_bytes)
                tried.append(
                    {**entry, "bytes": None, "estimated_bytes": needed, "outcome": "skipped: too large"}
                )
                continue
            if file is not None:
                file.path.unlink()
                file = None
            try:
                file = self._verify(rung, self._write(rung))
            except EncodingFailed as error:
                # An encoder may not take this size; another one may.
                if rung is rungs[-1]:
                    raise
                tried.append({**entry, "bytes": None, "outcome": f"failed: {error.detail}"})
                continue
            survived = adversarial(file.prediction)
            tried.append(
                {
                    **entry,
                    "bytes": file.size,
                    "label": file.prediction.as_dict()["label"],
                    "confidence": file.prediction.as_dict()["confidence"],
                    "outcome": "adversarial" if survived else "lost",
                }
            )
            if survived or not worth:
                break
        if file is None:
            raise output_too_large(rungs[0].format.name, self.estimate(rungs[0]), self.max_bytes)
        return Delivery(file, tuple(tried))

    def estimate(self, rung: Rung) -> int:
        """Bytes that `rung` is expected to need at most."""
        height, width = self.size
        return rung.format.estimate_bytes(width, height, self.frames, crf=rung.crf)

    def _write(self, rung: Rung) -> tuple[Path, str, str, dict[str, Any]]:
        height, width = self.size
        path = self.folder / f"{self.name}-adversarial{rung.format.suffix}"
        with (
            self.footage.open() as frames,
            encode(
                path,
                rung.format,
                width=width,
                height=height,
                time_base=self.info.time_base,
                frame_rate=self.info.frame_rate,
                crf=rung.crf,
                audio_from=self.source,
                sample_aspect_ratio=self.info.sample_aspect_ratio if self.source else "1/1",
                limits=self.limits,
                max_bytes=self.max_bytes,
            ) as writer,
        ):

            def timed() -> Iterator[tuple[Picture, int]]:
                times: list[int] = []

                def sources() -> Iterator[Picture]:
                    for frame in frames:
                        times.append(frame.pts)
                        yield frame.rgb

                for _, crafted in self.crafted.read(sources()):
                    yield crafted, times[-1]

            with read_ahead(timed()) as pictures:
                for crafted, time in pictures:
                    self.check()
                    writer.write(crafted, time)
                    self.on_frame()
        audio = {"copied": writer.audio_copied, "reason": writer.audio_reason}
        return path, writer.codec, writer.pixel_format, audio

    def _verify(self, rung: Rung, written: tuple[Path, str, str, dict[str, Any]]) -> Written:
        """Decode the file again beside the source and the crafted pictures."""
        path, codec, pixel_format, audio = written
        to_source, to_crafted = comparison(self.grid), comparison(self.grid.itself)
        prediction, sheet = RunningPrediction(self.scorer, self.grid.peak), Sheet(self.grid)
        sources: list[Picture] = []
        respected = True
        with (
            decode(path, self.limits, bits=self.grid.bits) as delivered,
            read_ahead(delivered) as written_frames,
            self.footage.open() as frames,
            read_ahead(self.crafted.read(frame.rgb for frame in frames)) as pairs,
        ):

            def pictures() -> Iterator[Picture]:
                for index, (frame, (source, crafted)) in enumerate(zip(written_frames, pairs, strict=True)):
                    self.check()
                    if frame.rgb.shape != crafted.shape:
                        raise ValueError(f"pictures of {frame.rgb.shape} where {crafted.shape} were written")
                    to_source.add(source, frame.rgb, ssim=False)
                    to_crafted.add(crafted, frame.rgb, ssim=False)
                    if index in self.sheet_frames:
                        sheet.add(source, frame.rgb, crafted)
                    sources.append(source)
                    self.on_frame()
                    yield frame.rgb

            try:
                if delivered.bits != self.grid.bits:
                    raise ValueError(f"{delivered.bits} bits a channel where {self.grid.bits} were written")
                for segment in self.segments(pictures()):
                    prediction.add(segment, segment.pictures)
                    # A segment comes when its pictures, and some of the next, have been read.
                    clean, sources = sources[: len(segment.pictures)], sources[len(segment.pictures) :]
                    respected = respected and self.keeps_bound(segment, clean, segment.pictures)
            except ValueError as error:
                raise EncodingFailed(
                    f"the written {rung.format.name} file does not hold what was encoded: {error}"
                ) from error
        size = path.stat().st_size
        return Written(
            rung,
            path,
            size,
            codec,
            pixel_format,
            audio,
            prediction.result(),
            to_source,
            to_crafted,
            respected,
            sheet,
        )
