"""How one network of a bundle is opened on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Opening:
    """What is wished of a session; a device passes over what it does not know.

    ``cache``: the folder for what is compiled. ``keep``: the file by which a network that the device compiles can be
    opened the next time. ``half``: the network computes in half precision; not ``exact``: it may round float32 to TF32,
    which RTX cards do in any case. ``bfloat16``: OpenVINO computes float32 so, else as the file says. ``items``: how
    many the largest batch holds; ``shapes``: of one item of each input, without which TensorRT would compile for
    batches of any size. ``oversized``: the file was compiled for larger batches than that. ``graphs``: have CUDA graphs
    recorded.
    """

    cache: Path | None = None
    keep: Path | None = None
    half: bool = False
    exact: bool = True
    bfloat16: bool = False
    items: int = 1
    shapes: Mapping[str, tuple[int, ...]] | None = None
    oversized: bool = False
    graphs: bool = False


@dataclass(frozen=True)
class Plan:
    """Which file one network is opened from: ``path``, and the bundle's ``files`` that it needs.

    ``cache`` is the folder for what is compiled and ``keep`` where a whole compiled network goes, None where there is
    nothing to keep; ``compiled``: ``path`` is such a network already, ``kept``: by an earlier start, ``oversized``: for
    larger batches than are asked for; ``note`` is what the user must be told, or empty.
    """

    path: Path
    files: tuple[str, ...]
    cache: Path | None = None
    keep: Path | None = None
    note: str = ""
    compiled: bool = False
    kept: bool = False
    oversized: bool = False
