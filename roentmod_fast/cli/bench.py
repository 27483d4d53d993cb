"""``roentmod-fast bench``: how many images a second, here."""

from __future__ import annotations

from pathlib import Path

import click

from roentmod_fast.cli import DEVICES
from roentmod_fast.cli.log import verbosity
from roentmod_fast.cli.options import PATH, PRESET, engine_option


@click.command("bench")
@engine_option
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=click.Choice(DEVICES[1:]),
    help="Repeat for more. [default: those that are here]",
)
@click.option(
    "--preset",
    "names",
    multiple=True,
    type=PRESET,
    help="Repeat for more. [default: exact, and those that were measured]",
)
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True, help="Edits for each, interleaved.")
@click.option("--json", "report", type=PATH, metavar="FILE", help="Write the figures as JSON.")
@verbosity
def command(
    engine: str | None, devices: tuple[str, ...], names: tuple[str, ...], runs: int, report: Path | None
) -> None:
    """Measure how long an edit takes with each device and preset; a phantom, one prompt, all defaults.

    All are in memory at once, because they are compared in turns; those of one device and precision share networks.

    \b
    Examples:
      roentmod-fast bench
      roentmod-fast bench --engine roentgen --device openvino --preset fast --runs 5 --json bench.json
    """
    import json
    import statistics

    from roentmod_fast.atomic import check_writable, write_atomically
    from roentmod_fast.bundle.bundle import find_bundle
    from roentmod_fast.editor import Editor
    from roentmod_fast.errors import DeviceError, SettingError
    from roentmod_fast.machine import machine_facts
    from roentmod_fast.phantom import draw
    from roentmod_fast.presets import NAMES, find_preset
    from roentmod_fast.runtime.backends import choose_device
    from roentmod_fast.settings import EditConfig

    bundle = find_bundle(engine)
    if report is not None:
        check_writable(report, overwrite=True)
    opened: dict[tuple[str, str | None], Editor] = {}
    editors: dict[tuple[str, str], Editor] = {}
    for device in devices or DEVICES[1:]:
        try:
            choose_device(device)
        except DeviceError:
            if devices:
                raise
            continue
        for name in names or NAMES:
            try:
                preset = find_preset(bundle, name, device)
            except SettingError:
                if names:
                    raise
                continue
            key = (device, preset.speed.precision)
            if key not in opened:
                opened[key] = Editor.load(bundle.folder, device, preset=preset)
            editors[device, name] = opened[key].with_preset(preset)
    image = draw(bundle.manifest.model.image_size, 0).image
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in editors}
    for run in range(runs + 1):
        for key, editor in editors.items():
            result = editor.edit(image, "edema", EditConfig(seed=run))
            took = sum(result.seconds.values())
            click.echo(f"{f'edit {run}' if run else 'warming up'}: {' '.join(key)}: {took:.2f} s", err=True)
            if run:
                seconds[key].append(took)
    rows = [
        {
            "device": device,
            "preset": name,
            "speed": editors[device, name].preset.speed.describe() or editors[device, name].networks.precision,
            "seconds": round(statistics.median(values), 4),
            "lowest": round(min(values), 4),
            "highest": round(max(values), 4),
            "images_a_second": round(1 / statistics.median(values), 4),
        }
        for (device, name), values in seconds.items()
    ]
    click.echo(f"{bundle.name}, {runs} edits each, interleaved, median (lowest to highest)")
    for row in rows:
        click.echo(
            f"{row['device']:<9} {row['preset']:<9} {row['seconds']:8.2f} s ({row['lowest']:.2f} to "
            f"{row['highest']:.2f})  {row['images_a_second']:7.3f} images/s  {row['speed']}"
        )
    if report is not None:
        values = {
            "engine": bundle.name,
            "manifest_sha256": bundle.manifest_hash,
            **machine_facts(),
            "runs": runs,
            "rows": rows,
        }
        write_atomically(report, (json.dumps(values, indent=1) + "\n").encode(), overwrite=True)
