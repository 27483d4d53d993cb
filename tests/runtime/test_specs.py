"""The options of each backend: a session's spec in, data out. No runtime is needed for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.openvino import settings
from roentmod_fast.runtime.backends.ort import OrtBackend
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from roentmod_fast.runtime.host import physical_cores

CACHE = Path("cache")
SHAPES = {"latents": (4, 8, 8), "timestep": ()}


def unet(**options: Any) -> SessionSpec:
    return SessionSpec("unet", Path("unet.onnx"), **options)


# --- provider options -------------------------------------------------------------------------------------------------

CUDA_OPTIONS = {
    "device_id": "0",
    "use_tf32": "0",
    "arena_extend_strategy": "kSameAsRequested",
    "enable_skip_layer_norm_strict_mode": "1",
}


def test_the_cpu_has_no_options() -> None:
    assert CPU.provider_options(unet(fp16=True, cache=CACHE, cuda_graphs=True, shapes=SHAPES, max_batch=4)) == {}


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"allow_tf32": True}, {"use_tf32": "1"}),
        ({"cuda_graphs": True}, {"enable_cuda_graph": "1"}),
        ({"fp16": True, "cache": CACHE, "shapes": SHAPES, "max_batch": 4}, {}),
    ],
)
def test_cuda(options: dict[str, Any], changes: dict[str, str]) -> None:
    assert CUDA.provider_options(unet(**options)) == {**CUDA_OPTIONS, **changes}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"enable_cuda_graph": "0", "nv_persistent_context_memory": "1"}),
        ({"cuda_graphs": True}, {"enable_cuda_graph": "1", "nv_persistent_context_memory": "1"}),
        ({"max_batch": 2, "engine_max_batch": 4}, {"enable_cuda_graph": "0"}),
        (
            {"max_batch": 4, "engine_max_batch": 4, "cache": CACHE},
            {"enable_cuda_graph": "0", "nv_persistent_context_memory": "1", "nv_runtime_cache_path": "cache"},
        ),
        ({"shapes": SHAPES}, {"enable_cuda_graph": "0", "nv_persistent_context_memory": "1"}),
        (
            {"shapes": SHAPES, "max_batch": 2},
            {
                "enable_cuda_graph": "0",
                "nv_persistent_context_memory": "1",
                "nv_profile_min_shapes": "latents:1x4x8x8,timestep:1",
                "nv_profile_opt_shapes": "latents:2x4x8x8,timestep:2",
                "nv_profile_max_shapes": "latents:2x4x8x8,timestep:2",
            },
        ),
    ],
)
def test_rtx(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert RTX.provider_options(unet(**options)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"device_id": "0", "trt_fp16_enable": "0"}),  # a float32 autoencoder overflows in fp16
        ({"fp16": True}, {"device_id": "0", "trt_fp16_enable": "1"}),
        (
            {"cache": CACHE, "shapes": {"tokens": (77,)}, "max_batch": 3},
            {
                "device_id": "0",
                "trt_fp16_enable": "0",
                "trt_engine_cache_enable": "1",
                "trt_timing_cache_enable": "1",
                "trt_engine_cache_path": "cache",
                "trt_timing_cache_path": "cache",
                "trt_profile_min_shapes": "tokens:1x77",
                "trt_profile_opt_shapes": "tokens:3x77",
                "trt_profile_max_shapes": "tokens:3x77",
            },
        ),
    ],
)
def test_tensorrt(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert TENSORRT.provider_options(unet(**options)) == expected


@pytest.mark.parametrize(("bfloat16", "hint"), [(False, "f32"), (True, "bf16")])
def test_openvino(bfloat16: bool, hint: str) -> None:
    assert settings(bfloat16) == {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": physical_cores(),
    }


# --- session options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [CPU, CUDA, RTX, TENSORRT], ids=repr)
@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("max_batch", [1, 2])
def test_session_options(device: OrtBackend, fp16: bool, max_batch: int) -> None:
    options = device.session_options(unet(fp16=fp16, max_batch=max_batch))
    expected: dict[str, Any] = {
        "log_severity_level": 3 if device is CPU else 4,
        "intra_op_num_threads": physical_cores(),
        "enable_cpu_mem_arena": False,
        "enable_mem_pattern": device is not CUDA,
    }
    if device is CPU and fp16:
        expected["graph_optimization_level"] = "ORT_ENABLE_EXTENDED"
    assert options.attributes == expected
    assert options.dimensions == ({"batch": 1} if max_batch == 1 else {})
    recorded = {"session.record_ep_graph_assignment_info": "1"}
    assert options.config == ({} if device is CPU else recorded)


def test_options_are_new_for_each_session() -> None:
    CPU.session_options(unet()).dimensions["other"] = 1
    assert CPU.session_options(unet()).dimensions == {"batch": 1}
