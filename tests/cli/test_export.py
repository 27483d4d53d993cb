"""``roentmod-fast export`` on a machine without torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran


def test_says_what_to_install(roentmod: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    ran = roentmod("export", tmp_path, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "torch" in ran.err
    assert "pip install 'roentmod-fast[export]'" in ran.err
