"""Build the libraries of a fake GPU, and run Python with them in place of CUDA's."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from roentmod_fast.runtime.host import version_of

SOURCE = Path(__file__).with_name("fake_cuda.c")
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


def plug_in(folder: Path) -> None:
    """Write what the system tells of a GPU of NVIDIA's on the bus into ``folder``, for ``FAKE_PCI``."""
    device = folder / "0000:01:00.0"
    device.mkdir(parents=True)
    for name, text in {"class": "0x030000", "vendor": "0x10de", "device": "0x2684"}.items():
        (device / name).write_text(f"{text}\n", encoding="ascii")


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


def why_not(distribution: str = "onnxruntime-gpu") -> str | None:
    """Say why this Python cannot have the fake GPU for what ``distribution`` brings, None where it can."""
    if version_of(distribution) is None:
        return f"{distribution} is not installed"
    if distribution == "onnxruntime-gpu" and importlib.util.find_spec("nvidia") is not None:
        return "CUDA's own libraries are installed here, and onnxruntime-gpu takes these"
    if sys.platform != "linux" or shutil.which("cc") is None:
        return "no C compiler on Linux"
    return None


def run(folder: Path, *arguments: str, seconds: float = 300, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with the libraries in ``folder``; ``variables``: those of ``fake_cuda.c``, and others."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), **variables}
    if "FAKE_PCI" in variables:
        # The plugin's own CUDA runtime is loaded by its path; what is loaded before it is found first.
        environment["LD_PRELOAD"] = f"{folder / LIBRARIES['PCI']} {folder / LIBRARIES['CUDART']}"
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds
    )


def write_facts(folder: Path, sm: str) -> None:
    """Build into ``folder`` and write ``stubs.json`` beside: what a process needs to use the libraries and to count.

    ``environment``: variables to set, those of the RTX plugin's in ``plugin_environment``; ``launches`` and ``memory``:
    functions of ``library`` that return the launches so far and the bytes that are taken.
    """
    build(folder)
    plug_in(folder / "pci")
    facts = {
        "environment": {"LD_LIBRARY_PATH": str(folder)},
        "plugin_environment": {
            "FAKE_SM": sm.removeprefix("sm"),
            "FAKE_PCI": str(folder / "pci"),
            "LD_PRELOAD": f"{folder / LIBRARIES['PCI']} {folder / LIBRARIES['CUDART']}",
        },
        "library": LIBRARIES["CUDART"],
        "launches": "fake_launches",
        "memory": "fake_taken",
    }
    (folder / "stubs.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what a process that succeeded has printed as JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == "__main__":
    made = Path(sys.argv[1]).resolve()
    made.mkdir(parents=True, exist_ok=True)
    write_facts(made, sys.argv[2] if len(sys.argv) > 2 else "sm89")
