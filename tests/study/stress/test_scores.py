"""Which sources go through the autoencoder as a control."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from roentmod_fast.findings import NORMAL_PROMPT
from roentmod_fast.study.stress import run
from roentmod_fast.study.stress.run import StressTest
from tests.study.drawn_cohort import drawn_cohort
from tests.study.stress.test_stress import CLEAN, OPTIONS


@pytest.mark.parametrize(
    ("prompts", "asked", "trips"),
    [(("hernia", NORMAL_PROMPT), None, 2), (("hernia", NORMAL_PROMPT), True, 5), (("hernia",), None, 5)],
)
def test_some_round_trips_do_beside_the_normal_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompts: tuple[str, ...], asked: bool | None, trips: int
) -> None:
    cohort = drawn_cohort(tmp_path / "cohort", prompts, patients=5)
    monkeypatch.setattr(run, "SOME", 2)
    monkeypatch.setattr(run, "RoundTrip", lambda cohort: SimpleNamespace(image=lambda found: found.image))
    for _ in range(2):  # the second time from what is kept
        test = StressTest(cohort, [CLEAN], tmp_path / "out", OPTIONS, round_trip=asked)
        list(test.score())
        [cell] = [c for c in test.analyse().cells if (c.prompt, c.finding) == ("autoencoder", "hernia")]
        assert cell.pairs == trips and cell.shift.estimate == 0
