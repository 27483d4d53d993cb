"""What the reports of the benchmarks say of the machine: no folder of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks.conftest import BENCHMARKS

RESULTS = sorted(BENCHMARKS.rglob("*.json"))


def strings(value: Any) -> Iterator[str]:
    """Yield all keys and values of a report that are text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *strings(item))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def test_reports_are_found() -> None:
    assert {"host-side.json", "first-start.json", "speed.json"} <= {path.name for path in RESULTS}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_a_report_holds_no_path(path: Any) -> None:
    for text in strings(json.loads(path.read_text(encoding="utf-8"))):
        for part in text.split("="):
            assert not part.startswith(("/", "~", "file:")) and part[1:3] not in (":\\", ":/"), text


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("/a/b/engine", "engine"),
        ("a/b/", "b"),
        ("--out=/a/b/x.json", "--out=x.json"),
        ("cuda=/a/venv", "cuda=venv"),
        ("--python", "--python"),
        ("16", "16"),
        ("--seed=", "--seed="),
        ("/", ""),
        (".", "."),
    ],
)
def test_a_command_line_is_recorded_without_folders(argument: str, name: str) -> None:
    from process import names_only

    assert names_only(["script.py", argument]) == ["script.py", name]
