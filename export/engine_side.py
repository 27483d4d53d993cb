"""The engine's side of the parity check: what the runtime computes, and how far that is from the expected values.

Nothing here imports torch: a large engine is validated in a process of its own (see ``apart``), and torch and
diffusers, imported there, would only take memory beside the largest network.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.bundle.bundle import Bundle, find_bundle
from roentmod_fast.bundle.manifest import OUTPUTS, TOKENIZER_NAME, Model
from roentmod_fast.bundle.tokenizer import Tokenizer
from roentmod_fast.editor import Editor
from roentmod_fast.errors import NotFiniteError
from roentmod_fast.parity import difference
from roentmod_fast.phantom import draw
from roentmod_fast.presets import find_preset
from roentmod_fast.runtime import backends
from roentmod_fast.runtime.backends.base import Backend, SessionSpec
from roentmod_fast.runtime.backends.cpu import Cpu
from roentmod_fast.runtime.networks import Network, Networks
from roentmod_fast.settings import EditConfig

Array = NDArray[Any]
Outputs = list[list[Array]]
"""Of a network: for each set of inputs, its outputs."""

NOT_FINITE = {"max_abs": 1e30, "relative": 1e30, "psnr_db": -300.0}
"""Stored for a network that gives NaN or infinity, which JSON cannot hold."""

EDIT_PROMPT = "edema"
EDIT_SEED = 42
EDIT_STEPS = 10
EDIT_STRENGTH = 0.4
EDIT_GUIDANCE = 4.0


def parity_device(precision: str) -> Backend:
    """Return the device on which parity is measured: the CPU, for int8 by OpenVINO, which it is made for."""
    return backends.get("openvino" if precision == "int8" else "cpu")


def validate_network(
    network: str, path: Path, inputs: Sequence[dict[str, Array]], reference: Outputs, precision: str
) -> dict[str, float]:
    """Compare an exported network with its reference; the worst of all inputs and outputs."""
    opened = Network(parity_device(precision), SessionSpec(network, path))
    differences = []
    for values, expected in zip(inputs, reference, strict=True):
        try:
            got = opened.run(**values)
        except NotFiniteError:  # fp16 is too small for it
            return dict(NOT_FINITE)
        differences += [difference(want, got[name]) for name, want in zip(OUTPUTS[network], expected, strict=True)]
    return {
        "max_abs": max(values["max_abs"] for values in differences),
        "relative": max(values["relative"] for values in differences),
        "psnr_db": min(values["psnr_db"] for values in differences),
    }


def validate_edit(folder: Path, precision: str, reference: NDArray[np.float32]) -> dict[str, float]:
    """Compare our whole edit with that of diffusers; in fp16 as :mod:`.rounded` computes it."""
    bundle = find_bundle(folder)
    with ExitStack() as stack:
        device = RoundingCpu(stack) if precision == "fp16" else parity_device(precision)
        networks = Networks.open(bundle, device, precision, keep=False)
        tokenizer = Tokenizer.load(bundle.path(TOKENIZER_NAME), bundle.manifest.model.max_tokens)
        editor = Editor(bundle, networks, tokenizer, device, find_preset(bundle))
        try:
            got = editor.edit(edit_image(editor.model), EDIT_PROMPT, parity_config()).decoded
        except NotFiniteError:
            return dict(NOT_FINITE)
    return edit_difference(reference, got)


class RoundingCpu(Cpu):
    """The CPU with fp16 as a GPU computes it. Its graphs lie beside the engine's until ``stack`` closes."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._lock = threading.Lock()

    def plan(self, bundle: Bundle, role: str, precision: str, cache: Path, batch: int = 1) -> SessionSpec:
        spec = super().plan(bundle, role, precision, cache, batch)
        if not spec.fp16:
            return spec
        from .rounded import in_rounded_float32, written_beside  # it imports onnx

        with self._lock:
            path = self._stack.enter_context(written_beside(spec.path, ".rounded.onnx", in_rounded_float32))
        return replace(spec, path=path, fp16=False)


def parity_config() -> EditConfig:
    """Return the settings of the whole edit that parity is measured on."""
    return EditConfig(EDIT_STRENGTH, EDIT_GUIDANCE, EDIT_STEPS, EDIT_SEED, "replace")


def edit_image(model: Model) -> NDArray[np.float32]:
    """Return the radiograph of the whole edit: a phantom at the model's size."""
    return draw(model.image_size, 1).image


def edit_difference(want: NDArray[np.float32], got: NDArray[np.float32]) -> dict[str, float]:
    """Say as :func:`difference` how two edits differ; their range is [0, 1], not what they happen to hold."""
    mean_square = max(float(np.mean(np.square(want.astype(np.float64) - got))), 1e-30)
    return {**difference(want, got), "psnr_db": float(-10 * np.log10(mean_square))}
