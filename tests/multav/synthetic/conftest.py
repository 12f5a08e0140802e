"""Real pictures for the synthetic sets' tests: one frame per second of the sample clip."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

SAMPLE = Path(__file__).parents[3] / "samples" / "bigbuckbunny.mp4"


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.uint8]]:
    """Each uint8 (720, 1280, 3)."""
    with av.open(str(SAMPLE)) as container:
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for index, frame in enumerate(container.decode(video=0))
            if index % 25 == 0
        ]
