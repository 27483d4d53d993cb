"""Networks in int8: made for real by NNCF, on the tiny checkpoint."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from roentmod_fast.bundle.bundle import Bundle, read_bundle, verify_files
from roentmod_fast.editor import Editor
from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.findings import PROMPTS
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.openvino import OPENVINO
from roentmod_fast.runtime.networks import Networks
from roentmod_fast.settings import EditConfig
from roentmod_fast_export import engine_side, export_checkpoint, exporter, int8
from roentmod_fast_export.errors import ExportError

MISSING = [name for name in ("nncf", "openvino") if importlib.util.find_spec(name) is None]
needs_int8_extra = pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed")


@pytest.fixture(scope="module")
def bundle(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first layout, in float32 and int8, exported as into a folder of the working directory."""
    folder = tmp_path_factory.mktemp("int8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        out = export_checkpoint(checkpoints / "sd1", Path("tiny"), precisions=("fp32", "int8"), keep_anyway=True)
    return folder / out


@needs_int8_extra
def test_the_engine_edits_in_int8(bundle: Path) -> None:
    verify_files(read_bundle(bundle))
    manifest = read_bundle(bundle).manifest
    assert manifest.networks["int8"]["text_encoder"] == manifest.networks["fp32"]["text_encoder"]
    assert set(manifest.parity["int8"]) == {"unet", "vae_encoder", "vae_decoder", "whole_edit"}
    image = draw(64, 0).image
    config = EditConfig(steps=10, compose="replace")
    full, small = (Editor.load(bundle, "cpu", precision).edit(image, "edema", config) for precision in ("fp32", "int8"))
    difference = np.abs(full.decoded - small.decoded)
    assert 0 < difference.max() < 0.5
    assert -10 * np.log10(np.mean(difference**2)) > 20


@needs_int8_extra
def test_weights_are_integers_and_the_ends_are_not(bundle: Path) -> None:
    graph = onnx.load(bundle / "unet.int8.onnx").graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    integers = floats = 0
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        source = made_by.get(node.input[1])
        if source is not None and source.op_type == "DequantizeLinear":
            assert kinds[source.input[0]] == onnx.TensorProto.INT8
            integers += 1
        else:
            assert int8.IN_FLOAT.search(node.input[1]), node.input[1]
            floats += 1
    assert integers > floats >= 2


@needs_int8_extra
def test_activations_are_unsigned(bundle: Path) -> None:
    for network in int8.QUANTIZED:
        graph = onnx.load(bundle / f"{network}.int8.onnx").graph
        kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
        points = [kinds[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
        assert points
        assert set(points) == {onnx.TensorProto.UINT8}, network


def test_unsigned_activations_are_the_same_numbers() -> None:
    session = onnxruntime.InferenceSession
    one = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3000])
    stored = {"scale": np.float32(0.02), "point": np.int8(-7), "weights": np.full(3000, -3, np.int8)}
    stored |= {"weights_point": np.zeros((), np.int8)}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("QuantizeLinear", ["x", "scale", "point"], ["q"]),
            onnx.helper.make_node("DequantizeLinear", ["q", "scale", "point"], ["dq"]),
            onnx.helper.make_node("DequantizeLinear", ["weights", "scale", "weights_point"], ["w"]),
            onnx.helper.make_node("Mul", ["dq", "w"], ["y"]),
        ],
        "g",
        [one],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3000])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
        value_info=[onnx.helper.make_tensor_value_info("q", onnx.TensorProto.INT8, [3000])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    x = np.linspace(-3, 3, 3000, dtype=np.float32)  # past both ends of what is counted
    before = session(model.SerializeToString()).run(None, {"x": x})[0]
    int8.store_unsigned(model.graph)
    after = session(model.SerializeToString()).run(None, {"x": x})[0]
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert (kinds["point"], kinds["weights_point"]) == (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)
    np.testing.assert_array_equal(after, before)
    assert len(np.unique(before)) == 256


@needs_int8_extra
def test_openvino_validates_int8(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(engine_side, "Network", lambda device, spec: asked.append((device, spec.fp16)) or Wrong())
    for precision in ("fp32", "fp16", "int8"):
        engine_side.validate_network("text_encoder", bundle, [{}], [[np.zeros(2)]], precision)
    assert asked == [(CPU, False), (CPU, False), (OPENVINO, False)]  # fp16 in a graph that rounds
    edited = []
    real = engine_side.Networks.open

    def opened(bundle: Bundle, device: Backend, precision: str, *, keep: bool) -> Networks:
        edited.append((device, precision, keep))
        return real(bundle, device, precision, keep=keep)

    monkeypatch.setattr(engine_side.Networks, "open", opened)
    engine_side.validate_edit(bundle, "int8", np.zeros((64, 64), np.float32))
    assert edited == [(OPENVINO, "int8", False)]


class Wrong:
    """A network that gives ones."""

    def run(self) -> dict[str, np.ndarray]:
        return {"text_states": np.ones(2)}


@needs_int8_extra
@pytest.mark.parametrize("radiographs", [0, 2])
def test_every_prompt_is_watched_at_every_noise_level(bundle: Path, tmp_path: Path, radiographs: int) -> None:
    for seed in range(radiographs):
        write_sample(tmp_path / f"{seed}.dcm", draw(64, seed).image, seed=seed, findings=())
    samples = int8.watch_edits(bundle, tmp_path if radiographs else None)
    assert {name: len(found) for name, found in samples.items()} == {
        "unet": 2 * len(PROMPTS) * int8.CALLS,
        "vae_encoder": len(PROMPTS),
        "vae_decoder": len(PROMPTS),
    }
    assert {len(array) for found in samples.values() for sample in found for array in sample.values()} == {1}
    assert len({sample["text_states"].tobytes() for sample in samples["unet"]}) == len(PROMPTS) + 1  # and no prompt
    assert len({int(sample["timestep"][0]) for sample in samples["unet"]}) == int8.CALLS


def test_quantizing_imports_no_torch() -> None:
    code = "import sys; import roentmod_fast_export.int8; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_calibration_on_the_users_own_radiographs(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write_sample(tmp_path / "mine" / "chest.dcm", draw(128, 5).image, seed=5, findings=())
    (tmp_path / "mine" / "notes.txt").write_text("no radiograph")
    (own,) = int8.calibration_images(tmp_path / "mine", 64)
    np.testing.assert_allclose(own, draw(128, 5).image, atol=0.5 / 255)


def test_a_folder_without_radiographs_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no radiograph")
    with pytest.raises((ExportError, SourceError), match=r"no radiograph|not a radiograph|nothing"):
        int8.calibration_images(tmp_path, 64)


def test_options_that_do_not_fit(checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ExportError, match=r"int8 needs nncf and openvino 2026 or later: type pip install 'roentmod-fast\[int8\]'$"
    ):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out", precisions=("fp32", "int8"))
    monkeypatch.undo()
    with pytest.raises(SettingError, match="--calibrate belongs to int8"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out", calibrate=tmp_path)
    monkeypatch.setattr(exporter.int8, "require_int8_extra", lambda: None)
    with pytest.raises(SettingError, match="int8 is made from float32"):
        export_checkpoint(checkpoints / "sd1", tmp_path / "out", precisions=("int8",))
    assert list(tmp_path.iterdir()) == []
