"""``roentmod-fast generate``: radiographs from a text alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roentmod_fast.cli import EXIT_NOTHING_DONE, EXIT_SOME_FAILED
from roentmod_fast.cli.log import log_prompt_hints, logger, verbosity
from roentmod_fast.cli.options import (
    OUTPUT,
    PRECISION,
    SOLVER,
    device_option,
    engine_option,
    label_option,
    transfer_syntax_option,
)


@click.command("generate")
@click.option("-p", "--prompt", "prompts", multiple=True, required=True, metavar="TEXT", help="What it shows.")
@click.option(
    "--count", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Images of each prompt."
)
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="PATH",
    help="A file for one image, else a folder. [default: PROMPT.SEED.dcm in the current folder]",
)
@engine_option
@device_option
@click.option("--precision", type=PRECISION, help="As for edit.")
@click.option("--guidance", type=float, metavar="SCALE", help="How strongly to follow the text. [default: 4]")
@click.option("--steps", type=int, metavar="N", help="Steps of the schedule; all of them run. [default: 50]")
@click.option("--solver", type=SOLVER, help="Sampler: DDIM or DPM-Solver++(2M). [default: ddim]")
@click.option(
    "--sampling-steps",
    "calls",
    type=int,
    metavar="N",
    help="Denoising steps that are run. [default: --steps]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first image; then + 1.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Made at once.")
@click.option(
    "--format", "format_", type=click.Choice(["dicom", "png"]), help="What to write. [default: by -o, else dicom]"
)
@transfer_syntax_option
@label_option
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave images that exist: go on after an interruption.")
@verbosity
def command(
    prompts: tuple[str, ...],
    count: int,
    output: tuple[Path, bool] | None,
    engine: str | None,
    device: str,
    precision: str | None,
    guidance: float | None,
    steps: int | None,
    solver: str | None,
    calls: int | None,
    seed: int,
    batch: int,
    format_: str | None,
    transfer_syntax: str,
    label: bool,
    overwrite: bool,
    skip_existing: bool,
) -> None:
    """Generate radiographs from a text alone, without a source.

    From pure noise over the whole schedule. An image is square, in the engine's size, and has no finer detail. Its
    DICOM file is a Secondary Capture of a made-up patient, marked as synthetic. The image of a seed does not depend on
    how many are made.

    \b
    Examples:
      roentmod-fast generate -p "no acute cardiopulmonary process" -o normal.dcm
      roentmod-fast generate -p "no acute cardiopulmonary process" --count 100 -o normals/ --skip-existing
    """
    from roentmod_fast.atomic import check_writable, make_folder
    from roentmod_fast.cli.count_progress import CountProgress
    from roentmod_fast.cli.edit_run import heed_signals
    from roentmod_fast.editor import Editor, StopRequestedError
    from roentmod_fast.errors import DeviceError, EngineError, NotFiniteError, OutputError, SettingError
    from roentmod_fast.findings import prompt_slug
    from roentmod_fast.generate import generate_each
    from roentmod_fast.radiograph.write import SUFFIXES, format_of
    from roentmod_fast.settings import EditConfig

    if overwrite and skip_existing:
        raise SettingError("--overwrite and --skip-existing contradict each other: give one of them")
    for prompt in prompts:
        if not prompt.strip():
            raise SettingError("a prompt is empty: say what to show, such as --prompt edema")
    log_prompt_hints(prompts)
    target, is_folder = output if output is not None else (Path(), True)
    is_folder = is_folder or target.is_dir()
    if not is_folder and count * len(prompts) == 1:
        paths = {target: (prompts[0], seed)}
        file_format = format_ or format_of(target)
        if format_ is not None and target.suffix.lower() != SUFFIXES[format_]:
            raise SettingError(f"{target}: its name does not end with {SUFFIXES[format_]}, what --format says")
    else:
        if not is_folder and target.suffix.lower() in SUFFIXES.values():
            raise SettingError(f"{target}: several images need a folder's name")
        file_format = format_ or "dicom"
        suffix = SUFFIXES[file_format]
        paths = {}
        for prompt in dict.fromkeys(prompts):
            for number in range(seed, seed + count):
                path = target / f"{prompt_slug(prompt)}.{number:05d}{suffix}"
                if path in paths:
                    raise SettingError(f"{path}: would be written for two prompts: generate them in separate runs")
                paths[path] = prompt, number
    existing = {path for path in paths if skip_existing and path.is_file()}
    todo = {path: pair for path, pair in paths.items() if path not in existing}
    for path in todo:
        check_writable(path, overwrite=overwrite)
    config = EditConfig(strength=1.0, guidance=guidance, steps=steps, seed=seed, solver=solver, calls=calls)
    written, failed = 0, 0
    with heed_signals() as stop:
        if todo:
            editor = Editor.load(engine, device, precision, batch=batch)
            speed = editor.settings(config).speed
            logger.info(f"engine {editor.bundle.name}, device {editor.device.name}, {speed.describe()}")

            def heed(done: int, total: int) -> None:
                if done < total and stop.is_set():
                    raise StopRequestedError

            with CountProgress(len(todo)) as progress:
                for start in range(0, len(todo), editor.batch):
                    part = list(todo)[start : start + editor.batch]
                    if stop.is_set():
                        break
                    try:
                        pairs = [todo[path] for path in part]
                        images = list(generate_each(editor, pairs, config, progress=heed))
                    except StopRequestedError:
                        break
                    except (EngineError, DeviceError) as error:
                        logger.error(f"{', '.join(path.name for path in part)}: {error}")
                        failed += len(part)
                        if isinstance(error, NotFiniteError):  # says nothing of other seeds and prompts
                            continue
                        break
                    try:
                        for path, image in zip(part, images, strict=True):
                            if image.truncated:
                                logger.warning(f"the prompt is too long for the engine, left out: {image.truncated!r}")
                            make_folder(path.parent)
                            image.save(
                                path,
                                file_format=file_format,
                                transfer_syntax=transfer_syntax,
                                label=label,
                                overwrite=overwrite,
                            )
                            click.echo(path)
                            written += 1
                            progress.done(path.name)
                    except OutputError as error:
                        logger.error(str(error))
                        failed += 1
                        break
    left = len(todo) - written - failed
    counts = {"written": written, "existing": len(existing), "failed": failed, "not made": left}
    logger.info(", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "written"))
    if stop.is_set():
        sys.exit(stop.exit_status)
    if failed:
        sys.exit(EXIT_SOME_FAILED if written or existing else EXIT_NOTHING_DONE)
