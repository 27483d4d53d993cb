"""Benchmarks stand alone: they import the package, never the tests; the stub libraries reach them as a folder."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.benchmarks.conftest import BENCHMARKS
from tests.cuda import fake_cuda

SCRIPTS = sorted(BENCHMARKS.rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(BENCHMARKS).as_posix())
def test_nothing_is_imported_from_the_tests(script: Path) -> None:
    names = []
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    assert names
    assert not [name for name in names if name.split(".")[0] == "tests"]


def test_the_folder_of_stub_libraries_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stub_cuda import Stubs

    monkeypatch.setattr(fake_cuda, "build", lambda folder: None)
    fake_cuda.write_facts(tmp_path, "sm86")
    stubs = Stubs.read(tmp_path)
    assert stubs.variables()["LD_LIBRARY_PATH"] == str(tmp_path)
    assert "LD_PRELOAD" not in stubs.variables()
    with_plugin = stubs.variables(plugin=True, XDG_CACHE_HOME="here")
    assert with_plugin["XDG_CACHE_HOME"] == "here"
    assert str(tmp_path) in with_plugin["LD_PRELOAD"]
    assert "86" in with_plugin.values()
    assert set(json.loads((tmp_path / "stubs.json").read_text())) == set(Stubs.__dataclass_fields__)


def test_a_missing_folder_is_an_error_with_the_command(tmp_path: Path) -> None:
    from stub_cuda import Stubs

    with pytest.raises(SystemExit, match="make stubs"):
        Stubs.read(tmp_path)
