"""The graph for CUDA: the same network over the same weights, in operators that only the CUDA provider runs.

Here its operators are read by their definitions; that the CUDA provider takes it is tested in ``tests/cuda``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from roentmod_fast.bundle.bundle import Bundle, read_bundle
from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.networks import Network
from roentmod_fast_export import export_checkpoint, exporter
from roentmod_fast_export.cuda_graph import DOMAIN, fuse_for_cuda, in_standard_operators
from roentmod_fast_export.errors import ExportError
from tests.export.conftest import EngineOf
from tests.goldens.tiny import LAYOUTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch.*"),
]

GOLDEN_GATE = Path(__file__).parents[1] / "goldens" / "gate.cuda.onnx"


def copied(engine: Path, folder: Path) -> Bundle:
    return read_bundle(shutil.copytree(engine, folder / "b"))


def graph_of(path: Path) -> onnx.GraphProto:
    return onnx.load(path, load_external_data=False).graph


def test_the_half_precision_unet_gets_one_over_the_same_weights(engine_of: EngineOf) -> None:
    bundle = read_bundle(engine_of("sd1"))
    assert bundle.manifest.cuda == {"unet.fp16.onnx": "unet.fp16.cuda.onnx"}  # the float32 UNet gets none
    assert [path.name for path in bundle.folder.glob("*.cuda.*")] == ["unet.fp16.cuda.onnx"]
    graph = graph_of(bundle.path("unet.fp16.cuda.onnx"))
    stored = {entry.value for tensor in graph.initializer for entry in tensor.external_data if entry.key == "location"}
    assert stored == {"unet.fp16.onnx.data"}
    assert bundle.manifest.parity["fp16"]["unet_cuda"]["psnr_db"] > 50
    assert not list(bundle.folder.glob("*.meant.*"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_rewritten_whole(engine_of: EngineOf, tmp_path: Path, layout: str) -> None:
    """In float32, where what the rewriting changes is not lost in rounding."""
    bundle = copied(engine_of(layout), tmp_path)
    plain, cuda, meant = (bundle.folder / name for name in ("unet.onnx", "unet.cuda.onnx", "unet.meant.onnx"))
    fuse_for_cuda(bundle.path("unet.fused.onnx"), cuda)
    before, after = graph_of(plain), graph_of(cuda)
    was, now = ([node.op_type for node in graph.node] for graph in (before, after))
    for old, new in {"Conv": "NhwcConv", "InstanceNormalization": "GroupNorm", "Softmax": "MultiHeadAttention"}.items():
        assert now.count(new) == was.count(old) > 0
        assert old not in now
    # A layer of the attention blocks has three normalisations; the first comes after no sum.
    assert now.count("SkipLayerNormalization") == 2 * now.count("LayerNormalization") > 0
    assert len(now) < 0.6 * len(was)
    weights = {tensor.name for tensor in after.initializer}
    moved = [node for node in after.node if node.op_type == "Transpose" and node.input[0] not in weights]
    resized = now.count("Resize")
    assert resized > 0
    assert len(moved) == 2 + 2 * resized, "channels come last everywhere but at the ports and where images grow"
    in_standard_operators(cuda, meant)
    want, got = (predictions(path) for path in (plain, meant))
    assert np.abs(want - got).max() < 1e-5 * np.abs(want).max()


def predictions(path: Path) -> np.ndarray:
    """Run a UNet on two items."""
    network = Network(CPU, SessionSpec("unet", path))
    draws = np.random.default_rng(0)
    latents, states = (
        draws.standard_normal((2, *network.inputs[name][1:])).astype(np.float32) for name in ("latents", "text_states")
    )
    return network.run(latents=latents, timestep=np.array([300, 7]), text_states=states)["prediction"]


def test_a_unet_of_another_make_gets_none_and_that_is_said(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise ExportError(f"{source}: of another make")

    monkeypatch.setattr(exporter, "fuse_for_cuda", refuse)
    bundle = read_bundle(export_checkpoint(checkpoints / "sd1", tmp_path / "b", precisions=("fp16",)))
    assert bundle.manifest.cuda == {}
    [line] = [
        entry for entry in logged if entry.startswith("no graph for CUDA, which then runs unet.fp16.fused.onnx: ")
    ]
    assert line.endswith("of another make")


def test_onnxruntime_knows_its_operators_and_lacks_only_kernels(engine_of: EngineOf) -> None:
    bundle = read_bundle(engine_of("sd1"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with pytest.raises(Exception, match=r"Failed to find kernel for com.microsoft.(NhwcConv|GroupNorm)"):
        onnxruntime.InferenceSession(bundle.path("unet.fp16.cuda.onnx"), options)


@pytest.mark.parametrize(
    ("operator", "attribute", "value"), [("GroupNorm", "activation", 0), ("GroupNorm", "epsilon", 1.0)]
)
def test_its_parity_check_sees_a_wrong_attribute(
    engine_of: EngineOf, tmp_path: Path, operator: str, attribute: str, value: float
) -> None:
    bundle = copied(engine_of("sd1"), tmp_path)
    path = bundle.path("unet.fp16.cuda.onnx")
    found = []
    for name in ("right.onnx", "wrong.onnx"):
        in_standard_operators(path, bundle.folder / name)
        model = onnx.load(path, load_external_data=False)
        node = next(node for node in model.graph.node if node.op_type == operator)
        [old] = [one for one in node.attribute if one.name == attribute]
        old.CopyFrom(helper.make_attribute(attribute, value))
        onnx.save(model, path)
        network = Network(CPU, SessionSpec("unet", bundle.folder / name, fp16=True))
        latents = np.random.default_rng(0).standard_normal((1, *network.inputs["latents"][1:])).astype(np.float32)
        states = np.zeros((1, *network.inputs["text_states"][1:]), np.float32)
        found.append(network.run(latents=latents, timestep=np.array([300]), text_states=states)["prediction"])
    right, wrong = found
    assert np.abs(right - wrong).max() > 0.01 * np.abs(right).max()


# --- parts of it ------------------------------------------------------------------------------------------------------


def save(path: Path, nodes: list[onnx.NodeProto], shape: list[int], **weights: np.ndarray) -> None:
    """Save a fp16 network from ``x`` of ``shape`` to ``y``."""
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT16, shape)]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT16, None)]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "part", ports, results, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def run(path: Path, x: np.ndarray) -> np.ndarray:
    [result] = onnxruntime.InferenceSession(path).run(None, {"x": x})
    return np.asarray(result, dtype=np.float32)


def gate(path: Path, width: int, axis: int = 2) -> None:
    """Save the gate of a feed-forward layer whose hidden layer is ``width`` wide."""
    half = np.float16
    save(
        path,
        [
            helper.make_node("Add", ["x", "bias"], ["added"]),
            helper.make_node("Split", ["added"], ["left", "right"], axis=axis, num_outputs=2),
            helper.make_node("Div", ["right", "root"], ["scaled"]),
            helper.make_node("Erf", ["scaled"], ["erf"]),
            helper.make_node("Add", ["erf", "one"], ["more"]),
            helper.make_node("Mul", ["half", "more"], ["share"]),
            helper.make_node("Mul", ["right", "share"], ["gelu"]),
            helper.make_node("Mul", ["left", "gelu"], ["y"]),
        ],
        [1, 4, 2 * width],
        bias=np.linspace(-1, 1, 2 * width).astype(half),
        root=np.array(np.sqrt(2), half),
        one=np.array(1, half),
        half=np.array(0.5, half),
    )


@pytest.mark.parametrize(("width", "fused"), [(1280, True), (2560, True), (5120, True), (640, False)])
def test_a_gate_becomes_one_operator_where_there_is_a_kernel_for_its_width(
    tmp_path: Path, width: int, fused: bool
) -> None:
    gate(tmp_path / "plain.onnx", width)
    kinds = fuse_for_cuda(tmp_path / "plain.onnx", tmp_path / "cuda.onnx")
    assert kinds["BiasSplitGelu"] == fused
    assert ("Erf" in kinds) != fused
    in_standard_operators(tmp_path / "cuda.onnx", tmp_path / "meant.onnx")
    x = np.random.default_rng(0).standard_normal((1, 4, 2 * width)).astype(np.float16)
    assert np.abs(run(tmp_path / "plain.onnx", x) - run(tmp_path / "meant.onnx", x)).max() < 0.02


def test_the_gate_that_runs_on_a_gpu_is_this_one(tmp_path: Path) -> None:
    """``tests/cuda`` opens it there, and has no exporter."""
    gate(tmp_path / "plain.onnx", 1280)
    fuse_for_cuda(tmp_path / "plain.onnx", tmp_path / "cuda.onnx")
    assert graph_of(GOLDEN_GATE) == graph_of(tmp_path / "cuda.onnx")


def test_a_split_along_another_axis_is_no_gate(tmp_path: Path) -> None:
    gate(tmp_path / "plain.onnx", 1280, axis=1)
    assert "BiasSplitGelu" not in fuse_for_cuda(tmp_path / "plain.onnx", tmp_path / "cuda.onnx")


def norm(path: Path, channels: int, groups: int, ones: float = 1.0) -> None:
    """Save a group normalisation as the exporter writes it."""
    half = np.float16
    save(
        path,
        [
            helper.make_node("Reshape", ["x", "split"], ["grouped"]),
            helper.make_node("InstanceNormalization", ["grouped", "ones", "zeros"], ["normal"], epsilon=1e-5),
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Reshape", ["normal", "shape"], ["back"]),
            helper.make_node("Mul", ["back", "weight"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["y"]),
        ],
        [1, channels, 4, 4],
        split=np.array([0, groups, -1]),
        ones=np.full(groups, ones, half),
        zeros=np.zeros(groups, half),
        weight=np.linspace(0.5, 2, channels).astype(half)[:, None, None],
        offset=np.linspace(-1, 1, channels).astype(half)[:, None, None],
    )


def test_a_normalisation_becomes_one_operator_with_channels_last(tmp_path: Path) -> None:
    norm(tmp_path / "plain.onnx", 12, 3)
    assert fuse_for_cuda(tmp_path / "plain.onnx", tmp_path / "cuda.onnx")["GroupNorm"] == 1
    [node] = [node for node in graph_of(tmp_path / "cuda.onnx").node if node.op_type == "GroupNorm"]
    assert node.domain == DOMAIN
    wanted = {"groups": 3, "epsilon": pytest.approx(1e-5), "activation": 0, "channels_last": 1}
    assert {one.name: helper.get_attribute_value(one) for one in node.attribute} == wanted
    in_standard_operators(tmp_path / "cuda.onnx", tmp_path / "meant.onnx")
    x = np.random.default_rng(0).standard_normal((1, 12, 4, 4)).astype(np.float16)
    assert np.abs(run(tmp_path / "plain.onnx", x) - run(tmp_path / "meant.onnx", x)).max() < 0.01


@pytest.mark.parametrize(("channels", "groups", "ones"), [(9, 3, 1.0), (12, 3, 0.5), (1028, 2, 1.0)])
def test_a_normalisation_that_the_kernel_does_not_compute_is_an_error(
    tmp_path: Path, channels: int, groups: int, ones: float
) -> None:
    """It takes channels by twos, has no weights of groups, and takes groups of up to 512 channels."""
    norm(tmp_path / "plain.onnx", channels, groups, ones)
    with pytest.raises(ExportError, match="1 of InstanceNormalization are written in an unknown way"):
        fuse_for_cuda(tmp_path / "plain.onnx", tmp_path / "cuda.onnx")
    assert not (tmp_path / "cuda.onnx").exists()


def test_a_convolution_without_constant_weights_is_an_error(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["weight", "weight"], ["changed"]),
        helper.make_node("Conv", ["x", "changed", "bias"], ["y"]),
    ]
    weights = {"weight": np.zeros((2, 2, 1, 1), np.float16), "bias": np.zeros(2, np.float16)}
    save(tmp_path / "plain.onnx", nodes, [1, 2, 4, 4], **weights)
    with pytest.raises(ExportError, match="1 of Conv are written"):
        fuse_for_cuda(tmp_path / "plain.onnx", tmp_path / "cuda.onnx")
