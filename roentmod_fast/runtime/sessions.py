"""Sessions of ONNX Runtime, and of OpenVINO in their form: one way to open a network for each device.

A processor runs one item of a batch at a time, a card as many as it is opened for. TensorRT compiles a network for
these shapes, and what was compiled is kept in the user's cache folder, so that the second start is quick.

ONNX Runtime hands to the processor what its provider does not take, and a whole network where the provider does not
load; its Python side even opens a session again without the provider after an error. None of this happens here in
silence: see :func:`check_assignment`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roentmod_fast.errors import DeviceError, EngineError
from roentmod_fast.runtime.cache import building
from roentmod_fast.runtime.devices import (
    CPU,
    CUDA,
    GPU_DEVICES,
    OPENVINO,
    RTX,
    TENSORRT,
    Device,
    extra_of,
    import_onnxruntime,
    missing_library,
    physical_cores,
    pip_line,
    preload_libraries,
    rtx_ep_device,
)
from roentmod_fast.runtime.openvino_session import OpenVINOSession
from roentmod_fast.runtime.ort_errors import reason_of
from roentmod_fast.runtime.plan import Opening

BATCH_DIMENSION = "batch"
"""The name that the exporter gives to the free first dimension of every input."""

SHAPE_ARITHMETIC = frozenset(
    ("Cast", "Constant", "ConstantOfShape", "Gather", "Identity", "Range", "Shape", "Size", "Squeeze", "Unsqueeze")
)
"""Operators that a provider may leave to the processor: they compute shapes, and cost nothing."""

BATCH_ARITHMETIC = SHAPE_ARITHMETIC | {"Concat", "Slice"}
"""With a free batch these two compute shapes as well, and onnxruntime keeps shapes on the processor. They move data
elsewhere; were such a one on the processor, its copies would keep a CUDA graph from being opened, which is told."""


def open_session(
    path: Path,
    device: Device,
    opening: Opening = Opening(),  # noqa: B008 - it cannot be changed
) -> Any:
    """Open an ONNX file on ``device``, or what an RTX card or OpenVINO compiled.

    Raises :class:`EngineError` where the file cannot be opened, :class:`DeviceError` where it would run elsewhere.
    """
    if device == OPENVINO:
        return OpenVINOSession(path, opening.keep, bfloat16=opening.bfloat16)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4 if device in GPU_DEVICES else 3  # errors there are told in a line of ours
    options.intra_op_num_threads = physical_cores()
    # Memory is given back after each step: at full size an edit takes 5.2 GB so, 8.9 with an arena, in the same time.
    options.enable_cpu_mem_arena = False
    # A memory pattern is one piece for the whole network, taken beside what the first run took in pieces: on a card a
    # third more for one picture, twice as much for four.
    options.enable_mem_pattern = device != CUDA
    if opening.items == 1:
        # With all shapes known memory is planned ahead: on a processor half as much is taken.
        options.add_free_dimension_override_by_name(BATCH_DIMENSION, 1)
    if opening.half and device == CPU:
        # ONNX Runtime computes half in float32 here; its last level would widen all weights once, and keep both.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    arguments: dict[str, Any] = {}
    wishes = provider_options(device, opening)
    if opening.shapes is not None and opening.items > 1:
        wishes |= profile_options(device, opening.shapes, opening.items)
    plugin = rtx_ep_device() if device == RTX else None
    if plugin is not None:
        options.add_provider_for_devices([plugin], wishes)
    else:
        arguments["providers"] = [(device.provider, wishes)] if wishes else [device.provider]
    if device in GPU_DEVICES:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if device in (CUDA, TENSORRT):
        preload_libraries(device)
    try:
        with _keeping(options, opening.keep):
            session = ort.InferenceSession(str(path), options, enable_fallback=0, **arguments)
    except DeviceError:
        raise
    except Exception as error:  # onnxruntime raises classes of its own, none of them public
        _complain_of_library(path, device)
        raise EngineError(f"{path}: ONNX Runtime cannot open it on {device.name}: {reason_of(error)}") from error
    providers = session.get_providers()
    if providers[0] != device.provider:
        _complain_of_library(path, device)
        raise DeviceError(f"{path}: asked for {device.provider}, got {providers[0]}: see 'roentmod-fast doctor'")
    if device in GPU_DEVICES:
        check_assignment(session, device, path, SHAPE_ARITHMETIC if opening.items == 1 else BATCH_ARITHMETIC)
    return session


def check_assignment(session: Any, device: Device, path: Path, allowed: frozenset[str] = SHAPE_ARITHMETIC) -> None:
    """Check that ``device`` runs every node of the network but those of the ``allowed`` operators.

    Raises :class:`DeviceError` naming the operators that would run elsewhere, and where onnxruntime is too old to tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise DeviceError(
            "this onnxruntime cannot say where it runs a network, so it might be the processor: "
            f"expected 1.24 or later, type {pip_line(extra_of(device))} --upgrade"
        )
    elsewhere: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        if part.ep_name != device.provider:
            elsewhere.update(node.op_type for node in part.get_nodes())
    strangers = {name: count for name, count in elsewhere.items() if name not in allowed}
    if strangers:
        said = ", ".join(f"{name} ({count})" for name, count in sorted(strangers.items()))
        raise DeviceError(f"{path}: {device.name} does not take the whole network, {said} would run elsewhere: refused")


def _complain_of_library(path: Path, device: Device) -> None:
    """Raise :class:`DeviceError` where a library is missing that onnxruntime-gpu needs for ``device``."""
    missing = missing_library(device) if device in (CUDA, TENSORRT) else None
    if missing is not None:
        raise DeviceError(
            f"{path}: device {device.name!r} needs {missing}, which was not found: type {pip_line(extra_of(device))}"
        )


@contextmanager
def _keeping(options: Any, keep: Path | None) -> Iterator[None]:
    """Have what the session compiles written where :func:`building` says, to become ``keep`` when it is whole."""
    if keep is None:
        yield
        return
    with building(keep) as file:
        options.add_session_config_entry("ep.context_enable", "1")
        # An engine of 2 GB would not fit into an ONNX file.
        options.add_session_config_entry("ep.context_embed_mode", "0")
        options.add_session_config_entry("ep.context_file_path", str(file))
        yield


def provider_options(device: Device, opening: Opening) -> dict[str, str]:
    """Return the options of the provider of ``device``."""
    if device == CPU:
        return {}
    if device == CUDA:
        options = {
            "device_id": "0",
            "use_tf32": "0" if opening.exact else "1",
            "arena_extend_strategy": "kSameAsRequested",  # by powers of two it would take up to twice as much
            "enable_skip_layer_norm_strict_mode": "1",  # else half-precision statistics are added up in half
        }
        return {**options, "enable_cuda_graph": "1"} if opening.graphs else options
    if device == RTX:
        # The graph is TensorRT's own: it captures and replays by itself, whatever memory the arrays lie in.
        options = {"enable_cuda_graph": "1" if opening.graphs else "0"}
        if not opening.oversized:
            # Held from run to run, and as much as the largest batch of all takes that it was compiled for.
            options["nv_persistent_context_memory"] = "1"
        return options if opening.cache is None else {**options, "nv_runtime_cache_path": str(opening.cache)}
    options = {"device_id": "0", "trt_fp16_enable": "1" if opening.half else "0"}
    if opening.cache is None:
        return options
    kept = {"trt_engine_cache_path": str(opening.cache), "trt_timing_cache_path": str(opening.cache)}
    return {**options, "trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1", **kept}


def profile_options(device: Device, shapes: Mapping[str, tuple[int, ...]], items: int) -> dict[str, str]:
    """Return the options that have TensorRT compile for 1 to ``items`` of ``shapes``, best for ``items``.

    Each is written ``name:1x4x64x64,other:1``, for TensorRT and for TensorRT for RTX.
    """
    prefix = {RTX: "nv", TENSORRT: "trt"}[device]

    def written(count: int) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, (count, *shape)))}" for name, shape in shapes.items())

    sizes = {"min": 1, "opt": items, "max": items}
    return {f"{prefix}_profile_{bound}_shapes": written(count) for bound, count in sizes.items()}
