"""Sessions over arrays that stay on the device, and CUDA graphs.

What a GPU would do is given by a stub of onnxruntime; what is not of a GPU is done by the real one, on the CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.errors import DeviceError
from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA, IoBindingSession
from roentmod_fast.runtime.networks import Networks
from tests.runtime.conftest import numbered, write_halves
from tests.runtime.stub_runtime import StubRuntime, StubValue

TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"
REFUSAL = (
    "This session cannot use the graph capture feature as requested by the user  as all compute graph nodes have not "
    "been partitioned to the CUDAExecutionProvider"
)


def text(value: float, count: int = 2) -> np.ndarray:
    return np.full((count, 77, 16), value, np.float32)


# --- the real runtime, on the CPU -------------------------------------------------------------------------------


@pytest.mark.parametrize("graphs", [False, True])
def test_a_session_with_io_binding_gives_what_the_session_gives(graphs: bool) -> None:
    session = CPU.open_session(SessionSpec("unet", TINY / "unet.onnx", max_batch=4))
    bound = IoBindingSession(session, "cpu", (lambda error: session) if graphs else None)
    draws = np.random.default_rng(0)
    states = draws.standard_normal((4, 77, 32)).astype(np.float32)
    earlier = None
    for count, timestep in [(4, 900), (4, 500), (1, 500), (4, 100)]:
        latents = draws.standard_normal((count, 4, 8, 8)).astype(np.float32)
        arrays = {
            "latents": latents,
            "timestep": np.full(count, timestep, np.int64),
            "text_states": states[:count],
        }
        [expected] = session.run(["prediction"], arrays)
        [found] = bound.run(["prediction"], arrays)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        if earlier is not None:
            np.testing.assert_array_equal(*earlier, err_msg="an earlier result was written over")
        earlier = (found, found.copy())
        states[0, 0, 0] += 1  # in place: it must be seen all the same


def test_several_outputs_come_by_name() -> None:
    session = CPU.open_session(SessionSpec("unet", TINY / "vae_encoder.onnx"))
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    swapped = IoBindingSession(session, "cpu").run(["log_variance", "mean"], {"image": image})
    for found, expected in zip(swapped, session.run(["log_variance", "mean"], {"image": image}), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


# --- the stub, as a GPU ----------------------------------------------------------------------------------------------


def test_a_loop_takes_no_memory_and_uploads_the_text_once(tmp_path: Path, gpu: StubRuntime) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16")
    states = text(1)
    for step in range(5):
        opened.predict(numbered(2) + step, 500 - step, states)
    assert len(StubValue.made) == 4, "three inputs and one output"
    assert {value.memory for value in StubValue.made} == {"cuda"}
    uploads = {value.array.shape: value.uploads for value in StubValue.made[:3]}
    assert uploads == {(2, 4, 8, 8): 5, (2,): 5, (2, 77, 16): 1}
    states[0, 0, 0] = 7
    opened.predict(numbered(2), 1, states)
    _, arrays = gpu.runs[-1]
    assert arrays["text_states"][0, 0, 0] == 7
    assert arrays["timestep"].tolist() == [1, 1]


def test_each_batch_size_has_a_graph_of_its_own(tmp_path: Path, gpu: StubRuntime) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16", batch=2)
    unet = next(session for session in gpu.sessions if "unet" in session.path)
    assert unet.provider_options["enable_cuda_graph"] == "1"
    for count in (4, 4, 1, 4, 1, 1):
        opened.predict(numbered(count), 500, text(0, count))
    assert gpu.graph_ids == ["-1", "4", "-1", "4", "1", "1"], "the first run of a size records nothing"
    assert opened.notes == []


def test_what_no_loop_calls_has_no_graph(tmp_path: Path, gpu: StubRuntime) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16")
    opened.decode(numbered(1))
    assert gpu.graph_ids == [None]
    assert [session.path for session in gpu.sessions if "enable_cuda_graph" in session.provider_options] == [
        session.path for session in gpu.sessions if "unet" in session.path
    ]


def test_graphs_can_be_left_off(tmp_path: Path, gpu: StubRuntime) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16", graphs=False)
    opened.predict(numbered(2), 500, text(0))
    assert not any("enable_cuda_graph" in session.provider_options for session in gpu.sessions)
    assert gpu.graph_ids == [None]
    assert opened.notes == []


def test_a_network_that_cannot_be_a_graph_runs_without_and_says_so(
    tmp_path: Path, gpu: StubRuntime, logged: list[str]
) -> None:
    gpu.graph_refusal = RuntimeError(f"{REFUSAL}\nmore")
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16")
    [note] = opened.notes
    assert note.startswith("unet runs without CUDA graphs: ")
    assert note.endswith(" ".join(REFUSAL.split()))
    assert logged == opened.notes
    np.testing.assert_array_equal(opened.predict(numbered(2), 500, text(0)), numbered(2))
    assert gpu.graph_ids == [None]


def test_a_recording_that_breaks_off_is_reported_and_the_network_opened_again(tmp_path: Path, gpu: StubRuntime) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16")
    gpu.capture_failure = RuntimeError("operation not permitted when stream is capturing\nmore")
    before = len(gpu.sessions)
    for _ in range(3):
        np.testing.assert_array_equal(opened.predict(numbered(2), 500, text(0)), numbered(2))
    assert gpu.graph_ids == ["-1", "2", None, None]
    [again] = gpu.sessions[before:]
    assert "enable_cuda_graph" not in again.provider_options
    assert opened.notes == ["unet runs without CUDA graphs: operation not permitted when stream is capturing"]


def test_a_failure_without_a_graph_is_the_gpus_own(tmp_path: Path, gpu: StubRuntime) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16")
    unet = next(session for session in gpu.sessions if "unet" in session.path)

    def fail(binding: object, options: object) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    unet.run_with_iobinding = fail  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="unet: cuda failed while it ran: memory is full: close"):
        opened.predict(numbered(2), 500, text(0))
    assert opened.notes == []


def test_a_session_is_reopened_after_its_graph_failed(tmp_path: Path, gpu: StubRuntime) -> None:
    path = tmp_path / "vae_decoder.onnx"
    path.write_bytes(b"a network")
    session, errors = CUDA.open_session(SessionSpec("vae_decoder", path)), []

    def reopen(error: Exception) -> Any:
        errors.append(str(error))
        return session

    bound = IoBindingSession(session, "cuda", reopen)
    bound.run(["image"], {"latents": numbered(1)})
    gpu.capture_failure = RuntimeError("captured")
    for _ in range(2):
        bound.run(["image"], {"latents": numbered(1)})
    assert errors == ["captured"]


def test_on_the_cpu_nothing_is_bound() -> None:
    unet = Networks.open(read_bundle(TINY), CPU, "fp32", batch=4).unet
    assert not isinstance(unet._session, IoBindingSession)
