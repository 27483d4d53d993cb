"""The command line: one file a command; parse, call the library, print.

Modules of commands import nothing heavy at their top, so that ``--help`` is quick.
"""

from __future__ import annotations

import importlib
import sys

import click

from roentmod_fast._version import __version__
from roentmod_fast.cli.log import log_to_stderr
from roentmod_fast.errors import RoentmodError, SettingError
from roentmod_fast.runtime import backends

DEVICES = backends.choices()
"""``auto`` and the names of the devices; nothing heavy is imported for them."""

ENGINE_HELP = "The engine. [default: the only imported one, else cxr-mini]"

COMMANDS = (
    *("edit", "app", "generate", "sweep", "cohort", "stress", "identity", "reader-study", "train"),
    *("sample", "export", "engines", "tune", "bench", "doctor"),
)

EXIT_NOTHING_DONE = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3


class _Commands(click.Group):
    """A group that imports a command's module when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"roentmod_fast.cli.{cmd_name.replace('-', '_')}")
        command = module.command
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Edits and generated images are marked as synthetic in the file. Nothing here is for diagnosis.",
)
@click.version_option(__version__, prog_name="roentmod-fast")
def cli() -> None:
    """Edit chest radiographs by text, on a machine without PyTorch.

    \b
    A first try:
      roentmod-fast sample chest.dcm
      roentmod-fast edit chest.dcm --prompt edema --preview
    """
    log_to_stderr()


def main() -> None:
    """Run the command line: an error of ours becomes one line on stderr, a bug keeps its traceback."""
    try:
        cli.main(prog_name="roentmod-fast", standalone_mode=True)
    except RoentmodError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_USAGE if isinstance(error, SettingError) else EXIT_NOTHING_DONE)
    except OSError as error:
        # What the system refuses of a path is no bug: a name that is too long, a folder that may not be entered.
        if error.filename is None:
            raise
        click.echo(f"Error: {error.filename}: {error.strerror}", err=True)
        sys.exit(EXIT_NOTHING_DONE)
