"""Compile the loops of `multav.compiled` now, and not in the first attack: `python -m models.compile_loops`.

Takes some seconds once; what was compiled is kept beside the code.
"""

import numpy as np
import torch

from models.resnet3d import ResNet3D
from multav.measure import Comparison


def main() -> None:
    """One pass of a small network, forward and back, and one picture compared."""
    network = ResNet3D(2, depth=10, widen_factor=0.05).eval().requires_grad_(False)
    clips = torch.rand(1, 3, 4, 16, 16, requires_grad=True)
    torch.autograd.grad(network(clips).sum(), clips)
    picture = np.zeros((2, 2, 3), dtype=np.uint8)
    Comparison().add(picture, picture)


if __name__ == "__main__":
    main()
