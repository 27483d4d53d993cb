"""Patient Orientation (0020,0020): turn a frontal picture upright, and back (PS3.3 C.7.6.1.1.1).

An upright frontal picture has the patient's left at its right and the feet at its lower edge: rows run towards L,
columns towards F.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """How to turn a stored picture upright: transpose first, then flip rows (up-down) and columns (left-right)."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def upright(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turn an array (h, w) as stored upright; returns a view."""
        if self.transpose:
            array = array.T
        return array[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def back(self, array: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`upright`, exactly; returns a view."""
        array = array[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return array.T if self.transpose else array


UPRIGHT = Orientation()


def orientation_of(row: str, column: str) -> Orientation | None:
    """Return how to turn a picture upright whose rows run towards ``row`` and columns towards ``column``.

    The directions are values of Patient Orientation: letters A, P, R, L, H, F, the first one leading. None means that
    they do not describe a frontal picture.
    """
    ahead, down = row[:1].upper(), column[:1].upper()
    if ahead in ("L", "R") and down in ("F", "H"):
        transpose = False
    elif ahead in ("F", "H") and down in ("L", "R"):
        transpose = True
        ahead, down = down, ahead
    else:
        return None
    return Orientation(transpose, flip_rows=down == "H", flip_columns=ahead == "R")


def contiguous(array: NDArray[Any]) -> NDArray[Any]:
    """Return ``array`` in row order, copied only where it is not."""
    return np.ascontiguousarray(array)
