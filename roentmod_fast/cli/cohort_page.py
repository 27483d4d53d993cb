"""``roentmod-fast cohort page``: look at the edits of a cohort in a browser."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from roentmod_fast.cli import EXIT_NOTHING_DONE, EXIT_SOME_FAILED
from roentmod_fast.cli.log import logger, verbosity
from roentmod_fast.cli.options import PATH, root_option
from roentmod_fast.findings import BY_KEY

PERCENT = click.FloatRange(0, 100)


@click.command("page")
@click.argument("folder", metavar="COHORT", type=PATH)
@click.option(
    "-o",
    "--output",
    "target",
    type=PATH,
    metavar="PATH",
    help="A folder for index.html and pages/, or the index's name such as look.html. [default: COHORT/page/]",
)
@click.option(
    "--finding",
    "findings",
    multiple=True,
    type=click.Choice([*BY_KEY, "none"]),
    help="List edits whose prompt names it; 'none' for other prompts. Repeat for more.",
)
@click.option(
    "--patient", "patients", multiple=True, metavar="ID", help="List edits of this pseudonym, such as SYN-ABCDEFGHIJKL."
)
@click.option("--min-change", type=PERCENT, metavar="PERCENT", help="List edits that changed so many of the pixels.")
@click.option("--max-change", type=PERCENT, metavar="PERCENT", help="List edits that changed no more of the pixels.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Pages of the first N sources of the plan.")
@root_option
@click.option("--overwrite", is_flag=True, help="Make pages anew that are there.")
@verbosity
def page(
    folder: Path,
    target: Path | None,
    findings: tuple[str, ...],
    patients: tuple[str, ...],
    min_change: float | None,
    max_change: float | None,
    limit: int | None,
    root: Path | None,
    overwrite: bool,
) -> None:
    """Write a page of each source with its edits, and an index with filters by finding, patient and change.

    Pages open in a browser without a network. A page that holds the edits that are made by now is left as it is, so the
    same command goes on after a stop, or when more edits are made. Edits that failed or were refused are counted. A
    page holds the pixels of its source: keep it as you keep the source.

    \b
    Examples:
      roentmod-fast cohort page cohort/
      roentmod-fast cohort page cohort/ --limit 20 -o look.html
      roentmod-fast cohort page cohort/ --finding edema --min-change 5 -o edema/
    """
    from roentmod_fast.cli.count_progress import CountProgress
    from roentmod_fast.cli.edit_run import heed_signals
    from roentmod_fast.errors import SettingError
    from roentmod_fast.study.page.cohort import CohortPages, Selection, counts_in_words
    from roentmod_fast.study.plan import Cohort

    least, most = min_change or 0.0, 100.0 if max_change is None else max_change
    if least > most:
        raise SettingError(f"--min-change {least:g} is above --max-change {most:g}: no edit is between them")
    selection = Selection(frozenset(findings), frozenset(patients), least / 100, most / 100)
    cohort = Cohort.open(folder)
    made: Counter[str] = Counter()
    with heed_signals() as stop:
        pages = CohortPages(
            cohort,
            folder / "page" if target is None else target,
            selection=selection,
            limit=limit,
            root=root,
            overwrite=overwrite,
            stop=stop.is_set,
        )
        with CountProgress(pages.count) as progress:
            for outcome in pages.make():
                made[outcome.state] += 1
                if outcome.error:
                    logger.error(outcome.error)
                progress.done(outcome.name)
    logger.info(f"pages: {counts_in_words(made, ('written', 'kept', 'failed')) or 'none'}")
    logger.info(f"{len(pages.rows)} edits listed")
    if pages.not_shown:
        logger.warning(f"not shown: {counts_in_words(pages.not_shown, ('failed', 'refused', 'pending'))} edits")
    if pages.rows:
        click.echo(pages.index)
    elif not made["failed"] and not stop.is_set():
        raise SettingError("no edit changed that many pixels: widen --min-change and --max-change")
    if stop.is_set():
        sys.exit(stop.exit_status)
    if made["failed"]:
        sys.exit(EXIT_SOME_FAILED if pages.rows else EXIT_NOTHING_DONE)
