"""The training is tested where torch is installed; elsewhere these files are not even imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from roentmod_fast.study.labels import Labels
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.table import write_tables
from tests.study.drawn_cohort import drawn_cohort

MISSING = [name for name in ("torch", "onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]

collect_ignore_glob = ["test_*.py"] if MISSING else []

SPLITS = ("train", "train", "validate", "test")
FINDINGS = ("cardiomegaly", "hernia")


def pytest_report_header() -> str:
    """Say why there are no tests of the training, so that their absence is seen."""
    return f"train tests: skipped, {', '.join(MISSING)} not installed" if MISSING else "train tests: run"


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """32 phantoms, some with findings, with one edit towards each of two findings, and its manifest."""

    def labels(number: int) -> dict[str, str]:
        turn = number // 4
        return {"cardiomegaly": str(turn % 2), "hernia": str(turn // 2 % 2)}

    cohort = drawn_cohort(
        tmp_path_factory.mktemp("train") / "cohort",
        FINDINGS,
        patients=32,
        size=32,
        split=lambda number: SPLITS[number % 4],
        labels=labels,
    )
    write_tables(cohort, Labels("absent"))
    return cohort


@pytest.fixture
def manifest(cohort: Cohort) -> Path:
    """The cohort's manifest."""
    return cohort.folder / "manifest.csv"
