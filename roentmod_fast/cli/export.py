"""``roentmod-fast export``: a checkpoint becomes an engine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from roentmod_fast.cli.log import verbosity
from roentmod_fast.cli.options import PATH

NEEDED = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")


@click.command("export")
@click.argument("checkpoint", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="The new bundle.")
@click.option("--vae", type=PATH, metavar="DIR", help="Take the autoencoder of this folder.")
@click.option(
    "--precision",
    "precisions",
    default="fp32",
    show_default=True,
    metavar="LIST",
    help="Some of fp32,fp16,int8, with commas between them.",
)
@click.option(
    "--calibrate",
    type=PATH,
    metavar="DIR",
    help="Calibrate int8 on edits of the radiographs in this folder. [default: phantoms]",
)
@click.option(
    "--tensorrt",
    default="",
    metavar="LIST",
    help="Build TensorRT engines for these NVIDIA architectures too, such as sm86,sm89,sm120; needs fp16.",
)
@click.option("--name", help="The engine's name. [default: that of the folder]")
@click.option("--overwrite", is_flag=True, help="Replace the bundle if it exists.")
@click.option("--keep-anyway", is_flag=True, help="Keep an engine that misses its limits; the manifest says so.")
@verbosity
def command(
    checkpoint: Path,
    output: Path,
    vae: Path | None,
    precisions: str,
    calibrate: Path | None,
    tensorrt: str,
    name: str | None,
    overwrite: bool,
    keep_anyway: bool,
) -> None:
    """Turn a Stable Diffusion checkpoint, a local diffusers folder such as RoentGen's, into an engine.

    Needs the export extra (torch), on whatever machine has it; the result runs without. Every network and one whole
    edit are compared with the checkpoint, and an engine that does not compute the same is refused.

    \b
    Examples:
      roentmod-fast export roentgen/ --vae sd-vae/ -o engines/roentgen
      roentmod-fast export roentgen/ --vae sd-vae/ -o engines/roentgen --precision fp32,fp16
      roentmod-fast export roentgen/ --vae sd-vae/ -o engines/roentgen --precision fp32,int8 --calibrate radiographs/
      roentmod-fast export roentgen/ --vae sd-vae/ -o engines/roentgen --precision fp32,fp16 --tensorrt sm89,sm120
    """
    require_export_extra()
    from roentmod_fast_export import export_checkpoint

    bundle = export_checkpoint(
        checkpoint,
        output,
        precisions=_parts(precisions),
        vae=vae,
        name=name,
        overwrite=overwrite,
        keep_anyway=keep_anyway,
        tensorrt=_parts(tensorrt),
        calibrate=calibrate,
    )
    click.echo(bundle)


def require_export_extra() -> None:
    """Raise :class:`EngineError` where the export extra is not installed."""
    from roentmod_fast.errors import EngineError

    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        raise EngineError(f"export needs {', '.join(missing)}: type pip install 'roentmod-fast[export]'")


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
