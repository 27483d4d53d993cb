"""Attention as one operator: the same network, the same weights, another graph.

The exporter writes attention in ONNX's own operators, which every provider reads. Written out so, an item's scores at
full size are an array of 537 MB that goes through memory three times. ONNX Runtime's ``MultiHeadAttention``
(``com.microsoft``, contrib operators) computes them block by block and keeps none; only its own CPU and CUDA providers
know it, so the fused graph stands beside the plain one, as a file of a few MB that points into the same weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import rewriter
from onnxscript.rewriter import pattern

from .errors import ExportError

DOMAIN = "com.microsoft"


def fused_file(file: str) -> str:
    """Return the name of the fused graph of a network's file."""
    return f"{Path(file).stem}.fused.onnx"


def fuse_attention(source: Path, target: Path) -> int:
    """Write the network ``source`` with its attention fused as ``target``, in the same folder; return how many were.

    Weights that stand in a file beside ``source`` are pointed to, not written again. Raises :class:`ExportError` where
    there was attention that could not be fused.
    """
    model = ir.load(source)
    rule = pattern.RewriteRule(_written_out, _fused, _is_attention, remove_nodes=False)
    rewritten = rewriter.rewrite(model, pattern_rewrite_rules=[rule])
    RemoveUnusedNodesPass()(rewritten)
    rewritten.graph.opset_imports[DOMAIN] = 1
    kinds = [node.op_type for node in rewritten.graph]
    if "Softmax" in kinds:
        raise ExportError(f"{source}: {kinds.count('Softmax')} of its attention layers are written in an unknown way")
    ir.save(rewritten, target)
    return kinds.count("MultiHeadAttention")


def _written_out(
    op: Any, query: Any, key: Any, value: Any, split: Any, split_key: Any, flat: Any, unflat: Any, scale: Any, join: Any
) -> Any:
    """Attention as ``torch.onnx`` writes ``scaled_dot_product_attention`` in diffusers' attention."""
    q = op.Transpose(op.Reshape(query, split), perm=[0, 2, 1, 3])
    k = op.Transpose(op.Reshape(key, split_key), perm=[0, 2, 1, 3])
    v = op.Transpose(op.Reshape(value, split_key), perm=[0, 2, 1, 3])
    k_transposed = op.Reshape(op.Transpose(op.Reshape(k, flat), perm=[0, 2, 1]), unflat)
    scores = op.MatMul(op.Mul(q, scale), op.Mul(k_transposed, scale))
    heads = op.MatMul(op.Softmax(scores, axis=-1), v)
    return op.Reshape(op.Transpose(heads, perm=[0, 2, 1, 3]), join)


def _is_attention(context: Any, split: Any, split_key: Any, scale: Any, **others: Any) -> bool:
    """Check that what the pattern leaves open is known: the heads, and the square root of the scale."""
    shapes = [ir.convenience.get_const_tensor(value) for value in (split, split_key)]
    if any(shape is None or shape.size != 4 for shape in shapes) or ir.convenience.get_const_tensor(scale) is None:
        return False
    return bool(shapes[0].numpy()[2] == shapes[1].numpy()[2] and scale.const_value.size == 1)


def _fused(op: Any, query: Any, key: Any, value: Any, split: Any, scale: Any, **others: Any) -> Any:
    heads = int(split.const_value.numpy()[2])
    root = scale.const_value.numpy().item()
    return op.MultiHeadAttention(query, key, value, num_heads=heads, scale=root * root, _domain=DOMAIN)
