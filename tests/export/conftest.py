"""The torch side is tested where torch is installed; elsewhere these files are not even imported."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from pathlib import Path

import pytest

NEEDED = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

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


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of networks that some test has exported already."""
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(autouse=True)
def export_once(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export each network once a session: the same weights, types and wishes give the same file."""
    if MISSING:
        return
    import torch

    from roentmod_fast_export import exporter

    export_network = exporter.export_network

    def export(
        network: str, module: torch.nn.Module, model: object, width: int, path: Path, *, store_halves: bool = False
    ) -> None:
        digest = hashlib.sha256(f"{network} {width} {model} {store_halves} {module.config}".encode())
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{name} {value.dtype}".encode() + value.numpy().tobytes())
        stored = exported / digest.hexdigest()
        if not stored.exists():
            stored.mkdir()
            export_network(network, module, model, width, stored / path.name, store_halves=store_halves)
        shutil.copytree(stored, path.parent, dirs_exist_ok=True)

    monkeypatch.setattr(exporter, "export_network", export)
