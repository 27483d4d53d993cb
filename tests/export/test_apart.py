"""Large steps of an export run in processes of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roentmod_fast_export.apart import FROM, apart, folder_bytes
from roentmod_fast_export.errors import ExportError


def test_what_is_large_runs_in_another_process() -> None:
    assert apart(FROM - 1, os.getpid) == os.getpid()
    assert apart(FROM, os.getpid) != os.getpid()


@pytest.mark.parametrize("weights", [0, FROM])
def test_what_it_returns_and_raises_comes_back(weights: int) -> None:
    assert apart(weights, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        apart(weights, divmod, 7, 0)


def test_a_process_that_is_killed_is_named() -> None:
    with pytest.raises(ExportError, match="ended from outside"):
        apart(FROM, os.abort)


def test_the_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"678")
    assert folder_bytes(tmp_path) == 8
