"""On what a measurement was made."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from roentmod_fast import machine


def test_the_cpu_and_what_the_speed_of_int8_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    one = "processor\t: 0\nmodel name\t: Some Processor @ 2 GHz: rev 1\nflags\t\t: fpu avx2 sse4_2 amx_int8\n"
    file.write_text(f"{one}\n{one.replace('Some', 'Another')}\n")
    monkeypatch.setattr(machine, "CPU_FILE", file)
    assert machine.cpu_name() == "Some Processor @ 2 GHz: rev 1, avx2, amx_int8"


def test_the_cpu_of_a_system_without_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPU_FILE", tmp_path / "none")
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert machine.cpu_name() == "arm"
    assert machine.machine_facts()["processor"] == "arm"
