"""The built wheel holds what a user needs: the runtime, the torch side, the built-in engines with all their files."""

from __future__ import annotations

import email
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINES = ("phantom", "cxr-mini")
PARTS = ("roentmod_fast", "export", "train", "engines", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that nothing of an earlier build gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        path = ROOT / part
        if path.is_dir():
            shutil.copytree(path, source / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(path, source / part)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stderr
    [path] = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_holds_the_engine_and_every_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for engine in ENGINES:
            manifest = json.loads(archive.read(f"roentmod_fast_engines/{engine}/manifest.json"))
            assert {"unet.onnx", "tokenizer.json"} <= set(manifest["files"]), engine
            expected = set(manifest["files"]) | {
                path.name
                for path in (ROOT / "engines" / engine).iterdir()
                if path.name in ("CARD.md", "LICENSE") or path.name.startswith("presets.")
            }
            assert "CARD.md" in expected, engine
            assert {f"roentmod_fast_engines/{engine}/{name}" for name in expected} <= names
    assert "roentmod_fast_engines/cxr-mini/LICENSE" in names
    for folder, package in (
        ("roentmod_fast", "roentmod_fast"),
        ("export", "roentmod_fast_export"),
        ("train", "roentmod_fast_train"),
    ):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"{package}/{path.relative_to(ROOT / folder).as_posix()}" in names
    assert "roentmod_fast/py.typed" in names
    assert {f"roentmod_fast/study/data/{name}.csv" for name in ("labels", "paper_counts", "cooccurrence")} <= names
    readers = ROOT / "roentmod_fast" / "study" / "readers"
    parts = {path.name for path in readers.iterdir() if path.suffix in {".css", ".html", ".js"}}
    assert {"reader.html", "reader.css", "reader.js", "sheet.js"} <= parts
    assert {f"roentmod_fast/study/readers/{part}" for part in parts} <= names
    page = ROOT / "roentmod_fast" / "study" / "page"
    parts = {path.name for path in page.iterdir() if path.suffix in {".css", ".html", ".js"}}
    assert {"page.html", "page.css", "page.js", "viewer.js", "index.html", "index.js"} <= parts
    assert {f"roentmod_fast/study/page/{part}" for part in parts} <= names
    page = ROOT / "roentmod_fast" / "app" / "page"
    parts = {path.name for path in page.iterdir() if path.suffix in {".css", ".html", ".js"}}
    assert {"app.html", "app.css"} <= parts
    assert {f"roentmod_fast/app/page/{part}" for part in parts} <= names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


@pytest.mark.slow
def test_the_licence_is_an_spdx_expression_with_its_file(wheel: Path) -> None:
    """Metadata 2.4, PEP 639."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [name] = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert name.replace("METADATA", "licenses/LICENSE") in names
    assert "License" not in metadata


@pytest.mark.slow
def test_the_citation_has_the_wheels_version_and_licence(wheel: Path) -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {wheel.name.split('-')[1]}" in lines
    assert "license: Apache-2.0" in lines


@pytest.mark.slow
def test_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Unpacked alone, with nothing of the source tree in reach, it edits."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import roentmod_fast; "
        f"assert roentmod_fast.__file__.startswith({str(tmp_path)!r}); "
        "from roentmod_fast.bundle.bundle import find_bundle, verify_files; "
        f"bundles = [find_bundle(name) for name in {ENGINES!r}]; "
        f"assert all(str(bundle.folder).startswith({str(tmp_path)!r}) for bundle in bundles); "
        "[verify_files(bundle) for bundle in bundles]; "
        "from roentmod_fast.cli import main; main()"
    )
    chest = tmp_path / "chest.dcm"
    for arguments in (["sample", str(chest), "--size", "128"], ["edit", str(chest), "-p", "edema", "--quick"]):
        ran = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=tmp_path,
        )
        assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "chest.edema.dcm").is_file()
