"""A cohort on a Dask cluster: a worker that is killed loses nothing."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.study.cluster import make_unit
from roentmod_fast.study.rows import DONE, FAILED, read_rows
from roentmod_fast.study.status import verify
from tests.study.conftest import MakeCohort, files_of, make_sources, run
from tests.study.test_run import copy_of

INSTALLED = importlib.util.find_spec("distributed") is not None
needs_dask = pytest.mark.skipif(not INSTALLED, reason="needs dask.distributed: the extra cluster")


def test_without_dask_the_line_that_installs_it_is_named(
    cohort_of: MakeCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingError, match=r"type pip install 'roentmod-fast\[cluster\]'"):
        run(cohort_of(), dask="tcp://127.0.0.1:1")


@needs_dask
@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_does_not_answer_is_one_line(cohort_of: MakeCohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roentmod_fast.study.cluster.TIMEOUT", "1s")
    with pytest.raises(SettingError, match="no scheduler answers") as caught:
        run(cohort_of(), dask="tcp://127.0.0.1:1")
    assert "\n" not in str(caught.value)


def test_a_worker_looks_below_the_root_that_is_given(cohort_of: MakeCohort, sources: Path) -> None:
    cohort = cohort_of(prompts=["edema"])
    unit = next(cohort.units())
    moved = sources.rename(sources.with_name("moved"))
    [before] = make_unit(cohort.folder, unit, None)
    [after] = make_unit(cohort.folder, unit, moved)
    assert (before.states, after.states) == ((FAILED,), (DONE,))


@needs_dask
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_workers_one_of_them_killed_give_the_bytes_of_one_process(cohort_of: MakeCohort, tmp_path: Path) -> None:
    from distributed import LocalCluster

    make_sources(tmp_path / "more", 24)
    cohort = cohort_of("alone", paths=[tmp_path / "more"])
    spread = copy_of(cohort, "spread")
    run(cohort)
    options: dict[str, Any] = {"dashboard_address": None, "n_workers": 2, "threads_per_worker": 1}
    with LocalCluster(**options) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]

        def kill() -> None:
            while len(read_rows(spread.folder).by_id) < 6:
                time.sleep(0.05)
            os.kill(pids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        run(spread, dask=cluster.scheduler_address)
        killer.join()
    rows = read_rows(spread.folder)
    assert len(rows.by_id) == 48 and set(rows.counts()) == {DONE} and not rows.differing
    assert files_of(spread) == files_of(cohort) and verify(spread).clean
