"""``roentmod-fast reader-study``: blinded images for readers, and what their sheets give."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roentmod_fast.cli.log import logger, verbosity
from roentmod_fast.cli.options import PATH, resamples_option, root_option
from roentmod_fast.cli.reader_page import page

SHARE = click.FloatRange(0, 1)


@click.group("reader-study")
def command() -> None:
    """Let readers look at a cohort's edits, blinded and among real radiographs, and score what they saw.

    \b
    Examples, in this order:
      roentmod-fast reader-study make cohort/ --readers 3 -o study/
      roentmod-fast reader-study page study/
      roentmod-fast reader-study score study/key.json returned/*.csv -o result/
      roentmod-fast cohort table cohort/ --labels cooccurrence --cooccurrence result/cooccurrence.csv
    """


command.add_command(page)


@command.command("make")
@click.argument("folder", metavar="COHORT", type=PATH)
@click.option("-o", "--output", "target", type=PATH, required=True, metavar="STUDY", help="A new folder.")
@click.option("--readers", type=click.IntRange(min=1), default=3, show_default=True, help="How many readers.")
@click.option(
    "-p", "--prompt", "prompts", multiple=True, help="Take edits of this prompt. Repeat for more. [default: all]"
)
@click.option("--per-prompt", type=click.IntRange(min=1), metavar="N", help="Edits of each prompt. [default: all]")
@click.option(
    "--controls",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the images that are unedited radiographs.",
)
@click.option(
    "--controls-from",
    type=PATH,
    metavar="COHORT",
    help="Take the controls from the sources of this cohort, such as radiographs with findings; a plan is enough. "
    "[default: the sources of the edits]",
)
@click.option(
    "--overlap", type=SHARE, default=0.2, show_default=True, help="Share of the images that all readers read."
)
@click.option("--repeat", type=SHARE, default=0.05, show_default=True, help="Share that each reader reads twice.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of all that is drawn.")
@click.option("--size", type=click.IntRange(min=64), default=1024, show_default=True, help="Of the square images.")
@click.option(
    "--detail",
    type=click.IntRange(min=8),
    metavar="PIXELS",
    help="The longer side that real and synthetic are brought to first. [default: that of the coarser]",
)
@click.option("--findings", metavar="NAME,...", help="Columns of the sheet. [default: those of the paper's readers]")
@click.option("--title", default="Reader study", show_default=True, help="What readers see; it must not unblind.")
@root_option
@click.option("--controls-root", type=PATH, metavar="DIR", help="The same for --controls-from.")
@verbosity
def make(
    folder: Path,
    target: Path,
    readers: int,
    prompts: tuple[str, ...],
    per_prompt: int | None,
    controls: float,
    controls_from: Path | None,
    overlap: float,
    repeat: float,
    seed: int,
    size: int,
    detail: int | None,
    findings: str | None,
    title: str,
    root: Path | None,
    controls_root: Path | None,
) -> None:
    """Make a folder for each reader with blinded images, a sheet and instructions; and the key, for you alone.

    Real and synthetic images are brought to one form, without metadata and under random names. The same cohort,
    options and seed give the same bytes. key.json tells what each image is: never hand it out. With the seed, who has
    the cohort can make the key anew: choose one of your own where readers have access to it.

    \b
    Examples:
      roentmod-fast reader-study make cohort/ --readers 2 --per-prompt 100 -o study/
      roentmod-fast reader-study make cohort/ -p edema --controls 0.5 --seed 20261127 -o study/
      roentmod-fast reader-study make cohort/ --controls-from diseased/ --findings edema,mass -o study/
    """
    from roentmod_fast.cli.count_progress import CountProgress
    from roentmod_fast.cli.edit_run import heed_signals
    from roentmod_fast.errors import SettingError
    from roentmod_fast.study.labels import READ
    from roentmod_fast.study.plan import Cohort
    from roentmod_fast.study.readers.make import StudyMaker, StudySettings

    if controls_root is not None and controls_from is None:
        raise SettingError("--controls-root is for --controls-from: give both")
    settings = StudySettings(
        readers=readers,
        per_prompt=per_prompt,
        prompts=prompts,
        controls=controls,
        overlap=overlap,
        repeat=repeat,
        seed=seed,
        size=size,
        detail=detail,
        findings=READ if findings is None else tuple(name.strip() for name in findings.split(",")),
        title=title,
    )
    maker = StudyMaker(
        Cohort.open(folder),
        target,
        settings,
        root=root,
        controls_from=None if controls_from is None else Cohort.open(controls_from),
        controls_root=controls_root,
    )
    with heed_signals() as stop, CountProgress(maker.count) as progress:
        made = maker.make(progress.done, stop.is_set)
    if made is None:
        logger.warning("stopped: nothing is written")
        sys.exit(stop.exit_status)
    for note in made.notes:
        logger.warning(note)
    share = made.controls / (made.edits + made.controls)
    logger.info(
        f"study {made.key.study}: {made.edits} edits and {made.controls} controls ({100 * share:.0f} %),"
        f" {made.shared} read by all; {', '.join(map(str, made.counts))} images a reader"
    )
    logger.info(f"{target / 'key.json'} tells what each image is: keep it from the readers")
    click.echo(target)


@command.command("score")
@click.argument("key", metavar="KEY", type=PATH)
@click.argument("sheets", metavar="SHEET...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", "target", type=PATH, required=True, metavar="DIR", help="A folder for the results.")
@click.option(
    "--unsure",
    type=click.Choice(["absent", "excluded", "half"]),
    default="absent",
    show_default=True,
    help="What unsure counts as in cooccurrence.csv and the figure; the tables hold all three.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="By which the balanced accuracy may differ from 0.5 to count as chance.",
)
@resamples_option
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the bootstrap.")
@click.option("--overwrite", is_flag=True, help="Replace results that are there.")
@verbosity
def score(
    key: Path,
    sheets: tuple[Path, ...],
    target: Path,
    unsure: str,
    margin: float,
    resamples: int,
    seed: int,
    overwrite: bool,
) -> None:
    """Score the sheets of a study: co-occurrence, adherence, realism, real or synthetic, agreement.

    Sheets are CSV files as readers and spreadsheets leave them; half-filled ones count for what they hold. What is not
    read is never absent. The image files beside the key are compared with it first.

    \b
    Examples:
      roentmod-fast reader-study score study/key.json study/reader-*/sheet.csv -o result/
      roentmod-fast reader-study score study/key.json returned/*.csv --unsure half -o result/
    """
    from roentmod_fast.study.readers.results import ScoreOptions, check_results, score_study, write_score
    from roentmod_fast.study.readers.score import read_study

    check_results(target, overwrite=overwrite)
    reads = read_study(key, sheets)
    for note in reads.notes:
        logger.warning(note)
    options = ScoreOptions(unsure=unsure, margin=margin, resamples=resamples, seed=seed)
    paths = write_score(score_study(reads, options), target, overwrite=overwrite)
    logger.info(f"{len(reads.reads)} reads by {len({read.image.reader for read in reads.reads})} readers")
    for path in paths:
        click.echo(path)
