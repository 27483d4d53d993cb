"""The device ``rtx``: TensorRT for RTX, by the plugin of ONNX Runtime that NVIDIA ships as a package of its own.

It opens a TensorRT engine that was built for the GPU's architecture by its own version; anything else is compiled from
the ONNX file at first use, and cached. The manifest's ``tensorrt`` records say what each TensorRT engine was built for,
and from what.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.bundle.manifest import NETWORKS, bytes_of
from roentmod_fast.errors import DeviceError
from roentmod_fast.runtime import gpus, host
from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.ort import OrtBackend, has_onnxruntime, import_onnxruntime, profile_options
from roentmod_fast.runtime.cache import is_writable
from roentmod_fast.runtime.gpus import GPU
from roentmod_fast.runtime.ort_errors import summarize

RTX_PACKAGE = "onnxruntime-ep-nv-tensorrt-rtx"
RTX_MODULE = RTX_PACKAGE.replace("-", "_")
"""The plugin, which ONNX Runtime loads when it is registered."""

RTX_ARCHITECTURES = ("sm86", "sm89", "sm120", "sm121")
"""What the plugin is known to take: Ampere, Ada, Blackwell (twice). TensorRT for RTX builds for older ones too."""

RTX_GPUS = "GeForce RTX 30, 40, 50 and RTX PRO: sm86, sm89, sm120 and later"

PACKAGE = "tensorrt_rtx"
"""The manifest's name for what built a TensorRT engine."""

CACHED_NAME = "engine.onnx"
"""The file, in a folder of its own, by which a network that was compiled here is opened again."""

_registration = threading.Lock()


class TensorRTRTX(OrtBackend):
    """An RTX GPU by TensorRT for RTX."""

    name = "rtx"
    provider = "NvTensorRTRTXExecutionProvider"
    extra = "rtx"
    auto_rank = 0
    is_gpu = True
    fp16_by_default = True
    rounds_to_tf32 = True
    needs_shapes = True
    graph_roles = frozenset(NETWORKS)  # TensorRT for RTX records and replays by itself

    def missing(self) -> str | None:
        if not has_onnxruntime() or not _has_plugin():
            return f"type {self.pip_line()}"
        driver = gpus.driver_missing(gpus.CUDA_MAJOR)
        if driver is not None:
            return driver
        try:
            if find_ep_device() is not None:
                return None
        except DeviceError as error:
            return str(error)
        found = gpus.list_gpus()
        seen = ", ".join(f"{gpu.name} ({gpu.architecture})" for gpu in found) or "no NVIDIA GPU"
        hint = f": type {host.pip_line('gpu', 'onnxruntime-gpu')} and --device cuda" if found else ""
        return f"the plugin {RTX_PACKAGE}, which takes {RTX_GPUS}, offers no GPU here; there is {seen}{hint}"

    def packages(self) -> Iterator[tuple[str, str]]:
        version = plugin_version()
        if version is not None:
            yield RTX_PACKAGE, f"{version}, TensorRT for RTX {tensorrt_version()}"

    def supports(self, gpu: GPU) -> bool:
        return gpu.architecture in RTX_ARCHITECTURES

    def provider_options(self, spec: SessionSpec) -> dict[str, str]:
        # The graph is TensorRT's own: it captures and replays by itself, whatever memory the arrays lie in.
        options = {"enable_cuda_graph": "1" if spec.cuda_graphs else "0", **profile_options("nv", spec)}
        if spec.engine_max_batch is None or spec.engine_max_batch <= spec.max_batch:
            # Held from run to run, and as much as the largest batch of all takes that it was compiled for.
            options["nv_persistent_context_memory"] = "1"
        return options if spec.cache is None else {**options, "nv_runtime_cache_path": str(spec.cache)}

    def add_provider(self, options: Any, provider_options: dict[str, str]) -> dict[str, Any]:
        ep_device = find_ep_device()
        if ep_device is None:
            return super().add_provider(options, provider_options)
        options.add_provider_for_devices([ep_device], provider_options)
        return {}

    def plan(self, bundle: Bundle, role: str, precision: str, cache: Path, batch: int = 1) -> SessionSpec:
        ep_device = find_ep_device()
        gpu = None if ep_device is None else gpu_of(ep_device)
        return self.plan_for(gpu, bundle, role, precision, cache, batch)

    def plan_for(
        self, gpu: GPU | None, bundle: Bundle, role: str, precision: str, cache: Path, batch: int = 1
    ) -> SessionSpec:
        """Choose what is opened on ``gpu``: the bundle's own TensorRT engine, a cached one, or the ONNX file.

        A compiled network is cached by GPU, driver, TensorRT, plugin and largest batch. For an unknown GPU nothing is
        cached: its cache could serve another GPU.
        """
        spec = super().plan(bundle, role, precision, cache, batch)
        file = bundle.networks_of(precision)[role]
        gpu_folder = cache / ("unknown-gpu" if gpu is None else gpu.key)
        versions = f"tensorrt-{tensorrt_version()}-plugin-{plugin_version()}"
        folder = gpu_folder / versions / f"batch-{spec.max_batch}" / file
        cached = folder / "compiled" / CACHED_NAME
        kernels = folder / "kernels" if is_writable(folder, bytes_of(file, bundle.manifest.files)) else None
        uncached = "" if kernels else f"at each start, for {folder} cannot be written or is full"
        kernels_note = f"kernels of {role} are compiled {uncached}" if uncached else ""
        spec = replace(spec, cache=kernels)
        record, note = choose_trt_engine(bundle, role, precision, gpu, spec.max_batch)
        if record is not None:
            path, files = bundle.path(record["file"]), (record["file"], record["engine"])
            largest = record["batch"][-1]
            return replace(spec, path=path, files=files, note=kernels_note, compiled=True, engine_max_batch=largest)
        if gpu is not None and cached.is_file():
            notes = "; ".join(filter(None, (note, kernels_note)))
            return replace(spec, path=cached, files=(), note=notes, compiled=True, from_cache=True)
        if gpu is None:
            uncached = "at each start, for the GPU is not known"
        notes = "; ".join(filter(None, (note, f"{role} is compiled for this GPU, {uncached or 'once'}")))
        return replace(spec, compile_to=None if uncached else cached, note=notes)


RTX = TensorRTRTX()


# --- the plugin -------------------------------------------------------------------------------------------------------


def plugin_version() -> str | None:
    """Return the plugin's version, None where it is not installed: the package may be the one for a version of CUDA."""
    return host.version_of(RTX_PACKAGE) or host.version_of(f"{RTX_PACKAGE}-cu{gpus.CUDA_MAJOR}")


def _has_plugin() -> bool:
    return importlib.util.find_spec(RTX_MODULE) is not None


def find_ep_device() -> Any:
    """Return the first GPU that the plugin offers to run on, None where there is no plugin or no offer.

    It is registered with onnxruntime on the first call. Raises :class:`DeviceError` where it cannot be loaded.
    """
    if not _has_plugin():
        return None
    ort = import_onnxruntime()
    module = importlib.import_module(RTX_MODULE)
    name = module.get_ep_name()
    with _registration:
        if not any(device.ep_name == name for device in ort.get_ep_devices()):
            _load_bundled_cuda(Path(module.get_library_path()).parent)
            try:
                ort.register_execution_provider_library(name, module.get_library_path())
            except Exception as error:  # onnxruntime raises classes of its own; a second registration is no error
                if "already registered" not in str(error):
                    raise DeviceError(f"{RTX_PACKAGE} cannot be loaded: {summarize(error)}") from error
    return next((device for device in ort.get_ep_devices() if device.ep_name == name), None)


def _load_bundled_cuda(folder: Path) -> None:
    """Load CUDA's runtime as the plugin brings it, under a name that the loader does not look for.

    The Linux wheel 0.5.0 holds ``libcudart.so.13.4.36`` and no ``libcudart.so.13``, which the plugin asks for.
    """
    for path in sorted(folder.glob("libcudart.so.*.*")):
        with contextlib.suppress(OSError):  # the registration says what is missing
            ctypes.CDLL(str(path))


def gpu_of(ep_device: Any) -> GPU | None:
    """Return the GPU behind an offer of the plugin, by its PCI address; None where that does not tell.

    Windows gives no address: there the only GPU is meant, and of several none.
    """
    found = gpus.list_gpus()
    address = str(ep_device.device.metadata.get("pci_bus_id", "")).lower()
    matching = [gpu for gpu in found if gpu.pci_bus == address] if address else list(found)
    return matching[0] if len(matching) == 1 else None


# --- TensorRT engines of a bundle -------------------------------------------------------------------------------------


def choose_trt_engine(
    bundle: Bundle, role: str, precision: str, gpu: GPU | None, max_batch: int = 1
) -> tuple[Mapping[str, Any] | None, str]:
    """Return the record of the TensorRT engine that fits, or None and why none of those for ``role`` does."""
    file = bundle.manifest.networks[precision][role]
    records = [item for item in bundle.manifest.tensorrt if item["network"] == role and file in item["source"]]
    if not records:
        return None, ""
    version, reasons = tensorrt_version(), []
    for record in records:
        unfit = _why_unfit(record, bundle, gpu, version, max_batch)
        if unfit is None:
            return record, ""
        reasons.append(unfit)
    # There are always some for other GPUs; a stale one for this GPU is the better reason.
    for_this_gpu = [text for text, item in zip(reasons, records, strict=True) if _built_for(item, gpu)]
    return None, f"{role}: no TensorRT engine of the bundle is used: {(for_this_gpu or reasons)[0]}"


def _built_for(record: Mapping[str, Any], gpu: GPU | None) -> bool:
    return gpu is not None and record["package"] == PACKAGE and record["architecture"] == gpu.architecture


def _why_unfit(
    record: Mapping[str, Any], bundle: Bundle, gpu: GPU | None, version: str | None, max_batch: int
) -> str | None:
    name = record["file"]
    if record["package"] != PACKAGE:
        return f"{name} is of {record['package']}, not of {PACKAGE}"
    if gpu is None:
        return f"{name} is for {record['architecture']}, and the GPU's architecture is not known"
    if record["architecture"] != gpu.architecture:
        return f"{name} is for {record['architecture']}, the GPU is {gpu.architecture}"
    if version is None or not begins_with(record["version"], version):
        return f"{name} is of TensorRT {record['version']}, the plugin holds {version or 'an unknown one'}"
    smallest, largest = record["batch"][0], record["batch"][-1]
    if not (smallest == 1 and max_batch <= largest):
        return f"{name} takes batches of {smallest} to {largest}, and 1 to {max_batch} are asked for"
    facts = bundle.manifest.files
    stale = [source for source, digest in record["source"].items() if facts[source].sha256 != digest]
    return f"{name} is stale: {stale[0]} has changed since" if stale else None


def begins_with(version: str, start: str) -> bool:
    """Return whether dotted ``version`` begins with the parts of ``start``: 1.7.1.116 with 1.7.1, not with 1.7.11."""
    parts, wanted = version.split("."), start.split(".")
    return parts[: len(wanted)] == wanted


def tensorrt_version() -> str | None:
    """Return the version of TensorRT for RTX inside the plugin, by the name of its library; None where there is none.

    On Windows the name holds no more than major and minor.
    """
    spec = importlib.util.find_spec(RTX_MODULE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for path in sorted(Path(folder).glob("*tensorrt_rtx*")):
            found = re.fullmatch(r"libtensorrt_rtx\.so\.(\d+\.\d+\.\d+)|tensorrt_rtx_(\d+_\d+)\.dll", path.name)
            if found:
                return found.group(1) or found.group(2).replace("_", ".")
    return None
