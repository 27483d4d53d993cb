"""``roentmod-fast app``: edit radiographs in the browser of this machine."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import click

from roentmod_fast.cli.log import verbosity
from roentmod_fast.cli.options import PATH, PRESET, device_option, engine_option


@click.command("app")
@click.argument("files", nargs=-1, type=PATH, metavar="[FILE]...")
@click.option("--demo", is_flag=True, help="Open a phantom at the start.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default="any that is free", help="Port to listen on."
)
@click.option(
    "--listen-on",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address of this machine to listen on; only loopback is possible.",
)
@click.option("--no-browser", is_flag=True, help="Print the address and open no browser.")
@engine_option
@device_option
@click.option(
    "--preset", type=PRESET, default="exact", show_default=True, help="Fidelity or speed that the page starts with."
)
@verbosity
def command(
    files: tuple[Path, ...],
    demo: bool,
    port: int,
    listen_on: str,
    no_browser: bool,
    engine: str | None,
    device: str,
    preset: str,
) -> None:
    """Edit radiographs in the browser of this machine: open, ask for a finding, compare, save.

    The page is served on loopback, to this machine alone, and its address holds a secret that changes with each start.
    It goes to stdout. Quit in the page, or press Ctrl-C, to end; what was not saved is removed.

    \b
    Examples:
      roentmod-fast app
      roentmod-fast app chest.dcm study/
      roentmod-fast app --demo --no-browser --port 8765
    """
    from roentmod_fast.errors import SettingError
    from roentmod_fast.runtime.host import pip_line

    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise SettingError(f"the app needs starlette and uvicorn: type {pip_line('app')}")
    from roentmod_fast.app.run import run

    status = run(
        files,
        engine=engine,
        device=device,
        preset=preset,
        address=listen_on,
        port=port,
        demo=demo,
        browser=not no_browser,
        ready=click.echo,
    )
    sys.exit(status)
