"""The tour of the code in docs/developing.md names the files that run while one radiograph is edited, and no others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST = 24
"""Files by which one radiograph can be followed from the command line to the written file."""

EDIT = """
import inspect, json, sys, threading
from pathlib import Path
import roentmod_fast
from roentmod_fast.cli import cli

package = Path(roentmod_fast.__file__).parent
ran = set()

def see(frame, event, argument):
    code = frame.f_code
    # Functions only: an import runs the body of a module, and of its classes, as well.
    if event == "call" and code.co_flags & inspect.CO_OPTIMIZED and Path(code.co_filename).is_relative_to(package):
        ran.add(Path(code.co_filename).relative_to(package).as_posix())

def run(*arguments):
    try:
        cli.main(list(arguments), standalone_mode=False)
    except SystemExit as end:
        assert not end.code, end.code

run("sample", "chest.dcm", "--size", "160")
threading.setprofile(see)
sys.setprofile(see)
run("edit", "chest.dcm", "-p", "edema", "--device", "cpu", "--engine", "phantom", "--steps", "10")
sys.setprofile(None)
assert Path("chest.edema.dcm").is_file()
print(json.dumps(sorted(ran)))
"""


def tour() -> tuple[list[str], list[str]]:
    """Return the files of the tour, and their helpers."""
    text = (ROOT / "docs" / "developing.md").read_text(encoding="utf-8")
    table = text.partition("<!-- tour:")[2].partition("<!-- end of tour -->")[0]
    rows = re.findall(r"^\| `([\w/]+\.py)` \|[^|]*\|([^|]*)\|$", table, re.MULTILINE)
    return [file for file, _ in rows], [file for _, helpers in rows for file in re.findall(r"`([^`]+)`", helpers)]


def test_the_tour_is_short_and_names_each_file_once() -> None:
    files, helpers = tour()
    assert 10 <= len(files) <= MOST
    assert len({*files, *helpers}) == len(files) + len(helpers)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of the package of which a function is called during one edit of a phantom, in whatever thread."""
    command = [sys.executable, "-W", "ignore", "-c", EDIT]
    folder = tmp_path_factory.mktemp("tour")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("column", [0, 1], ids=["files", "helpers"])
def test_every_file_that_is_named_runs_in_an_edit(column: int, ran: set[str]) -> None:
    assert {file for file in tour()[column] if file not in ran} == set()


def test_every_file_that_runs_is_named(ran: set[str]) -> None:
    files, helpers = tour()
    assert ran - {*files, *helpers} == set()
