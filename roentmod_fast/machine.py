"""Facts of the machine: its CPU, Python and packages."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from roentmod_fast.runtime.host import physical_cores, version_of

PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "openvino",
    "onnxruntime-ep-nv-tensorrt-rtx",
    "numpy",
    "pydicom",
    "pillow",
    "tokenizers",
)


def installed_versions() -> dict[str, str]:
    """Return the version of each of the runtime's packages that is installed."""
    return {name: version for name in PACKAGES if (version := version_of(name)) is not None}


CPU_FILE = Path("/proc/cpuinfo")
CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")
"""What the speed of matrix products in float32, int8 and bfloat16 depends on, in Linux's words."""


def cpu_name() -> str:
    """Return the CPU's name and, on Linux, which of :data:`CPU_FLAGS` it has."""
    try:
        text = CPU_FILE.read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in text.partition("\n\n")[0].splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    flags = facts.get("flags", "").split()
    has = [flag for flag in CPU_FLAGS if flag in flags]
    return ", ".join([facts.get("model name", platform.machine()), *has])


def machine_facts() -> dict[str, Any]:
    """Return the machine, CPU, Python and packages of a measurement."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {physical_cores()} cores",
        "processor": cpu_name(),
        "python": platform.python_version(),
        "packages": installed_versions(),
    }
