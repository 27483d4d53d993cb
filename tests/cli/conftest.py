"""Run the command line as a user does: in a process of its own, or in this one where speed matters more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from roentmod_fast.cli import cli
from roentmod_fast.errors import RoentmodError, SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


def run_process(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ran:
    """Run ``roentmod-fast`` in a process of its own."""
    command = [sys.executable, "-m", "roentmod_fast", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env=env)
    return Ran(result.returncode, result.stdout, result.stderr)


@pytest.fixture
def roentmod() -> Callable[..., Ran]:
    """Run a command in this process, with errors turned into exit status and line as ``main`` does."""

    def run(*arguments: object) -> Ran:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        error = result.exception
        if isinstance(error, RoentmodError):
            return Ran(2 if isinstance(error, SettingError) else 1, result.stdout, result.stderr + f"Error: {error}\n")
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    """A phantom of 160 pixels as DICOM, alone in a folder."""
    folder = tmp_path / "study"
    folder.mkdir()
    write_sample(folder / "chest.dcm", draw(160, 3).image, seed=3, findings=())
    return folder / "chest.dcm"
