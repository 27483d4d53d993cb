"""Paths on the command line: an empty one, such as an unset variable of a script, is wrong usage and not a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

SEPARATORS = tuple(separator for separator in (os.sep, os.altsep) if separator)


class _PathType(click.Path):
    """A path that is not empty."""

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
