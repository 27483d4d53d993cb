"""Build the libraries of a hollow card, and run Python with them in place of CUDA's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
}
"""What is defined to compile each; the first counts the launches of all."""


def build(folder: Path, compiler: str) -> None:
    """Compile the libraries into ``folder``."""
    first = folder / LIBRARIES["CUDART"]
    for part, name in LIBRARIES.items():
        command = [compiler, "-shared", "-fPIC", "-O1", "-w", f"-D{part}", str(SOURCE), f"-Wl,-soname,{name}"]
        command += ["-o", str(folder / name)]
        if part != "CUDART":
            command.append(str(first))
        if part not in ("CUDA", "NVML"):
            # onnxruntime-gpu asks for the symbols of a version, which is named as the library is.
            versions = folder / f"{part}.map"
            versions.write_text(f"{name} {{ global: *; }};\n", encoding="utf-8")
            command.append(f"-Wl,--version-script={versions}")
        subprocess.run(command, check=True)


def run(folder: Path, *arguments: str, **failures: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with the libraries in ``folder``; ``failures`` are variables that ``hollow.c`` names."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), **failures}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
