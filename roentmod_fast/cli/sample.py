"""``roentmod-fast sample``: write a phantom."""

from __future__ import annotations

from pathlib import Path

import click

from roentmod_fast.cli.log import verbosity
from roentmod_fast.cli.options import PATH


@click.command("sample")
@click.argument("out", type=PATH)
@click.option("--finding", metavar="TEXT", help="What it shows, such as 'edema' or 'left upper lobe mass, hernia'.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The patient.")
@click.option("--size", type=click.IntRange(min=128, max=4096), default=1024, show_default=True, help="Pixels a side.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@verbosity
def command(out: Path, finding: str | None, seed: int, size: int, overwrite: bool) -> None:
    """Write a digital phantom: a computer-drawn chest radiograph of no patient, as a DX DICOM file of 12 bits.

    The same seed is the same patient with and without a finding.

    \b
    Examples:
      roentmod-fast sample chest.dcm
      roentmod-fast sample edema.dcm --finding edema --seed 3
    """
    from roentmod_fast.errors import SettingError
    from roentmod_fast.findings import BY_KEY, find_findings
    from roentmod_fast.phantom import draw
    from roentmod_fast.radiograph.dicom.write import write_sample

    keys = () if finding is None else find_findings(finding)
    if finding is not None and not keys:
        raise SettingError(f"finding {finding!r} cannot be drawn: name some of {', '.join(BY_KEY)}")
    drawn = draw(size, seed, keys)
    write_sample(out, drawn.image, seed=seed, findings=keys, overwrite=overwrite)
    click.echo(out)
