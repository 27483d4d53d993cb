"""The classifiers of torchxrayvision for ``stress``: ``python -m roentmod_fast_export.classifiers``.

They are written without the normalisation by operating points, which rescales each output by a threshold: the ONNX file
gives logits, and the sigmoid is the runtime's. Their contracts are data of ``roentmod_fast.study.models``. Nothing is
downloaded. torchxrayvision is not a part of the export extra and is needed for the DenseNets alone.
"""

from __future__ import annotations

import contextlib
import importlib
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import click
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from roentmod_fast.cli.options import PATH
from roentmod_fast.errors import EngineError
from roentmod_fast.study.models.contract import Contract

from .embedders import run
from .errors import CheckpointError
from .model_file import fill, load_weights, write_model

RELEASE = "https://github.com/mlmed/torchxrayvision/releases/download/v1/"

_TRAINED = "densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
FILES = {
    "densenet121-res224-all": f"nih-pc-chex-mimic_ch-google-openi-kaggle-{_TRAINED}",
    "densenet121-res224-nih": f"nih-{_TRAINED}",
    "densenet121-res224-pc": f"pc-{_TRAINED}",
    "densenet121-res224-chex": f"chex-{_TRAINED}",
    "densenet121-res224-rsna": f"kaggle-{_TRAINED}",
    "densenet121-res224-mimic_nb": f"mimic_nb-{_TRAINED}",
    "densenet121-res224-mimic_ch": f"mimic_ch-{_TRAINED}",
    "resnet50-res512-all": "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt",
}
"""The published file of each model."""

CACHE = PurePosixPath(".torchxrayvision", "models_data")
"""Where torchxrayvision puts its downloads, below the home folder."""


class Logits(nn.Module):
    """A DenseNet of torchxrayvision up to its logits: no check of the input, no sigmoid, no operating points."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.features, self.classifier = network.features, network.classifier

    def forward(self, image: Tensor) -> Tensor:
        found = functional.relu(self.features(image))
        return self.classifier(found.mean(dim=(2, 3)))


def contract_of(name: str) -> Contract:
    """Return the contract that ships for a model."""
    path = resources.files("roentmod_fast.study.models").joinpath("contracts", f"{name}.json")
    with resources.as_file(path) as file:
        return Contract.read(file)


def network_of(name: str, path: Path) -> nn.Module:
    """Return a model with the weights of a file. Raises CheckpointError, EngineError without torchxrayvision."""
    if name.startswith("resnet50"):
        from .resnet import ResNet50

        network: nn.Module = ResNet50(channels=1, classes=18)
        fill(network, load_weights(path), path)
        return network
    models = torchxrayvision_models()
    empty = models.DenseNet(num_classes=18, in_channels=1)
    fill(empty, _densenet_weights(path, models), path)
    return Logits(empty)


def torchxrayvision_models() -> Any:
    """Return the module ``torchxrayvision.models``. Raises EngineError where it cannot be imported."""
    try:
        return importlib.import_module("torchxrayvision.models")
    except Exception as error:  # torchvision raises RuntimeError beside another torch than its own
        raise EngineError(
            f"the DenseNets need torchxrayvision: type pip install torchxrayvision ({type(error).__name__}: {error})"
        ) from None


def _densenet_weights(path: Path, models: Any) -> dict[str, Tensor]:
    """Return the weights of a published file, which is a pickled module, or of a state dict.

    Of a pickled module only classes of networks are admitted, so that no other code of the file is run.
    """
    admitted = [getattr(models, name) for name in ("DenseNet", "_DenseBlock", "_DenseLayer", "_Transition")]
    admitted += [nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Linear, set]
    with contextlib.suppress(Exception), torch.serialization.safe_globals(admitted):
        found = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(found, nn.Module):
            # state_dict() of a module that an older torch pickled lacks attributes of today's.
            return {name: value.float() for name, value in _tensors(found, "")}
    weights = load_weights(path)
    weights.pop("op_threshs", None)
    return weights


def _tensors(module: nn.Module, prefix: str) -> Any:
    for kind in ("_parameters", "_buffers"):
        for name, value in module.__dict__[kind].items():
            if isinstance(value, Tensor) and f"{prefix}{name}" != "op_threshs":
                yield f"{prefix}{name}", value.detach()
    for name, child in module.__dict__["_modules"].items():
        yield from _tensors(child, f"{prefix}{name}.")


@click.command()
@click.argument("name", type=click.Choice(list(FILES)))
@click.option("--weights", type=PATH, metavar="FILE", help="The published file. [default: torchxrayvision's cache]")
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="FILE.onnx", help="The contract is written beside it."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def command(name: str, weights: Path | None, output: Path, overwrite: bool) -> None:
    """Write a classifier of torchxrayvision as ONNX with its contract, for roentmod-fast stress.

    Its outputs are logits without the normalisation by operating points. The published file of the weights is not
    downloaded: give it, or have torchxrayvision download it first. The ONNX file is compared with torch on a fixed
    input. The DenseNets need torchxrayvision.

    \b
    Examples:
      python -m roentmod_fast_export.classifiers densenet121-res224-all -o xrv-all.onnx
      python -m roentmod_fast_export.classifiers densenet121-res224-nih --weights nih-densenet121.pt -o xrv-nih.onnx
      python -m roentmod_fast_export.classifiers resnet50-res512-all --weights resnet50-state.pt -o xrv-resnet.onnx
    """
    path = Path.home() / CACHE / FILES[name] if weights is None else weights
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file: download {RELEASE}{FILES[name]} and give it with --weights")
    difference = write_model(network_of(name, path), contract_of(name), output, overwrite=overwrite)
    click.echo(f"differs from torch by {difference:.1e} of the largest output", err=True)
    click.echo(output)


if __name__ == "__main__":
    run(command, "roentmod_fast_export.classifiers")
