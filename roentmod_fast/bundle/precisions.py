"""The precisions that can be asked for: those in which a bundle holds networks, and two that are computed from them."""

from __future__ import annotations

from collections.abc import Mapping

from roentmod_fast.bundle import manifest

BFLOAT16: Mapping[str, str] = {"bf16": "fp32", "int8-bf16": "int8"}
"""What OpenVINO computes in bfloat16, by the networks that a bundle holds: all of the float32 ones, or of the int8 ones
what is not in integers. Nothing more is stored, and nothing calibrated."""

PRECISIONS_ON_GPU = ("fp32", "fp16")
"""What a GPU runs; int8 networks are made for CPUs."""

PRECISIONS = (*manifest.PRECISIONS, *BFLOAT16)


def stored_as(precision: str) -> str:
    """Return the precision of the networks in the bundle from which ``precision`` is computed: mostly itself."""
    return BFLOAT16.get(precision, precision)
