"""Sessions on NVIDIA GPUs: what onnxruntime is asked, and that nothing runs elsewhere in silence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.bundle.manifest import INPUTS
from roentmod_fast.errors import DeviceError, EngineError
from roentmod_fast.runtime import ort_errors
from roentmod_fast.runtime.backends.base import Backend, SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.ort import BATCH_DIMENSION, OrtBackend, check_assignment
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from roentmod_fast.runtime.networks import Network
from tests.runtime.stub_runtime import ADA, HOPPER, StubRuntime, install, offer

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"
RECORD = "session.record_ep_graph_assignment_info"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubRuntime:
    """onnxruntime with every provider, and a GPU for each."""
    (tmp_path / "unet.onnx").write_bytes(b"a network")
    stub = install(monkeypatch, StubRuntime(GPU_PROVIDERS), plugin=tmp_path, found_gpus=(ADA, HOPPER))
    stub.offers = [offer(ADA), offer(ADA)]
    return stub


def test_rtx_gets_one_gpu_graphs_and_a_cache(runtime: StubRuntime, tmp_path: Path) -> None:
    RTX.open_session(SessionSpec("unet", tmp_path / "unet.onnx", cache=tmp_path / "kernels", cuda_graphs=True))
    [session] = runtime.sessions
    assert session.options.devices == runtime.offers[:1], "the plugin takes one GPU at a time"
    assert session.options.provider_options["enable_cuda_graph"] == "1"
    assert session.options.provider_options["nv_runtime_cache_path"] == str(tmp_path / "kernels")
    assert session.options.entries[RECORD] == "1"
    assert session.options.dimensions == {"batch": 1}
    assert session.arguments == {"enable_fallback": 0}


@pytest.mark.parametrize("device", [CUDA, TENSORRT])
def test_a_provider_gets_its_options(runtime: StubRuntime, tmp_path: Path, device: OrtBackend) -> None:
    spec = SessionSpec("unet", tmp_path / "unet.onnx", fp16=True, max_batch=2)
    device.open_session(spec)
    [session] = runtime.sessions
    assert session.arguments["providers"] == [(device.provider, device.provider_options(spec))]
    assert session.arguments["enable_fallback"] == 0
    assert session.options.enable_mem_pattern == (device is TENSORRT)  # type: ignore[attr-defined]
    assert runtime.preloads == 1


def test_the_cpu_is_asked_nothing_new(runtime: StubRuntime, tmp_path: Path) -> None:
    CPU.open_session(SessionSpec("unet", tmp_path / "unet.onnx"))
    [session] = runtime.sessions
    assert session.arguments["providers"] == ["CPUExecutionProvider"]
    assert session.options.entries == {}


def test_the_default_log_of_the_process_is_left_alone(runtime: StubRuntime, tmp_path: Path) -> None:
    CUDA.open_session(SessionSpec("unet", tmp_path / "unet.onnx"))
    assert runtime.severities == []


def test_the_command_line_silences_the_default_log(
    runtime: StubRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort_errors, "_silenced", False)
    ort_errors.silence()
    CUDA.open_session(SessionSpec("unet", tmp_path / "unet.onnx"))
    assert set(runtime.severities) == {4}


@pytest.mark.parametrize("device", [CUDA, RTX, TENSORRT])
def test_a_session_on_the_cpu_is_refused(runtime: StubRuntime, tmp_path: Path, device: Backend) -> None:
    runtime.providers_got = ["CPUExecutionProvider"]
    with pytest.raises(DeviceError, match=f"asked for {device.provider}, got CPUExecutionProvider"):
        device.open_session(SessionSpec("unet", tmp_path / "unet.onnx"))


@pytest.mark.parametrize("device", [CUDA, RTX, TENSORRT])
def test_an_operator_on_the_cpu_is_named(runtime: StubRuntime, tmp_path: Path, device: Backend) -> None:
    runtime.nodes = {device.provider: ["MatMul"] * 90, "CPUExecutionProvider": ["Conv", "Shape", "Conv", "Erf"]}
    with pytest.raises(DeviceError, match=r"Conv \(2\), Erf \(1\) would run elsewhere: refused"):
        device.open_session(SessionSpec("unet", tmp_path / "unet.onnx"))


def test_shape_arithmetic_may_stay_on_the_cpu(runtime: StubRuntime, tmp_path: Path) -> None:
    runtime.nodes = {CUDA.provider: ["MatMul"], "CPUExecutionProvider": ["Shape", "Gather", "Unsqueeze"]}
    assert CUDA.open_session(SessionSpec("unet", tmp_path / "unet.onnx")).get_providers()[0] == CUDA.provider


def test_a_runtime_that_cannot_tell_is_refused(runtime: StubRuntime, tmp_path: Path) -> None:
    runtime.can_tell = False
    with pytest.raises(DeviceError, match=r"expected 1\.24 or later, type pip .*roentmod-fast\[gpu\]"):
        CUDA.open_session(SessionSpec("unet", tmp_path / "unet.onnx"))


def test_a_missing_library_is_named(runtime: StubRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.providers_got = ["CPUExecutionProvider"]
    monkeypatch.setattr(CUDA, "missing_library", lambda: "libcudnn.so.9")
    with pytest.raises(DeviceError, match=r"device 'cuda' needs libcudnn\.so\.9, .*type pip .*roentmod-fast\[gpu\]"):
        CUDA.open_session(SessionSpec("unet", tmp_path / "unet.onnx"))


def test_what_was_compiled_is_kept(runtime: StubRuntime, tmp_path: Path) -> None:
    keep = tmp_path / "cache" / "compiled" / "engine.onnx"
    RTX.open_session(SessionSpec("unet", tmp_path / "unet.onnx", compile_to=keep))
    entries = runtime.sessions[0].options.entries
    assert entries["ep.context_enable"] == "1"
    assert entries["ep.context_embed_mode"] == "0"
    assert Path(entries["ep.context_file_path"]).parent != keep.parent, "half a file could be taken for a whole one"
    assert keep.read_bytes() == b"a network"
    assert [path.name for path in keep.parent.parent.iterdir()] == ["compiled"]


def test_another_process_may_have_kept_the_same(runtime: StubRuntime, tmp_path: Path) -> None:
    keep = tmp_path / "cache" / "compiled" / "engine.onnx"
    keep.parent.mkdir(parents=True)
    keep.write_bytes(b"of another process")
    RTX.open_session(SessionSpec("unet", tmp_path / "unet.onnx", compile_to=keep))
    assert keep.read_bytes() == b"of another process"
    assert [path.name for path in keep.parent.parent.iterdir()] == ["compiled"]


def test_what_broke_off_is_swept_once_it_is_old(runtime: StubRuntime, tmp_path: Path) -> None:
    keep = tmp_path / "cache" / "compiled" / "engine.onnx"
    old, new = (tmp_path / "cache" / f"compiled.{name}" for name in ("old", "new"))
    for folder in (old, new, keep.parent):
        folder.mkdir(parents=True)
        (folder / "half.engine").write_bytes(b"half")
    os.utime(old, (0, 0))
    RTX.open_session(SessionSpec("unet", tmp_path / "unet.onnx", compile_to=keep))
    assert sorted(path.name for path in keep.parent.parent.iterdir()) == ["compiled", "compiled.new"]
    assert [path.name for path in keep.parent.iterdir()] == ["engine.onnx"], "half a folder is none"


def test_nothing_is_left_of_what_did_not_compile(runtime: StubRuntime, tmp_path: Path) -> None:
    runtime.failure = RuntimeError("out of memory\nmore")
    with pytest.raises(EngineError, match=r"cannot open it on rtx: memory is full: close"):
        RTX.open_session(
            SessionSpec("unet", tmp_path / "unet.onnx", compile_to=tmp_path / "cache" / "compiled" / "engine.onnx")
        )
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_reported(runtime: StubRuntime, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    with pytest.raises(DeviceError, match="compiled networks cannot be cached there"):
        RTX.open_session(
            SessionSpec("unet", tmp_path / "unet.onnx", compile_to=tmp_path / "cache" / "compiled" / "engine.onnx")
        )


def test_a_gpu_that_fails_while_it_runs_is_one_line(runtime: StubRuntime, tmp_path: Path) -> None:
    network = Network(CUDA, SessionSpec("vae_decoder", _named(tmp_path, "vae_decoder")))

    def fail(binding: object, options: object) -> None:
        raise RuntimeError("CUDA failure 2: out of memory\nmore")

    runtime.sessions[0].run_with_iobinding = fail  # type: ignore[attr-defined]
    with pytest.raises(DeviceError, match=r"vae_decoder: cuda failed while it ran: memory is full: close"):
        network.run(latents=np.zeros((1, 4, 8, 8), np.float32))


def _named(folder: Path, role: str) -> Path:
    path = folder / f"{role}.onnx"
    path.write_bytes(b"a network")
    return path


def test_the_real_runtime_tells_where_a_network_runs() -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(RECORD, "1")
    path = TINY / "vae_decoder.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"Conv \(\d+\), .*MatMul \(\d+\).* would run elsewhere"):
        check_assignment(session, CUDA, path)
    check_assignment(session, CPU, path)


@pytest.mark.parametrize("role", sorted(INPUTS))
def test_with_one_image_at_a_time_no_shapes_are_left_to_compute(role: str) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(RECORD, "1")
    options.add_free_dimension_override_by_name(BATCH_DIMENSION, 1)
    session = onnxruntime.InferenceSession(str(TINY / f"{role}.onnx"), options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for part in session.get_provider_graph_assignment_info() for node in part.get_nodes()}
    assert "MatMul" in operators
    assert not operators & {"Shape", "Size", "Range", "ConstantOfShape"}
