"""``roentmod-fast tune``: measure what speed-ups cost on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from roentmod_fast.cli import DEVICES
from roentmod_fast.cli.log import verbosity
from roentmod_fast.cli.options import PATH, PRECISION, engine_option


@click.command("tune")
@engine_option
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
)
@click.option(
    "--images",
    type=PATH,
    metavar="DIR",
    help="Measure on the radiographs in this folder. [default: phantoms]",
)
@click.option("--count", type=click.IntRange(min=1), default=2, show_default=True, help="Radiographs to measure on.")
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="[default: edema, cardiomegaly]")
@click.option(
    "--precision",
    "precisions",
    type=PRECISION,
    multiple=True,
    help="Try this precision; may be given several times. [default: all that the engine and the device have]",
)
@click.option("--min-psnr", type=float, default=35.0, show_default=True, help="What 'fast' must keep, in dB.")
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Store the presets here instead.")
@verbosity
def command(
    engine: str | None,
    device: str,
    images: Path | None,
    count: int,
    prompts: tuple[str, ...],
    precisions: tuple[str, ...],
    min_psnr: float,
    output: Path | None,
) -> None:
    """Measure seconds against fidelity to exact edits, and store the presets 'balanced' and 'fast' for this engine.

    'fast' is the fastest that stays within --min-psnr of exact in its worst edit and makes 90 to 110 % of its change;
    'balanced' stays 5 dB closer, 95 to 105 %. An engine of RoentGen's size takes a quarter of an hour a radiograph on
    two cores.

    \b
    Examples:
      roentmod-fast tune
      roentmod-fast tune --engine roentgen --images radiographs/ --count 5 --device openvino
      roentmod-fast tune --precision fp32 -o presets.cpu.json    # for other machines too
      roentmod-fast edit chest.dcm -p edema --preset fast
    """
    from roentmod_fast.atomic import check_writable, make_folder, write_atomically
    from roentmod_fast.bundle.bundle import find_bundle
    from roentmod_fast.errors import SourceError
    from roentmod_fast.machine import machine_facts
    from roentmod_fast.phantom import draw
    from roentmod_fast.presets import render_presets, tuned_path
    from roentmod_fast.radiograph.read import read_radiograph
    from roentmod_fast.radiograph.sources import find_sources
    from roentmod_fast.runtime import gpus
    from roentmod_fast.runtime.backends import choose_device
    from roentmod_fast.tune import tune

    bundle, chosen = find_bundle(engine), choose_device(device)
    path = output or tuned_path(bundle, chosen.name)
    check_writable(path, overwrite=True)
    if images is None:
        radiographs = [draw(bundle.manifest.model.image_size, seed).image for seed in range(count)]
    else:
        found = find_sources((images,)).sources[:count]
        radiographs = [read_radiograph(source).image for source in found]
        if not radiographs:
            raise SourceError(f"{images}: no radiograph in it")
    facts = machine_facts()
    names = [gpu.name for gpu in gpus.list_gpus()[:1]] if chosen.is_gpu else []
    machine = ", ".join([facts["machine"], *names])
    click.echo(f"engine {bundle.name}, device {chosen.name}, {len(radiographs)} radiographs, {machine}", err=True)
    tuning = tune(
        bundle,
        chosen,
        radiographs,
        prompts or ("edema", "cardiomegaly"),
        precisions=precisions,
        min_psnr=min_psnr,
        machine=f"{machine}, {chosen.name}",
    )
    for name in ("balanced", "fast"):
        preset = tuning.presets.get(name)
        text = f"{preset.speed.describe()}: {preset.price()}" if preset else f"no setting reaches what {name} needs"
        click.echo(f"{name}: {text}", err=True)
    make_folder(path.parent)
    evidence = {"packages": facts["packages"], "exact_seconds": round(tuning.exact_seconds, 3)}
    write_atomically(path, render_presets(tuning.presets, bundle, evidence).encode(), overwrite=True)
    click.echo(path)
