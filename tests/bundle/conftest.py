"""A bundle without real networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.conftest import write_bundle


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "mock")
    return tmp_path / "mock"
