"""fp16 on a CPU: what an operator gives is rounded to fp16, as on a GPU, and what is too large for it is infinite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from roentmod_fast_export.errors import ExportError
from roentmod_fast_export.rounded import in_rounded_float32

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


def save(path: Path, *, half_ports: bool = False) -> Path:
    """Save ``y = ((x + x) * w)[:, ::-1]`` in fp16 between float32 ports, ``w`` being stored."""
    port = HALF if half_ports else FLOAT
    x = ir.Value(name="x", type=ir.TensorType(port), shape=ir.Shape([1, 4]))
    w = ir.Value(name="w", const_value=ir.tensor(np.array([0.5, 1 / 3, 3, 1], np.float16)), type=ir.TensorType(HALF))
    down = ir.node("Cast", [x], attributes={"to": HALF}, name="down")
    add = ir.node("Add", [down.outputs[0], down.outputs[0]], name="add")
    mul = ir.node("Mul", [add.outputs[0], w], name="mul")
    shape = ir.node("Shape", [mul.outputs[0]], name="shape")
    move = ir.node("Reshape", [mul.outputs[0], shape.outputs[0]], name="move")
    up = ir.node("Cast", [move.outputs[0]], attributes={"to": port}, name="up")
    up.outputs[0].name, up.outputs[0].type, up.outputs[0].shape = "y", ir.TensorType(port), ir.Shape([1, 4])
    nodes = [down, add, mul, shape, move, up]
    graph = ir.Graph([x], up.outputs, nodes=nodes, initializers=[w], opset_imports={"": 20}, name="g")
    ir.save(ir.Model(graph, ir_version=10), path)
    return path


def run(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [result] = session.run(None, {"x": x})
    return np.asarray(result)


def test_each_operator_rounds_to_fp16_and_overflows_as_there(tmp_path: Path) -> None:
    path, rounded = save(tmp_path / "net.onnx"), tmp_path / "net.rounded.onnx"
    in_rounded_float32(path, rounded)
    x = np.array([[40000, 1.2345, 7e-6, -3.14159]], np.float32)
    half = x.astype(np.float16)
    with np.errstate(over="ignore"):
        want = ((half + half) * np.array([0.5, 1 / 3, 3, 1], np.float16)).astype(np.float32)
    assert np.isinf(want[0, 0])
    assert np.array_equal(run(rounded, x), want)
    # Without it the CPU provider rounds nothing, which is why it is needed.
    assert np.isfinite(run(path, x)).all()


def test_ports_in_fp16_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"x, y is fp16: ports must be float32"):
        in_rounded_float32(save(tmp_path / "net.onnx", half_ports=True), tmp_path / "net.rounded.onnx")
