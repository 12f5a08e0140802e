"""What layers of the model see in the middle of a video, before and after the attack: a picture and the tensors."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from multav.attack_artifacts import ArtifactFile
from multav.errors import InvalidSpec
from multav.feature_change import FeatureChange
from multav.figures.feature_sheet import feature_sheet
from multav.figures.png import save_png
from multav.geometry import InputGeometry
from multav.grid import Grid
from multav.layer_outputs import feature_maps
from multav.prediction import Scorer, window_positions
from multav.video.picture import Picture
from multav.windows import Segment


@dataclass
class FeatureFiles:
    """Looks at `layers` of the scorer's model in the video's window number `window`, and writes into `folder`."""

    layers: tuple[str, ...]
    window: int
    scorer: Scorer
    geometry: InputGeometry
    grid: Grid
    folder: Path
    name: str
    _changes: dict[str, FeatureChange] = field(default_factory=dict)

    def refuse_unknown(self) -> None:
        """Raise `InvalidSpec` for a layer without feature maps; costs a forward pass."""
        geometry = self.geometry
        clip = torch.zeros(1, 3, geometry.frames, geometry.height, geometry.width, device=self.scorer.device)
        for index, layer in enumerate(self.layers):
            try:
                feature_maps(self.scorer.model, clip, (layer,))
            except ValueError as error:
                detail = str(error)
                raise InvalidSpec.at(f"/features/{index}", detail) from error

    def add(self, segment: Segment[Picture], crafted: tuple[Picture, ...]) -> None:
        """If the window lies in `segment`, write what the layers see in its pictures and in the crafted ones."""
        place = self.window - segment.first_window
        if not (self.layers and 0 <= place < segment.windows):
            return
        positions = window_positions(segment)[place]
        clean = self._clip(segment.pictures, positions, self.grid.clean_peak)
        changed = self._clip(crafted, positions, self.grid.peak)
        before, after = (
            feature_maps(self.scorer.model, clip[None], self.layers) for clip in (clean, changed)
        )
        pairs = {layer: (before[layer][0], after[layer][0]) for layer in self.layers}
        self._changes = {layer: FeatureChange.of(*maps) for layer, maps in pairs.items()}
        save_png(feature_sheet(clean.clamp(0, 1), changed.clamp(0, 1), pairs), self._picture)
        tensors = {
            f"{layer}.{which}": maps
            for layer, pair in pairs.items()
            for which, maps in zip(("clean", "adversarial"), pair, strict=True)
        }
        frames = ",".join(str(segment.start + position) for position in positions)
        metadata = {"layout": "channel,time,height,width", "window": str(self.window), "frames": frames}
        save_file(tensors, str(self._tensors), metadata=metadata)

    def as_dict(self) -> dict[str, Any]:
        """The layers' changes, as results show them."""
        return {layer: change.as_dict() for layer, change in self._changes.items()}

    def files(self) -> tuple[ArtifactFile, ...]:
        """What was written."""
        if not self._changes:
            return ()
        return (
            ArtifactFile("feature-maps", self._picture, "image/png", f"{self.name}-features.png"),
            ArtifactFile(
                "feature-tensors",
                self._tensors,
                "application/octet-stream",
                f"{self.name}-features.safetensors",
            ),
        )

    def _clip(self, pictures: tuple[Picture, ...], positions: list[int], peak: int) -> Tensor:
        """The model's clip (3, T, height, width) of the pictures at `positions`."""
        seen = self.scorer.seen([pictures[position] for position in positions])
        return self.scorer.preprocessing.apply(seen.float().div_(peak))

    @property
    def _picture(self) -> Path:
        return self.folder / "features.png"

    @property
    def _tensors(self) -> Path:
        return self.folder / "features.safetensors"
