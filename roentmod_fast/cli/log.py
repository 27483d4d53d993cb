"""What the library logs, on stderr: notes for warnings, and how much of it ``-q`` and ``-v`` let through."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from roentmod_fast.runtime import ort_errors

Command = TypeVar("Command", bound=Callable[..., Any])

logger = logging.getLogger("roentmod_fast")

_PREFIXES = {logging.WARNING: "note: ", logging.ERROR: "Error: "}


class _Stderr(logging.Handler):
    """Writes each message as one line; looks stderr up for each, as a test runner replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(_PREFIXES.get(record.levelno, "") + record.getMessage(), err=True)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send what the package logs at ``level`` and above to stderr, once however often it is called."""
    if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
        logger.addHandler(_Stderr())
    logger.setLevel(level)
    ort_errors.silence(level > logging.DEBUG)


def log_prompt_hints(prompts: Iterable[str]) -> None:
    """Log what a user should know of the words of each prompt, once; an empty prompt has no hint."""
    from roentmod_fast.findings import prompt_hint

    for prompt in dict.fromkeys(prompts):
        if prompt.strip() and (hint := prompt_hint(prompt)) is not None:
            logger.warning(hint)


def shows_progress() -> bool:
    """Return whether a progress bar helps: on a terminal, unless ``-q`` was given."""
    return sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)


def verbosity(command: Command) -> Command:
    """Add ``-q`` and ``-v`` to a command."""

    def quieter(ctx: click.Context, param: click.Parameter, count: int) -> None:
        if count:
            log_to_stderr(logging.WARNING if count == 1 else logging.ERROR)

    def louder(ctx: click.Context, param: click.Parameter, chosen: bool) -> None:
        if chosen:
            log_to_stderr(logging.DEBUG)

    quiet = click.option(
        "-q",
        "--quiet",
        count=True,
        expose_value=False,
        callback=quieter,
        help="Only notes and errors; twice: only errors.",
    )
    verbose = click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=louder, help="Say more.")
    return quiet(verbose(command))
