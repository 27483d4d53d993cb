"""``roentmod-fast stress``: how a classifier's outputs shift when one finding is added."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roentmod_fast.cli import EXIT_SOME_FAILED
from roentmod_fast.cli.log import logger, verbosity
from roentmod_fast.cli.options import PATH, device_option, resamples_option, root_option


@click.command("stress")
@click.argument("folder", metavar="COHORT", type=PATH)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="FILE",
    help="A classifier: NAME.onnx with its contract NAME.json, a table of predictions NAME.csv, or a Python function "
    "module:name. Repeat to compare models on the same pairs.",
)
@click.option("-o", "--output", "target", type=PATH, metavar="DIR", help="[default: COHORT/stress/]")
@click.option("--findings", metavar="NAME,...", help="Outputs to look at. [default: those the prompts ask for]")
@click.option(
    "--reference",
    "references",
    multiple=True,
    type=PATH,
    metavar="PATH",
    help="Real radiographs by which scores become percentiles: files and folders, or a reference-MODEL.json of an "
    "earlier run. [default: the cohort's sources]",
)
@click.option(
    "--null",
    type=click.Choice(["normal", "autoencoder"]),
    help="The control that the excess is over. [default: the normal prompt's edits, else the autoencoder]",
)
@click.option(
    "--round-trip/--no-round-trip",
    "round_trip",
    default=None,
    help="Score what the autoencoder alone makes of each source. [default: of edits composed by replace, and of 50 "
    "sources beside the normal prompt]",
)
@click.option(
    "--cooccurrence", type=PATH, metavar="FILE", help="How often each finding was seen in edits, as of readers."
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 100, min_open=True),
    default=5.0,
    show_default=True,
    metavar="POINTS",
    help="A shift within it is none.",
)
@resamples_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resamples.")
@root_option
@device_option
@click.option("--overwrite", is_flag=True, help="Score anew what is there.")
@verbosity
def command(
    folder: Path,
    models: tuple[str, ...],
    target: Path | None,
    findings: str | None,
    references: tuple[Path, ...],
    null: str | None,
    round_trip: bool | None,
    cooccurrence: Path | None,
    margin: float,
    resamples: int,
    seed: int,
    root: Path | None,
    device: str,
    overwrite: bool,
) -> None:
    """Measure how the outputs of a classifier shift from source to edit, as in the paper's Figure 3.

    Median change in percentile points for each finding that was added and each output, with intervals by patient,
    Holm's correction, and null controls: the normal prompt, the autoencoder alone, another seed (--repeats 2 of the
    plan). Scores are kept, so the same command goes on after a stop, and analyses anew without a model's run.

    \b
    Examples:
      roentmod-fast stress cohort/ --model densenet.onnx
      roentmod-fast stress cohort/ --model before.onnx --model after.onnx -o compared/
      roentmod-fast stress cohort/ --model vendor.csv --cooccurrence readers/cooccurrence.csv
      roentmod-fast stress cohort/ --model densenet.onnx --reference /data/all-films/
    """
    from roentmod_fast.cli.count_progress import CountProgress
    from roentmod_fast.errors import SettingError
    from roentmod_fast.radiograph.sources import SourceList, find_sources
    from roentmod_fast.study.labels import read_rates
    from roentmod_fast.study.plan import Cohort
    from roentmod_fast.study.stress.report import write_results
    from roentmod_fast.study.stress.run import StressTest
    from roentmod_fast.study.stress.scorers import open_scorer
    from roentmod_fast.study.stress.shifts import Options

    cohort = Cohort.open(folder)
    kept = [path for path in references if path.suffix.lower() == ".json"]
    places = [path for path in references if path not in kept]
    if kept and places:
        raise SettingError("--reference: give radiographs, or a reference-MODEL.json for each model, not both")
    if kept and len(kept) != len(models):
        raise SettingError(
            f"--reference: {len(kept)} files for {len(models)} models: give one for each, in their order"
        )
    found = find_sources(places) if places else SourceList(())
    for line in found.skipped_lines():
        logger.warning(line)
    for name, reason in found.unreadable.items():
        logger.error(f"{name}: {reason}")
    scorers = [open_scorer(text, device) for text in models]
    output = folder / "stress" if target is None else target
    test = StressTest(
        cohort,
        scorers,
        output,
        options=Options(resamples, seed, margin, null, {} if cooccurrence is None else read_rates(cooccurrence)),
        findings=None if findings is None else [name.strip() for name in findings.split(",") if name.strip()],
        root=root,
        round_trip=round_trip,
        radiographs=found.sources,
        kept=kept,
        overwrite=overwrite,
    )
    with CountProgress(test.count) as progress:
        for done in test.score():
            progress.done(f"{done} scored")
    results = test.analyse()
    for note in results.notes:
        logger.warning(note)
    for reason, count in results.left_out.items():
        logger.warning(f"left out {count} times: {reason}")
    for state, count in results.missing.items():
        logger.warning(f"{count} edits {state}")
    for name, count in results.unknown.items():
        if count:
            logger.warning(f"{name}: {count} images without a prediction are left out")
    for path in write_results(results, output)[:1]:
        click.echo(path)
    if results.left_out:
        sys.exit(EXIT_SOME_FAILED)
