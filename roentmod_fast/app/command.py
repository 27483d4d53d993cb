"""The command line that gives the same file as an edit of the app."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from roentmod_fast.app.engine import Engine
from roentmod_fast.app.files import PAGE, Saving
from roentmod_fast.app.sitting import Version

MASK_NAME = "mask.png"
"""What a mask that was painted is called in a command; it is saved under that name."""


def arguments_of(version: Version, engine: Engine, saving: Saving) -> list[str]:
    """Return the arguments of ``roentmod-fast`` that make an edit again, every setting spelled out."""
    ask, settings = version.ask, version.settings
    choice = engine.choice(ask.preset)
    typed = f"./{ask.film.typed}" if ask.film.typed.startswith("-") else ask.film.typed
    given = ["edit", typed, f"--prompt={ask.prompt}", "--engine", engine.typed, "--device", choice.device.name]
    given += ["--preset", ask.preset, "--precision", choice.precision, "--strength", _number(settings.strength)]
    given += [f"--guidance={_number(settings.guidance)}", "--steps", str(settings.steps)]
    given += ["--seed", str(settings.seed), "--compose", settings.compose]
    if ask.box is not None:
        given += ["--box", ",".join(map(str, ask.box))]
    if ask.mask is not None:
        given += ["--mask", MASK_NAME]
    if ask.film.force:
        given += [f"--force={','.join(sorted(ask.film.force))}"]
    return given + _saved(saving, typed)


def command_line(arguments: Sequence[str]) -> str:
    """Return arguments as one line for this system's shell."""
    words = ["roentmod-fast", *arguments]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _saved(saving: Saving, typed: str) -> list[str]:
    """Return the options of a file that differ from the defaults of ``edit``."""
    usual, given = Saving(), list[str]()
    if saving.kind == PAGE:
        given += ["--html", f"{Path(typed).stem}.{PAGE}"]
    elif saving.kind != usual.kind:
        given += ["--format", saving.kind]
    for option, value, default in (
        ("--deidentify", saving.deidentify, usual.deidentify),
        ("--sop-class", saving.sop_class, usual.sop_class),
        ("--transfer-syntax", saving.transfer_syntax, usual.transfer_syntax),
    ):
        given += [option, value] if value != default else []
    return given + (["--label"] if saving.label else [])


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
