"""Axes of a sweep: lists and ranges of values, as they are typed."""

from __future__ import annotations

import math
import re

from roentmod_fast.errors import SettingError

_RANGE = re.compile(r"([^.:,]+(?:\.\d+)?|\.\d+)\.\.([^:,]+)(?::(\d+))?")
MOST = 1000
"""Values of one axis."""


def numbers(name: str, text: str) -> tuple[float, ...]:
    """Parse numbers: a list with commas, of numbers and of ranges.

    ``0.2..1:10`` is ten numbers evenly spaced from 0.2 to 1, both included. A number that comes twice is taken once.
    Raises SettingError naming ``name``.
    """
    values: list[float] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            values.append(_number(name, part, text))
            continue
        first, last = _number(name, found[1], text), _number(name, found[2], text)
        count = int(found[3]) if found[3] is not None else 0
        if not 2 <= count <= MOST:
            raise SettingError(f"{name} {text!r}: say how many values, 2 to {MOST}, such as 0.2..1:10")
        # From both ends, so that the last one is what was typed.
        values += [(first * (count - 1 - n) + last * n) / (count - 1) for n in range(count)]
    return _different(name, [round(value, 10) for value in values])


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """Parse whole numbers as :func:`numbers` does; ``0..3`` without a count is 0, 1, 2, 3."""
    values: list[float] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is not None and found[3] is None:
            first, last = _number(name, found[1], text), _number(name, found[2], text)
            if not 0 <= last - first < MOST:
                raise SettingError(f"{name} {text!r}: expected a range that rises, of at most {MOST} values")
            values += [first + n for n in range(int(last - first) + 1)]
        else:
            values += numbers(name, part)
    if any(value != int(value) for value in values):
        raise SettingError(f"{name} {text!r}: expected whole numbers, such as 10,25,50 or 10..50:5")
    return _different(name, [int(value) for value in values])


def words(name: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Parse a list of words out of ``known``. Raises SettingError for another one."""
    values = [part.strip() for part in text.split(",")]
    for value in values:
        if value not in known:
            raise SettingError(f"{name} {value!r}: expected some of {', '.join(known)}")
    return tuple(dict.fromkeys(values))


def _number(name: str, text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise SettingError(f"{name} {whole!r}: expected a list such as 0.2,0.4 or a range such as 0.2..1:10") from None
    if not math.isfinite(value):
        raise SettingError(f"{name} {whole!r}: expected finite numbers")
    return value


def _different(name: str, values: list[float] | list[int]) -> tuple:  # type: ignore[type-arg]
    if len(values) > MOST:
        raise SettingError(f"{name}: {len(values)} values, at most {MOST}")
    return tuple(dict.fromkeys(values))
