"""Stubs of onnxruntime, its plugin for RTX GPUs and NVIDIA's management library, which record their calls."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from roentmod_fast.bundle.manifest import INPUTS, OUTPUTS
from roentmod_fast.runtime import gpus

RTX = "NvTensorRTRTXExecutionProvider"
ADA = gpus.GPU("NVIDIA GeForce RTX 4090", "sm89", "580.95.05", 24 << 30, "0000:65:00.0")
HOPPER = gpus.GPU("NVIDIA H100 80GB HBM3", "sm90", "580.95.05", 80 << 30, "0000:01:00.0")


SIZES = {
    "tokens": (77,),
    "latents": (4, 8, 8),
    "timestep": (),
    "text_states": (77, 16),
    "prediction": (4, 8, 8),
    "mean": (4, 8, 8),
    "log_variance": (4, 8, 8),
    "image": (3, 64, 64),
}
"""The shape of one item of each port."""


class StubOptions:
    """Session options that record what they are given."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.dimensions: dict[str, int] = {}
        self.devices: list[Any] = []
        self.provider_options: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        self.dimensions[name] = size

    def add_provider_for_devices(self, devices: list[Any], provider_options: dict[str, str]) -> None:
        self.devices, self.provider_options = list(devices), dict(provider_options)


class StubSession:
    """A session of the role that its file is named after; ``outcome`` says where it runs."""

    def __init__(self, runtime: StubRuntime, path: str, options: StubOptions, **arguments: Any) -> None:
        self.path, self.options, self.arguments = path, options, arguments
        runtime.sessions.append(self)
        if "ep.context_file_path" in options.entries:
            Path(options.entries["ep.context_file_path"]).write_bytes(Path(path).read_bytes())
        if runtime.failure is not None and runtime.failing in path:
            raise runtime.failure
        asked = [item[0] if isinstance(item, tuple) else item for item in arguments.get("providers", [])]
        asked += [device.ep_name for device in options.devices]
        self._providers = runtime.providers_got or [*asked, "CPUExecutionProvider"]
        self._nodes = runtime.nodes or {self._providers[0]: ["Conv", "MatMul"]}
        self._runtime = runtime
        self._role = next(role for role in INPUTS if role in path)
        if runtime.graph_refusal is not None and self.provider_options.get("enable_cuda_graph") == "1":
            raise runtime.graph_refusal
        if runtime.can_tell:
            self.get_provider_graph_assignment_info = self._assignment

    @property
    def provider_options(self) -> dict[str, str]:
        """The options of the provider, however it was asked for."""
        asked = self.arguments.get("providers", [""])[0]
        return dict(asked[1]) if isinstance(asked, tuple) else self.options.provider_options

    def get_providers(self) -> list[str]:
        return self._providers

    def run(self, names: list[str], arrays: dict[str, Any]) -> list[Any]:
        """Give each item the mean of its first input; NaN where the runtime's ``spoiled`` is in the file's path."""
        self._runtime.runs.append((Path(self.path).name, {name: array.copy() for name, array in arrays.items()}))
        items = next(iter(arrays.values()))
        means = items.reshape(len(items), -1).mean(axis=1)
        if self._runtime.spoiled and self._runtime.spoiled in self.path:
            means = means * np.nan
        sizes = {port.name: port.shape[1:] for port in self.get_outputs()}
        return [
            np.stack([np.full(sizes[name], mean, np.float32) for mean in means]).astype(np.float32) for name in names
        ]

    def io_binding(self) -> StubBinding:
        return StubBinding()

    def run_with_iobinding(self, binding: StubBinding, options: StubRunOptions | None) -> None:
        graph = None if options is None else options.entries["gpu_graph_id"]
        self._runtime.graph_ids.append(graph)
        if self._runtime.capture_failure is not None and graph not in (None, "-1"):
            raise self._runtime.capture_failure
        names = list(binding.outputs)
        found = self.run(names, {name: value.array for name, value in binding.inputs.items()})
        for name, array in zip(names, found, strict=True):
            binding.outputs[name].array[...] = array

    def _assignment(self) -> list[Any]:
        def part(provider: str, operators: list[str]) -> Any:
            nodes = [SimpleNamespace(op_type=operator) for operator in operators]
            return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)

        return [part(provider, operators) for provider, operators in self._nodes.items()]

    @staticmethod
    def _ports(ports: Any) -> list[Any]:
        return [
            SimpleNamespace(name=name, type=port.type, shape=["batch", *SIZES[name]]) for name, port in ports.items()
        ]

    def get_inputs(self) -> list[Any]:
        return self._ports(INPUTS[self._role])

    def get_outputs(self) -> list[Any]:
        return self._ports(OUTPUTS[self._role])


class StubBinding:
    """What was bound to a session."""

    def __init__(self) -> None:
        self.inputs: dict[str, StubValue] = {}
        self.outputs: dict[str, StubValue] = {}

    def bind_ortvalue_input(self, name: str, value: StubValue) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: StubValue) -> None:
        self.outputs[name] = value


class StubValue:
    """An array on a device, which counts how often it was written from outside."""

    made: ClassVar[list[StubValue]] = []

    def __init__(self, shape: tuple[int, ...], kind: Any, memory: str, index: int) -> None:
        self.array = np.zeros(shape, kind)
        self.memory, self.index = memory, index
        self.uploads = 0
        StubValue.made.append(self)

    @classmethod
    def ortvalue_from_shape_and_type(cls, shape: tuple[int, ...], kind: Any, memory: str, index: int) -> StubValue:
        return cls(shape, kind, memory, index)

    def update_inplace(self, array: Any) -> None:
        assert array.shape == self.array.shape and array.dtype == self.array.dtype and array.flags.c_contiguous
        self.uploads += 1
        self.array[...] = array

    def numpy(self) -> Any:
        return self.array


class StubRunOptions:
    """Options of one run."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class StubRuntime(ModuleType):
    """The module ``onnxruntime``."""

    def __init__(self, providers: tuple[str, ...] = ("CPUExecutionProvider",)) -> None:
        super().__init__("onnxruntime")
        self.__spec__ = ModuleSpec("onnxruntime", None)
        self.__file__ = str(Path("nowhere") / "onnxruntime" / "__init__.py")
        self.available = list(providers)
        self.offers: list[Any] = []
        self.registered: dict[str, str] = {}
        self.refusal: Exception | None = None
        self.severities: list[int] = []
        self.preloads = 0
        self.sessions: list[StubSession] = []
        self.failure: Exception | None = None
        self.failing = ""  # a part of the paths that fail
        self.providers_got: list[str] = []
        self.nodes: dict[str, list[str]] = {}
        self.can_tell = True
        self.runs: list[tuple[str, dict[str, Any]]] = []
        self.graph_ids: list[str | None] = []
        self.spoiled = ""
        self.graph_refusal: Exception | None = None
        self.capture_failure: Exception | None = None
        StubValue.made = []

    SessionOptions = StubOptions
    RunOptions = StubRunOptions
    OrtValue = StubValue

    def InferenceSession(self, path: str, options: StubOptions, **arguments: Any) -> StubSession:  # noqa: N802
        return StubSession(self, path, options, **arguments)

    def get_available_providers(self) -> list[str]:
        return self.available

    def get_ep_devices(self) -> list[Any]:
        return [offer for offer in self.offers if offer.ep_name in self.registered]

    def register_execution_provider_library(self, name: str, path: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        assert name not in self.registered, "registered twice"
        self.registered[name] = path

    def set_default_logger_severity(self, severity: int) -> None:
        self.severities.append(severity)

    def preload_dlls(self, directory: str | None = None) -> None:
        assert directory == "", "torch's libraries are not ours to look for"
        print("Failed to load libcudnn.so.9")
        self.preloads += 1


def offer(gpu: gpus.GPU) -> Any:
    """Return what the plugin offers for ``gpu``, as on Linux."""
    device = SimpleNamespace(metadata={"pci_bus_id": gpu.pci_bus})
    return SimpleNamespace(ep_name=RTX, ep_metadata={}, device=device)


def install(
    monkeypatch: pytest.MonkeyPatch,
    runtime: StubRuntime,
    *,
    plugin: Path | None = None,
    driver: bool = True,
    found_gpus: tuple[gpus.GPU, ...] = (),
    openvino: bool = False,
) -> StubRuntime:
    """Put ``runtime`` in the place of onnxruntime, and a plugin for RTX GPUs whose files lie in ``plugin``."""
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    name = "onnxruntime_ep_nv_tensorrt_rtx"
    real = importlib.util.find_spec
    found = {"openvino": ModuleSpec("openvino", None) if openvino else None}
    if plugin is None:
        found[name] = None
    monkeypatch.setattr(importlib.util, "find_spec", lambda want: found[want] if want in found else real(want))
    if plugin is not None:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        assert module.__spec__.submodule_search_locations is not None
        module.__spec__.submodule_search_locations.append(str(plugin))
        module.get_ep_name = lambda: RTX  # type: ignore[attr-defined]
        module.get_library_path = lambda: str(plugin / "plugin.so")  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(gpus, "has_driver", lambda: driver)
    monkeypatch.setattr(gpus, "has_nvml", lambda: True)
    monkeypatch.setattr(gpus, "list_gpus", lambda: found_gpus)
    return runtime


class StubNvml(ModuleType):
    """The module ``pynvml`` with these GPUs; ``refused`` are functions that fail, such as for want of permission."""

    class NVMLError(Exception):
        """NVML's error."""

    def __init__(self, found: tuple[gpus.GPU, ...], refused: tuple[str, ...] = ()) -> None:
        super().__init__("pynvml")
        self.gpus = found
        self.refused = refused
        self.opened = 0

    def _check(self, name: str) -> None:
        if name in self.refused:
            raise self.NVMLError(name)

    def nvmlInit(self) -> None:  # noqa: N802
        self._check("nvmlInit")
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._check("nvmlDeviceGetCount")
        return len(self.gpus)

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        self._check("nvmlSystemGetDriverVersion")
        return self.gpus[0].driver

    def nvmlDeviceGetHandleByIndex(self, index: int) -> gpus.GPU:  # noqa: N802
        self._check("nvmlDeviceGetHandleByIndex")
        return self.gpus[index]

    def nvmlDeviceGetCudaComputeCapability(self, handle: gpus.GPU) -> list[int]:  # noqa: N802
        self._check("nvmlDeviceGetCudaComputeCapability")
        digits = handle.architecture.removeprefix("sm")
        return [int(digits[:-1]), int(digits[-1])]

    def nvmlDeviceGetName(self, handle: gpus.GPU) -> str:  # noqa: N802
        self._check("nvmlDeviceGetName")
        return handle.name

    def nvmlDeviceGetMemoryInfo(self, handle: gpus.GPU) -> Any:  # noqa: N802
        self._check("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(total=handle.memory)

    def nvmlDeviceGetPciInfo(self, handle: gpus.GPU) -> Any:  # noqa: N802
        self._check("nvmlDeviceGetPciInfo")
        domain, bus, device = (int(part, 16) for part in handle.pci_bus.removesuffix(".0").split(":"))
        return SimpleNamespace(domain=domain, bus=bus, device=device)
