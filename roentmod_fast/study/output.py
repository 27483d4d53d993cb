"""How results are written: CSV and JSON with nothing where a number is not known, and names of files."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from roentmod_fast.study.statistics import Interval


def csv_bytes(rows: Iterable[Sequence[object]], errors: str = "replace") -> bytes:
    """Return rows as CSV, UTF-8; a NaN is an empty cell. ``errors``: of what UTF-8 does not know."""
    known = (["" if isinstance(each, float) and math.isnan(each) else each for each in row] for row in rows)
    return csv_text(known).encode("utf-8", errors)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV with a line feed after each; a cell that holds one, or a carriage return, is quoted."""
    lines, buffer = list[str](), io.StringIO(newline="")
    # The csv module quotes the characters of its own line end alone, but reads a carriage return as one too.
    writer = csv.writer(buffer, lineterminator="\r\n")
    for row in rows:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(row)
        lines.append(buffer.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def json_bytes(facts: Any) -> bytes:
    """Return facts as JSON. Raises ValueError for a number that is not finite: see :func:`finite`."""
    return (json.dumps(facts, indent=1, allow_nan=False) + "\n").encode()


def finite(value: Any) -> Any:
    """Return a value with None for each number that is not finite, also within dictionaries."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def ends(interval: Interval) -> tuple[float, float, float]:
    """Return estimate, lower and upper limit."""
    return interval.estimate, interval.low, interval.high


def file_name(name: str) -> str:
    """Return a model's name as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "model"
