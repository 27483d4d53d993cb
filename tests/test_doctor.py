"""What doctor says of NVIDIA GPUs; the rest of it is tested with the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from roentmod_fast.doctor import CODECS, Check, examine
from roentmod_fast.runtime import gpus, host
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from tests.runtime.stub_runtime import ADA, HOPPER, StubRuntime, install, offer

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Distributions as the tests say: one onnxruntime, and what the package itself needs."""
    found = dict.fromkeys(("onnxruntime", "numpy", "pydicom", "pillow", "click", "tokenizers"), "1")
    found.update(dict.fromkeys(CODECS, "1"))
    monkeypatch.setattr(host, "version_of", found.get)
    for device in (CUDA, TENSORRT):
        monkeypatch.setattr(device, "missing_library", lambda: None)
    return found


def of(subject: str) -> list[Check]:
    return [item for item in examine() if item.subject == subject]


def test_without_a_driver_there_is_a_note_and_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, StubRuntime(), driver=False)
    [driver] = of("NVIDIA driver")
    assert driver.level == "note"
    assert driver.text == f"{gpus.CUDA_LIBRARY} not found: no NVIDIA driver"
    assert of("NVIDIA GPU") == []
    assert not [item for item in examine() if item.level == "problem"]


def test_a_driver_that_shows_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, StubRuntime())
    [gpu] = of("NVIDIA GPU")
    assert (gpu.level, gpu.remedy) == ("note", "see what nvidia-smi says")


def test_gpu_driver_and_plugin_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: dict[str, str]
) -> None:
    (tmp_path / "libtensorrt_rtx.so.1.7.1").touch()
    installed["onnxruntime-ep-nv-tensorrt-rtx"] = "0.5.0"
    runtime = install(monkeypatch, StubRuntime(), plugin=tmp_path, found_gpus=(ADA,))
    runtime.offers = [offer(ADA)]
    assert of("NVIDIA driver") == [Check("ok", "NVIDIA driver", "580.95.05")]
    assert of("NVIDIA GPU") == [Check("ok", "NVIDIA GPU", "NVIDIA GeForce RTX 4090, sm89, 24 GiB")]
    assert of("onnxruntime-ep-nv-tensorrt-rtx")[0].text == "0.5.0, TensorRT for RTX 1.7.1"
    assert of("device auto")[0].text == "rtx (NvTensorRTRTXExecutionProvider)"


@pytest.mark.parametrize(("gpu", "extra"), [(ADA, "rtx"), (HOPPER, "gpu")])
def test_a_gpu_that_nothing_uses(monkeypatch: pytest.MonkeyPatch, gpu: gpus.GPU, extra: str) -> None:
    install(monkeypatch, StubRuntime(), found_gpus=(gpu,))
    unused = of("NVIDIA GPU")[-1]
    assert (unused.level, unused.text) == ("note", "nothing that is installed here uses it")
    assert unused.remedy.endswith(f"pip install 'roentmod-fast[{extra}]'")


def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, StubRuntime(GPU_PROVIDERS), found_gpus=(ADA,))
    monkeypatch.setattr(gpus, "too_old", lambda major: f"too old for CUDA {major}")
    [driver] = of("NVIDIA driver")
    assert driver.level == "problem"
    assert driver.text == f"{ADA.driver}: too old for CUDA 13"
    assert "version 580 or later" in driver.remedy


def test_a_library_that_onnxruntime_gpu_lacks(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]) -> None:
    installed["onnxruntime-gpu"] = installed.pop("onnxruntime")
    install(monkeypatch, StubRuntime(GPU_PROVIDERS), found_gpus=(HOPPER,))
    for device in (CUDA, TENSORRT):
        monkeypatch.setattr(device, "missing_library", lambda: "libcudnn.so.9")
    lacking = of("device cuda")[-1]
    assert lacking == Check("problem", "device cuda", "libcudnn.so.9 not found", "pip install 'roentmod-fast[gpu]'")
    assert of("device tensorrt")[-1].level == "note"
