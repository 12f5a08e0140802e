"""What people want to look at: maps of a change, the region of an attack, its loss step by step.

    from multav import figures
    crafted = multav.craft(model, clips, labels, attack)
    figures.save_png(figures.contact_sheet(clips[0], crafted.clips[0], epsilon=1.04), "sheet.png")
    figures.save_png(figures.loss_plot(crafted.losses), "losses.png")

Every function takes clean and adversarial pictures of one shape, as tensors or arrays, uint8 levels or floats in
[0, 1], and gives uint8 RGB arrays with the channels last:

| given | back |
|---|---|
| a picture (H, W, 3) | (H, W, 3) |
| the pictures of a video (T, H, W, 3) | (T, H, W, 3) |
| a clip (3, T, H, W) | (T, H, W, 3) |
| clips (B, 3, T, H, W), as `multav.craft` has them | (B, T, H, W, 3) |
"""

from multav.figures.changed_region import changed_region
from multav.figures.contact_sheet import contact_sheet
from multav.figures.difference_maps import GAIN, difference_map, signed_difference_map
from multav.figures.feature_sheet import feature_sheet
from multav.figures.loss_plot import loss_plot
from multav.figures.png import save_png
from multav.figures.ratio_map import ratio_map

__all__ = [
    "GAIN",
    "changed_region",
    "contact_sheet",
    "difference_map",
    "feature_sheet",
    "loss_plot",
    "ratio_map",
    "save_png",
    "signed_difference_map",
]
