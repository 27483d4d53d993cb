"""Progress of things that are counted: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from roentmod_fast.cli.log import logger, shows_progress

LINE_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


class CountProgress:
    """Shows how many of ``count`` things are done."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done = 0
        self._shown = time.monotonic()
        self._bar: Any = None
        if shows_progress():
            self._bar = click.progressbar(length=count, file=sys.stderr, show_pos=True)

    def __enter__(self) -> CountProgress:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def done(self, name: str, number: int = 1) -> None:
        """Note that ``number`` more are done, the last of them called ``name``."""
        self._done += number
        if self._bar is not None:
            self._bar.update(number)
        elif time.monotonic() - self._shown >= LINE_SECONDS or self._done == self._count:
            self._shown = time.monotonic()
            logger.info(f"[{self._done}/{self._count}] {name}")
