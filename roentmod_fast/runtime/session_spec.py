"""How one network of a bundle is opened on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SessionSpec:
    """The file that one network is opened from, and the options; a backend ignores those it does not support.

    ``role``: a key of :data:`~.ports.INPUTS`. ``path``: what is opened, an ONNX file or a compiled network;
    ``files``: the bundle's files that it needs. ``cache``: the folder for what is compiled; ``compile_to``: the file
    by which a whole compiled network is cached; ``compiled``: ``path`` is a compiled network, ``from_cache``: of an
    earlier start. ``note``: what the user should know, or empty.

    ``fp16``: the network computes in fp16. ``allow_tf32``: float32 products may be rounded to TF32, which RTX
    GPUs do in any case. ``bfloat16``: float32 is computed in bfloat16 (OpenVINO). ``max_batch``: the largest batch;
    ``engine_max_batch``: that of the TensorRT engine where ``path`` is one. ``shapes``: of one item of each input,
    without which TensorRT would compile for batches of any size. ``cuda_graphs``: record CUDA graphs.
    ``release_memory``: free what a run computed in after each run.
    """

    role: str
    path: Path
    files: tuple[str, ...] = ()
    cache: Path | None = None
    compile_to: Path | None = None
    compiled: bool = False
    from_cache: bool = False
    note: str = ""
    fp16: bool = False
    allow_tf32: bool = False
    bfloat16: bool = False
    max_batch: int = 1
    engine_max_batch: int | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None
    cuda_graphs: bool = False
    release_memory: bool = False
