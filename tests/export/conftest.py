"""The torch side is tested where torch is installed; elsewhere these files are not even imported."""

from __future__ import annotations

import importlib.util

NEEDED = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> str:
    """Say why there are no tests of the export, so that their absence is seen."""
    return f"export tests: skipped, {', '.join(MISSING)} not installed" if MISSING else "export tests: run"
