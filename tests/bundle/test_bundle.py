"""Bundles on disk: altered files are refused, names are looked for in order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roentmod_fast.bundle.bundle import (
    BUILT_IN,
    SEARCH_VARIABLE,
    built_in_folder,
    find_bundle,
    list_bundles,
    read_bundle,
    user_folder,
    verify_files,
)
from roentmod_fast.bundle.manifest import FILE_NAME
from roentmod_fast.cli import ENGINE_HELP
from roentmod_fast.errors import EngineError
from tests.runtime.conftest import write_bundle


def test_a_whole_bundle_passes(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder)
    verify_files(bundle)
    assert bundle.networks_of("fp32") == bundle.manifest.networks["fp32"]
    with pytest.raises(EngineError, match="has no fp16 networks, only fp32"):
        bundle.networks_of("fp16")


def test_a_missing_file_is_named(bundle_folder: Path) -> None:
    (bundle_folder / "unet.onnx").unlink()
    with pytest.raises(EngineError, match=r"unet\.onnx: missing"):
        verify_files(read_bundle(bundle_folder))


def test_another_size_is_named(bundle_folder: Path) -> None:
    (bundle_folder / "unet.onnx").write_bytes(b"short")
    with pytest.raises(EngineError, match=r"unet\.onnx: altered \(5 bytes"):
        verify_files(read_bundle(bundle_folder))


def test_one_flipped_bit_is_found(bundle_folder: Path) -> None:
    data = bytearray((bundle_folder / "unet.onnx.data").read_bytes())
    data[50] ^= 1
    (bundle_folder / "unet.onnx.data").write_bytes(data)
    with pytest.raises(EngineError, match=r"unet\.onnx\.data: altered \(its SHA-256"):
        verify_files(read_bundle(bundle_folder))


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_a_link_out_of_the_folder_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    (bundle_folder / "unet.onnx").rename(outside)
    (bundle_folder / "unet.onnx").symlink_to(outside)
    with pytest.raises(EngineError, match="leads out of the bundle's folder"):
        verify_files(read_bundle(bundle_folder))


def test_a_folder_without_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no engine bundle"):
        read_bundle(tmp_path)
    with pytest.raises(EngineError, match="no such folder"):
        find_bundle(tmp_path / "absent")


def test_default_is_built_in_until_one_is_imported() -> None:
    assert ENGINE_HELP.endswith(f"else {BUILT_IN}]")
    assert find_bundle().folder == built_in_folder() / "cxr-mini"
    write_bundle(user_folder() / "mine", "mine")
    assert find_bundle().name == "mine"
    write_bundle(user_folder() / "other", "other")
    assert find_bundle().name == "cxr-mini"


def test_names_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "first" / "same", "same")
    write_bundle(tmp_path / "second" / "same", "same")
    monkeypatch.setenv(SEARCH_VARIABLE, os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")]))
    assert find_bundle("same").folder == tmp_path / "first" / "same"
    assert [folder.name for folder in list_bundles()] == ["same", "cxr-mini", "phantom"]
    with pytest.raises(EngineError, match="no engine named 'absent': found same, cxr-mini, phantom"):
        find_bundle("absent")


def test_manifest_hash_is_the_identity(bundle_folder: Path) -> None:
    before = read_bundle(bundle_folder).manifest_hash
    path = bundle_folder / FILE_NAME
    path.write_text(path.read_text().replace("a mock", "another"))
    assert read_bundle(bundle_folder).manifest_hash != before
