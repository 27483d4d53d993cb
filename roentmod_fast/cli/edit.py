"""``roentmod-fast edit``: edit radiographs by text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roentmod_fast.cli import DEVICES, EXIT_NOTHING_DONE, EXIT_SOME_FAILED
from roentmod_fast.cli import force as force_option
from roentmod_fast.cli.interrupt import heed_signals
from roentmod_fast.cli.log import logger, shows_progress, verbosity
from roentmod_fast.cli.paths import OUTPUT, PATH

if TYPE_CHECKING:
    from roentmod_fast.jobs import Job, Pair
    from roentmod_fast.pipeline import Event
    from roentmod_fast.radiograph.sources import SourceList
    from roentmod_fast.report import RunReport

QUICK_STEPS = 10


def _four_numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int, int, int] | None:
    """Parse four whole numbers with commas between them."""
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = (int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not four whole numbers X0,Y0,X1,Y1", ctx, param) from None
    return x0, y0, x1, y1


@click.command("edit", cls=force_option.CommandWithForce)
@click.argument("sources", nargs=-1, type=PATH, metavar="[SOURCE]...")
@click.option(
    "-p",
    "--prompt",
    "prompts",
    multiple=True,
    metavar="TEXT",
    help="What to add; repeat for more edits.",
)
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
@click.option("--engine", metavar="NAME|DIR", help="The engine. [default: the only imported one, else phantom]")
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where the networks run.",
)
@click.option(
    "--preset",
    type=click.Choice(["exact", "balanced", "fast"]),
    default="exact",
    show_default=True,
    help="Fidelity or speed: exact is the reference, the others are as measured by 'roentmod-fast tune'.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8", "bf16", "int8-bf16"]),
    help="Precision of the networks; bf16 computes fp32 or int8 ones in bfloat16, on device openvino. "
    "[default: the preset's]",
)
@click.option("--strength", type=float, metavar="0..1", help="How far from the source. [default: the engine's, 0.4]")
@click.option(
    "--guidance", type=float, metavar="SCALE", help="How strongly to follow the text; 1 or less is none. [default: 4]"
)
@click.option("--steps", type=int, metavar="N", help="Steps of the full schedule; strength of them run. [default: 50]")
@click.option("--solver", type=click.Choice(["ddim", "dpm++"]), help="Solver of the noise. [default: the preset's]")
@click.option(
    "--calls",
    type=int,
    metavar="N",
    help="Calls of the UNet, whatever steps and strength say; the noise at the start stays. [default: the preset's]",
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
@click.option(
    "--box",
    callback=_four_numbers,
    metavar="X0,Y0,X1,Y1",
    help="Edit only in this box, in the source's pixels.",
)
@click.option(
    "--no-protect-markers",
    "protect_markers",
    flag_value=False,
    default=True,
    help="Edit burned-in side markers and text too; by default they stay as they are.",
)
@click.option(
    "--compose",
    type=click.Choice(["contrast", "delta", "replace"]),
    default="contrast",
    show_default=True,
    help="How the edit is put into the source: the change against an edit without text (contrast) or against the "
    "source as the engine sees it (delta), both at full resolution; or the engine's own picture (replace).",
)
@click.option(
    "--identity",
    type=click.Choice(["pseudonym", "keep", "strip"]),
    default="pseudonym",
    show_default=True,
    help="Whose the written file says it is.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["dicom", "png"]),
    help="What to write. [default: by the name of -o, else dicom]",
)
@click.option(
    "--as",
    "kind",
    type=click.Choice(["source", "secondary-capture"]),
    default="source",
    show_default=True,
    help="Kind of DICOM object: the source's own, or Secondary Capture.",
)
@click.option(
    "--transfer-syntax",
    type=click.Choice(["explicit", "rle", "jpeg2000"]),
    default="explicit",
    show_default=True,
    help="How DICOM pixels are encoded, lossless all.",
)
@click.option("--label", is_flag=True, help="Burn SYNTHETIC into a corner of the picture.")
@click.option(
    "--voi",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Which of the source's VOI LUTs and windows to show and edit.",
)
@click.option("--preview", is_flag=True, help="Write before, after and difference side by side as PNG too.")
@click.option("--report", type=PATH, metavar="FILE", help="Write what happened as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave edits that exist: go on after an interruption.")
@click.option(
    "--orientation",
    callback=force_option.orientation,
    metavar="L/F|...|stored",
    help="Where rows and columns of the source run, in place of its Patient Orientation; L/F is upright, as stored.",
)
@click.option(
    "--force",
    multiple=True,
    callback=force_option.doubts,
    metavar="[DOUBT,...]",
    help=force_option.HELP,
)
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
    identity: str,
    format_: str | None,
    kind: str,
    transfer_syntax: str,
    label: bool,
    voi: int,
    preview: bool,
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
      roentmod-fast edit chest.dcm -p edema --solver dpm++ --calls 10
      roentmod-fast edit archive/ -p edema -p hernia -o edits/ --batch 8 --skip-existing
      roentmod-fast edit --table cases.csv -o edits/ --report run.json
    """
    from roentmod_fast.editor import Editor
    from roentmod_fast.errors import RoentmodError, SettingError
    from roentmod_fast.findings import prompt_hint
    from roentmod_fast.jobs import check_not_an_input, check_writable, input_identities, plan_jobs
    from roentmod_fast.pipeline import Reading, Writing, edit_many
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
    found, pairs = _find(sources, prompts, table, force)
    for prompt in dict.fromkeys(prompt for _, prompt in pairs):
        hint = prompt_hint(prompt)
        if hint:
            logger.warning(hint)
    target, is_folder = output if output is not None else (None, False)
    plan = plan_jobs(
        pairs,
        target,
        is_folder=is_folder or table is not None,
        file_format=format_,
        preview=preview,
        identity=identity,
    )
    jobs = plan.jobs
    for note in plan.notes:
        logger.warning(note)
    if report is not None:
        inputs = [job.source.path for job in jobs] + [path for path in (mask, table) if path is not None]
        check_not_an_input(report, input_identities(inputs))
        check_writable(report, overwrite=overwrite or skip_existing)
    if identity == "keep":
        logger.warning("--identity keep: the edits carry the patient's and the study's own identity")

    config = EditConfig(
        strength=strength,
        guidance=guidance,
        steps=QUICK_STEPS if quick else steps,
        seed=seed,
        compose=compose,
        solver=solver,
        calls=calls,
    )
    run = RunReport(hidden=plan.hidden)
    run.found(found)

    def load() -> Editor:
        editor = Editor.load(engine, device, precision, preset, batch=batch)
        means = editor.settings(config).means
        logger.info(f"engine {editor.bundle.name}, device {editor.device.name}, {means.describe()}")
        if editor.preset.price() and means == editor.preset.means:
            logger.info(f"preset {preset}: {editor.preset.price()}")
        run.use(editor)
        return editor

    reading = Reading(voi, force, orientation, mask or box, protect_markers)
    writing = Writing(identity, kind, transfer_syntax, label, overwrite, skip_existing, measure=report is not None)
    code = 0
    with heed_signals() as stop:
        progress = _Progress(len(jobs))
        try:
            for event in edit_many(load, jobs, config, reading=reading, writing=writing, progress=progress, stop=stop):
                _tell(event)
                run.add(event)
        except RoentmodError as error:
            run.end = str(error)
            if not run.outputs:
                raise
            logger.error(run.end)
        except KeyboardInterrupt:
            run.end = "interrupted"
        finally:
            progress.close()
            code = _finish(run, report, overwrite or skip_existing)
        sys.exit(stop.exit_status if stop.is_set() else code)


def _find(
    sources: Sequence[Path], prompts: Sequence[str], table: Path | None, force: frozenset[str]
) -> tuple[SourceList, list[Pair]]:
    """Return what was found and which prompts go to which source."""
    from roentmod_fast.jobs import pairs_of, read_table
    from roentmod_fast.radiograph.sources import SourceList, find_sources

    if table is not None:
        pairs = read_table(table)
        return SourceList(tuple(dict.fromkeys(source for source, _ in pairs))), pairs
    if not sources:
        raise click.UsageError("Missing argument 'SOURCE...'.")
    if not prompts:
        raise click.UsageError("Missing option '-p' / '--prompt'.")
    pairs_of((), prompts)  # an empty prompt is known before folders are searched
    found = find_sources(sources, force=force)
    for reason, count in found.skipped.items():
        logger.warning(f"skipped {count} file{'s' if count > 1 else ''}: {reason}")
    for name, reason in found.unreadable.items():
        logger.error(f"{name}: {reason}")
    return found, pairs_of(found.sources, prompts)


def _tell(event: Event) -> None:
    """Print the path of what was written, and log what was not."""
    from roentmod_fast.pipeline import Edited, Failed, Skipped

    if isinstance(event, Edited):
        if event.result.truncated:
            logger.warning(f"the prompt is too long for the engine, left out: {event.result.truncated!r}")
        click.echo(event.job.path)
        if event.problem is not None:
            logger.error(str(event.problem))
    elif isinstance(event, Failed):
        logger.error(str(event.error))
    elif isinstance(event, Skipped):
        logger.warning(f"refused {event.refused}" if event.refused else f"{event.jobs[0].path}: exists, skipped")
    elif event.not_tried:
        logger.warning(f"stopped: {len(event.not_tried)} edits not tried")


def _finish(run: RunReport, report: Path | None, overwrite: bool) -> int:
    """Write the report, log the summary and return the exit status of a run that no signal stopped."""
    from roentmod_fast.atomic import make_folder, write_atomically
    from roentmod_fast.errors import OutputError

    reported = True
    if report is not None:
        try:
            make_folder(report.parent)
            write_atomically(report, run.render().encode(), overwrite=overwrite)
        except OutputError as error:
            logger.error(f"the report: {error}")
            reported = False
    logger.info(run.summary())
    done = bool(run.outputs or run.existing)
    if run.failures or run.end != "done" or not reported:
        return EXIT_SOME_FAILED if done else EXIT_NOTHING_DONE
    return 0 if done else EXIT_NOTHING_DONE


class _Progress:
    """A bar for the edits that are being made together; a line for them where stderr is no terminal."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._begun = 0
        self._bar: Any = None

    def __call__(self, jobs: Sequence[Job], done: int, total: int) -> None:
        if done == 0:
            self._begin(jobs, total)
        elif self._bar is not None:
            self._bar.update(1)
            if done == total:
                self.close()

    def _begin(self, jobs: Sequence[Job], total: int) -> None:
        label = f"{jobs[0].source.stem}: {jobs[0].prompt}" + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        if self._count > 1:
            label = f"[{self._begun + 1}/{self._count}] {label}"
        self._begun += len(jobs)
        if shows_progress():
            self._bar = click.progressbar(length=total, label=label, file=sys.stderr)
            self._bar.__enter__()
        else:
            logger.info(label)

    def close(self) -> None:
        """End the line of a bar that is open."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
