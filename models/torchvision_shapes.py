"""torchvision's video ResNets, by the names and shapes of their tensors. Torch-free.

Source: torchvision/models/video/resnet.py.
"""

from collections.abc import Mapping


def torchvision(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Its name there: r3d_18, mc3_18 or r2plus1d_18; None for anything else."""
    if "stem.0.weight" not in shapes or "fc.weight" not in shapes:
        return None
    if "stem.3.weight" in shapes:
        return "r2plus1d_18"
    kernel = shapes.get("layer2.0.conv1.0.weight", ())
    # mc3: only the first layer convolves over time.
    return "mc3_18" if kernel[2:3] == (1,) else "r3d_18"
