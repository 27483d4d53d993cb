"""Use the stub CUDA libraries of ``tests/cuda``: memory is allocated, launches are counted, nothing runs.

    make stubs                       # builds them, and stubs/stubs.json with all that this module needs

The JSON file is the only link to the tests: nothing is imported from there.
"""

from __future__ import annotations

import ctypes
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stubs:
    """What ``stubs.json`` holds."""

    environment: dict[str, str]
    plugin_environment: dict[str, str]
    library: str
    launches: str
    memory: str

    @classmethod
    def read(cls, folder: Path) -> Stubs:
        """Read the file; a missing one ends the program with the command that makes it."""
        path = folder / "stubs.json"
        if not path.is_file():
            raise SystemExit(f"{path}: not there: expected the stub CUDA libraries: type make stubs")
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def variables(self, *, plugin: bool = False, **more: str) -> dict[str, str]:
        """Return the environment of a process that uses the libraries, ``plugin``: with NVIDIA's plugin for RTX."""
        return {**os.environ, **self.environment, **(self.plugin_environment if plugin else {}), **more}

    def count_launches(self) -> int:
        """Return the kernel launches of this process so far."""
        return int(getattr(ctypes.CDLL(self.library), self.launches)())

    def allocated(self) -> int:
        """Return the bytes of GPU memory that this process holds."""
        function: Any = getattr(ctypes.CDLL(self.library), self.memory)
        function.restype = ctypes.c_size_t
        return int(function())
