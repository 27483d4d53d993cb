"""A new device is one file and one line of the registry: the whole command line runs on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from roentmod_fast.runtime import backends
from roentmod_fast.runtime.backends import choose_device

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "goldens" / "tiny_bundle"


def made_up(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line with the made-up device, in a process of its own."""
    command = [sys.executable, "-m", "tests.runtime.made_up_device", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def test_edit_runs_on_it_and_gives_the_pixels_of_the_cpu(chest: Path, tmp_path: Path) -> None:
    pixels = []
    for device in ("made-up", "cpu"):
        report = tmp_path / f"{device}.json"
        done = made_up(
            *("edit", chest, "-p", "edema", "--engine", TINY, "--device", device),
            *("-o", tmp_path / f"{device}.dcm", "--report", report),
        )
        assert done.returncode == 0, done.stderr
        [path] = done.stdout.splitlines()
        pixels.append(pydicom.dcmread(path).pixel_array)
        facts = json.loads(report.read_text(encoding="utf-8"))
        assert facts["device"] == device
        is_made_up = device == "made-up"
        assert facts["providers"][0] == ("MadeUpExecutionProvider" if is_made_up else "CPUExecutionProvider")
        assert ("note: unet runs on a made-up device" in done.stderr) == is_made_up
    np.testing.assert_array_equal(*pixels)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("edit", "--help"), "made-up"),
        (("doctor",), "device made-up: MadeUpExecutionProvider"),
        (("engines", "verify", TINY, "--device", "made-up"), "fp32 unet on made-up: "),
        (("bench", "--engine", TINY, "--device", "made-up", "--preset", "exact", "--runs", 1), "made-up   exact"),
    ],
)
def test_other_commands_know_it(arguments: tuple[object, ...], expected: str) -> None:
    done = made_up(*arguments)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_auto_does_not_take_what_has_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.REGISTRY, "made-up", "tests.runtime.made_up_device:MADE_UP")
    assert "made-up" in backends.choices()
    assert choose_device("made-up").name == "made-up"
    assert "made-up" not in [device.name for device in backends.automatic()]
