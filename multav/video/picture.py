"""What one picture is, whatever its depth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.unsignedinteger[Any]]
"""(height, width, 3) upright RGB: levels 0..255 as uint8, or codes 0..2^bits - 1 of more than 8 bits as uint16."""
