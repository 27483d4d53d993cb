"""TensorRT engines, built ahead of time from the networks of a bundle.

``tensorrt_rtx`` (TensorRT for RTX) needs no GPU to build for one, only its architecture, and the plugin
``onnxruntime-ep-nv-tensorrt-rtx``, which must hold the same version, opens the result and finishes it for the GPU it
meets. Where only classic ``tensorrt`` is installed, an engine is built for the GPU of this machine and no other.

An engine is two files, named after all that it depends on: the engine itself, and a small ONNX file around it whose one
node, ``EPContext``, tells ONNX Runtime's provider where to find it. The engine goes stale with its source or its
TensorRT; the record in the manifest holds both.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
from onnx import helper

from roentmod_fast.bundle.manifest import NETWORKS, FileFact, bytes_of, with_weights
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX_ARCHITECTURES

from .apart import apart
from .errors import ExportError
from .files import OPSET

Batch = tuple[int, int, int]
"""Smallest batch of an engine, the one it is best at, and the largest."""

BATCHES: Mapping[str, Batch] = {
    "text_encoder": (1, 1, 8),
    "unet": (1, 2, 16),
    "vae_encoder": (1, 1, 1),
    "vae_decoder": (1, 1, 1),
}
"""Up to eight images at once, best for one; a guided edit asks the UNet twice for each. The runtime gives the
autoencoder one at a time on a GPU."""

PROVIDERS = {"tensorrt_rtx": "NvTensorRTRTXExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}

logger = logging.getLogger("roentmod_fast.export")
Record = dict[str, Any]


@dataclass(frozen=True)
class Compiler:
    """The TensorRT at hand: ``package`` is a key of :data:`PROVIDERS`."""

    package: str
    module: ModuleType

    @property
    def version(self) -> str:
        return str(self.module.__version__)


def find_compiler(architectures: Sequence[str]) -> Compiler:
    """Return a TensorRT that can build for all of ``architectures``, such as ``sm89``.

    Raises :class:`ExportError` for an unknown one, where no TensorRT is installed, and where the one that is builds for
    the GPU of this machine only and that is another.
    """
    for package in PROVIDERS:
        if importlib.util.find_spec(package) is not None:
            compiler = Compiler(package, importlib.import_module(package))
            break
    else:
        raise ExportError("--tensorrt needs TensorRT for RTX: type pip install tensorrt_rtx")
    here = _gpu()
    known = RTX_ARCHITECTURES if compiler.package == "tensorrt_rtx" else (here,)
    unknown = [name for name in architectures if name not in known]
    if unknown and compiler.package == "tensorrt":
        raise ExportError(
            f"--tensorrt {', '.join(unknown)}: classic tensorrt builds for the GPU of this machine only, "
            f"{here or 'and there is none'}: type pip install tensorrt_rtx to build for others"
        )
    if unknown:
        raise ExportError(f"--tensorrt {', '.join(unknown)}: expected some of {', '.join(RTX_ARCHITECTURES)}")
    return compiler


def _gpu() -> str | None:
    import torch  # late: a process that builds an engine does without

    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"sm{major}{minor}"


def build_engines(
    folder: Path,
    networks: Mapping[str, str],
    files: Mapping[str, FileFact],
    architectures: Sequence[str],
    compiler: Compiler,
) -> list[Record]:
    """Build an engine of each network for each architecture into ``folder``; return a record of each for the manifest.

    ``networks`` maps each network to its ONNX file in ``folder``, ``files`` holds the facts of these and of the weights
    beside them. An engine is stale where ``source`` in its record no longer agrees with the manifest's own facts.
    """
    records = []
    for network in NETWORKS:
        path = folder / networks[network]
        source = {name: files[name].sha256 for name in with_weights(path.name, files)}
        digest = hashlib.sha256("".join(source[name] for name in sorted(source)).encode()).hexdigest()
        batch = BATCHES[network]
        for architecture in architectures:
            logger.info(f"building {path.stem} for {architecture} with {compiler.package} {compiler.version}")
            stem = f"{path.stem}.b{batch[-1]}.{architecture}.{compiler.package}-{compiler.version}.{digest[:8]}"
            engine, wrapper = folder / f"{stem}.engine", folder / f"{stem}.onnx"
            apart(bytes_of(path.name, files), compile_engine, path, engine, architecture, batch, compiler.package)
            _wrap(path, engine, wrapper, architecture, compiler)
            records.append(
                {
                    "network": network,
                    "architecture": architecture,
                    "batch": list(batch),
                    "file": wrapper.name,
                    "engine": engine.name,
                    "source": source,
                    "package": compiler.package,
                    "version": compiler.version,
                }
            )
    return records


def compile_engine(source: Path, engine: Path, architecture: str, batch: Batch, package: str) -> None:
    """Build ``source`` into ``engine``, its types kept as they are (strongly typed).

    TensorRT holds the weights several times over, so this is a step to be run :func:`apart`, and imports no torch.
    """
    compiler = Compiler(package, importlib.import_module(package))
    trt = compiler.module
    log = _log(trt)
    builder = trt.Builder(log)
    # Types are always kept since TensorRT 11, which no longer knows the flag by value in all its forms.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(source)):
        reason = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise ExportError(f"{source.name}: {compiler.package} {compiler.version} cannot read it: {reason}")
    config = builder.create_builder_config()
    if compiler.package == "tensorrt_rtx":
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, architecture.upper()), 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        port = network.get_input(index)
        rest = tuple(port.shape)[1:]
        profile.set_shape(port.name, *((size, *rest) for size in batch))
    config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    if built is None:
        reason = log.errors[-1] if log.errors else "no reason given"
        raise ExportError(f"{source.name}: {compiler.package} {compiler.version} cannot build it: {reason}")
    engine.write_bytes(memoryview(built))


def _log(trt: ModuleType) -> Any:
    """Return a logger of TensorRT's own kind that keeps errors, a line each, and drops the rest."""

    class Log(trt.ILogger):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message.splitlines()[0] if message else "")

    return Log()


def _wrap(source: Path, engine: Path, wrapper: Path, architecture: str, compiler: Compiler) -> None:
    """Write the ONNX file that stands for ``engine``: the ports of ``source``, and one ``EPContext`` node."""
    ports = onnx.load(source, load_external_data=False).graph
    node = helper.make_node(
        "EPContext",
        [port.name for port in ports.input],
        [port.name for port in ports.output],
        name=engine.stem,
        domain="com.microsoft",
        main_context=0,  # each engine has a file of its own
        embed_mode=0,  # the engine lies beside this file: one of 2 GB would not fit into it
        ep_cache_context=engine.name,
        hardware_architecture=architecture.removeprefix("sm"),
        onnx_model_filename=source.name,
        partition_name=engine.stem,
        ep_sdk_version=compiler.version,
        source=PROVIDERS[compiler.package],
    )
    graph = helper.make_graph([node], ports.name, list(ports.input), list(ports.output))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), wrapper)
