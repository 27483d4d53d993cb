"""Build the libraries of a hollow card, and run Python with them in place of CUDA's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from roentmod_fast.engine.devices import version_of

SOURCE = Path(__file__).with_name("hollow.c")
ROOT = Path(__file__).parents[2]

LIBRARIES = {
    "CUDART": "libcudart.so.13",
    "CUDA": "libcuda.so.1",
    "CUBLAS": "libcublas.so.13",
    "CUBLASLT": "libcublasLt.so.13",
    "CURAND": "libcurand.so.10",
    "CUDNN": "libcudnn.so.9",
    "NVML": "libnvidia-ml.so.1",
    "PCI": "pci.so",
}
"""What is defined to compile each; the first counts the launches of all."""


def build(folder: Path) -> None:
    """Compile the libraries into ``folder``, with cc."""
    first = folder / LIBRARIES["CUDART"]
    for part, name in LIBRARIES.items():
        command = ["cc", "-shared", "-fPIC", "-O1", "-w", f"-D{part}", str(SOURCE), f"-Wl,-soname,{name}"]
        command += ["-o", str(folder / name)]
        if part != "CUDART":
            command.append(str(first))
        if part not in ("CUDA", "NVML", "PCI"):
            # onnxruntime-gpu asks for the symbols of a version, which is named as the library is.
            versions = folder / f"{part}.map"
            versions.write_text(f"{name} {{ global: *; }};\n", encoding="utf-8")
            command.append(f"-Wl,--version-script={versions}")
        subprocess.run(command, check=True)


def why_not() -> str | None:
    """Say why this Python cannot have the hollow card, None where it can."""
    if version_of("onnxruntime-gpu") is None:
        return "onnxruntime-gpu is not installed"
    if importlib.util.find_spec("nvidia") is not None:
        return "CUDA's own libraries are installed here, and onnxruntime-gpu takes these"
    if sys.platform != "linux" or shutil.which("cc") is None:
        return "no C compiler on Linux"
    return None


def run(folder: Path, *arguments: str, **failures: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with the libraries in ``folder``; ``failures`` are variables that ``hollow.c`` names."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), **failures}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
