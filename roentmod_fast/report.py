"""What happened in a run, as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roentmod_fast._version import __version__
from roentmod_fast.engine.devices import physical_cores, version_of

if TYPE_CHECKING:
    from roentmod_fast.editor import Editor, EditResult
    from roentmod_fast.radiograph.model import Radiograph

REPORT_FORMAT = 1
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


@dataclass
class RunReport:
    """Collects what a run did: one record an output, one a source that failed."""

    run: dict[str, Any]
    outputs: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, editor: Editor) -> RunReport:
        bundle = editor.bundle
        return cls(
            {
                "format": REPORT_FORMAT,
                "synthetic": True,
                "roentmod_fast": __version__,
                "python": platform.python_version(),
                "machine": f"{platform.system()} {platform.machine()}",
                "packages": installed_versions(),
                "engine": {
                    "name": bundle.name,
                    "manifest_sha256": bundle.manifest_hash,
                    "notice": bundle.manifest.notice,
                },
                "device": editor.device.name,
                "providers": list(editor.networks.providers),
                "precision": editor.networks.precision,
                "batch": editor.batch,
                # The list itself: what is told later, while a network runs, belongs in the report too.
                "notes": editor.networks.notes,
                "preset": {"name": editor.preset.name, "measured": dict(editor.preset.measured)},
            }
        )

    def add(self, radiograph: Radiograph, result: EditResult, path: Path, sop_instance_uid: str | None) -> None:
        """Add one output."""
        self.outputs.append(
            {
                "source": radiograph.source,
                "path": str(path),
                "prompt": result.prompt,
                "prompt_truncated": result.truncated,
                "settings": asdict(result.settings),
                "sop_instance_uid": sop_instance_uid,
                "matrix": list(radiograph.image.shape),
                "decoder": radiograph.decoder,
                "notes": list(radiograph.notes),
                "seconds": {stage: round(value, 4) for stage, value in result.seconds.items()},
                "unet_calls": result.unet_calls,
                "change": asdict(result.change),
            }
        )

    def fail(self, source: str, reason: str) -> None:
        """Add one source that could not be edited."""
        self.failures.append({"source": source, "reason": reason})

    def render(self) -> str:
        """Return the report as JSON text."""
        return json.dumps({**self.run, "outputs": self.outputs, "failures": self.failures}, indent=2) + "\n"
