"""Options of several commands, and what click does not have: paths that are not empty, ``--force`` without a value."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import click

from roentmod_fast.cli import DEVICES, ENGINE_HELP
from roentmod_fast.radiograph.doubts import ALL, DOUBTS, forced_doubts

SEPARATORS = tuple(separator for separator in (os.sep, os.altsep) if separator)


class _PathType(click.Path):
    """A path that is not empty, as an unset variable of a script would be: that is wrong usage and no folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.strip():
            self.fail("it is empty: is a variable unset?", param, ctx)
        return super().convert(value, param, ctx)


class _OutputType(_PathType):
    """An output's path; one that ends with a separator names a folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        return (path, str(value).endswith(SEPARATORS)) if not isinstance(value, tuple) else value


PATH = _PathType()
OUTPUT = _OutputType()
"""Gives the path, and whether it is written as a folder's."""

OPTION = "--force"
FORMER: dict[str, tuple[str, dict[str, str]]] = {
    "--identity": ("--deidentify", {"pseudonym": "pseudonymize", "keep": "none", "strip": "anonymize"}),
    "--as": ("--sop-class", {}),
    "--calls": ("--sampling-steps", {}),
}
"""Former names of options, each with today's and the former names of its values."""

FORCE_HELP = (
    "Edit also what is no frontal chest radiograph of a patient: despite the named doubts of "
    f"{', '.join(DOUBTS)}, or without a name despite all."
)


class EditCommand(click.Command):
    """A command whose ``--force`` stands alone, for all doubts, or before names of doubts; never before a source.

    Former names of its options keep working and are not shown.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give each ``--force`` its value with ``=``, what follows it only where that names doubts; translate names."""
        with_value = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag and OPTION not in option.opts
            for name in (*option.opts, *option.secondary_opts)
        }
        result: list[str] = []
        rest = list(args)
        while rest:
            argument = rest.pop(0)
            if argument == "--":
                result += [argument, *rest]
                break
            name, equals, value = argument.partition("=")
            if name in FORMER:
                today, values = FORMER[name]
                value = value if equals else rest.pop(0) if rest else ""
                result.append(f"{today}={values.get(value, value)}")
                continue
            result.append(argument)
            if argument in with_value and rest:
                result.append(rest.pop(0))
            elif argument == OPTION:
                result[-1] = f"{OPTION}={rest.pop(0) if rest and _names_doubts(rest[0]) else ALL}"
        return super().parse_args(ctx, result)


def _parse_doubts(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> frozenset[str]:
    """Return the names of all doubts to set aside; a callback of the option, which may come several times."""
    return forced_doubts(values)


def check_orientation(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check where rows and columns run before any work is done; a callback."""
    if value is not None:
        from roentmod_fast.radiograph.dicom.orientation import given_orientation

        given_orientation(value)
    return value


def parse_box(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int, int, int] | None:
    """Parse four whole numbers with commas between them; a callback."""
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = (int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not four whole numbers X0,Y0,X1,Y1", ctx, param) from None
    return x0, y0, x1, y1


def _names_doubts(argument: str) -> bool:
    """Tell whether an argument is a list of doubts, or one that is misspelt and no file."""
    names = [name.strip().lower() for name in argument.split(",")]
    if argument.startswith("-") or not all(names):
        return False
    known = (*DOUBTS, ALL)
    if all(name in known for name in names):
        return True
    return not Path(argument).exists() and all(difflib.get_close_matches(name, known, 1, 0.75) for name in names)


PRESET = click.Choice(["exact", "balanced", "fast"])
PRECISION = click.Choice(["fp32", "fp16", "int8", "bf16", "int8-bf16"])
SOLVER = click.Choice(["ddim", "dpm++"])
COMPOSE = click.Choice(["contrast", "delta", "replace"])
DEIDENTIFY = click.Choice(["pseudonymize", "none", "anonymize"])
SOP_CLASS = click.Choice(["source", "secondary-capture"])
TRANSFER_SYNTAX = click.Choice(["explicit", "rle", "jpeg2000"])
"""Values that several commands take; written out, so that ``--help`` imports nothing for them."""

engine_option = click.option("--engine", metavar="NAME|DIR", help=ENGINE_HELP)
device_option = click.option(
    "--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where the networks run."
)
root_option = click.option(
    "--root", type=PATH, metavar="DIR", help="Where the sources are on this machine. [default: the plan's]"
)
resamples_option = click.option(
    "--resamples", type=click.IntRange(min=100), default=2000, show_default=True, help="Of the bootstrap."
)
transfer_syntax_option = click.option(
    "--transfer-syntax",
    type=TRANSFER_SYNTAX,
    default="explicit",
    show_default=True,
    help="How DICOM pixels are encoded, lossless all.",
)
label_option = click.option("--label", is_flag=True, help="Burn SYNTHETIC into a corner of the image.")
protect_markers_option = click.option(
    "--no-protect-markers",
    "protect_markers",
    flag_value=False,
    default=True,
    help="Edit burned-in side markers and text too; by default they stay as they are.",
)
force_option = click.option("--force", multiple=True, callback=_parse_doubts, metavar="[DOUBT,...]", help=FORCE_HELP)
