"""``roentmod-fast engines``: list, show, verify, import and remove engine bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roentmod_fast.cli import DEVICES
from roentmod_fast.cli.log import verbosity
from roentmod_fast.cli.options import PATH

if TYPE_CHECKING:
    from roentmod_fast.bundle.bundle import Bundle
    from roentmod_fast.runtime.backends.base import Backend


@click.group("engines")
def command() -> None:
    """List, show, check, import and remove the engines on this machine."""


@command.command("list")
def list_() -> None:
    """List the engines that --engine finds by name; the default one has a star.

    \b
    Example:
      roentmod-fast engines list
    """
    from roentmod_fast.bundle.bundle import find_bundle, list_bundles, read_bundle
    from roentmod_fast.errors import EngineError

    default = find_bundle().folder
    for folder in list_bundles():
        try:
            bundle = read_bundle(folder)
        except EngineError as error:
            click.echo(f"problem: {error}", err=True)
            continue
        size = sum(fact.bytes for fact in bundle.manifest.files.values()) / 1e6
        star = "*" if folder == default else " "
        precisions = ",".join(bundle.manifest.networks)
        click.echo(f"{star} {folder.name:<20} {precisions:<15} {size:8.1f} MB  {folder}")


@command.command("show")
@click.argument("engine", required=False)
@click.option("--json", "as_json", is_flag=True, help="The manifest as it stands.")
def show(engine: str | None, as_json: bool) -> None:
    """Show what an engine is and its parity (by default the default one).

    \b
    Example:
      roentmod-fast engines show phantom
    """
    from dataclasses import asdict

    from roentmod_fast.bundle.bundle import find_bundle
    from roentmod_fast.bundle.manifest import bytes_of, render_manifest

    bundle = find_bundle(engine)
    manifest = bundle.manifest
    if as_json:
        click.echo(render_manifest(manifest), nl=False)
        return
    click.echo(f"{manifest.name}  {bundle.folder}")
    click.echo(f"  manifest SHA-256  {bundle.manifest_hash}")
    if manifest.notice:
        click.echo(f"  notice            {manifest.notice}")
    for title, values in (
        ("model", asdict(manifest.model)),
        ("edit", asdict(manifest.edit)),
        ("made", dict(manifest.made)),
    ):
        click.echo(f"  {title}")
        for name, value in values.items():
            click.echo(f"    {name:<18} {value if isinstance(value, str) else json.dumps(value)}")
    for precision, parts in manifest.networks.items():
        click.echo(f"  networks {precision}")
        for network, file in parts.items():
            size = bytes_of(file, manifest.files)
            also = "".join(f", {kind} {found[file]}" for kind, found in manifest.graphs.items() if file in found)
            click.echo(f"    {network:<18} {file} ({size / 1e6:.1f} MB{also})")
    for precision, networks in manifest.parity.items():
        click.echo(f"  parity {precision}")
        for network, parity in networks.items() if isinstance(networks, dict) else ():
            click.echo(f"    {network:<18} {json.dumps(parity)}")


@command.command("verify")
@click.argument("engine", required=False)
@click.option(
    "--against",
    type=PATH,
    metavar="CHECKPOINT",
    help="Measure parity again, against the checkpoint it was made from; needs the export extra.",
)
@click.option("--vae", type=PATH, metavar="DIR", help="With --against: the autoencoder's folder.")
@click.option(
    "--device",
    type=click.Choice(DEVICES[1:]),
    help="Compare each network's outputs on this device with those on the CPU.",
)
@verbosity
def verify(engine: str | None, against: Path | None, vae: Path | None, device: str | None) -> None:
    """Check every file of an engine against its manifest, then run a smoke test of each precision on the CPU.

    Run it once with --device on a new GPU, driver or engine: what these compute wrongly raises no error anywhere else.

    \b
    Examples:
      roentmod-fast engines verify phantom
      roentmod-fast engines verify roentgen --device cuda
      roentmod-fast engines verify roentgen --against checkpoints/roentgen
    """
    import numpy as np

    from roentmod_fast.bundle.bundle import find_bundle, verify_files
    from roentmod_fast.editor import Editor
    from roentmod_fast.errors import SettingError
    from roentmod_fast.findings import NORMAL_PROMPT
    from roentmod_fast.runtime.backends import choose_device
    from roentmod_fast.settings import EditConfig

    if vae is not None and against is None:
        raise SettingError("--vae belongs to --against: give the checkpoint too")
    if against is not None:
        from roentmod_fast.cli.export import require_export_extra

        require_export_extra()
    chosen = None if device is None else choose_device(device)  # an absent one is an error before the work
    bundle = find_bundle(engine)
    verify_files(bundle)
    click.echo(f"{bundle.name}: {len(bundle.manifest.files)} files match the manifest")
    size = bundle.manifest.model.image_size
    ramp = np.linspace(0, 1, size, dtype=np.float32)[None, :].repeat(size, axis=0)
    for precision in bundle.manifest.networks:
        editor = Editor.load(bundle.folder, device="cpu", precision=precision)
        result = editor.edit(ramp, NORMAL_PROMPT, EditConfig(steps=1, strength=1.0, compose="replace"))
        click.echo(f"{bundle.name}: {precision} runs ({sum(result.seconds.values()):.1f} s for one step)")
        del editor  # a large engine takes gigabytes
    if chosen is not None:
        _compare(bundle, chosen)
    if against is not None:
        from roentmod_fast_export.parity import validate_bundle

        parity = validate_bundle(bundle.folder, against, vae)
        for precision, networks in parity.items():
            for part, values in networks.items():
                line = f"{values['psnr_db']:.1f} dB, largest difference {values['max_abs']:.2g}"
                click.echo(f"{bundle.name}: {precision} {part}: {line}")


def _compare(bundle: Bundle, device: Backend) -> None:
    """Compare a device with the CPU, and print each network. Raises :class:`DeviceError` where one is wrong."""
    from roentmod_fast.errors import DeviceError
    from roentmod_fast.parity import compare_with_cpu

    wrong = []
    for parity in compare_with_cpu(bundle, device):
        line = f"{parity.precision} {parity.network} on {device.name}: {parity.psnr_db:.1f} dB to the CPU"
        click.echo(f"{bundle.name}: {line}, expected {parity.min_psnr_db:g} or more")
        if not parity.passed:
            wrong.append(f"{parity.precision} {parity.network}")
    if wrong:
        raise DeviceError(f"{device.name} computes {', '.join(wrong)} of engine {bundle.name} wrongly: do not use it")


@command.command("import")
@click.argument("bundle", type=PATH)
@click.option("--overwrite", is_flag=True, help="Replace an imported engine of the same name.")
def import_(bundle: Path, overwrite: bool) -> None:
    """Copy an engine, a folder or a zip of one, to where this user's engines are, and check every file.

    \b
    Examples:
      roentmod-fast engines import /media/stick/roentgen
      roentmod-fast engines import roentgen.zip
    """
    from roentmod_fast.bundle.install import import_bundle

    click.echo(import_bundle(bundle, overwrite=overwrite).folder)


@command.command("remove")
@click.argument("name")
@click.confirmation_option("-y", "--yes", prompt="Remove this engine from the disk?")
def remove(name: str) -> None:
    """Remove an imported engine from the disk.

    \b
    Example:
      roentmod-fast engines remove roentgen
    """
    from roentmod_fast.bundle.install import remove_bundle

    click.echo(f"removed {remove_bundle(name)}", err=True)
