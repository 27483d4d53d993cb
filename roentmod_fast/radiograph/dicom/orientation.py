"""Patient Orientation (0020,0020): turn a frontal image upright, and back (PS3.3 C.7.6.1.1.1).

An upright frontal image has the patient's left at its right and the feet at its lower edge: rows run towards L,
columns towards F.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from roentmod_fast.errors import SettingError

AS_STORED = "stored"
"""Word for an image that lies upright as it is stored: L\\F."""


@dataclass(frozen=True)
class Orientation:
    """How to turn a stored image upright: transpose first, then flip rows (up-down) and columns (left-right)."""

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

    def box_back(self, box: tuple[int, int, int, int], shape: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return where a box (x0, y0, x1, y1) of the upright image, of ``shape`` (H, W), lies in the stored one."""
        x0, y0, x1, y1 = box
        if self.flip_rows:
            y0, y1 = shape[0] - y1, shape[0] - y0
        if self.flip_columns:
            x0, x1 = shape[1] - x1, shape[1] - x0
        return (y0, x0, y1, x1) if self.transpose else (x0, y0, x1, y1)


UPRIGHT = Orientation()


def orientation_of(row: str, column: str) -> Orientation | None:
    """Return how to turn an image upright whose rows run towards ``row`` and columns towards ``column``.

    The directions are values of Patient Orientation: letters A, P, R, L, H, F, the first one leading. None means that
    they do not describe a frontal image.
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


@dataclass(frozen=True)
class GivenOrientation:
    """Patient Orientation as the user gives it: ``directions`` of rows and columns, and how to turn upright."""

    directions: tuple[str, str]
    orientation: Orientation

    @property
    def note(self) -> str:
        """What a user should know of it."""
        turned = "" if self.orientation == UPRIGHT else ", turned upright and back in the output"
        return f"Patient Orientation given as {self.directions[0]}\\{self.directions[1]}{turned}"


def given_orientation(text: str) -> GivenOrientation:
    r"""Parse the directions of rows and columns, such as ``L\F``, or ``stored``, which is ``L\F`` too.

    ``/``, ``,``, a space or nothing may stand for the backslash, which a shell may take away. Raises SettingError for
    what describes no frontal image.
    """
    word = text.strip().upper()
    found = re.fullmatch(r"([LRHF])[\\/, ]{0,2}([LRHF])", "LF" if word == AS_STORED.upper() else word)
    orientation = orientation_of(*found.groups()) if found else None
    if found is None or orientation is None:
        raise SettingError(
            f"orientation {text!r}: expected where rows and columns run, such as L/F (to the patient's left and the"
            f" feet), R/F, L/H, F/R, or {AS_STORED}"
        )
    return GivenOrientation((found[1], found[2]), orientation)
