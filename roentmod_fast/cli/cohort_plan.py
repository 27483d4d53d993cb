"""``roentmod-fast cohort plan``: say what a cohort will be, before anything is made."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from roentmod_fast.cli import DEVICES
from roentmod_fast.cli.duration import duration
from roentmod_fast.cli.log import log_prompt_hints, logger, verbosity
from roentmod_fast.cli.options import (
    COMPOSE,
    DEIDENTIFY,
    PATH,
    PRECISION,
    PRESET,
    SOLVER,
    SOP_CLASS,
    TRANSFER_SYNTAX,
    EditCommand,
    engine_option,
    force_option,
)

OF_GENERATE = frozenset(
    {"texts", "count", "seed", "folder", "split", "engine", "device", "preset", "precision", "guidance", "steps"}
    | {"solver", "calls", "batch", "format_", "png_bits", "size", "label", "transfer_syntax", "no_estimate"}
    | {"verbose", "quiet"}
)
"""Parameters that mean something without a source."""


def _check_generate(context: click.Context) -> None:
    """Raise SettingError for what contradicts ``--generate``: a source, or an option that is about sources."""
    from roentmod_fast.errors import SettingError

    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name not in OF_GENERATE and given and (name != "sources" or context.params[name]):
            what = parameter.opts[0] if isinstance(parameter, click.Option) else "a source"
            raise SettingError(f"{what} is for edits of sources: --generate has none, leave it out")
    if context.params["count"] is None:
        raise SettingError("--generate needs --count N, the number of images, such as --count 10000")


@click.command("plan", cls=EditCommand)
@click.argument("sources", nargs=-1, type=PATH, metavar="[SOURCE]...")
@click.option(
    "--dataset",
    type=click.Choice(["nih", "mimic", "chexpert", "padchest", "table"]),
    help="Take the sources from a public data set, or from a table of one's own, in place of SOURCE.",
)
@click.option("--root", type=PATH, metavar="DIR", help="The data set's folder. [table: the table's folder]")
@click.option(
    "--metadata", type=PATH, metavar="FILE", help="The metadata, where not in the data set's folder; or the table."
)
@click.option("--patients", type=PATH, metavar="FILE", help="MIMIC-IV's patients.csv, which holds MIMIC's ages.")
@click.option("--label-map", type=PATH, metavar="FILE", help="Which labels are which finding: dataset,finding,label.")
@click.option("--view", type=click.Choice(["pa", "frontal", "any"]), help="[default: pa of a data set]")
@click.option("--min-age", type=click.IntRange(min=0), metavar="YEARS", help="[default: 18 of a data set]")
@click.option("--findings", type=click.Choice(["none", "any"]), help="Of the sources. [default: none of a data set]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N sources, drawn by their hash.")
@click.option("--hash", "hash_by", type=click.Choice(["content", "name"]), help="[default: name of a data set]")
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="What to add; repeat for more edits.")
@click.option("--prompts", "named", type=click.Choice(["paper"]), help="The paper's six prompts.")
@click.option(
    "--generate",
    "texts",
    multiple=True,
    metavar="TEXT",
    help="Images from a text alone, without sources, such as --generate 'no acute cardiopulmonary process'; repeat for"
    " more texts.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Images of each --generate, such as 10000.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of the first of --count; then + 1. [default: 0]")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Edits of one prompt.")
@click.option("-o", "--output", "folder", type=PATH, required=True, metavar="COHORT", help="The cohort's folder.")
@click.option("--split", default="80/10/10", show_default=True, help="Train/validate/test by patient, or 'dataset'.")
@engine_option
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="As for 'edit'.")
@click.option("--preset", type=PRESET, default="exact", show_default=True)
@click.option("--precision", type=PRECISION)
@click.option("--strength", type=float, metavar="0..1", help="As for 'edit', and so are the next ones.")
@click.option("--guidance", type=float, metavar="SCALE", help="[default: the engine's]")
@click.option("--steps", type=int, metavar="N", help="[default: the engine's]")
@click.option("--solver", type=SOLVER)
@click.option("--sampling-steps", "calls", type=int, metavar="N", help="Denoising steps that are run.")
@click.option(
    "--compose",
    type=COMPOSE,
    default="contrast",
    show_default=True,
    help="replace is what the paper did.",
)
@click.option(
    "--noise",
    type=click.Choice(["edit", "source"]),
    default="edit",
    show_default=True,
    help="Each edit has noise of its own, or the prompts of a source share it.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Edits of a source made at once; a part of the plan, as on a GPU it may change the last bits.",
)
@click.option("--no-protect-markers", "protect_markers", flag_value=False, default=True, help="As for 'edit'.")
@click.option("--format", "format_", type=click.Choice(["dicom", "png", "both"]), default="dicom", show_default=True)
@click.option("--png-bits", type=click.Choice(["8", "16"]), help="Depth of PNG. [default: the source's]")
@click.option("--size", type=click.IntRange(min=16), metavar="N", help="PNG of N x N, letterboxed. [default: source's]")
@click.option("--label", is_flag=True, help="Burn SYNTHETIC into the image; off, as a network would learn it.")
@click.option(
    "--deidentify",
    type=DEIDENTIFY,
    default="pseudonymize",
    show_default=True,
    help="As for 'edit'. With anonymize, splits differ from plan to plan, and the same command is another plan.",
)
@click.option("--sop-class", type=SOP_CLASS, default="source", show_default=True)
@click.option("--transfer-syntax", type=TRANSFER_SYNTAX, default="explicit", show_default=True)
@click.option("--no-estimate", is_flag=True, help="Do not measure how long an edit takes.")
@force_option
@verbosity
def plan(
    sources: tuple[Path, ...],
    dataset: str | None,
    root: Path | None,
    metadata: Path | None,
    patients: Path | None,
    label_map: Path | None,
    view: str | None,
    min_age: int | None,
    findings: str | None,
    limit: int | None,
    hash_by: str | None,
    prompts: tuple[str, ...],
    named: str | None,
    texts: tuple[str, ...],
    count: int | None,
    seed: int | None,
    repeats: int,
    folder: Path,
    split: str,
    engine: str | None,
    device: str,
    preset: str,
    precision: str | None,
    strength: float | None,
    guidance: float | None,
    steps: int | None,
    solver: str | None,
    calls: int | None,
    compose: str,
    noise: str,
    batch: int,
    protect_markers: bool,
    format_: str,
    png_bits: str | None,
    size: int | None,
    label: bool,
    deidentify: str,
    sop_class: str,
    transfer_syntax: str,
    no_estimate: bool,
    force: frozenset[str],
) -> None:
    """Plan a cohort: which sources, towards which prompts, how. The plan never changes; nothing is made yet.

    Sources are files, folders and zips as for 'edit', or the adults, PA and without a finding, of a public data set, as
    in the paper. --generate has none: as 'generate' it makes --count images of a text, each of a patient of its own.
    Prints the number of edits and the time that they will take.

    \b
    Examples:
      roentmod-fast cohort plan study/ -p edema -p cardiomegaly -o cohort/
      roentmod-fast cohort plan --dataset nih --root ChestX-ray14/ --prompts paper --limit 1000 -o cohort/
      roentmod-fast cohort plan --dataset table --metadata cases.csv -p edema --format png --size 512 -o cohort/
      roentmod-fast cohort plan study/ -p edema --repeats 5 --compose replace --split 70/30 -o cohort/
      roentmod-fast cohort plan --generate "no acute cardiopulmonary process" --count 10000 -o normals/
    """
    from roentmod_fast.errors import SettingError
    from roentmod_fast.findings import FINDINGS
    from roentmod_fast.radiograph.model import GENERATED
    from roentmod_fast.settings import EditConfig
    from roentmod_fast.study import planning
    from roentmod_fast.study.datasets import describe
    from roentmod_fast.study.generated import LABELS, generated_rows
    from roentmod_fast.study.labels import label_hint
    from roentmod_fast.study.plan import Origin, Output, check_plan, write_plan

    if texts:
        _check_generate(click.get_current_context())
    elif count is not None or seed is not None:
        raise SettingError("--count and --seed are for --generate TEXT; --repeats makes more edits of a prompt")
    elif bool(sources) == (dataset is not None):
        raise SettingError("name either files and folders, or --dataset with --root, or --generate with --count")
    chosen = texts or (*prompts, *((finding.prompt for finding in FINDINGS) if named else ()))
    log_prompt_hints(chosen)
    config = EditConfig(strength, guidance, steps, 0, compose, solver, calls)
    if texts:
        config = planning.generating(config)
    made_with = planning.Engine.choose(engine, device, preset, precision, config)
    splits = planning.parse_splits(split)
    if texts and splits is None:
        raise SettingError("--split dataset: generated images are of no data set, give shares such as 80/10/10")
    depth = None if png_bits is None else int(png_bits)
    written = Output(format_, deidentify, sop_class, transfer_syntax, label, depth, size)
    if texts:
        written = planning.generated_output(written)
    by = hash_by or ("content" if dataset is None and not texts else "name")
    kind = GENERATED if texts else "files" if dataset is None else "table" if dataset == "table" else "dataset"
    draft = planning.plan_of(
        made_with,
        Origin(kind, "", by),
        chosen,
        written,
        repeats=repeats,
        noise=noise,
        batch=batch,
        force=force,
        protect_markers=protect_markers,
        splits=splits,
    )
    check_plan(draft)
    names: tuple[str, ...] = ()
    place: Path | None = None
    if texts:
        rows, names = generated_rows(draft.engine_sha256, count or 0, seed or 0), LABELS
    elif dataset is None:
        if (view, min_age, findings) != (None, None, None):
            raise SettingError("--view, --min-age and --findings are for --dataset: files say none of it")
        rows, place = planning.file_rows(sources, by, deidentify, force)
    else:
        if root is None and not (dataset == "table" and metadata is not None):
            raise SettingError(f"--dataset {dataset} needs --root DIR, the folder of the data set")
        place = (root if root is not None or metadata is None else metadata.parent) or Path()
        filters = planning.filters_of(dataset, view, min_age, findings)
        rows, names, selection = planning.dataset_rows(
            dataset,
            place,
            filters,
            metadata=metadata,
            patients=patients,
            label_map=label_map,
            hash_by=by,
            deidentify=deidentify,
        )
        for line in describe(dataset, selection):
            logger.info(line)
        for reason, count in selection.left_out.items():
            logger.warning(f"{count} radiographs left out: {reason}")
    for prompt in chosen:
        if (hint := label_hint(prompt, names)) is not None:
            logger.warning(hint)
    rows = planning.with_splits(planning.limited(rows, limit), splits)
    draft = draft if place is None else planning.with_root(draft, place)
    cohort = write_plan(folder, draft, rows, names)
    edits = cohort.plan.edits
    del rows  # an engine may be opened now
    if texts:
        logger.info(f"{cohort.plan.origin.count} seeds x {len(chosen)} texts: {edits} images")
    else:
        logger.info(f"{cohort.plan.origin.count} sources x {len(chosen)} prompts x {repeats} repeats: {edits} edits")
    if not no_estimate:
        seconds, origin = made_with.seconds(config, generates=bool(texts))
        time = "unknown time" if seconds is None else f"{duration(seconds * edits)} by one worker, {seconds:.2f} s each"
        logger.info(f"{time} ({origin})")
    click.echo(folder)
