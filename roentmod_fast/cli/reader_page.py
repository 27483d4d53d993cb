"""``roentmod-fast reader-study page``: one HTML file for each reader, to read the images and fill in the sheet."""

from __future__ import annotations

from pathlib import Path

import click

from roentmod_fast.cli.log import logger, verbosity
from roentmod_fast.cli.options import PATH


@click.command("page")
@click.argument("folder", metavar="STUDY", type=PATH)
@click.option(
    "--reader",
    "readers",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="The page of this reader. Repeat for more. [default: all]",
)
@click.option("--overwrite", is_flag=True, help="Make pages anew that are there.")
@verbosity
def page(folder: Path, readers: tuple[int, ...], overwrite: bool) -> None:
    """Write a page for each reader: STUDY/reader-N/read.html, which opens in a browser without a network.

    The page shows the reader's images one by one with the questions of the sheet, works by keyboard alone, stores each
    answer in the browser, and exports and imports the sheet. It needs nothing but itself: hand it to the reader alone.
    It never holds the key.

    \b
    Examples:
      roentmod-fast reader-study page study/
      roentmod-fast reader-study page study/ --reader 2 --overwrite
    """
    from roentmod_fast.cli.count_progress import CountProgress
    from roentmod_fast.study.readers.page import ReaderStudy, count_images, write_pages

    study = ReaderStudy.open(folder)
    with CountProgress(count_images(study, readers)) as progress:
        paths = list(write_pages(study, readers, overwrite=overwrite, progress=progress.done))
    for path in paths:
        click.echo(path)
    logger.info(f"pages: {len(paths)}")
