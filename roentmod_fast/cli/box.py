"""A box of pixels as an option's value."""

from __future__ import annotations

import click


def box_option(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int, int, int] | None:
    """Parse four whole numbers with commas between them; a callback."""
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = (int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not four whole numbers X0,Y0,X1,Y1", ctx, param) from None
    return x0, y0, x1, y1
