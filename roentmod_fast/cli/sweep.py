"""``roentmod-fast sweep``: one radiograph with many settings, side by side."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from roentmod_fast.cli import EXIT_NOTHING_DONE
from roentmod_fast.cli.duration import duration
from roentmod_fast.cli.log import log_prompt_hints, logger, verbosity
from roentmod_fast.cli.options import (
    PATH,
    PRECISION,
    EditCommand,
    check_orientation,
    device_option,
    engine_option,
    force_option,
    parse_box,
    protect_markers_option,
)


@click.command("sweep", cls=EditCommand)
@click.argument("source", type=PATH)
@click.option("-p", "--prompt", "prompts", multiple=True, required=True, metavar="TEXT", help="What to add.")
@click.option("--strength", default="0.2..1:10", show_default=True, metavar="VALUES", help="How far from the source.")
@click.option("--guidance", default="1.5..10:10", show_default=True, metavar="VALUES", help="How strongly to follow.")
@click.option("--steps", metavar="VALUES", help="Steps of the full schedule. [default: the engine's, 50]")
@click.option("--solver", metavar="NAMES", help="ddim, dpm++ or both. [default: ddim]")
@click.option("--seed", default="0", show_default=True, metavar="VALUES", help="Seeds; cells of one share the noise.")
@click.option("--compose", default="replace", show_default=True, metavar="NAMES", help="replace, delta, contrast.")
@click.option("-o", "--output", type=PATH, metavar="DIR", help="The sweep's folder. [default: ./sweep.PROMPT]")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page to look at the cells in a browser, offline.")
@click.option(
    "--box",
    callback=parse_box,
    metavar="X0,Y0,X1,Y1",
    help="Measure change inside and outside this box, in the source's pixels.",
)
@click.option("--mask", type=PATH, metavar="FILE", help="The same for a mask, as for edit. The edit is not confined.")
@engine_option
@device_option
@click.option("--precision", type=PRECISION, help="As for edit.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes, each with an engine of its own. [default: one a core for a small engine on a CPU, else 1]",
)
@protect_markers_option
@click.option("--voi", type=click.IntRange(min=0), default=0, metavar="N", help="Which VOI LUT or window, as for edit.")
@click.option("--orientation", callback=check_orientation, metavar="L/F|...|stored", help="As for edit.")
@force_option
@click.option("--dry-run", is_flag=True, help="Show the cells and what they cost; make nothing.")
@verbosity
def command(
    source: Path,
    prompts: tuple[str, ...],
    strength: str,
    guidance: str,
    steps: str | None,
    solver: str | None,
    seed: str,
    compose: str,
    output: Path | None,
    html: Path | None,
    box: tuple[int, int, int, int] | None,
    mask: Path | None,
    engine: str | None,
    device: str,
    precision: str | None,
    workers: int | None,
    protect_markers: bool,
    voi: int,
    orientation: str | None,
    force: frozenset[str],
    dry_run: bool,
) -> None:
    """Edit one radiograph with many settings: a contact sheet, a table of changes, and a page.

    VALUES are a list (0.2,0.4) or a range with its count (0.2..1:10); the default is the grid of the RoentMod paper's
    Supplemental Figure 5. All cells have the same noise, and cells with the same steps share their work. The cost is
    shown first. A sweep that was interrupted goes on where it stopped.

    \b
    Examples:
      roentmod-fast sweep chest.dcm -p edema -o sweep/ --html sweep.html
      roentmod-fast sweep chest.dcm -p hernia --strength 0.4 --guidance 4 --seed 0..8
      roentmod-fast sweep chest.dcm -p edema --solver ddim,dpm++ --steps 10,25,50 --strength 0.4 --guidance 4 --dry-run
    """
    from roentmod_fast.atomic import check_writable, make_folder
    from roentmod_fast.cli.count_progress import CountProgress
    from roentmod_fast.cli.edit_run import heed_signals
    from roentmod_fast.diffusion.denoise import SOLVERS
    from roentmod_fast.editor import Editor
    from roentmod_fast.errors import SettingError
    from roentmod_fast.findings import prompt_slug
    from roentmod_fast.radiograph.read import read_radiograph
    from roentmod_fast.settings import COMPOSE_MODES
    from roentmod_fast.study.page.edits import ENDINGS
    from roentmod_fast.study.sweep import axes as parse
    from roentmod_fast.study.sweep.plan import SweepAxes, plan_sweep, without_images
    from roentmod_fast.study.sweep.run import SweepRun
    from roentmod_fast.study.sweep.store import SweepStore
    from roentmod_fast.study.sweep.workers import StoppedError, run_groups, seconds_a_call, usual_workers

    chosen = SweepAxes(
        prompt=tuple(dict.fromkeys(prompts)),
        strength=parse.numbers("--strength", strength),
        guidance=parse.numbers("--guidance", guidance),
        steps=(None,) if steps is None else parse.whole_numbers("--steps", steps),
        solver=(None,) if solver is None else parse.words("--solver", solver, tuple(SOLVERS)),
        seed=parse.whole_numbers("--seed", seed),
        compose=parse.words("--compose", compose, COMPOSE_MODES),
    )
    if box is not None and mask is not None:
        raise SettingError("--mask and --box contradict each other: give one of them")
    if html is not None:
        if html.suffix.lower() not in ENDINGS:
            raise SettingError(f"{html}: end the name of a page with {' or '.join(ENDINGS)}")
        check_writable(html, overwrite=True)
    log_prompt_hints(chosen.prompt)
    folder = Path(f"sweep.{prompt_slug(prompts[0])}") if output is None else output
    check_writable(folder / "sweep.json", overwrite=True)
    radiograph = read_radiograph(source, voi=voi, force=force, orientation=orientation)
    for note in radiograph.notes:
        logger.warning(f"{radiograph.source}: {note}")
    editor = Editor.load(engine, device, precision)
    plan = plan_sweep(editor, chosen)
    store = SweepStore(folder, SweepRun(editor, radiograph, mask or box, protect_markers), plan)
    _ = store.run.inside  # a region that does not fit is known before the work
    logger.info(f"engine {editor.bundle.name}, device {editor.device.name}, {editor.settings().speed.describe()}")
    for note in plan.notes:
        logger.warning(note)
    if not dry_run:
        store.begin()
    there = store.present()
    left = without_images(plan, there)
    alone = sum(group.alone for group in plan.groups)
    text = f"{len(plan.cells)} cells, {len(plan.runs)} runs, {plan.calls} UNet evaluations (each by itself {alone})"
    if there:
        text += f"; {len(there)} runs are there"
    if left.calls:
        text += f"; at most about {duration(left.calls * seconds_a_call(editor))}"
    logger.info(text)
    if dry_run:
        return
    count = workers or usual_workers(editor, len(left.groups))
    with heed_signals() as stop, CountProgress(left.calls) as progress:
        try:
            for group, images in run_groups(
                store.run, left.groups, count, lambda done: progress.done("UNet evaluations", done), stop
            ):
                for cell in group.cells:
                    store.write(cell, images[cell.number])
        except StoppedError:
            found = len(store.present())
            logger.warning(f"stopped: {found} of {len(plan.runs)} runs are there; the same command goes on")
            sys.exit(stop.exit_status if found else EXIT_NOTHING_DONE)
    if html is not None:
        make_folder(html.parent)
    for path in store.finish(html, ", ".join(chosen.prompt)):
        click.echo(path)
