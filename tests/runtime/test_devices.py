"""Devices: which is chosen, and the message for one that is absent."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roentmod_fast import cli
from roentmod_fast.errors import DeviceError
from roentmod_fast.runtime import backends, gpus, host
from roentmod_fast.runtime.backends import choose_device, tensorrt_rtx
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.openvino import OPENVINO
from roentmod_fast.runtime.backends.ort import cuda_major
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from tests.runtime.stub_runtime import ADA, HOPPER, StubRuntime, install, offer

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
REAL_PLUGIN = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx") is not None


@pytest.fixture(autouse=True)
def only_this_runtime(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Distributions as the tests say, not as this environment has them."""
    installed = {"onnxruntime": "1.32"}
    monkeypatch.setattr(host, "version_of", installed.get)
    return installed


def absence(name: str) -> str:
    with pytest.raises(DeviceError) as error:
        choose_device(name)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- rtx --------------------------------------------------------------------------------------------------------------


def test_rtx_is_the_gpu_that_the_plugin_offers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime = install(monkeypatch, StubRuntime(), plugin=tmp_path, found_gpus=(ADA,))
    runtime.offers = [offer(ADA)]
    assert choose_device("rtx") == RTX
    assert choose_device("rtx") == RTX  # a second registration would fail the stub
    assert runtime.registered == {RTX.provider: str(tmp_path / "plugin.so")}
    assert RTX.fp16_by_default


def test_the_plugins_own_cuda_is_loaded_before_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libcudart.so.13.4.36").touch()
    runtime = install(monkeypatch, StubRuntime(), plugin=tmp_path, found_gpus=(ADA,))
    loaded: list[tuple[str, int]] = []
    monkeypatch.setattr(tensorrt_rtx.ctypes, "CDLL", lambda path: loaded.append((path, len(runtime.registered))))
    tensorrt_rtx.find_ep_device()
    assert loaded == [(str(tmp_path / "libcudart.so.13.4.36"), 0)]


def test_rtx_without_the_plugin(monkeypatch: pytest.MonkeyPatch, only_this_runtime: dict[str, str]) -> None:
    install(monkeypatch, StubRuntime(), found_gpus=(ADA,))
    assert absence("rtx") == "device 'rtx' is absent: type pip install 'roentmod-fast[rtx]'"
    only_this_runtime["onnxruntime-gpu"] = only_this_runtime.pop("onnxruntime")
    assert absence("rtx").endswith("type pip uninstall onnxruntime-gpu && pip install 'roentmod-fast[rtx]'")


def test_rtx_without_a_driver_is_not_even_registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime = install(monkeypatch, StubRuntime(), plugin=tmp_path, driver=False)
    assert "no NVIDIA driver (libcuda.so.1 not found): install" in absence("rtx").replace("nvcuda.dll", "libcuda.so.1")
    assert runtime.registered == {}


def test_rtx_on_a_gpu_that_the_plugin_does_not_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, StubRuntime(), plugin=tmp_path, found_gpus=(HOPPER,))
    said = absence("rtx")
    assert "sm86, sm89, sm120 and later" in said
    assert "NVIDIA H100 80GB HBM3 (sm90)" in said
    assert "pip install 'roentmod-fast[gpu]' and --device cuda" in said


def test_a_plugin_that_does_not_load_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime = install(monkeypatch, StubRuntime(), plugin=tmp_path, found_gpus=(ADA,))
    runtime.refusal = RuntimeError(
        "[ONNXRuntimeError] : 1 : FAIL : Failed to load library x.so with error: libcudart.so.13: "
        "cannot open shared object file: No such file or directory\nmore"
    )
    assert absence("rtx").endswith("onnxruntime-ep-nv-tensorrt-rtx cannot be loaded: libcudart.so.13 not found")
    runtime.refusal = RuntimeError("needs another onnxruntime\nmore")
    assert absence("rtx").endswith("cannot be loaded: needs another onnxruntime")


def test_the_gpu_behind_an_offer_is_found_by_its_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, StubRuntime(), plugin=tmp_path, found_gpus=(HOPPER, ADA))
    assert tensorrt_rtx.gpu_of(offer(ADA)) == ADA
    unnamed = SimpleNamespace(device=SimpleNamespace(metadata={}))
    assert tensorrt_rtx.gpu_of(unnamed) is None
    monkeypatch.setattr(gpus, "list_gpus", lambda: (ADA,))
    assert tensorrt_rtx.gpu_of(unnamed) == ADA


@pytest.mark.skipif(not REAL_PLUGIN, reason="onnxruntime-ep-nv-tensorrt-rtx is not installed")
@pytest.mark.skipif(gpus.has_driver(), reason="there is an NVIDIA driver: the plugin loads")
def test_the_real_plugin_without_a_driver() -> None:
    assert "no NVIDIA driver" in absence("rtx")
    with pytest.raises(DeviceError, match=r"cannot be loaded: libcuda\.so\.1 not found$"):
        tensorrt_rtx.find_ep_device()
    assert choose_device("auto") == CPU
    if sys.platform == "linux":
        assert "onnxruntime_ep_nv_tensorrt_rtx/libcudart.so" in Path("/proc/self/maps").read_text(encoding="utf-8")


# --- cuda and tensorrt ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "device"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_onnxruntime_gpu_with_a_gpu(monkeypatch: pytest.MonkeyPatch, name: str, device: Any) -> None:
    install(monkeypatch, StubRuntime(GPU_PROVIDERS), found_gpus=(HOPPER,))
    assert choose_device(name) == device
    assert device.fp16_by_default


@pytest.mark.parametrize(("name", "extra"), [("cuda", "gpu"), ("tensorrt", "tensorrt")])
def test_plain_onnxruntime_has_neither(monkeypatch: pytest.MonkeyPatch, name: str, extra: str) -> None:
    install(monkeypatch, StubRuntime(), found_gpus=(HOPPER,))
    assert absence(name).endswith(f"type pip uninstall onnxruntime && pip install 'roentmod-fast[{extra}]'")


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_no_driver_and_no_gpu_are_kept_apart(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    install(monkeypatch, StubRuntime(GPU_PROVIDERS), driver=False)
    assert "no NVIDIA driver" in absence(name)
    install(monkeypatch, StubRuntime(GPU_PROVIDERS), driver=True)
    assert "no NVIDIA GPU was found" in absence(name)


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    install(monkeypatch, StubRuntime(GPU_PROVIDERS), found_gpus=(HOPPER,))
    asked: list[int] = []

    def too_old(major: int) -> str:
        asked.append(major)
        return "the NVIDIA driver runs CUDA 12.4"

    monkeypatch.setattr(gpus, "too_old", too_old)
    assert "the NVIDIA driver runs CUDA 12.4: install NVIDIA's driver, version 580" in absence(name)
    assert choose_device("auto") != CUDA
    assert set(asked) == {13}


@pytest.mark.parametrize(("said", "major"), [("12.8", 12), ("13.0", 13), (None, 13), ("unknown", 13)])
def test_which_cuda_onnxruntime_gpu_is_built_with(
    monkeypatch: pytest.MonkeyPatch, said: str | None, major: int
) -> None:
    built = SimpleNamespace() if said is None else SimpleNamespace(cuda_version=said)
    monkeypatch.setitem(sys.modules, "onnxruntime.capi.build_and_package_info", built)
    assert cuda_major() == major


def test_libraries_of_pip_are_loaded_in_silence(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    runtime = install(monkeypatch, StubRuntime(GPU_PROVIDERS), found_gpus=(HOPPER,))
    CUDA.preload_libraries()
    assert runtime.preloads == 1
    assert capfd.readouterr().out == ""


# --- auto -------------------------------------------------------------------------------------------------------------


def test_auto_takes_the_best_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, only_this_runtime: dict[str, str]
) -> None:
    assert [device.name for device in backends.automatic()] == ["rtx", "cuda", "openvino", "cpu"]
    runtime = install(monkeypatch, StubRuntime(GPU_PROVIDERS), plugin=tmp_path, found_gpus=(ADA,))
    runtime.offers = [offer(ADA)]
    assert choose_device("auto") == RTX
    install(monkeypatch, StubRuntime(GPU_PROVIDERS), plugin=tmp_path, found_gpus=(HOPPER,))
    assert choose_device("auto") == CUDA
    install(monkeypatch, StubRuntime(GPU_PROVIDERS), plugin=tmp_path, driver=False)
    assert choose_device("auto") == CPU
    only_this_runtime["openvino"] = "2026.4.1"
    install(monkeypatch, StubRuntime(), plugin=tmp_path, driver=False, openvino=True)
    assert choose_device("auto") == OPENVINO


def test_the_command_line_offers_every_device() -> None:
    assert cli.DEVICES == backends.choices() == ("auto", "cpu", "openvino", "cuda", "rtx", "tensorrt")
    assert [device.name for device in backends.every()] == list(backends.REGISTRY)


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(DeviceError, match="unknown device 'gpu': expected one of auto, cpu"):
        choose_device("gpu")
