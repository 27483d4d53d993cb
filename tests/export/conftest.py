"""The torch side is tested where torch is installed; elsewhere these files are not even imported."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

EngineOf = Callable[[str], Path]
"""From a layout to the folder of its engine."""

collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> str:
    """Say why there are no tests of the export, so that their absence is seen."""
    return f"export tests: skipped, {', '.join(MISSING)} not installed" if MISSING else "export tests: run"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny checkpoint a layout; tests copy what they change."""
    from tests.goldens.tiny import LAYOUTS, build_tiny

    folder = tmp_path_factory.mktemp("checkpoints")
    for layout in LAYOUTS:
        build_tiny(layout, folder / layout)
    return folder


@pytest.fixture
def changed(checkpoints: Path, tmp_path: Path) -> Path:
    """A copy of the first layout's checkpoint to change."""
    shutil.copytree(checkpoints / "sd1", tmp_path / "changed")
    return tmp_path / "changed"


@pytest.fixture(scope="package", autouse=True)
def torch_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Translate each network once, and run each reference once: the same weights and inputs give the same.

    A test that replaces one of these functions replaces it whole.
    """
    if MISSING:
        yield
        return
    import onnx_ir as ir
    import torch

    from roentmod_fast.bundle.manifest import Model
    from roentmod_fast.settings import EditConfig
    from roentmod_fast_export import onnx_export, parity
    from roentmod_fast_export.checkpoint import Checkpoint

    done = tmp_path_factory.mktemp("translated")
    translate, outputs, edit = onnx_export.translate, parity.reference_outputs, parity.reference_edit_once
    ran: dict[str, Any] = {}

    def key(network: str, module: torch.nn.Module, *more: object) -> str:
        config = module.config if isinstance(module.config, dict) else module.config.to_dict()
        settings = {name: value for name, value in config.items() if name != "_name_or_path"}
        digest = hashlib.sha256(repr((network, settings, more)).encode())
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{name} {value.dtype}".encode() + value.numpy().tobytes())
        return digest.hexdigest()

    def translated(network: str, module: torch.nn.Module, model: Model, width: int) -> ir.Model:
        shapes = [tuple(example.shape) for example in onnx_export.example_inputs(network, model, width)]
        path = done / f"{key(network, module, shapes)}.onnx"
        if path.exists():
            return ir.load(path)
        made = translate(network, module, model, width)
        ir.save(made, path)
        return made

    def reference_outputs(network: str, module: torch.nn.Module, inputs: Sequence[dict[str, Any]]) -> Any:
        given = [(name, value.dtype, value.shape, value.tobytes()) for some in inputs for name, value in some.items()]
        found = key(network, module, given)
        if found not in ran:
            ran[found] = outputs(network, module, inputs)
        return ran[found]

    def reference_edit_once(checkpoint: Checkpoint, image: Any, config: EditConfig) -> Any:
        networks = [key(role, checkpoint.load(role)) for role in checkpoint.parts]
        ids = checkpoint.tokenizer(["", parity.EDIT_PROMPT], padding="max_length")["input_ids"]
        found = repr((networks, ids, sorted(checkpoint.schedule.items()), image.tobytes(), config))
        if found not in ran:
            ran[found] = edit(checkpoint, image, config)
        return ran[found].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "translate", translated)
        patch.setattr(parity, "reference_outputs", reference_outputs)
        patch.setattr(parity, "reference_edit_once", reference_edit_once)
        yield


@pytest.fixture(scope="package")
def engine_of(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> EngineOf:
    """Return the engine of a layout, exported once, the first layout's in fp16 too.

    Tests copy what they change.
    """
    from roentmod_fast_export import export_checkpoint

    folder = tmp_path_factory.mktemp("engines")

    def export(layout: str) -> Path:
        if not (folder / layout).exists():
            precisions = ("fp32", "fp16") if layout == "sd1" else ("fp32",)
            export_checkpoint(checkpoints / layout, folder / layout, precisions=precisions)
        return folder / layout

    return export
