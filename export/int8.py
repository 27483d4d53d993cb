"""Networks in int8: weights and activations, convolutions and matrix products, for CPUs.

NNCF puts quantize and dequantize operators (QDQ) around what is computed in integers: weights a scale for each output
channel, activations one for each tensor, found by watching them on real edits. The ends stay in float, where a step of
the scale would show in the image: the first and last convolution, and what tells the network the time. The text
encoder runs once an edit and is not worth it: it is that of float32.

OpenVINO computes such a graph in integers, and it is OpenVINO whose results are compared with the checkpoint.
ONNX Runtime's own CPU provider reads it too, but gains nothing from it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_model

from roentmod_fast.bundle.manifest import INPUTS
from roentmod_fast.editor import Editor
from roentmod_fast.errors import RoentmodError
from roentmod_fast.findings import PROMPTS
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.sources import find_sources
from roentmod_fast.runtime.backends.openvino import OLDEST_OPENVINO, OPENVINO
from roentmod_fast.settings import EditConfig
from roentmod_fast.telemetry import without_reporter

from .apart import apart, folder_bytes
from .errors import ExportError
from .files import INLINE_LIMIT, network_file

logger = logging.getLogger("roentmod_fast.export")
Array = NDArray[Any]
Samples = dict[str, list[dict[str, Array]]]
"""For each network, what it was given in real edits; every array a batch of one, for NNCF holds all that a network
computes from a batch."""

QUANTIZED = ("unet", "vae_encoder", "vae_decoder")
IN_FLOAT = re.compile(r"(^|\.)(conv_in|conv_out|time_embedding|time_emb_proj|quant_conv|post_quant_conv)\.")
"""Parameters whose operators stay in float."""

CALLS = 4
"""UNet calls of an edit that is watched: as many noise levels, over the whole of the way."""


def require_int8_extra() -> None:
    """Raise :class:`ExportError` where NNCF, which quantizes, or OpenVINO, which validates int8, is missing."""
    missing = [] if importlib.util.find_spec("nncf") is not None else ["nncf"]
    missing += [] if OPENVINO.missing() is None else [f"openvino {OLDEST_OPENVINO} or later"]
    if missing:
        raise ExportError(f"int8 needs {' and '.join(missing)}: type pip install 'roentmod-fast[int8]'")


def quantize_engine(folder: Path, full: Mapping[str, str], radiographs: Path | None) -> dict[str, str]:
    """Make int8 networks of the float32 engine in ``folder``; return their files, as in the manifest.

    ``full`` maps each network to its float32 file; ``radiographs`` is a folder whose radiographs are edited for
    calibration, by default phantoms are.
    """
    weights = folder_bytes(folder)
    logger.info("int8: watching edits of " + ("phantoms" if radiographs is None else str(radiographs)))
    samples = apart(weights, watch_edits, folder, radiographs)
    files = {"text_encoder": full["text_encoder"]}
    for network in QUANTIZED:
        logger.info(f"int8: quantizing {network} on {len(samples[network])} samples")
        files[network] = file = network_file(network, "int8")
        apart(weights, quantize, folder / full[network], folder / file, samples[network])
    return files


def calibration_images(folder: Path | None, size: int) -> list[Array]:
    """Return radiographs to edit, float32 (H, W) in [0, 1]: one a prompt, of ``folder`` as many as it has.

    By default they are phantoms of ``size``. Raises :class:`ExportError` for a folder without a radiograph.
    """
    if folder is None:
        return [draw(size, seed).image for seed in range(len(PROMPTS))]
    images = []
    for source in find_sources((folder,)).sources:
        with contextlib.suppress(RoentmodError):
            images.append(read_radiograph(source).image)
        if len(images) == len(PROMPTS):
            break
    if not images:
        raise ExportError(f"--calibrate {folder}: no radiograph in it that can be read")
    return images


def watch_edits(folder: Path, radiographs: Path | None) -> Samples:
    """Edit radiographs with the float32 engine in ``folder``, towards each of the paper's prompts once.

    A prompt that was never watched may leave the ranges that were found: the finding would be cut off. Returns what
    each network was given: the UNet at all noise levels, with and without text.
    """
    editor = Editor.load(folder, device="cpu", precision="fp32")
    samples: Samples = {name: [] for name in QUANTIZED}

    def keep_sample(role: str, arrays: Mapping[str, Array]) -> None:
        if role in samples:
            for item in range(len(next(iter(arrays.values())))):
                samples[role].append({port: np.array(arrays[port][item : item + 1]) for port in INPUTS[role]})

    with editor.networks.observed(keep_sample):
        images = calibration_images(radiographs, editor.model.image_size)
        for number, prompt in enumerate(PROMPTS):
            config = EditConfig(seed=number, compose="replace", solver="dpm++", calls=CALLS)
            editor.edit(images[number % len(images)], prompt, config)
    return samples


def quantize(source: Path, target: Path, samples: Sequence[dict[str, Array]]) -> None:
    """Write the float32 network ``source`` as the int8 network ``target``, calibrated on ``samples`` of its inputs."""
    with without_reporter():
        import nncf  # late: its import takes seconds
        from nncf.onnx.quantization.backend_parameters import BackendParameters
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    source = source.resolve()  # NNCF takes the weights' folder as an absolute path only
    model = _load_as_float32(source)
    in_float = [node.name for node in model.graph.node if any(IN_FLOAT.search(name) for name in node.input)]
    quantized = nncf.quantize(
        model,
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=in_float, validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # From the least to the greatest of all samples. NNCF's own choice is the mean of each sample's extremes,
            # which cuts off what few samples have, such as a finding.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            backend_params={BackendParameters.EXTERNAL_DATA_DIR: str(source.parent)},
        ),
    )
    load_external_data_for_model(quantized, str(source.parent))
    _drop_unused(quantized.graph)
    store_unsigned(quantized.graph)
    del quantized.metadata_props[:]
    large = sum(len(tensor.raw_data) for tensor in quantized.graph.initializer) > INLINE_LIMIT
    onnx.save(quantized, target, save_as_external_data=large, location=f"{target.name}.data" if large else None)


def store_unsigned(graph: onnx.GraphProto) -> None:
    """Have activations stored in uint8 where NNCF takes int8 with a zero point: the same steps, counted from 0.

    OpenVINO 2026.4 computes convolutions over int8 with a zero point in float32 where it uses AMX, and some of them
    wrongly where it does not; over uint8 it computes them in integers and as the file says, on both
    (``benchmarks/int8_kernels.py``).
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    points = {
        node.input[2]
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] not in stored
    }
    for name in points:
        point = numpy_helper.to_array(stored[name])
        if point.dtype == np.int8:
            stored[name].CopyFrom(numpy_helper.from_array((point.astype(np.int16) + 128).astype(np.uint8), name))
    del graph.value_info[:]  # they speak of the types before


def _load_as_float32(path: Path) -> onnx.ModelProto:
    """Load a network, weights beside it left where they are, and those stored in half made float32 again."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    halves = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]
    for node in halves:
        full = numpy_helper.to_array(stored[node.input[0]], base_dir=str(path.parent)).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(full, node.output[0]))
        graph.node.remove(node)
    _drop_unused(graph)
    return model


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Take out the weights that no operator reads."""
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
