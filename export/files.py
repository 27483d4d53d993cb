"""The files of a bundle's networks: their names, their operators, and when weights lie in a file beside them.

Nothing here imports torch, so that quantizing and building engines run without it.
"""

from __future__ import annotations

OPSET = 18
"""The version of ONNX's own operators in every file."""

INLINE_LIMIT = 100_000_000
"""Bytes of weights up to which they stand in the ONNX file itself; a file beside it is mapped, not copied."""


def network_file(network: str, precision: str) -> str:
    """Return the name of a network's file in the bundle."""
    return f"{network}.onnx" if precision == "fp32" else f"{network}.{precision}.onnx"
