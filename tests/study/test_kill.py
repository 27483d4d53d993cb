"""SIGKILL at random moments: each edit is there once, with the bytes of an uninterrupted run."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roentmod_fast.study.plan import Output
from roentmod_fast.study.rows import DONE, read_rows
from roentmod_fast.study.status import verify
from tests.study.conftest import MakeCohort, files_of, make_sources, run
from tests.study.test_run import copy_of


def children(pid: int) -> Iterator[int]:
    """Yield the processes whose parent is ``pid``, as Linux lists them."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            yield int(path.parent.name)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc to find workers")
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(cohort_of: MakeCohort, tmp_path: Path) -> None:
    make_sources(tmp_path / "more", 24)
    cohort = cohort_of("alone", paths=[tmp_path / "more"], output=Output("both"))
    killed = copy_of(cohort, "killed")
    run(cohort)
    expected, dice = files_of(cohort), random.Random(7)
    command = [sys.executable, "-m", "roentmod_fast", "cohort", "run", str(killed.folder), "--workers", "2", "-qq"]
    kills = 0
    for turn in range(5):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        before = len(read_rows(killed.folder).by_id)
        while process.poll() is None and len(read_rows(killed.folder).by_id) == before:
            time.sleep(0.05)
        try:
            process.wait(dice.uniform(0, 0.3))
        except subprocess.TimeoutExpired:
            workers = list(children(process.pid))
            if turn % 3 == 0 and workers:  # a worker alone, which the run replaces
                os.kill(dice.choice(workers), 9)
                time.sleep(0.3)
            process.kill()
            process.wait()
            kills += 1
        if len(read_rows(killed.folder).by_id) == 48:
            break
    assert kills >= 2
    assert subprocess.run(command, check=False).returncode == 0
    rows = read_rows(killed.folder)
    assert len(rows.by_id) == 48 and set(rows.counts()) == {DONE} and not rows.repeated
    assert files_of(killed) == expected
    check = verify(killed)
    assert check.clean and check.checked == 96
