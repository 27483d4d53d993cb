"""A drawn cohort and tiny embedders; what is slow is made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.study.plan import Cohort
from tests.study.drawn_cohort import drawn_cohort, drawn_edit

PROMPTS = ("edema", "hernia")
PATIENTS = 6
SIZE = 32


def near_edit(patient: int, prompt: str, repeat: int, size: int) -> NDArray[np.float32]:
    """The perfect edit with a little noise, so that no two are alike."""
    noise = np.random.default_rng([patient, repeat, len(prompt)]).normal(size=(size, size))
    return np.asarray(drawn_edit(patient, prompt, repeat, size) + 0.02 * noise, dtype=np.float32)


@pytest.fixture(scope="package")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Six patients with one radiograph each, two prompts; tests do not change it."""
    folder = tmp_path_factory.mktemp("identity") / "cohort"
    return drawn_cohort(folder, PROMPTS, patients=PATIENTS, size=SIZE, edit=near_edit)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for results that does not exist yet."""
    return tmp_path / "results"
