"""The networks that can be trained, as multi-task classifiers of one grey channel."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roentmod_fast.errors import EngineError, SettingError
from roentmod_fast_train.settings import TrainSettings


class Small(nn.Module):
    """A small convolutional classifier: (N, 1, S, S) in [0, 1] to logits (N, K); 0.5 M parameters.

    Coordinates come as two further channels, as findings have places. Each image is brought to mean 0 and deviation 1.
    """

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 32, 64, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        x = (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-3)
        rows = torch.linspace(-1, 1, height, device=x.device).view(1, 1, height, 1).expand(n, 1, height, width)
        columns = torch.linspace(-1, 1, width, device=x.device).view(1, 1, 1, width).expand(n, 1, height, width)
        x = self.body(torch.cat([x, rows.to(x.dtype), columns.to(x.dtype)], 1))
        logits: Tensor = self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return logits


class Dense(nn.Module):
    """torchvision's DenseNet121 over one grey channel, which is repeated and normalised as for ImageNet."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        if importlib.util.find_spec("torchvision") is None:
            raise EngineError(
                "network densenet121 is torchvision's: type pip install torchvision, or take --network small"
            )
        models = importlib.import_module("torchvision.models")
        self.body = models.densenet121(weights=None, num_classes=classes)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body((x.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return logits


def present_name(name: str) -> str:
    """Return a weight's name of today: torchvision's published DenseNets have ``norm.1``, its networks ``norm1``.

    Source: ``_load_state_dict`` of torchvision's densenet.py.
    """
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=\d\.)", r"\1", name)


def make_network(settings: TrainSettings, classes: int) -> nn.Module:
    """Return the network of a training, initialised by its seed. Raises EngineError and SettingError.

    ``pretrained``: a state dict of torchvision's DenseNet121, such as ImageNet's; its classifier is left out.
    """
    torch.manual_seed(settings.seed)
    network: nn.Module = Small(classes) if settings.network == "small" else Dense(classes)
    if settings.pretrained is not None:
        path = Path(settings.pretrained)
        body = network.body if isinstance(network, Dense) else network
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            own = body.state_dict()
            state = {present_name(name): value for name, value in state.items()}
            fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
        except (OSError, RuntimeError, AttributeError, ValueError, pickle.UnpicklingError) as error:
            raise SettingError(f"{path}: no state dict: {str(error).splitlines()[0]}") from None
        # Batches are counted since PyTorch 0.4.1 only; the published files are older, and a momentum needs no count.
        needed = [name for name in own if not name.startswith(("classifier.", "head."))]
        lacking = [name for name in needed if name not in fitting and not name.endswith(".num_batches_tracked")]
        if lacking:
            raise SettingError(f"{path}: no weights of {lacking[0]} for {settings.network}")
        body.load_state_dict(fitting, strict=False)
    return network


def masked_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy over labels that are known, (N, K) each; NaN targets do not count.

    Targets are soft: a share is itself the target. Without a known label the loss is 0, with a gradient of 0.
    """
    known = ~torch.isnan(targets)
    # NaN * 0 is NaN: unknown labels are replaced before they are weighted by 0.
    values = torch.where(known, targets, torch.zeros_like(targets))
    each = F.binary_cross_entropy_with_logits(logits, values, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
