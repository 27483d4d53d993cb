"""Nothing of an edit is reported to anyone, and nothing is written but what we write."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from roentmod_fast import telemetry
from roentmod_fast.doctor import examine

pytestmark = pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="HOME is not the home folder here")

TINY = Path(__file__).parent / "goldens" / "tiny_bundle"


def files_after(code: str, home: Path, **variables: str) -> list[str]:
    """Run Python ``code`` of a user with a new home folder; return the files that lie there then."""
    home.mkdir()
    # Of our own variables few: many say that this is no user's machine, and then nothing is reported in any case.
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    # What is left alone would really report: nobody listens where it is sent to.
    nowhere = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**kept, **nowhere, "HOME": str(home), **variables}
    command = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(command, env=environment, cwd=home, check=True, timeout=120)
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def editing(device: str) -> str:
    return f"""
from roentmod_fast import EditConfig, Editor
from roentmod_fast.phantom import draw
Editor.load({str(TINY)!r}, {device!r}).edit(draw(64, 0).image, "edema", EditConfig(steps=5))
"""


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_an_edit_leaves_no_report(tmp_path: Path, device: str) -> None:
    if device == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("no OpenVINO here")
    assert files_after(editing(device), tmp_path / "home") == []


@pytest.mark.skipif(sys.platform != "linux", reason="where onnxruntime leaves its reports was not seen here")
def test_onnxruntime_left_alone_leaves_one(tmp_path: Path) -> None:
    """Or the test above could not fail."""
    import onnxruntime

    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < (1, 29):
        pytest.skip("this onnxruntime does not report on Linux")
    code = f"import onnxruntime; onnxruntime.InferenceSession({str(TINY / 'vae_decoder.onnx')!r})"
    assert any("onnxruntime" in file for file in files_after(code, tmp_path / "home"))


def test_openvino_left_alone_leaves_one(tmp_path: Path) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("no OpenVINO here")
    assert any("openvino" in file for file in files_after("import openvino", tmp_path / "home"))


def test_quantizing_imports_no_reporter(tmp_path: Path) -> None:
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("nncf is not installed")
    code = """
import roentmod_fast
from roentmod_fast.telemetry import without_reporter
with without_reporter():
    import nncf, openvino
import nncf.telemetry.wrapper as wrapper
assert type(wrapper.telemetry).__name__ == "MagicMock", wrapper.telemetry
"""
    assert files_after(code, tmp_path / "home") == []


def test_the_reporter_is_back_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType(telemetry.REPORTER)
    monkeypatch.setitem(sys.modules, telemetry.REPORTER, module)
    with telemetry.without_reporter(), pytest.raises(ImportError):
        importlib.import_module(telemetry.REPORTER)
    assert sys.modules[telemetry.REPORTER] is module
    monkeypatch.delitem(sys.modules, telemetry.REPORTER)
    with telemetry.without_reporter():
        assert sys.modules[telemetry.REPORTER] is None
    assert telemetry.REPORTER not in sys.modules


@pytest.mark.parametrize(
    ("choice", "then", "level"),
    [("", "1", "ok"), ("1", "1", "ok"), ("ON", "ON", "ok"), ("0", "0", "note"), ("False", "False", "note")],
)
def test_doctor_says_whether_anything_is_reported(
    monkeypatch: pytest.MonkeyPatch, choice: str, then: str, level: str
) -> None:
    monkeypatch.setenv(telemetry.VARIABLE, choice)
    telemetry.refuse()
    [said] = [seen for seen in examine() if seen.subject == "telemetry"]
    assert said.level == level
    assert os.environ[telemetry.VARIABLE] == then, "who chose otherwise keeps his choice"
