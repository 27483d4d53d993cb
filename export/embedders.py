"""Embedders for ``identity``, from weights that the user has: ``python -m roentmod_fast_export.embedders``.

Nothing is downloaded. Each is written as ONNX with the contract that its preprocessing is.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from torch import Tensor, nn

from roentmod_fast.cli.options import PATH
from roentmod_fast.errors import RoentmodError
from roentmod_fast.study.models.contract import Contract

from .errors import CheckpointError
from .model_file import fill, load_weights, write_model

FID = Contract(
    name="inception-fid",
    kind="embedder",
    size=(299, 299),
    channels=3,
    # clean-fid: (x - 128) / 128 for x from 0 to 255
    range=(-1.0, 127 / 128),
    fit="stretch",
    filter="bicubic",
    values="embedding",
    source="Inception v3 of TensorFlow, 2015-12-05, as pt_inception-2015-12-05 of pytorch-fid (Apache-2.0)",
)

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

RESNET = Contract(
    name="resnet50-imagenet",
    kind="embedder",
    size=(224, 224),
    channels=3,
    range=(0.0, 1.0),
    # The whole shorter side: the usual cut from 256 to 224 would take away a seventh of a radiograph.
    fit="resize-crop",
    filter="bilinear",
    values="embedding",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    source="ResNet-50, ImageNet weights of torchvision or timm, given by the user",
)

CLIP = Contract(
    name="clip-vit-b-32",
    kind="embedder",
    size=(224, 224),
    channels=3,
    range=(0.0, 1.0),
    fit="resize-crop",
    filter="bicubic",
    values="embedding",
    quantize=True,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    unit_norm=True,
    source="CLIP ViT-B/32 of OpenAI, the image encoder with its projection, given by the user",
)


class ClipImage(nn.Module):
    """CLIP's image encoder: images (N, 3, 224, 224) to projected embeddings, not yet of length 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(pixel_values=image).image_embeds


def inception(path: Path) -> tuple[nn.Module, Contract]:
    """Return FID's Inception with the weights of a file."""
    from .inception import FidInception

    network = FidInception()
    fill(network, load_weights(path), path, unused=("AuxLogits.",))
    return network, FID


def resnet50(path: Path) -> tuple[nn.Module, Contract]:
    """Return ResNet-50 without its classes, with the weights of a file."""
    from .resnet import ResNet50

    network = ResNet50()
    fill(network, load_weights(path), path, unused=("fc.",))
    return network, RESNET


def clip(path: Path) -> tuple[nn.Module, Contract]:
    """Return the image encoder of CLIP ViT-B/32 of a transformers folder."""
    from transformers import CLIPVisionModelWithProjection

    from .checkpoint import quiet

    config = path / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{path}: no folder of transformers: expected config.json and model.safetensors in it")
    try:
        facts = json.loads(config.read_text(encoding="utf-8"))
        facts = facts.get("vision_config") or facts
        found = facts.get("image_size", 224), facts.get("patch_size", 32)
    except (OSError, ValueError, AttributeError):
        raise CheckpointError(f"{config}: cannot be read: expected the configuration of CLIP") from None
    if found != (224, 32):
        raise CheckpointError(f"{config}: images of {found[0]} in patches of {found[1]}: expected 224 and 32, ViT-B/32")
    try:
        with quiet():
            network, info = CLIPVisionModelWithProjection.from_pretrained(
                path, local_files_only=True, output_loading_info=True, attn_implementation="eager"
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: no weights of CLIP: {str(error).splitlines()[0]}") from None
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(f"{path}: weight {missing[0]} is missing: not the weights of CLIP's image encoder")
    return ClipImage(network), CLIP


KINDS = {"inception-fid": inception, "resnet50": resnet50, "clip-vit-b-32": clip}


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("weights", type=PATH)
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="FILE.onnx", help="The contract is written beside it."
)
@click.option("--name", help="What tables and figures call it. [default: that of the kind]")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def command(kind: str, weights: Path, output: Path, name: str | None, overwrite: bool) -> None:
    """Write an embedder of WEIGHTS as ONNX with its contract, for roentmod-fast identity.

    WEIGHTS is a file that you have: pt_inception-2015-12-05-6726825d.pth of pytorch-fid for inception-fid, a state dict
    of torchvision or timm for resnet50, a folder of transformers for clip-vit-b-32. Nothing is downloaded. The ONNX
    file is compared with torch on a fixed input.

    \b
    Examples:
      python -m roentmod_fast_export.embedders inception-fid pt_inception-2015-12-05-6726825d.pth -o inception-fid.onnx
      python -m roentmod_fast_export.embedders resnet50 resnet50-11ad3fa6.pth -o resnet50.onnx
      python -m roentmod_fast_export.embedders clip-vit-b-32 clip-vit-base-patch32/ -o clip.onnx
    """
    from dataclasses import replace

    network, contract = KINDS[kind](weights)
    contract = contract if name is None else replace(contract, name=name)
    difference = write_model(network, contract, output, overwrite=overwrite)
    click.echo(f"differs from torch by {difference:.1e} of the largest output", err=True)
    click.echo(output)


def main() -> None:
    """Run the command: an error of ours is one line."""
    run(command, "roentmod_fast_export.embedders")


def run(script: click.Command, module: str) -> None:
    """Run a command as ``python -m MODULE``; an error of ours is one line and the exit status 1."""
    try:
        script.main(prog_name=f"python -m {module}")
    except RoentmodError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
