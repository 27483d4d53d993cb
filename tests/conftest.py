"""What all tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pydicom.config
import pytest

from roentmod_fast import folders
from roentmod_fast.runtime import ort_errors
from tests.study.page.browser import Browser
from tests.study.page.chromium import MISSING, REASON, chromium
from tests.study.page.firefox import FIREFOX, firefox

# pydicom only warns of a misspelt keyword; in tests it is an error.
pydicom.config.INVALID_KEYWORD_BEHAVIOR = "RAISE"

ROOT = Path(__file__).parent.parent
REAL_FILES = ROOT.parent / "shared" / "radiographs"
NO_REAL_FILES = "needs real radiographs, which are not part of the project: no folder ../shared/radiographs beside it"


def pytest_configure() -> None:
    """Give each worker of pytest-xdist a core of its own, where the system allows it.

    Networks use as many threads as the process has cores: without this the workers would contend for them all.
    ``FIRST_CORE`` is the first worker's, 0 by default.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        number = int(worker.removeprefix("gw")) + int(os.environ.get("FIRST_CORE", "0"))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(chromium, id="chromium", marks=pytest.mark.skipif(bool(MISSING), reason=REASON)),
        pytest.param(
            firefox, id="firefox", marks=pytest.mark.skipif(FIREFOX is None, reason="needs Firefox, not found")
        ),
    ],
)
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Each browser in turn: a page works in all, or its test says why it is for one alone."""
    with request.param() as opened:
        yield opened


@pytest.fixture
def real_files() -> Path:
    """The folder of real radiographs; it is not part of the project, so tests that need it skip without it."""
    if not REAL_FILES.is_dir():
        pytest.skip(NO_REAL_FILES)
    return REAL_FILES


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What the package logs, from level INFO on."""
    logger, handler = logging.getLogger("roentmod_fast"), _Kept()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.messages
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def the_process_logs_as_before() -> Iterator[None]:
    """Undo what a command line that ran in this process set."""
    logger = logging.getLogger("roentmod_fast")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers
    ort_errors.silence(False)


@pytest.fixture(autouse=True)
def no_engines_of_the_user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests apart from what the person who runs them has imported and compiled, on every system alike."""
    monkeypatch.delenv("ROENTMOD_ENGINES", raising=False)
    for kind in ("data", "cache"):
        variable = f"XDG_{kind.upper()}_HOME"
        monkeypatch.setenv(variable, str(tmp_path_factory.mktemp(kind)))

        def path(name: str, appauthor: bool, variable: str = variable) -> Path:
            return Path(os.environ[variable]) / name

        monkeypatch.setattr(folders, f"user_{kind}_path", path)
