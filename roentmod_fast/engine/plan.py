"""How one network of a bundle is opened on a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """How one network is opened: ``path``, the bundle's ``files`` that it needs, ``cache`` for what is compiled.

    ``keep`` is where a whole compiled network goes, None where there is nothing to keep; ``compiled``: ``path`` is such
    a network already; ``note`` what the user must be told, or empty.
    """

    path: Path
    files: tuple[str, ...]
    cache: Path
    keep: Path | None = None
    note: str = ""
    compiled: bool = False
