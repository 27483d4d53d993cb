"""Classifier-free guidance: how strongly the prompt pulls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def guide(unconditional: Array, conditional: Array, scale: float) -> Array:
    """Return u + s (c - u), the network's output drawn towards the prompt (Ho & Salimans 2022, eq. 6 with s = 1 + w).

    Scale 1 is the prompt's own prediction, 0 that of the empty prompt; both arrays float32 of one shape.
    """
    guided: Array = unconditional + np.float32(scale) * (conditional - unconditional)
    return guided
