"""fp16 as a GPU computes it, on a CPU: the graph in float32, with what each operator gives rounded to fp16.

ONNX Runtime's CPU provider has next to no kernels for fp16: it computes in float32 and drops the conversions between
two operators (``InsertCastTransformer`` in its source). Nothing is rounded but the weights, and nothing overflows:
60000 + 60000 - 60000 gives 60000. What is measured there says nothing of a GPU. Conversions that are nodes of the graph
are kept.

Inside an operator sums are float32 here. A GPU's kernels do that too for products of matrices and convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from .errors import ExportError, ParityError

MOVES = frozenset(
    [
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    ]
)
"""Operators that compute nothing: what they give is rounded where it was before."""

CONSTANTS = frozenset(("Constant", "ConstantOfShape"))

OTHER_TYPES = frozenset(
    ("Shape", "Size", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsInf", "IsNaN", "ArgMax", "ArgMin")
)
"""Operators that give integers or truth values, whatever they are given."""


def in_rounded_float32(source: Path, target: Path) -> None:
    """Write the fp16 network ``source`` as ``target``, in the same folder, with float32 arithmetic that rounds to fp16.

    A network without fp16 arithmetic stays as it is. Raises :class:`ExportError` for fp16 ports.
    """
    model = ir.load(source)
    graph = model.graph
    ports = [value.name for value in (*graph.inputs, *graph.outputs) if value.dtype == ir.DataType.FLOAT16]
    if ports:
        raise ExportError(f"{source}: {', '.join(map(str, ports))} is fp16: ports must be float32")
    wide: dict[ir.Value, ir.Value] = {}  # fp16 values, and where their numbers are in float32
    nodes = list(graph)
    for value in graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT16 and value.uses():
            cast = _cast(value, ir.DataType.FLOAT)
            graph.insert_before(nodes[0], cast)
            wide[value] = cast.outputs[0]
    for node in nodes:
        takes_half = any(value in wide for value in node.inputs)
        for index, value in enumerate(node.inputs):
            if value is not None and value in wide:
                node.replace_input_with(index, wide[value])
        for value in node.outputs:
            if not _is_half(node, value, takes_half):
                continue
            if node.op_type in MOVES:
                value.dtype = ir.DataType.FLOAT
                wide[value] = value
                continue
            if node.op_type in CONSTANTS or node.op_type == "Cast":
                back = _cast(value, ir.DataType.FLOAT)
                graph.insert_after(node, back)
            else:
                value.dtype = ir.DataType.FLOAT
                rounded = _cast(value, ir.DataType.FLOAT16)
                back = _cast(rounded.outputs[0], ir.DataType.FLOAT)
                graph.insert_after(node, [rounded, back])
            wide[value] = back.outputs[0]
    ir.save(model, target)


def _is_half(node: ir.Node, value: ir.Value, takes_half: bool) -> bool:
    """Tell whether a node of the fp16 network gives ``value`` in fp16."""
    if node.op_type == "Cast":
        return node.attributes["to"].as_int() == ir.DataType.FLOAT16
    if node.op_type in CONSTANTS:
        tensor = node.attributes.get("value")
        return tensor is not None and tensor.as_tensor().dtype == ir.DataType.FLOAT16
    return takes_half and node.op_type not in OTHER_TYPES


def _cast(value: ir.Value, to: ir.DataType) -> ir.Node:
    name = f"{value.name}.{to.name.lower()}"
    result = ir.Value(name=name, type=ir.TensorType(to), shape=value.shape)
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", to)], outputs=[result], name=name)


@contextmanager
def written_beside(path: Path, suffix: str, write: Callable[[Path, Path], None]) -> Iterator[Path]:
    """Yield for a while what ``write`` makes of the graph ``path``: beside it, where its weights are."""
    other = path.with_suffix(suffix)
    try:
        write(path, other)
    except OSError as error:
        raise ParityError(
            f"{other}: cannot be written ({error.strerror}), and the parity check of {path.name} needs it for a while: "
            "copy the engine to where you may write"
        ) from None
    try:
        yield other
    finally:
        other.unlink()
