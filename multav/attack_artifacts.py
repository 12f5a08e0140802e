"""The files beside the adversarial video: maps, contact sheet, loss plot, tensor; and the list of them all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from multav.attack_request import AttackRequest
from multav.crafting import CraftedSegment
from multav.delivery import Delivery
from multav.figures.contact_sheet import contact_sheet
from multav.figures.loss_plot import loss_plot
from multav.figures.png import save_png
from multav.grid import Grid, levels
from multav.loss_history import LossHistory
from multav.map_videos import MapVideo, MapWriter, full_ratio, has_region, map_videos, open_maps
from multav.prediction import Prediction, window_positions
from multav.tensor_file import TensorFile
from multav.video.info import VideoInfo
from multav.video.limits import Limits
from multav.video.picture import Picture
from multav.windows import Segment


@dataclass(frozen=True)
class ArtifactFile:
    """A file that an attack made. `role` is one of `multav.artifact_roles`."""

    role: str
    path: Path
    media_type: str
    filename: str


@dataclass(frozen=True)
class AttackArtifacts:
    """Writes the files of one attack into `folder`; they are handed out under names that begin with `name`.

    `size` is height and width of the attacked pictures, `window` the part of them that the model sees. `frames`,
    `values` are those of a clip that the model takes. `grid` is that of the crafted pictures.
    """

    folder: Path
    name: str
    request: AttackRequest
    info: VideoInfo
    size: tuple[int, int]
    window: tuple[slice, slice]
    frames: int
    values: int
    grid: Grid
    limits: Limits

    @property
    def wants_tensor(self) -> bool:
        """Whether the float clips are written."""
        return self.request.tensor or self.request.domain == "model_input"

    @cached_property
    def _maps(self) -> tuple[MapVideo, ...]:
        return map_videos(self.request.attack, self.values)

    @contextmanager
    def open_maps(self) -> Iterator[MapWriter]:
        """Takes every pair of clean and crafted pictures while the block lasts."""
        with open_maps(self._maps, self.folder, self.size, self.grid, self.info, self.limits) as writer:
            yield writer

    def open_tensor(self, windows: int) -> TensorFile:
        """The file of the float clips of `windows` windows; see `write_clips`."""
        metadata = {
            "attack": self.request.attack.model_dump_json(),
            "layout": "window,channel,time,height,width",
        }
        return TensorFile(self._tensor_path, "clips", (windows, 3, self.frames, *self.size), metadata)

    def write_clips(self, file: TensorFile, segment: Segment[Picture], made: CraftedSegment) -> None:
        """Append the segment's windows at full picture size: crafted floats where seen, the source elsewhere."""
        rows, columns = self.window
        for positions, clip in zip(window_positions(segment), made.clips, strict=True):
            pictures = np.stack([segment.pictures[position] for position in positions])
            # (T, H, W, 3) -> (3, T, H, W)
            whole = levels(pictures).permute(3, 0, 1, 2).float().div_(self.grid.clean_peak)
            whole[:, :, rows, columns] = clip
            file.append(whole)

    def save_preview(self, delivery: Delivery, clean: Prediction) -> None:
        """Write the contact sheet: the delivered pictures, and the maps of what was crafted."""
        said, now, sheet = clean.as_dict(), delivery.file.prediction.as_dict(), delivery.file.sheet
        picture = contact_sheet(
            np.stack(sheet.clean),
            np.stack(sheet.crafted),
            epsilon=full_ratio(self.request.attack, self.values),
            region=has_region(self.request.attack),
            shown=np.stack(sheet.delivered),
            captions=(
                f"clean: {said['label']} {said['confidence']:.0%}",
                f"adversarial: {now['label']} {now['confidence']:.0%}",
            ),
            rows=len(sheet.clean),
        )
        save_png(picture, self.folder / "preview.png")

    def save_loss_plot(self, losses: LossHistory, label: str) -> None:
        """Write the plot of loss and confidence in `label` per step; losses that are no numbers have none."""
        if not losses.finite:
            return
        attack = self.request.attack
        title = f"{attack.kind}, epsilon {attack.epsilon:.4g}"
        save_png(loss_plot(losses, title=title, label=label, loss=attack.loss), self.folder / "loss-plot.png")

    def files(self, delivery: Delivery, losses: LossHistory) -> tuple[ArtifactFile, ...]:
        """All that were written, the delivered video first."""
        video, kind = delivery.file.path, delivery.file.rung.format.media_type
        files = [
            ArtifactFile("adversarial-video", video, kind, video.name),
            ArtifactFile("preview", self.folder / "preview.png", "image/png", f"{self.name}-preview.png"),
        ]
        if losses.finite:
            plot = self.folder / "loss-plot.png"
            files.append(ArtifactFile("loss-plot", plot, "image/png", f"{self.name}-losses.png"))
        for each in self._maps:
            path = each.path(self.folder)
            files.append(
                ArtifactFile(each.role, path, each.media_type, f"{self.name}-{each.suffix}{path.suffix}")
            )
        if self.wants_tensor:
            filename = f"{self.name}-adversarial.safetensors"
            files.append(
                ArtifactFile("adversarial-tensor", self._tensor_path, "application/octet-stream", filename)
            )
        return tuple(files)

    @property
    def _tensor_path(self) -> Path:
        return self.folder / "adversarial.safetensors"
