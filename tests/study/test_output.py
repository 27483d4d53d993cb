"""CSV that reads back, whatever its cells hold."""

from __future__ import annotations

import csv
import io

import pytest

from roentmod_fast.study.output import csv_bytes


@pytest.mark.parametrize("text", ["a\rb", "\r", "a\r\nb", "a\nb", 'a"b', "a,b", "a\r", "é"])
def test_a_cell_reads_back(text: str) -> None:
    data = csv_bytes([["name", "value"], [text, 1.5], ["x", float("nan")]])
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert rows == [["name", "value"], [text, "1.5"], ["x", ""]]


def test_lines_end_with_a_line_feed() -> None:
    assert csv_bytes([["a", "b"], ["c d", 2]]) == b"a,b\nc d,2\n"
