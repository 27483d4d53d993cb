"""The facts of the machine on which something was made or measured."""

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


PROCESSOR_FILE = Path("/proc/cpuinfo")
PROCESSOR_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")
"""What the speed of matrix products in float32, int8 and bfloat16 depends on, in Linux's words."""


def processor() -> str:
    """Return the processor's name and, on Linux, which of :data:`PROCESSOR_FLAGS` it has."""
    try:
        text = PROCESSOR_FILE.read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    told = dict(line.split(":", 1) for line in text.partition("\n\n")[0].splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in told.items()}
    flags = facts.get("flags", "").split()
    has = [flag for flag in PROCESSOR_FLAGS if flag in flags]
    return ", ".join([facts.get("model name", platform.machine()), *has])


def machine_facts() -> dict[str, Any]:
    """Return on what and with what a measurement was made: machine, processor, Python, packages."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {physical_cores()} cores",
        "processor": processor(),
        "python": platform.python_version(),
        "packages": installed_versions(),
    }
