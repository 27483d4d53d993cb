"""What NVIDIA's driver says of its GPUs, asked of a stub of its library."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from roentmod_fast.runtime import gpus
from tests.runtime.stub_runtime import ADA, HOPPER, StubNvml


def test_gpus_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = StubNvml((ADA, HOPPER))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gpus.list_gpus() == (ADA, HOPPER)
    assert nvml.opened == 0, "NVML was not shut down"
    assert gpus.gpu_missing() is None


@pytest.mark.parametrize(
    ("refused", "found"),
    [
        ("nvmlInit", ()),
        ("nvmlDeviceGetCount", ()),
        ("nvmlDeviceGetHandleByIndex", ()),
        ("nvmlDeviceGetCudaComputeCapability", ()),
        ("nvmlSystemGetDriverVersion", (replace(ADA, driver=""),)),
        ("nvmlDeviceGetName", (replace(ADA, name=""),)),
        ("nvmlDeviceGetMemoryInfo", (replace(ADA, memory=0),)),  # as on a part of a GPU (MIG)
        ("nvmlDeviceGetPciInfo", (replace(ADA, pci_bus=""),)),
    ],
)
def test_a_gpu_is_listed_with_what_nvml_tells(
    monkeypatch: pytest.MonkeyPatch, refused: str, found: tuple[gpus.GPU, ...]
) -> None:
    nvml = StubNvml((ADA,), (refused,))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gpus.list_gpus() == found
    assert nvml.opened == 0, "NVML was not shut down"


def test_without_nvml_no_gpu_is_found_and_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus.list_gpus() == ()
    assert gpus.gpu_missing() == (
        "nvidia-ml-py is not installed, so GPUs cannot be found: type pip install nvidia-ml-py"
    )


def test_a_machine_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", StubNvml(()))
    assert gpus.gpu_missing() == "no NVIDIA GPU was found: see what nvidia-smi says"


def test_a_machine_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(gpus, "load_library", absent)
    assert not gpus.has_driver()


def test_the_library_of_the_driver_is_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gpus, "load_library", asked.append)
    assert gpus.has_driver()
    assert asked == [gpus.CUDA_LIBRARY]


@pytest.mark.parametrize(
    ("runs", "needed", "said"),
    [
        (12040, 13, "the NVIDIA driver runs CUDA 12.4, and CUDA 13 is needed"),
        (12040, 12, None),
        (13000, 13, None),
        (13020, 13, None),
    ],
)
def test_a_driver_that_is_too_old_is_known(
    monkeypatch: pytest.MonkeyPatch, runs: int, needed: int, said: str | None
) -> None:
    class Driver:
        def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
            version._obj.value = runs
            return 0

    monkeypatch.setattr(gpus, "load_library", lambda name: Driver())
    assert gpus.too_old(needed) == said


def test_a_driver_that_does_not_tell_is_not_called_old(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
            return 999

    monkeypatch.setattr(gpus, "load_library", lambda name: Silent())
    assert gpus.too_old() is None


def test_a_key_is_a_name_for_a_folder() -> None:
    assert ADA.key == "nvidia-geforce-rtx-4090-sm89-580.95.05"
    assert ADA.key != replace(ADA, driver="581.1").key
