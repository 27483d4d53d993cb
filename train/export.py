"""A trained network becomes an ONNX file with the contract that ``stress`` reads, checked against torch."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roentmod_fast.errors import EngineError
from roentmod_fast.study.models.network import open_model
from roentmod_fast_train.images import contract_of

LIMIT = 1e-4
"""Largest difference of a probability between ONNX and torch."""

MODEL = "model.onnx"


def write_model(
    network: nn.Module, name: str, size: int, findings: tuple[str, ...], images: NDArray[np.uint8], path: Path
) -> float:
    """Write a network as ONNX with its contract; return the largest difference of a probability to torch.

    ``images``: uint8 (N, S, S), on which both are compared. Raises EngineError where they differ by more than
    :data:`LIMIT`; nothing is written then.
    """
    network = network.eval()
    contract = contract_of(name, size, findings, "trained by roentmod-fast train; not for diagnosis")
    example = torch.zeros(2, 1, size, size)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        draft = Path(place) / path.name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch to its own exporter
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: batch},),
                external_data=False,
                verbose=False,
            )
        program.save(draft)
        contract.write(draft.with_suffix(".json"))
        model = open_model(draft, device="cpu")
        inputs = images[:, None].astype(np.float32) / np.float32(255)
        with torch.no_grad():
            expected = torch.sigmoid(network(torch.from_numpy(inputs))).double().numpy()
        difference = float(np.abs(model.run(inputs) - expected).max())
        if not difference <= LIMIT:
            raise EngineError(f"{path}: ONNX differs from torch by {difference:.2g}, above {LIMIT:g}: not written")
        del model
        draft.replace(path)
        draft.with_suffix(".json").replace(path.with_suffix(".json"))
    return difference
