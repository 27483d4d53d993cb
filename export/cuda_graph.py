"""The UNet's graph for ONNX Runtime's CUDA provider, in fp16: what is many operators elsewhere is one here.

The operators are those that ONNX Runtime's own optimiser for Stable Diffusion writes (``onnxruntime.transformers``,
model type ``unet``), described in its ``ContribOperators.md``; that optimiser does not find them in the graphs of
``torch.onnx``'s present exporter, so rules of our own do.

- ``GroupNorm``, normalisation and SiLU in one kernel, for arrays with channels last;
- ``NhwcConv``, convolution with channels last, which is how tensor cores compute it;
- ``BiasSplitGelu``, the gate of the feed-forward layers;
- ``SkipLayerNormalization``, a layer's bias, the residual sum and the next normalisation.

Channels last for these alone would cost a transposition before and after each; so all between them is moved to channels
last too, until only a few transpositions are left. Weights stay in the plain graph's file: convolutions transpose
theirs in the graph, which ONNX Runtime does once, when it opens it.

Only the CUDA provider has the first three kernels, so a CPU cannot run the graph. Its parity is measured on
:func:`in_standard_operators`, the same graph with each of them written out again by its definition.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import IdentityEliminationPass, RemoveUnusedNodesPass
from onnxscript.rewriter import pattern

from .errors import ExportError
from .fused import DOMAIN

TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
"""Transpositions from channels first to channels last, and back."""

GATES = (1280, 2560, 5120)
"""Widths of a gate for which ``BiasSplitGelu`` has a kernel: those of Stable Diffusion 1.x and 2.x."""

LARGEST_GROUP = 512
"""Channels of a group that ``GroupNorm``'s kernel takes."""

LEFT_OVER = ("InstanceNormalization", "Conv")
"""What no graph of ours may hold any more."""


def cuda_file(file: str) -> str:
    """Return the name of the graph for CUDA of a network's file."""
    return f"{Path(file).stem}.cuda.onnx"


def fuse_for_cuda(source: Path, target: Path) -> Counter[str]:
    """Write the fp16 UNet ``source`` for CUDA as ``target``, in the same folder; return how often each
    operator is in it.

    ``source`` is the plain graph or the one with fused attention. Raises :class:`ExportError` where a normalisation or
    a convolution stands in it in a way that is not known.
    """
    model = ir.load(source)
    _rewrite(model, _SILU)  # before its normalisation is taken alone
    _rewrite(model, _GROUP_NORM, _CONV, _GATE, _SKIP)
    _rewrite(model, _CANCEL, _ADD, _ADD_TO_EACH, _CONCAT)
    for node in model.graph:
        if node.op_type == "SkipLayerNormalization":
            for unused in node.outputs[1:3]:  # mean and inverse deviation, which the kernel does not give
                unused.name = ""
    kinds = Counter(node.op_type for node in model.graph)
    left = ", ".join(f"{kinds[name]} of {name}" for name in LEFT_OVER if kinds[name])
    if left:
        raise ExportError(f"{source}: {left} are written in an unknown way")
    model.graph.opset_imports[DOMAIN] = 1
    ir.save(model, target)
    return kinds


def in_standard_operators(source: Path, target: Path) -> None:
    """Write ``source``, made by :func:`fuse_for_cuda`, as ``target`` with its operators written out by definition.

    Normalisation is computed in float32, as the kernel does, but the variance after the mean, where the kernel takes
    the mean of squares less the square of the mean. It is slow, and for the parity check alone.
    """
    model = ir.load(source)
    _rewrite(model, _GROUP_NORM_DEFINED, _CONV_DEFINED, _GATE_DEFINED)
    ir.save(model, target)


def _rewrite(model: ir.Model, *rules: pattern.RewriteRule) -> None:
    """Apply ``rules`` until none applies."""
    together = pattern.RewriteRuleSet(rules)
    while together.apply_to_model(model):
        IdentityEliminationPass()(model)
        RemoveUnusedNodesPass()(model)


def _rule(written: Callable[..., Any], better: Callable[..., Any], check: Callable[..., bool]) -> pattern.RewriteRule:
    return pattern.RewriteRule(written, better, check, remove_nodes=False)


def _always(context: Any, **values: Any) -> bool:
    return True


def _constant(value: Any) -> Any:
    """Return a constant as an array, None where it is none."""
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _is(value: Any, *wanted: float) -> bool:
    """Tell whether a value is the constant ``wanted``, as half precision holds it."""
    found = _constant(value)
    return found is not None and np.array_equal(found.ravel(), np.asarray(wanted).astype(found.dtype))


def _filled(value: Any, number: float) -> bool:
    found = _constant(value)
    return found is not None and bool((found == number).all())


# --- one operator for many --------------------------------------------------------------------------------------------


def _group_norm_written(op: Any, x: Any, split: Any, ones: Any, zeros: Any, scale: Any, offset: Any) -> Any:
    """``group_norm`` as ``torch.onnx`` writes it: each group normalised as if it were one channel."""
    groups = op.InstanceNormalization(op.Reshape(x, split), ones, zeros, _outputs=["groups"])
    return op.Add(op.Mul(op.Reshape(groups, op.Shape(x)), scale), offset)


def _silu_written(op: Any, x: Any, split: Any, ones: Any, zeros: Any, scale: Any, offset: Any) -> Any:
    normal = _group_norm_written(op, x, split, ones, zeros, scale, offset)
    return op.Mul(normal, op.Sigmoid(normal))


def _is_group_norm(
    context: Any, x: Any, split: Any, ones: Any, zeros: Any, scale: Any, offset: Any, **rest: Any
) -> bool:
    """Check what the pattern leaves open. The kernel takes channels by twos, a group at most :data:`LARGEST_GROUP`."""
    shape, weight, bias = _constant(split), _constant(scale), _constant(offset)
    if any(found is None for found in (shape, weight, bias)) or not (_filled(ones, 1) and _filled(zeros, 0)):
        return False
    groups = np.size(_constant(ones))
    channels = weight.size
    known = weight.shape == bias.shape == (channels, 1, 1) and list(shape) == [0, groups, -1]
    return known and channels % (2 * groups) == 0 and channels // groups <= LARGEST_GROUP


def _group_norm_better(op: Any, x: Any, ones: Any, scale: Any, offset: Any, groups: Any, **rest: Any) -> Any:
    return _group_norm(op, x, ones, scale, offset, groups, activation=0)


def _silu_better(op: Any, x: Any, ones: Any, scale: Any, offset: Any, groups: Any, **rest: Any) -> Any:
    return _group_norm(op, x, ones, scale, offset, groups, activation=1)


def _group_norm(op: Any, x: Any, ones: Any, scale: Any, offset: Any, groups: Any, activation: int) -> Any:
    weight, bias = (
        op.Constant(value=ir.tensor(_constant(part).ravel().astype(np.float32))) for part in (scale, offset)
    )
    normal = op.GroupNorm(
        op.Transpose(x, perm=TO_LAST),
        weight,
        bias,
        groups=int(np.size(_constant(ones))),
        epsilon=groups.producer().attributes["epsilon"].value,
        activation=activation,
        channels_last=1,
        _domain=DOMAIN,
    )
    return op.Transpose(normal, perm=TO_FIRST)


def _conv_written(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    return op.Conv(x, weight, bias, _outputs=["y"])


def _is_conv(context: Any, weight: Any, **rest: Any) -> bool:
    return ir.convenience.get_const_tensor(weight) is not None and len(weight.shape) == 4


def _conv_better(op: Any, x: Any, weight: Any, bias: Any, y: Any) -> Any:
    last = op.NhwcConv(
        op.Transpose(x, perm=TO_LAST),
        op.Transpose(weight, perm=TO_LAST),
        bias,
        **{name: attribute.value for name, attribute in y.producer().attributes.items()},
        _domain=DOMAIN,
    )
    return op.Transpose(last, perm=TO_FIRST)


def _gate_written(op: Any, x: Any, bias: Any, root: Any, one: Any, half: Any) -> Any:
    """The gate of diffusers' ``GEGLU``: the left half of the channels times GELU of the right one."""
    left, right = op.Split(op.Add(x, bias), num_outputs=2, _outputs=["left", "right"])
    gelu = op.Mul(right, op.Mul(half, op.Add(op.Erf(op.Div(right, root)), one)))
    return op.Mul(left, gelu)


def _is_gate(context: Any, bias: Any, root: Any, one: Any, half: Any, left: Any, **rest: Any) -> bool:
    added, axis = _constant(bias), left.producer().attributes["axis"].value
    # The exporter splits an array of three dimensions along its last.
    known = added is not None and added.ndim == 1 and added.size // 2 in GATES and axis in (2, -1)
    return known and _is(root, math.sqrt(2)) and _is(one, 1) and _is(half, 0.5)


def _gate_better(op: Any, x: Any, bias: Any, **rest: Any) -> Any:
    return op.BiasSplitGelu(x, bias, _domain=DOMAIN)


def _skip_written(op: Any, x: Any, bias: Any, skip: Any, weight: Any, offset: Any) -> Any:
    total = op.Add(op.Add(x, bias), skip)
    return total, op.LayerNormalization(total, weight, offset, axis=-1, _outputs=["normal"])


def _is_skip(context: Any, bias: Any, **rest: Any) -> bool:
    added = ir.convenience.get_const_tensor(bias)
    return added is not None and len(added.shape) == 1


def _skip_better(op: Any, x: Any, bias: Any, skip: Any, weight: Any, offset: Any, normal: Any) -> Any:
    outputs = op.SkipLayerNormalization(
        x,
        skip,
        weight,
        offset,
        bias,
        epsilon=normal.producer().attributes["epsilon"].value,
        _domain=DOMAIN,
        _outputs=4,
    )
    return outputs[3], outputs[0]


_SILU = _rule(_silu_written, _silu_better, _is_group_norm)
_GROUP_NORM = _rule(_group_norm_written, _group_norm_better, _is_group_norm)
_CONV = _rule(_conv_written, _conv_better, _is_conv)
_GATE = _rule(_gate_written, _gate_better, _is_gate)
_SKIP = _rule(_skip_written, _skip_better, _is_skip)


# --- channels last between them ---------------------------------------------------------------------------------------


def _is_bias_of_channels(context: Any, axes: Any, **rest: Any) -> bool:
    return _is(axes, 2, 3)


_CANCEL = _rule(
    lambda op, x: op.Transpose(op.Transpose(x, perm=TO_FIRST), perm=TO_LAST),
    lambda op, x: op.Identity(x),
    _always,
)
_ADD = _rule(
    lambda op, x, y: op.Add(op.Transpose(x, perm=TO_FIRST), op.Transpose(y, perm=TO_FIRST)),
    lambda op, x, y: op.Transpose(op.Add(x, y), perm=TO_FIRST),
    _always,
)
_ADD_TO_EACH = _rule(
    lambda op, x, y, axes: op.Add(op.Transpose(x, perm=TO_FIRST), op.Unsqueeze(y, axes)),
    lambda op, x, y, axes: op.Transpose(
        op.Add(x, op.Unsqueeze(y, op.Constant(value=ir.tensor([1, 2])))), perm=TO_FIRST
    ),
    _is_bias_of_channels,
)
_CONCAT = _rule(
    lambda op, x, y: op.Concat(op.Transpose(x, perm=TO_FIRST), op.Transpose(y, perm=TO_FIRST), axis=1),
    lambda op, x, y: op.Transpose(op.Concat(x, y, axis=3), perm=TO_FIRST),
    _always,
)


# --- the same by definition -------------------------------------------------------------------------------------------


def _group_norm_defined(op: Any, x: Any, weight: Any, bias: Any, y: Any) -> Any:
    attributes = {name: attribute.value for name, attribute in y.producer().attributes.items()}
    groups, channels = attributes["groups"], _constant(weight).size

    def constant(value: Any) -> Any:
        return op.Constant(value=ir.tensor(value))

    axes = constant(np.array([1, 3]))
    grouped = op.Reshape(op.Cast(x, to=ir.DataType.FLOAT), constant(np.array([0, -1, groups, channels // groups])))
    centred = op.Sub(grouped, op.ReduceMean(grouped, axes, keepdims=1))
    variance = op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1)
    normal = op.Div(centred, op.Sqrt(op.Add(variance, constant(np.float32(attributes["epsilon"])))))
    scaled = op.Add(op.Mul(op.Reshape(normal, op.Shape(x)), weight), bias)
    if attributes["activation"]:
        scaled = op.Mul(scaled, op.Sigmoid(scaled))
    return op.CastLike(scaled, x)


def _conv_defined(op: Any, x: Any, weight: Any, bias: Any, y: Any) -> Any:
    attributes = {name: attribute.value for name, attribute in y.producer().attributes.items()}
    first = op.Conv(op.Transpose(x, perm=TO_FIRST), op.Transpose(weight, perm=TO_FIRST), bias, **attributes)
    return op.Transpose(first, perm=TO_LAST)


def _gate_defined(op: Any, x: Any, bias: Any) -> Any:
    left, right = op.Split(op.Add(x, bias), axis=-1, num_outputs=2, _outputs=2)
    wide = op.Cast(right, to=ir.DataType.FLOAT)
    root, one, half = (op.Constant(value=ir.tensor(np.float32(value))) for value in (math.sqrt(2), 1, 0.5))
    gelu = op.Mul(op.Mul(half, wide), op.Add(one, op.Erf(op.Div(wide, root))))
    return op.Mul(left, op.CastLike(gelu, right))


_GROUP_NORM_DEFINED = _rule(
    lambda op, x, weight, bias: op.GroupNorm(x, weight, bias, _domain=DOMAIN, _outputs=["y"]),
    _group_norm_defined,
    _always,
)
_CONV_DEFINED = _rule(
    lambda op, x, weight, bias: op.NhwcConv(x, weight, bias, _domain=DOMAIN, _outputs=["y"]), _conv_defined, _always
)
_GATE_DEFINED = _rule(lambda op, x, bias: op.BiasSplitGelu(x, bias, _domain=DOMAIN), _gate_defined, _always)
