"""Importing and removing engines."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from roentmod_fast.bundle.bundle import find_bundle, user_folder
from roentmod_fast.bundle.install import import_bundle, remove_bundle
from roentmod_fast.errors import EngineError, OutputError


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"{folder.name}/{path.name}")
    return target


@pytest.mark.parametrize("as_zip", [False, True])
def test_import_then_remove(bundle_folder: Path, tmp_path: Path, as_zip: bool) -> None:
    (bundle_folder / "stray.txt").write_text("not listed")
    (bundle_folder / "CARD.md").write_text("# Model card")
    (bundle_folder / "presets.some-device.json").write_text("{}")  # of a device that this version does not know
    source = zipped(bundle_folder, tmp_path / "mock.zip") if as_zip else bundle_folder
    imported = import_bundle(source)
    assert imported.folder == user_folder() / "mock"
    assert find_bundle("mock").folder == imported.folder
    names = {path.name for path in imported.folder.iterdir()}
    assert {"CARD.md", "presets.some-device.json"} <= names
    assert "stray.txt" not in names
    with pytest.raises(OutputError, match="exists: give --overwrite"):
        import_bundle(source)
    import_bundle(source, overwrite=True)
    assert remove_bundle("mock") == imported.folder
    assert [path.name for path in user_folder().iterdir()] == []


def test_an_altered_bundle_is_not_imported(bundle_folder: Path) -> None:
    (bundle_folder / "unet.onnx").write_bytes(b"x" * 100)
    with pytest.raises(EngineError, match="altered"):
        import_bundle(bundle_folder)
    assert not user_folder().exists() or not list(user_folder().iterdir())


def test_a_zip_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil", "x")
    with pytest.raises(EngineError, match="leaves the folder"):
        import_bundle(tmp_path / "evil.zip")


@pytest.mark.parametrize("name", ["phantom", "../x", "absent"])
def test_only_imported_engines_can_be_removed(name: str) -> None:
    with pytest.raises(EngineError, match="no imported engine"):
        remove_bundle(name)


def test_what_is_no_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(EngineError, match="neither a folder nor a zip"):
        import_bundle(tmp_path / "text.txt")
    with pytest.raises(EngineError, match="no such file"):
        import_bundle(tmp_path / "absent")
