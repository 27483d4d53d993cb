"""What ONNX Runtime says, in a line: these are its own words, of onnxruntime-gpu 1.31."""

from __future__ import annotations

import pytest

from roentmod_fast.runtime.ort_errors import LONGEST, summarize

MEMORY = "memory is full: close what else uses it; on a GPU, give a smaller --batch"
SIGNATURE = (
    "std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const "
    "char*, SUCCTYPE, const char*, const char*, int) [with ERRTYPE = cudaError; bool THRW = true; SUCCTYPE = cudaError]"
)
FULL = (
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime_src/onnxruntime/core/framework/"
    "bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to "
    "allocate memory for requested buffer of size 256"
)
CAPTURE = (
    f"Error in execution: /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 {SIGNATURE} CUDA failure "
    "901: operation failed due to a previous error during capture ; GPU=0 ; hostname=reading-room-3 ; "
    "file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_graph.cc ; line=78 ; expr=cudaStreamEndCapture(); "
)
IN_CONV = (
    "Error in execution: Non-zero status code returned while running Conv node. Name:'node_conv2d' Status Message: "
    "CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED ; GPU=0 ; hostname=reading-room-3 ; line=484 ; expr=execute(); "
)
NO_KERNEL = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Cast node. Name:'node__to_copy' "
    "Status Message: CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the "
    "device"
)
UNREADABLE = "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from x.onnx failed:Protobuf parsing failed.\nmore"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (FULL, MEMORY),
        (
            IN_CONV.replace(
                "CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED", "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"
            ),
            "in Conv: " + MEMORY,
        ),
        (
            IN_CONV.replace("CUDNN_BACKEND_API_FAILED", "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
            "in Conv: " + MEMORY,
        ),
        (
            IN_CONV.replace("11: CUDNN_BACKEND_API_FAILED", "2: SHAPE_DEDUCTION_FAILED"),
            "in Conv: CUDNN_FE failure 2: SHAPE_DEDUCTION_FAILED",
        ),
        ("CUDA failure 2: out of memory", MEMORY),
        ("", "RuntimeError"),
        ("\n  \nsecond", "second"),
        (CAPTURE, "CUDA failure 901: operation failed due to a previous error during capture"),
        (IN_CONV, "in Conv: CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED"),
        (
            NO_KERNEL,
            "in Cast: CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the "
            "device",
        ),
        (UNREADABLE, "Load model from x.onnx failed:Protobuf parsing failed."),
        ("something of our own", "something of our own"),
    ],
)
def test_what_failed_and_where(said: str, reason: str) -> None:
    assert summarize(RuntimeError(said)) == reason


@pytest.mark.parametrize("start", ["", "CUDA error cudaErrorUnknown: "])
def test_what_is_long_is_cut(start: str) -> None:
    assert len(summarize(RuntimeError(start + "x" * 1000))) == LONGEST + len(" ...")
