"""One torch module to one ONNX file with its contract, for ``stress`` and ``identity``.

The file is compared with the module on a fixed input before it gets its name.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from roentmod_fast.atomic import check_writable, make_folder
from roentmod_fast.study.models.contract import Contract
from roentmod_fast.study.models.network import whole_hash

from .checkpoint import quiet
from .errors import CheckpointError, ExportError, ParityError
from .files import INLINE_LIMIT, OPSET
from .onnx_export import tidy

INPUT = "image"
LIMIT = 1e-4
"""The largest difference from torch that is accepted, as a share of the largest output."""


def write_model(module: nn.Module, contract: Contract, path: Path, *, overwrite: bool = False) -> float:
    """Write ``module`` as ONNX and its contract beside it; return how far it is from torch, as a share.

    The module takes float32 (N, C, H, W) of the contract's size and gives (N, K); N is free. Weights of more than
    :data:`INLINE_LIMIT` bytes lie in ``NAME.onnx.data``. Raises ParityError above :data:`LIMIT`, ExportError for
    another name than ``.onnx``, OutputError.
    """
    if path.suffix != ".onnx":
        raise ExportError(f"{path}: expected a name that ends with .onnx")
    data = path.with_name(f"{path.name}.data")
    check_writable(path, overwrite=overwrite)
    check_writable(path.with_suffix(".json"), overwrite=overwrite)
    check_writable(data, overwrite=overwrite)
    make_folder(path.parent)
    module = module.eval()
    example = example_input(contract)
    # No name of an operator: one that the exporter gives to a value would be there twice.
    output = "features" if contract.kind == "embedder" else contract.values
    with quiet(), torch.no_grad():
        wanted = module(example).double().numpy()
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    graph = program.model.graph
    tidy(program.model, contract.name)
    size = sum(value.const_value.nbytes for value in graph.initializers.values() if value.const_value)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder, path.name)
        ir.save(program.model, draft, external_data=data.name if size > INLINE_LIMIT else None)
        difference = _difference(draft, example, wanted)
        if not difference <= LIMIT:  # NaN too
            raise ParityError(f"{path}: differs from torch by {difference:.1e} of its largest output: not written")
        beside = draft.with_name(data.name)
        digest = whole_hash(draft)
        if beside.exists():
            beside.replace(data)
        else:
            data.unlink(missing_ok=True)  # of an earlier export under this name
        draft.replace(path)
    replace(contract, input_name=INPUT, output_name=output, sha256=digest).write(
        path.with_suffix(".json"), overwrite=True
    )
    return difference


def example_input(contract: Contract) -> Tensor:
    """Return a fixed batch of two in the range that the contract gives."""
    numbers = np.random.default_rng(0).random((2, contract.channels, *contract.size), dtype=np.float32)
    low, high = contract.range
    result = numbers * np.float32(high - low) + np.float32(low)
    for index in range(contract.channels):
        if contract.mean is not None:
            result[:, index] -= np.float32(contract.mean[index])
        if contract.std is not None:
            result[:, index] /= np.float32(contract.std[index])
    return torch.from_numpy(result)


def _difference(path: Path, example: Tensor, wanted: np.ndarray) -> float:
    """Return the largest difference of ONNX Runtime from torch, as a share of the largest output.

    The batch of two and its first image alone are run.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = float(np.abs(wanted).max())
    if not np.isfinite(wanted).all() or largest == 0:
        raise CheckpointError(f"{path.name}: torch gives no finite numbers for a fixed input: are these its weights?")
    differences = []
    for count in (2, 1):
        [found] = session.run(None, {INPUT: example[:count].numpy()})
        if found.shape != wanted[:count].shape:
            raise ParityError(f"{path.name}: gives {found.shape}, torch {wanted[:count].shape}")
        differences.append(float(np.abs(found - wanted[:count]).max()) / largest)
    return float(np.max(differences))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict that a file of torch or safetensors holds; no code of the file is run.

    Raises CheckpointError.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file: nothing is downloaded, give the file of the weights") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception:  # pickle, zip and torch raise many kinds
        raise CheckpointError(f"{path}: no state dict of torch: expected tensors by name, and no code") from None
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path}: no state dict of torch: expected tensors by name")
    return {
        name.removeprefix("module."): value.float() if value.is_floating_point() else value
        for name, value in found.items()
    }


def fill(module: nn.Module, weights: dict[str, Tensor], path: Path, *, unused: tuple[str, ...] = ()) -> None:
    """Load a state dict; ``unused``: first parts of names that may be there and are not needed.

    Raises CheckpointError naming a weight that is missing, unknown or of another shape.
    """
    expected = module.state_dict()
    given = {name: value for name, value in weights.items() if not name.startswith(unused)} if unused else weights
    needed = [name for name in expected if not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in given]
    unknown = [name for name in given if name not in expected]
    for names, what in ((missing, "is missing"), (unknown, "is unknown")):
        if names:
            raise CheckpointError(f"{path}: weight {names[0]} {what}: not the weights of this network")
    for name in needed:
        if expected[name].shape != given[name].shape:
            raise CheckpointError(
                f"{path}: weight {name} is {tuple(given[name].shape)}: expected {tuple(expected[name].shape)}"
            )
    module.load_state_dict({**expected, **{name: given[name] for name in needed}})
