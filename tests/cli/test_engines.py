"""``roentmod-fast engines`` and ``doctor``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from roentmod_fast.bundle.bundle import SEARCH_VARIABLE, built_in_folder, find_bundle
from roentmod_fast.runtime import backends, host
from tests.cli.conftest import Ran
from tests.runtime.conftest import write_bundle

Run = Callable[..., Ran]


def test_list_marks_the_default(roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = roentmod("engines", "list")
    assert ran.code == 0
    assert ran.out.startswith("* cxr-mini")
    write_bundle(tmp_path / "mine", "mine")
    monkeypatch.setenv(SEARCH_VARIABLE, str(tmp_path))
    lines = roentmod("engines", "list").out.splitlines()
    assert lines[0].startswith("* mine")
    assert [line.split()[0] for line in lines[1:]] == ["cxr-mini", "phantom"]


def test_show(roentmod: Run) -> None:
    out = roentmod("engines", "show", "phantom").out
    assert "not RoentGen" in out
    assert find_bundle("phantom").manifest_hash in out
    assert json.loads(roentmod("engines", "show", "--json").out)["name"] == "cxr-mini"


def test_verify_runs_the_networks(roentmod: Run) -> None:
    ran = roentmod("engines", "verify", "phantom")
    assert ran.code == 0, ran.err
    assert "files match the manifest" in ran.out
    assert "fp32 runs" in ran.out


@pytest.mark.slow
def test_verify_compares_a_device_with_the_cpu(roentmod: Run) -> None:
    ran = roentmod("engines", "verify", "phantom", "--device", "cpu")
    assert ran.code == 0, ran.err
    lines = [line for line in ran.out.splitlines() if "dB to the CPU" in line]
    assert len(lines) == 4
    assert lines[1].startswith("phantom: fp32 unet on cpu: ")


def test_verify_tells_of_a_missing_device_first(roentmod: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.get("openvino"), "missing", lambda: "it is not here")
    ran = roentmod("engines", "verify", "phantom", "--device", "openvino")
    assert ran.code == 1
    assert ran.out == ""
    assert "device 'openvino' is absent: it is not here" in ran.err


def test_verify_finds_an_altered_file(roentmod: Run, tmp_path: Path) -> None:
    shutil.copytree(built_in_folder() / "phantom", tmp_path / "copy")
    with (tmp_path / "copy" / "tokenizer.json").open("a") as file:
        file.write(" ")
    ran = roentmod("engines", "verify", tmp_path / "copy")
    assert ran.code == 1
    assert "tokenizer.json: altered" in ran.err


def test_import_and_remove(roentmod: Run, tmp_path: Path) -> None:
    write_bundle(tmp_path / "mine", "mine")
    ran = roentmod("engines", "import", tmp_path / "mine")
    assert ran.code == 0, ran.err
    assert find_bundle().name == "mine"
    assert roentmod("engines", "remove", "mine", "--yes").code == 0
    assert find_bundle().name == "cxr-mini"
    assert roentmod("engines", "remove", "mine", "--yes").code == 1


def test_doctor_is_content_with_this_machine(roentmod: Run) -> None:
    ran = roentmod("doctor")
    assert ran.code == 0, ran.out
    assert "device cpu" in ran.out
    assert "engine phantom" in ran.out
    assert "PROBLEM" not in ran.out


def test_doctor_names_two_runtimes_over_each_other(roentmod: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = host.version_of
    monkeypatch.setattr(host, "version_of", lambda name: "1.20" if name == "onnxruntime-gpu" else real(name))
    ran = roentmod("doctor")
    assert ran.code == 1
    assert "PROBLEM onnxruntime" in ran.out
    assert "remedy: pip uninstall onnxruntime onnxruntime-gpu" in ran.out


def test_doctor_names_a_missing_package(roentmod: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = host.version_of
    monkeypatch.setattr(host, "version_of", lambda name: None if name == "python-gdcm" else real(name))
    ran = roentmod("doctor")
    assert ran.code == 1
    assert "remedy: pip install python-gdcm" in ran.out


def test_doctor_names_a_damaged_engine(roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "mine", "mine")
    (tmp_path / "mine" / "unet.onnx").unlink()
    monkeypatch.setenv(SEARCH_VARIABLE, str(tmp_path))
    ran = roentmod("doctor")
    assert ran.code == 1
    assert "PROBLEM engine mine" in ran.out
