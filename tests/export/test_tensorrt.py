"""Engines for NVIDIA GPUs: built for real where TensorRT for RTX is installed (``pip install tensorrt_rtx``)."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from roentmod_fast.bundle.bundle import find_bundle, read_bundle, verify_files
from roentmod_fast.bundle.manifest import NETWORKS, with_weights
from roentmod_fast.errors import SettingError
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.networks import Networks
from roentmod_fast_export import export_checkpoint
from roentmod_fast_export import tensorrt as aot
from roentmod_fast_export.apart import FROM
from roentmod_fast_export.errors import ExportError

TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch.*"),
]
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: pip install tensorrt_rtx"
)


def only(*packages: str) -> Any:
    """Return a ``find_spec`` that finds these TensorRT packages and no other."""
    return lambda name: object() if name in packages else None


@needs_rtx
@pytest.mark.parametrize("bundle", [TINY, find_bundle("phantom").folder], ids=["tiny", "phantom"])
def test_engines_of_a_bundle(tmp_path: Path, bundle: Path, logged: list[str]) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    manifest = read_bundle(tmp_path / "b").manifest
    compiler = aot.find_compiler(["sm89"])
    records = aot.build_engines(tmp_path / "b", manifest.networks["fp32"], manifest.files, ["sm89", "sm120"], compiler)
    assert [(record["network"], record["architecture"]) for record in records] == [
        (network, architecture) for network in NETWORKS for architecture in ("sm89", "sm120")
    ]
    assert len(logged) == len(records)
    for record in records:
        source = manifest.networks["fp32"][record["network"]]
        assert record["source"] == {source: manifest.files[source].sha256}
        assert record["version"] == compiler.version
        assert record["batch"] == list(aot.BATCHES[record["network"]])
        for part in (record["network"], record["architecture"], compiler.version, f"b{record['batch'][-1]}"):
            assert part in record["engine"]
        assert (tmp_path / "b" / record["engine"]).stat().st_size > 100_000
        graph = onnx.load(tmp_path / "b" / record["file"])
        onnx.checker.check_model(graph)
        [node] = graph.graph.node
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        assert (node.op_type, node.domain) == ("EPContext", "com.microsoft")
        assert attributes["ep_cache_context"].decode() == record["engine"]
        assert attributes["embed_mode"] == 0
        assert attributes["source"] == b"NvTensorRTRTXExecutionProvider"
        assert attributes["hardware_architecture"].decode() == record["architecture"].removeprefix("sm")
        ports = onnx.load(tmp_path / "b" / source).graph
        assert graph.graph.input == ports.input
        assert graph.graph.output == ports.output


@needs_rtx
def test_an_export_with_engines(checkpoints: Path, tmp_path: Path) -> None:
    out = export_checkpoint(checkpoints / "sd2", tmp_path / "b", precisions=("fp16",), tensorrt=("sm86",))
    bundle = read_bundle(out)
    verify_files(bundle)
    assert {record["network"] for record in bundle.manifest.tensorrt} == set(NETWORKS)
    for record in bundle.manifest.tensorrt:
        assert {record["file"], record["engine"]} <= bundle.manifest.files.keys()
        assert all(bundle.manifest.files[name].sha256 == digest for name, digest in record["source"].items())
        file = bundle.manifest.networks["fp16"][record["network"]]
        assert tuple(record["source"]) == with_weights(file, bundle.manifest.files)
    # An edit on the CPU reads none of them.
    for record in bundle.manifest.tensorrt:
        bundle.path(record["file"]).unlink()
        bundle.path(record["engine"]).unlink()
    Networks.open(bundle, CPU, "fp16")


@needs_rtx
def test_a_network_that_tensorrt_cannot_read(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "b")
    manifest = read_bundle(tmp_path / "b").manifest
    (tmp_path / "b" / "text_encoder.onnx").write_bytes(b"not ONNX")
    with pytest.raises(ExportError, match=r"text_encoder\.onnx: tensorrt_rtx [0-9.]+ cannot read it") as error:
        aot.build_engines(
            tmp_path / "b", manifest.networks["fp32"], manifest.files, ["sm89"], aot.find_compiler(["sm89"])
        )
    assert "\n" not in str(error.value)


def test_building_imports_no_torch() -> None:
    """Beside the largest network, torch would stand in memory for nothing."""
    code = "import sys; import roentmod_fast_export.tensorrt; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_rtx
def test_large_networks_are_built_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(TINY, tmp_path / "b")
    manifest = read_bundle(tmp_path / "b").manifest
    networks = {"vae_decoder": manifest.networks["fp32"]["vae_decoder"]}
    asked = []
    real = aot.apart

    def apart(weights: int, *step: Any) -> Any:
        asked.append(weights)
        return real(FROM, *step)

    monkeypatch.setattr(aot, "NETWORKS", tuple(networks))
    monkeypatch.setattr(aot, "apart", apart)
    compiler = aot.find_compiler(["sm89"])
    [record] = aot.build_engines(tmp_path / "b", networks, manifest.files, ["sm89"], compiler)
    assert asked == [sum(manifest.files[name].bytes for name in record["source"])]
    assert (tmp_path / "b" / record["engine"]).stat().st_size > 100_000
    (tmp_path / "b" / "vae_decoder.onnx").write_bytes(b"not ONNX")
    with pytest.raises(ExportError, match=r"vae_decoder\.onnx: tensorrt_rtx [0-9.]+ cannot read it"):
        aot.build_engines(tmp_path / "b", networks, manifest.files, ["sm89"], compiler)


@needs_rtx
def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ExportError, match=r"sm42: expected some of sm86, sm89"):
        aot.find_compiler(["sm89", "sm42"])


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", only())
    with pytest.raises(ExportError, match="pip install tensorrt_rtx"):
        aot.find_compiler(["sm89"])


def test_classic_tensorrt_builds_for_its_own_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", only("tensorrt"))
    monkeypatch.setattr(importlib, "import_module", lambda name: importlib.util)
    monkeypatch.setattr(aot, "_gpu", lambda: "sm90")
    with pytest.raises(ExportError, match="this machine only, sm90"):
        aot.find_compiler(["sm89"])
    monkeypatch.setattr(aot, "_gpu", lambda: None)
    with pytest.raises(ExportError, match="there is none"):
        aot.find_compiler(["sm89"])
    monkeypatch.setattr(aot, "_gpu", lambda: "sm90")
    assert aot.find_compiler(["sm90"]).package == "tensorrt"


def test_engines_are_built_from_half_precision(checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="add fp16"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out", tensorrt=("sm89",))
    assert not (tmp_path / "out").exists()
