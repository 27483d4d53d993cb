"""Tiny networks as ONNX, written byte by byte: the runtime's environment has no ``onnx``.

The messages and the numbers of their fields are those of onnx.proto3.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FLOAT, DOUBLE, INT64 = 1, 11, 7
Shape = Sequence[int | str]


def write_linear(
    path: Path,
    shape: Shape,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    ends_with: Sequence[str] = (),
    element: int = FLOAT,
    inputs: int = 1,
    outputs: int = 1,
) -> Path:
    """Write a network that flattens its input, multiplies by ``weight`` (D, K), adds ``bias`` (K,), and so on.

    ``shape``: of the input, a text for a free side. ``ends_with``: names of operators, such as Sigmoid, one after the
    other. ``inputs`` and ``outputs``: how many there are, all but the first useless.
    """
    matrix = np.asarray(weight, np.float32)
    added = np.zeros(matrix.shape[1], np.float32) if bias is None else np.asarray(bias, np.float32)
    operators = ["MatMul", "Add", *ends_with]
    values = ["image", *(f"v{index}" for index in range(len(operators))), "result"]
    nodes = [_node("Flatten", [values[0]], values[1])]
    for index, operator in enumerate(operators):
        more = {"MatMul": ["weight"], "Add": ["bias"]}.get(operator, [])
        nodes.append(_node(operator, [values[index + 1], *more], values[index + 2]))
    nodes += [_node("Identity", ["result"], f"result{index}") for index in range(1, outputs)]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"tiny")
    graph += _field(5, _tensor("weight", matrix)) + _field(5, _tensor("bias", added))
    graph += b"".join(_field(11, _port(f"image{index or ''}", element, shape)) for index in range(inputs))
    row = [shape[0], matrix.shape[1]]
    graph += b"".join(_field(12, _port(f"result{index or ''}", element, row)) for index in range(outputs))
    model = _field(1, 8) + _field(8, _field(1, b"") + _field(2, 17)) + _field(7, graph)
    path.write_bytes(model)
    return path


def contract(**changes: Any) -> dict[str, Any]:
    """Return the JSON of a contract of an embedder of 4 x 4 pixels; ``changes`` by ``input__size`` and so on."""
    facts: dict[str, Any] = {
        "format": 1,
        "name": "tiny",
        "kind": "embedder",
        "input": {"size": [4, 4], "channels": 1, "range": [0, 1], "fit": "stretch", "filter": "box"},
        "output": {"values": "embedding"},
        "source": "tests",
    }
    for key, value in changes.items():
        *within, last = key.split("__")
        place = facts[within[0]] if within else facts
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return facts


def classifier_contract(
    findings: Sequence[str | None], values: str = "probabilities", **changes: Any
) -> dict[str, Any]:
    """Return the JSON of a contract of a classifier of 4 x 4 pixels."""
    return contract(kind="classifier", output={"values": values, "findings": list(findings)}, **changes)


def write_embedder(path: Path, *, side: int = 8, numbers: int = 6, seed: int = 0, **changes: Any) -> Path:
    """Write an embedder of random weights with its contract; its name is the file's."""
    weight = np.random.default_rng(seed).normal(size=(side * side, numbers))
    write_linear(path, ("batch", 1, side, side), weight)
    facts = contract(**{"name": path.stem, "input__size": [side, side], **changes})
    path.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
    return path


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes([*result, value])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    parts = b"".join(_field(1, name.encode()) for name in inputs)
    return parts + _field(2, output.encode()) + _field(4, operator.encode())


def _tensor(name: str, values: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    sides = b"".join(_field(1, side) for side in values.shape)
    raw = struct.pack(f"<{values.size}f", *values.ravel().tolist())
    return sides + _field(2, FLOAT) + _field(8, name.encode()) + _field(9, raw)


def _port(name: str, element: int, shape: Shape) -> bytes:
    sides = b"".join(
        _field(1, _field(1, side) if isinstance(side, int) else _field(2, side.encode())) for side in shape
    )
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, element) + _field(2, sides)))
