"""The fused graph: the same network over the same weights, with attention as one operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.networks import Network, Networks
from roentmod_fast_export.errors import ExportError
from roentmod_fast_export.fused import fuse_attention
from tests.export.conftest import EngineOf
from tests.goldens.tiny import LAYOUTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch.*"),
]


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


@pytest.mark.parametrize(("layout", "precision"), [*((layout, "fp32") for layout in LAYOUTS), ("sd1", "fp16")])
def test_attention_is_one_operator_over_the_same_weights(engine_of: EngineOf, layout: str, precision: str) -> None:
    bundle = read_bundle(engine_of(layout))
    plain = bundle.manifest.networks[precision]["unet"]
    fused = bundle.manifest.fused[plain]
    before, after = operators(bundle.path(plain)), operators(bundle.path(fused))
    assert after.count("MultiHeadAttention") == before.count("Softmax") > 0
    assert "Softmax" not in after
    graph = onnx.load(bundle.path(fused), load_external_data=False).graph
    stored = {entry.value for tensor in graph.initializer for entry in tensor.external_data if entry.key == "location"}
    assert stored == {f"{plain}.data"}
    assert fused in bundle.manifest.files
    assert bundle.manifest.parity[precision]["unet_fused"]["psnr_db"] > (100 if precision == "fp32" else 50)


def test_both_graphs_compute_the_same(engine_of: EngineOf) -> None:
    bundle = read_bundle(engine_of("sd1"))
    plain, fused = (Network(CPU, SessionSpec("unet", bundle.path(name))) for name in ("unet.onnx", "unet.fused.onnx"))
    rng = np.random.default_rng(0)
    shapes = plain.inputs
    arrays = {
        "latents": rng.standard_normal((2, *shapes["latents"][1:]), dtype=np.float32),
        "timestep": np.array([300, 7], dtype=np.int64),
        "text_states": rng.standard_normal((2, *shapes["text_states"][1:]), dtype=np.float32),
    }
    want, got = (network.run(**arrays)["prediction"] for network in (plain, fused))
    assert np.abs(want - got).max() < 1e-5 * np.abs(want).max()
    ours = Networks.open(bundle, CPU, "fp32").predict(arrays["latents"][:1], 300, arrays["text_states"][:1])
    np.testing.assert_array_equal(ours, got[:1])  # what the CPU runs is the fused one


def test_attention_in_an_unknown_form_is_an_error(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Softmax", ["x"], ["y"])
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), tmp_path / "unet.onnx")
    with pytest.raises(ExportError, match="1 of its attention layers"):
        fuse_attention(tmp_path / "unet.onnx", tmp_path / "unet.fused.onnx")
    assert not (tmp_path / "unet.fused.onnx").exists()
