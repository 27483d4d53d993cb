"""Options of ``edit`` that click does not have: ``--force`` with a value that may be left out, and former names.

``--force`` never takes a source for its value. Former names of options keep working and are not shown.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from roentmod_fast.radiograph.doubts import ALL, DOUBTS, forced_doubts

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
    """A command whose ``--force`` stands alone, for all doubts, or before names of doubts; it knows former names."""

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


def doubts_option(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> frozenset[str]:
    """Return the names of all doubts to set aside; a callback of the option, which may come several times."""
    return forced_doubts(values)


def orientation_option(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check where rows and columns run before any work is done; a callback."""
    if value is not None:
        from roentmod_fast.radiograph.dicom.orientation import given_orientation

        given_orientation(value)
    return value


def _names_doubts(argument: str) -> bool:
    """Tell whether an argument is a list of doubts, or one that is misspelt and no file."""
    names = [name.strip().lower() for name in argument.split(",")]
    if argument.startswith("-") or not all(names):
        return False
    known = (*DOUBTS, ALL)
    if all(name in known for name in names):
        return True
    return not Path(argument).exists() and all(difflib.get_close_matches(name, known, 1, 0.75) for name in names)
