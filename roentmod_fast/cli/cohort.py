"""``roentmod-fast cohort``: thousands of edits as data."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roentmod_fast.cli import EXIT_NOTHING_DONE, EXIT_SOME_FAILED
from roentmod_fast.cli.cohort_page import page
from roentmod_fast.cli.cohort_plan import plan
from roentmod_fast.cli.duration import duration
from roentmod_fast.cli.log import logger, verbosity
from roentmod_fast.cli.options import PATH, root_option


@click.group("cohort")
def command() -> None:
    """Make a synthetic cohort: many sources times prompts times repeats, with labels, splits and a manifest.

    \b
    Examples, in this order:
      roentmod-fast cohort plan study/ -p edema -p cardiomegaly --repeats 2 -o cohort/
      roentmod-fast cohort run cohort/ --workers 2
      roentmod-fast cohort status cohort/
      roentmod-fast cohort verify cohort/
      roentmod-fast cohort table cohort/ --labels ignore
      roentmod-fast cohort page cohort/ --limit 20
    \b
    Images without a source, the paper's baselines:
      roentmod-fast cohort plan --generate "no acute cardiopulmonary process" --count 10000 -o normals/
    """


command.add_command(plan)
command.add_command(page)


@command.command("run")
@click.argument("folder", metavar="COHORT", type=PATH)
@click.option(
    "--shard",
    metavar="I/N",
    help="Make the I-th of N parts, from 1: for job arrays and several hosts. Runs at one time need the same N.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes on this machine: parts of the CPU's cores, or one a GPU.",
)
@click.option("--dask", metavar="ADDRESS", help="Run on the cluster of this Dask scheduler, such as tcp://host:8786.")
@click.option("--retry-failed", is_flag=True, help="Make again what failed, or whose file is missing or altered.")
@root_option
@verbosity
def run(folder: Path, shard: str | None, workers: int, dask: str | None, retry_failed: bool, root: Path | None) -> None:
    """Make the edits of a plan that are still to be made.

    An edit and its row appear together: a run that is killed goes on where it stopped, with the same bytes, by the same
    command. Ctrl-C stops after the current step. Exit status as of 'edit'.

    \b
    Examples:
      roentmod-fast cohort run cohort/ --workers 2
      roentmod-fast cohort run cohort/ --shard $SLURM_ARRAY_TASK_ID/16
      roentmod-fast cohort run cohort/ --dask tcp://scheduler:8786
      roentmod-fast cohort run cohort/ --retry-failed --root /mnt/radiographs
    """
    from roentmod_fast.cli.cohort_run import run_and_report
    from roentmod_fast.errors import SettingError
    from roentmod_fast.study.plan import Cohort
    from roentmod_fast.study.run import WHOLE, parse_shard

    if dask is not None and workers > 1:
        raise SettingError("--dask and --workers contradict each other: give one of them")
    part = WHOLE if shard is None else parse_shard(shard)
    cohort = Cohort.open(folder)
    sys.exit(run_and_report(cohort, shard=part, workers=workers, dask=dask, retry_failed=retry_failed, root=root))


@command.command("status")
@click.argument("folder", metavar="COHORT", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status_(folder: Path, as_json: bool) -> None:
    """Show how far a cohort is, also while it runs.

    \b
    Examples:
      roentmod-fast cohort status cohort/
      roentmod-fast cohort status cohort/ --json
    """
    import json
    from dataclasses import asdict

    from roentmod_fast.study.plan import Cohort
    from roentmod_fast.study.status import status

    now = status(Cohort.open(folder))
    if as_json:
        click.echo(json.dumps(asdict(now)))
        return
    done = ", ".join(f"{count} {state}" for state, count in sorted(now.counts.items()))
    click.echo(f"{now.planned} edits planned: {done + ', ' if done else ''}{now.pending} pending")
    if now.rate is not None:
        hosts = ", ".join(f"{name} {count}" for name, count in list(now.hosts.items())[:5])
        click.echo(f"{3600 * now.rate:.0f} edits an hour of late ({hosts}); {duration(now.left)} left at this rate")
    if now.last:
        click.echo(f"last row {now.last}")
    for reason, count in now.reasons:
        click.echo(f"{count} times: {reason}")


@command.command("verify")
@click.argument("folder", metavar="COHORT", type=PATH)
@click.option("--quick", is_flag=True, help="Compare sizes and no hashes.")
@click.option("--remove-stray", is_flag=True, help="Remove files that belong to no row, as a killed run leaves them.")
@verbosity
def verify_(folder: Path, quick: bool, remove_stray: bool) -> None:
    """Check that each row's file is there with its hash, none is torn or stray, and each edit is there once.

    \b
    Examples:
      roentmod-fast cohort verify cohort/ --quick
      roentmod-fast cohort verify cohort/ --remove-stray
    """
    from roentmod_fast.study.locks import hold
    from roentmod_fast.study.plan import Cohort
    from roentmod_fast.study.run import WHOLE
    from roentmod_fast.study.status import verify

    cohort = Cohort.open(folder)
    check = verify(cohort, quick=quick)
    if remove_stray and check.stray:
        with hold(folder, WHOLE):  # what a run is writing has no row yet
            check = verify(cohort, quick=quick)
            for path in check.stray:
                path.unlink(missing_ok=True)
        logger.info(f"removed {len(check.stray)} stray files")
        check.stray.clear()
    for note in check.notes:
        logger.warning(note)
    for problem in check.problems:
        logger.error(problem)
    for path in check.stray:
        logger.error(f"{path}: belongs to no row: run again, or --remove-stray")
    click.echo(f"{check.checked} files checked: {'clean' if check.clean else 'not clean'}")
    sys.exit(0 if check.clean else EXIT_SOME_FAILED if check.checked else EXIT_NOTHING_DONE)


@command.command("table")
@click.argument("folder", metavar="COHORT", type=PATH)
@click.option(
    "--labels",
    "policy",
    type=click.Choice(["absent", "ignore", "cooccurrence"]),
    default="absent",
    show_default=True,
    help="Findings that were not asked for: 0, empty, or how often readers saw them beside the one that was.",
)
@click.option(
    "--cooccurrence",
    type=PATH,
    metavar="FILE",
    help="The shares for --labels cooccurrence. [default: the cells that the paper's text gives]",
)
@click.option(
    "--asked",
    type=click.Choice(["1", "diagonal"]),
    default="1",
    show_default=True,
    help="The finding that was asked for: 1, or how often readers saw it.",
)
@click.option("--draw", type=int, metavar="SEED", help="Draw 0 or 1 by each share, instead of the share itself.")
@verbosity
def table_(folder: Path, policy: str, cooccurrence: Path | None, asked: str, draw: int | None) -> None:
    """Write manifest.csv, and manifest.parquet where pyarrow is installed: a row for each source and each edit.

    \b
    Examples:
      roentmod-fast cohort table cohort/
      roentmod-fast cohort table cohort/ --labels cooccurrence --asked diagonal
      roentmod-fast cohort table cohort/ --labels cooccurrence --cooccurrence shares.csv --draw 1
    """
    from roentmod_fast.errors import SettingError
    from roentmod_fast.study.labels import Labels, read_rates
    from roentmod_fast.study.plan import Cohort
    from roentmod_fast.study.table import write_tables

    if cooccurrence is not None and policy != "cooccurrence" and asked == "1":
        raise SettingError("--cooccurrence is for --labels cooccurrence and --asked diagonal")
    cohort = Cohort.open(folder)
    if cooccurrence is None and (policy == "cooccurrence" or asked == "diagonal"):
        logger.warning("the shipped shares are of RoentGen's edits: --cooccurrence FILE gives those of another engine")
    paths, count = write_tables(cohort, Labels(policy, asked, read_rates(cooccurrence), draw))
    if len(paths) == 1:
        logger.info("no Parquet: pyarrow is not installed, type pip install 'roentmod-fast[study]'")
    logger.info(f"{count} rows")
    for path in paths:
        click.echo(path)
