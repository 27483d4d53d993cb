"""``roentmod-fast edit``: edit radiographs by text."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roentmod_fast.cli.log import logger, verbosity
from roentmod_fast.cli.options import (
    COMPOSE,
    DEIDENTIFY,
    OUTPUT,
    PATH,
    PRECISION,
    PRESET,
    SOLVER,
    SOP_CLASS,
    EditCommand,
    check_orientation,
    device_option,
    engine_option,
    force_option,
    label_option,
    parse_box,
    protect_markers_option,
    transfer_syntax_option,
)

QUICK_STEPS = 10


@click.command("edit", cls=EditCommand)
@click.argument("sources", nargs=-1, type=PATH, metavar="[SOURCE]...")
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="What to add; repeat for more edits.")
@click.option(
    "--table",
    type=PATH,
    metavar="FILE",
    help="Edit what this CSV file lists in its columns source and prompt, in place of SOURCE and --prompt.",
)
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="PATH",
    help="A file for one edit of a file, else a folder. [default: STEM.PROMPT.dcm beside the source]",
)
@engine_option
@device_option
@click.option(
    "--preset",
    type=PRESET,
    default="exact",
    show_default=True,
    help="Fidelity or speed: exact is the reference, the others are as measured by 'roentmod-fast tune'.",
)
@click.option(
    "--precision",
    type=PRECISION,
    help="Precision of the networks; bf16 computes fp32 or int8 ones in bfloat16, on device openvino. "
    "[default: the preset's]",
)
@click.option("--strength", type=float, metavar="0..1", help="How far from the source. [default: the engine's, 0.4]")
@click.option(
    "--guidance", type=float, metavar="SCALE", help="How strongly to follow the text; 1 or less is none. [default: 4]"
)
@click.option("--steps", type=int, metavar="N", help="Steps of the full schedule; strength of them run. [default: 50]")
@click.option("--solver", type=SOLVER, help="Sampler: DDIM or DPM-Solver++(2M). [default: the preset's]")
@click.option(
    "--sampling-steps",
    "calls",
    type=int,
    metavar="N",
    help="Denoising steps that are run, in place of strength x steps; the noise at the start stays. "
    "[default: the preset's]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the noise.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Edits made at once, for throughput over many; they are the same for any N, within float rounding.",
)
@click.option(
    "--mask",
    type=PATH,
    metavar="FILE",
    help="Edit only where this PNG or DICOM mask, of the source's matrix, is not 0.",
)
@click.option("--box", callback=parse_box, metavar="X0,Y0,X1,Y1", help="Edit only in this box, in the source's pixels.")
@protect_markers_option
@click.option(
    "--compose",
    type=COMPOSE,
    default="contrast",
    show_default=True,
    help="How the edit is put into the source: the change against an edit without text (contrast) or against the "
    "source as the engine sees it (delta), both at full resolution; or the engine's own image (replace).",
)
@click.option(
    "--deidentify",
    type=DEIDENTIFY,
    default="pseudonymize",
    show_default=True,
    help="De-identification of the written DICOM file (PS3.15 Annex E).",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["dicom", "png"]),
    help="What to write. [default: by the name of -o, else dicom]",
)
@click.option(
    "--sop-class",
    type=SOP_CLASS,
    default="source",
    show_default=True,
    help="SOP class of the written DICOM file: the source's own, or Secondary Capture.",
)
@transfer_syntax_option
@label_option
@click.option(
    "--voi",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Which of the source's VOI LUTs and windows to show and edit.",
)
@click.option("--preview", is_flag=True, help="Write before, after and difference side by side as PNG too.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page to look at the edits in a browser, offline.")
@click.option("--report", type=PATH, metavar="FILE", help="Write what happened as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave edits that exist: go on after an interruption.")
@click.option(
    "--orientation",
    callback=check_orientation,
    metavar="L/F|...|stored",
    help="Where rows and columns of the source run, in place of its Patient Orientation; L/F is upright, as stored.",
)
@force_option
@click.option("--quick", is_flag=True, help=f"A first look: {QUICK_STEPS} steps instead of 50.")
@verbosity
def command(
    sources: tuple[Path, ...],
    prompts: tuple[str, ...],
    table: Path | None,
    output: tuple[Path, bool] | None,
    engine: str | None,
    device: str,
    preset: str,
    precision: str | None,
    strength: float | None,
    guidance: float | None,
    steps: int | None,
    solver: str | None,
    calls: int | None,
    seed: int,
    batch: int,
    mask: Path | None,
    box: tuple[int, int, int, int] | None,
    protect_markers: bool,
    compose: str,
    deidentify: str,
    format_: str | None,
    sop_class: str,
    transfer_syntax: str,
    label: bool,
    voi: int,
    preview: bool,
    html: Path | None,
    report: Path | None,
    overwrite: bool,
    skip_existing: bool,
    orientation: str | None,
    force: frozenset[str],
    quick: bool,
) -> None:
    """Add a finding to chest radiographs: files, folders or zips of DICOM, PNG or JPEG.

    Each prompt gives one edit of each source. Paths of what was written go to stdout, one a line; the last line on
    stderr counts them. Exit status: 0 all done, 1 nothing done, 2 wrong usage, 3 some failed and the rest is written,
    130 interrupted. Of a folder or archive, what should not be edited (a lateral view) is left out and no failure.

    \b
    Examples:
      roentmod-fast edit chest.dcm --prompt edema --preview
      roentmod-fast edit study/ -p "right pleural effusion" -p cardiomegaly -o edits/
      roentmod-fast edit chest.png -p "left upper lobe mass" -o mass.png --seed 7
      roentmod-fast edit chest.dcm -p edema --solver dpm++ --sampling-steps 10
      roentmod-fast edit archive/ -p edema -p hernia -o edits/ --batch 8 --skip-existing
      roentmod-fast edit --table cases.csv -o edits/ --report run.json
    """
    from roentmod_fast.atomic import check_writable
    from roentmod_fast.cli.edit_run import find_pairs, run_edits
    from roentmod_fast.editor import Editor
    from roentmod_fast.errors import SettingError
    from roentmod_fast.jobs import check_not_an_input, input_identities, plan_jobs
    from roentmod_fast.pipeline import Reading, Writing
    from roentmod_fast.report import RunReport
    from roentmod_fast.settings import EditConfig

    for first, second, both in (
        ("--quick", "--steps", quick and steps is not None),
        ("--mask", "--box", mask is not None and box is not None),
        ("--overwrite", "--skip-existing", overwrite and skip_existing),
        ("--table", "SOURCE and --prompt", table is not None and bool(sources or prompts)),
    ):
        if both:
            raise SettingError(f"{first} and {second} contradict each other: give one of them")
    found, pairs = find_pairs(sources, prompts, table, force)
    target, is_folder = output if output is not None else (None, False)
    is_folder = is_folder or table is not None
    plan = plan_jobs(pairs, target, is_folder=is_folder, file_format=format_, preview=preview, deidentify=deidentify)
    for note in plan.notes:
        logger.warning(note)
    replace = overwrite or skip_existing
    for extra in (path for path in (report, html) if path is not None):
        inputs = [source.path for source, _ in pairs] + [path for path in (mask, table) if path is not None]
        check_not_an_input(extra, input_identities(inputs))
        check_writable(extra, overwrite=replace)
    if deidentify == "none":
        logger.warning("--deidentify none: the edits carry the patient's and the study's own identity")
    config = EditConfig(strength, guidance, QUICK_STEPS if quick else steps, seed, compose, solver, calls)
    run = RunReport(hidden=plan.hidden, detailed=report is not None)
    run.found(found)

    def load() -> Editor:
        editor = Editor.load(engine, device, precision, preset, batch=batch)
        speed = editor.settings(config).speed
        logger.info(f"engine {editor.bundle.name}, device {editor.device.name}, {speed.describe()}")
        if editor.preset.price() and speed == editor.preset.speed:
            logger.info(f"preset {preset}: {editor.preset.price()}")
        run.use(editor)
        return editor

    reading = Reading(voi, force, orientation, mask or box, protect_markers)
    writing = Writing(
        deidentify, sop_class, transfer_syntax, label, overwrite, skip_existing, measure=report is not None
    )
    sys.exit(run_edits(load, plan.jobs, config, reading, writing, run, report, html, replace=replace))
