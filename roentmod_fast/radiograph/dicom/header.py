"""Read values of a DICOM header that need not keep to the standard.

pydicom is strict about some wrong values and warns about others. These readers never raise for a wrong value: they
return what can be understood of it, or nothing.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@contextmanager
def unvalidated() -> Iterator[None]:
    """Keep pydicom from validating values meanwhile: it would warn, and log, with the values themselves, names too."""
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an attribute; text where it cannot be read as what it should be; None where it is absent."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    if tag not in dataset:
        return None
    try:
        return dataset[tag].value
    except Exception:  # pydicom raises what its value parsers raise: ValueError, struct.error, OverflowError, ...
        raw = getattr(dataset.get_item(tag), "value", None)
        return raw.decode("latin-1") if isinstance(raw, bytes) else None


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return all finite numbers of an attribute; several in one string ("2048, 1024") are taken apart."""
    value = value_of(dataset, keyword)
    result: list[float] = []
    for item in value if isinstance(value, (MultiValue, list, tuple)) else (value,):
        if isinstance(item, (int, float)) or type(item).__name__ in ("DSdecimal", "Decimal"):
            result.append(float(item))
        elif isinstance(item, (str, bytes)):
            text = item.decode("latin-1") if isinstance(item, bytes) else item
            result += [float(number) for number in _NUMBER.findall(text)]
    return tuple(number for number in result if math.isfinite(number))


def number(dataset: Dataset, keyword: str, default: float | None = None) -> float | None:
    """Return the first number of an attribute, or ``default``."""
    found = numbers(dataset, keyword)
    return found[0] if found else default


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int | None:
    """Return the first number of an attribute as an integer, or ``default``."""
    found = numbers(dataset, keyword)
    return int(found[0]) if found else default


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of an attribute as text without padding; empty where it is absent or empty."""
    value = value_of(dataset, keyword)
    items = value if isinstance(value, (MultiValue, list, tuple)) else () if value is None else (value,)
    parts = [part for item in items for part in str(item).split("\\")]
    return tuple(part.strip(" \0\r\n\t") for part in parts) if any(part.strip(" \0") for part in parts) else ()


def text(dataset: Dataset, keyword: str) -> str:
    """Return the first value of an attribute as text without padding, or the empty string."""
    found = texts(dataset, keyword)
    return found[0] if found else ""


def code(dataset: Dataset, keyword: str) -> str:
    """Return the first value of a code string in capitals, or the empty string."""
    return text(dataset, keyword).upper()


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence; empty where it is absent or no sequence."""
    value = value_of(dataset, keyword)
    try:
        return tuple(item for item in value if isinstance(item, Dataset))
    except Exception:  # no sequence, or one that breaks off
        return ()
