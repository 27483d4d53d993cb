"""Write docs/cli.md: the ``--help`` of every command.

python docs/write_cli.py            # writes
python docs/write_cli.py --check    # exit 1 where the page differs from the commands
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from roentmod_fast.cli import cli

PAGE = Path(__file__).with_name("cli.md")
NAME = "roentmod-fast"
WIDTH = 100
"""Columns, whatever the terminal has."""

HEAD = """# Command line

The `--help` of every command, written by `make docs`. [Editing](editing.md) explains settings and exit status.
"""


def helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield the full name and the help of a command and of all below it; hidden ones are left out."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH, "color": False}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            member = command.get_command(context, below)
            assert member is not None
            if not member.hidden:
                yield from helps(member, below, context)


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for path, text in helps(cli, NAME):
        body = "\n".join(line.rstrip() for line in text.splitlines())
        parts.append(f"## {path}\n\n```text\n{body}\n```\n")
    return "\n".join(parts)


def main() -> None:
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            raise SystemExit("docs/cli.md differs from the commands: run make docs")
        return
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
