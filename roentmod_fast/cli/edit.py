"""``roentmod-fast edit``: edit radiographs by text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from roentmod_fast.cli import DEVICES
from roentmod_fast.cli import force as force_option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from roentmod_fast.editor import EditResult, Progress
    from roentmod_fast.errors import OutputError, SettingError, SourceError
    from roentmod_fast.radiograph.model import Radiograph
    from roentmod_fast.radiograph.sources import Source
    from roentmod_fast.report import RunReport
    from roentmod_fast.throughput import Output

QUICK_STEPS = 10


@dataclass(frozen=True)
class _Where:
    """Where to edit: a mask file, a box, or everywhere; and whether burned-in markers are left alone."""

    mask: Path | None
    box: tuple[int, int, int, int] | None
    protect_markers: bool

    def region(self, radiograph: Radiograph) -> NDArray[np.float32] | None:
        import numpy as np

        from roentmod_fast.radiograph.markers import marker_mask
        from roentmod_fast.radiograph.mask import box_mask, read_mask, soften

        region = None
        if self.mask is not None:
            region = soften(read_mask(self.mask, radiograph))
        elif self.box is not None:
            region = soften(box_mask(self.box, radiograph))
        markers = marker_mask(radiograph.image) if self.protect_markers else np.zeros((1, 1), dtype=bool)
        if not markers.any():
            return region
        return np.where(markers, np.float32(0), np.float32(1) if region is None else region)


@dataclass(frozen=True)
class _Form:
    """In which form edits are written."""

    identity: Literal["pseudonym", "keep", "strip"]
    kind: Literal["source", "secondary-capture"]
    transfer_syntax: str
    label: bool
    preview: bool
    overwrite: bool


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
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option(
    "-p",
    "--prompt",
    "prompts",
    multiple=True,
    required=True,
    metavar="TEXT",
    help="What to add; repeat for more edits.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file for one edit, a folder for several. [default: STEM.PROMPT.dcm beside the source]",
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
    type=click.Path(path_type=Path),
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
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="Write what happened as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
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
def command(
    sources: tuple[Path, ...],
    prompts: tuple[str, ...],
    output: Path | None,
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
    identity: Literal["pseudonym", "keep", "strip"],
    format_: str | None,
    kind: Literal["source", "secondary-capture"],
    transfer_syntax: str,
    label: bool,
    voi: int,
    preview: bool,
    report: Path | None,
    overwrite: bool,
    orientation: str | None,
    force: frozenset[str],
    quick: bool,
) -> None:
    """Add a finding to chest radiographs: files, folders or zips of DICOM, PNG or JPEG.

    Each prompt gives one edit of each source. Paths of what was written go to stdout, one a line. Exit status: 0 all
    done, 1 nothing done, 2 wrong usage, 3 some sources failed.

    \b
    Examples:
      roentmod-fast edit chest.dcm --prompt edema --preview
      roentmod-fast edit study/ -p "right pleural effusion" -p cardiomegaly -o edits/
      roentmod-fast edit chest.png -p "left upper lobe mass" -o mass.png --seed 7
      roentmod-fast edit chest.dcm -p edema --solver dpm++ --calls 10
      roentmod-fast edit archive/ -p edema -p hernia -o edits/ --batch 8
    """
    from roentmod_fast.editor import EditConfig, Editor
    from roentmod_fast.errors import SettingError
    from roentmod_fast.radiograph.sources import find_sources
    from roentmod_fast.report import RunReport
    from roentmod_fast.throughput import edit_many

    if quick and steps is not None:
        raise SettingError("--quick and --steps contradict each other: give one of them")
    if mask is not None and box is not None:
        raise SettingError("--mask and --box contradict each other: give one of them")
    for prompt in prompts:
        if not prompt.strip():
            raise SettingError("a prompt is empty: say what to add, such as --prompt edema")
    config = EditConfig(
        strength=strength,
        guidance=guidance,
        steps=QUICK_STEPS if quick else steps,
        seed=seed,
        compose=compose,
        solver=solver,
        calls=calls,
    )
    if report is not None:
        _check_absent([report], overwrite)

    found = find_sources(sources, force=force)
    for reason, count in found.skipped.items():
        _say(f"skipped {count} file{'s' if count > 1 else ''}: {reason}")
    outputs = _plan(found.sources, prompts, output, format_)
    _check_absent(
        [path for item in outputs for path in ((item.path, _preview_of(item)) if preview else (item.path,))], overwrite
    )

    if identity == "keep":
        _say("warning: --identity keep: the edits carry the patient's and the study's own identity")
    editor = Editor.load(engine, device, precision, preset, say=lambda note: _say(f"note: {note}"), batch=batch)
    means = editor.settings(config).means
    _say(f"engine {editor.bundle.name}, device {editor.device.name}, {means.describe()}")
    if editor.preset.price() and means == editor.preset.means:
        _say(f"preset {preset}: {editor.preset.price()}")
    if editor.bundle.manifest.notice:
        _say(f"note: {editor.bundle.manifest.notice}")

    run = RunReport.of(editor)
    form = _Form(identity, kind, transfer_syntax, label, preview, overwrite)
    edit_many(editor, config, outputs, _Work(run, _Where(mask, box, protect_markers), form, voi, orientation, force))
    if report is not None:
        from roentmod_fast.atomic import write_atomically

        write_atomically(report, run.render().encode(), overwrite=overwrite)
    if run.failures:
        from roentmod_fast.cli import EXIT_NOTHING_DONE, EXIT_SOME_FAILED

        sys.exit(EXIT_SOME_FAILED if run.outputs else EXIT_NOTHING_DONE)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _plan(
    sources: tuple[Source, ...], prompts: tuple[str, ...], output: Path | None, format_: str | None
) -> list[Output]:
    """Name the file of each output. Raises ``SettingError`` where two would have one name."""
    from roentmod_fast.errors import SettingError
    from roentmod_fast.findings import prompt_slug
    from roentmod_fast.throughput import Output

    single = len(sources) * len(prompts) == 1
    kinds = {".png": "png", ".dcm": "dicom"}
    if single and output is not None and not output.is_dir():
        named = kinds.get(output.suffix.lower())
        if format_ is not None and named is not None and named != format_:
            raise SettingError(f"{output}: its name says {named}, --format says {format_}: make them agree")
        if format_ is None and named is None:
            raise SettingError(f"{output}: end its name with .dcm or .png, or give --format")
        return [Output(sources[0], prompts[0], output)]
    if output is not None and output.suffix.lower() in kinds and not output.is_dir():
        raise SettingError(f"{output}: several edits need a folder: give -o a folder's name")
    suffix = ".png" if format_ == "png" else ".dcm"
    # Below an output folder the sources' own folders are kept: a study has many files called IM0001.
    common = Path(os.path.commonpath([source.folder.resolve() for source in sources]))
    outputs = []
    for source in sources:
        folder = source.folder if output is None else output / source.folder.resolve().relative_to(common)
        for prompt in prompts:
            outputs.append(Output(source, prompt, folder / f"{source.stem}.{prompt_slug(prompt)}{suffix}"))
    seen: dict[Path, Output] = {}
    for item in outputs:
        other = seen.setdefault(item.path, item)
        if other is not item:
            raise SettingError(
                f"{item.path}: would be written for {other.source.name} ({other.prompt!r}) and for {item.source.name} "
                f"({item.prompt!r}): edit them in separate runs"
            )
    return outputs


def _check_absent(paths: list[Path], overwrite: bool) -> None:
    """Say before any work what could not be written after it; a folder that is missing is made when it is needed."""
    from roentmod_fast.atomic import check_output

    for path in paths:
        if path.parent.is_dir():
            check_output(path, overwrite=overwrite)


def _preview_of(item: Output) -> Path:
    return item.path.with_name(f"{item.path.stem}.preview.png")


@dataclass(frozen=True)
class _Work:
    """How :func:`roentmod_fast.throughput.edit_many` reads and writes files, and what is said of it."""

    run: RunReport
    where: _Where
    form: _Form
    voi: int
    orientation: str | None
    force: frozenset[str]

    def read(self, source: Source) -> tuple[Radiograph, NDArray[np.float32] | None]:
        from roentmod_fast.radiograph.read import read_radiograph

        radiograph = read_radiograph(source, voi=self.voi, force=self.force, orientation=self.orientation)
        return radiograph, self.where.region(radiograph)

    def write(self, item: Output, radiograph: Radiograph, result: EditResult) -> str | None:
        uid = _write(item, radiograph, result, self.form)
        if self.form.preview:
            _write_preview(item, radiograph, result, self.form)
        return uid

    def was_read(self, radiograph: Radiograph) -> None:
        for note in radiograph.notes:
            _say(f"note: {radiograph.source}: {note}")

    def cannot_be_read(self, source: Source, error: SourceError | SettingError) -> None:
        from roentmod_fast.errors import SourceError

        # A mask or a box that does not fit says nothing of the source.
        self._fail(source, str(error) if isinstance(error, SourceError) else f"{source.name}: {error}")

    @contextmanager
    def progress(self, items: Sequence[Output], calls: int) -> Iterator[Progress]:
        label = f"{items[0].source.stem}: {items[0].prompt}"
        if len(items) > 1:
            label += f" and {len(items) - 1} more"
        with click.progressbar(length=calls, label=label, file=sys.stderr) as bar:
            yield lambda done, total: bar.update(1)

    def was_written(self, item: Output, radiograph: Radiograph, result: EditResult, uid: str | None) -> None:
        if result.truncated:
            _say(f"note: the prompt is too long for the engine, left out: {result.truncated!r}")
        self.run.add(radiograph, result, item.path, uid)
        click.echo(item.path)

    def cannot_be_written(self, item: Output, error: OutputError) -> None:
        self._fail(item.source, str(error))

    def _fail(self, source: Source, reason: str) -> None:
        _say(f"Error: {reason}")
        self.run.fail(source.name, reason)


def _write(item: Output, radiograph: Radiograph, result: EditResult, form: _Form) -> str | None:
    """Write one edit; return its SOP Instance UID where it is DICOM."""
    from roentmod_fast.errors import OutputError
    from roentmod_fast.radiograph.label import burn_label

    image = burn_label(result.image) if form.label else result.image
    try:
        item.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{item.path.parent}: cannot be made: {error.strerror}") from error
    if item.path.suffix.lower() == ".png":
        from roentmod_fast.radiograph.raster import write_png

        write_png(item.path, radiograph, image, result.provenance, overwrite=form.overwrite)
        return None
    from roentmod_fast.radiograph.dicom_write import write_dicom

    return write_dicom(
        item.path,
        radiograph,
        image,
        result.provenance,
        identity=form.identity,
        overwrite=form.overwrite,
        kind=form.kind,
        transfer_syntax=form.transfer_syntax,
        labelled=form.label,
    )


def _write_preview(item: Output, radiograph: Radiograph, result: EditResult, form: _Form) -> None:
    from roentmod_fast.radiograph.preview import write_preview

    write_preview(
        _preview_of(item),
        radiograph.image,
        result.image,
        item.prompt,
        provenance=result.provenance,
        overwrite=form.overwrite,
    )
