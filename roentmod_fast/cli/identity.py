"""``roentmod-fast identity``: how near the edits of a cohort stay to their patient."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roentmod_fast.cli import EXIT_SOME_FAILED
from roentmod_fast.cli.log import logger, verbosity
from roentmod_fast.cli.options import PATH, device_option, root_option


@click.command("identity")
@click.argument("folder", metavar="COHORT", type=PATH)
@click.option(
    "--embed",
    "embedders",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="An embedder as ONNX, its contract beside it as JSON. Repeat for more. [default: only measures of pixels]",
)
@click.option("-o", "--output", "target", type=PATH, required=True, metavar="DIR", help="Where results are written.")
@click.option(
    "--follow-ups",
    type=PATH,
    metavar="FILE",
    help="Real pairs: CSV with the columns source, follow_up and perhaps prompt.",
)
@click.option("--resamples", type=click.IntRange(min=1), default=2000, show_default=True, help="Of each interval.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the other patients and the resamples.")
@root_option
@device_option
@click.option("--overwrite", is_flag=True, help="Replace results that are there; embeddings in the folder are reused.")
@verbosity
def command(
    folder: Path,
    embedders: tuple[Path, ...],
    target: Path,
    follow_ups: Path | None,
    resamples: int,
    seed: int,
    root: Path | None,
    device: str,
    overwrite: bool,
) -> None:
    """Measure how near the edits of a cohort stay to their patient, by embeddings and by pixels.

    The squared distance of two embeddings is the paper's pairwise FID of one image a side. An edit and its own source
    (model) stand beside another patient's edit (control) and a real follow-up (real), with intervals by patient; and in
    what share of edits the own source is the nearest of all patients' sources. Embeddings are kept in the folder: an
    image that is there is not embedded again.

    \b
    Examples:
      roentmod-fast identity cohort/ -o identity/
      roentmod-fast identity cohort/ --embed inception-fid.onnx --embed clip-vit-b32.onnx -o identity/
      roentmod-fast identity cohort/ --embed inception-fid.onnx --follow-ups pairs.csv -o identity/ --overwrite
    """
    from roentmod_fast.cli.count_progress import CountProgress
    from roentmod_fast.cli.edit_run import heed_signals
    from roentmod_fast.study.identity.embeddings import Embeddings
    from roentmod_fast.study.identity.follow_ups import read_follow_ups
    from roentmod_fast.study.identity.measure import check_patients, measure
    from roentmod_fast.study.identity.open import open_embedders
    from roentmod_fast.study.identity.report import check_folder, write_report
    from roentmod_fast.study.identity.summary import Comparison
    from roentmod_fast.study.pairs import CohortPairs
    from roentmod_fast.study.plan import Cohort

    if seed < 0:
        raise click.BadParameter("expected 0 or more", param_hint="--seed")
    pairs = CohortPairs(Cohort.open(folder), root)
    assert pairs.root is not None
    check_folder(target, overwrite=overwrite)
    check_patients([source for source, _ in pairs.items], folder)
    real = [] if follow_ups is None else read_follow_ups(follow_ups, pairs.cohort, pairs.root)
    models = [Embeddings(model, target) for model in open_embedders(embedders, device)]
    with heed_signals() as stop, CountProgress(len(pairs)) as progress:
        measured = measure(pairs, models, real, done=progress.done, stop=stop.is_set)
    if stop.is_set():
        sys.exit(stop.exit_status)
    comparison = Comparison(measured, seed, resamples)
    for index, model in enumerate(models):
        comparison.add(model, index)
    rows = comparison.rows()
    paths = write_report(target, pairs.cohort, comparison, models, rows, overwrite=overwrite)
    for model in models:
        logger.info(f"{model.model.name}: {model.computed} images embedded on {model.model.device}")
    for state, count in sorted(measured.pending.items()):
        logger.warning(f"{count} edits {state}")
    for reason, count in sorted(measured.left_out.items()):
        logger.warning(f"{count} pairs left out: {reason}")
    for path in paths:
        click.echo(path)
    if measured.left_out:
        sys.exit(EXIT_SOME_FAILED)
