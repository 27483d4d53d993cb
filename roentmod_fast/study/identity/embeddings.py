"""Embeddings that are kept: a network runs once for each image, also over several calls of the command.

They stand in ``embeddings-NAME.npz``, each under the SHA-256 of its file and the size it was shown in. The archive
belongs to one network with one contract; another one makes a new archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast._version import __version__
from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.study.models.network import Model
from roentmod_fast.study.models.preprocess import preprocess
from roentmod_fast.study.output import file_name

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]

SAVE_SECONDS = 120.0
"""Between two writes of the archive while it grows."""


class Embeddings:
    """The embeddings of one model. ``folder``: where the archive is."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.model = model
        self.path = folder / f"embeddings-{file_name(model.name)}.npz"
        self.computed = 0
        """How often the network ran."""
        self._mark = fingerprint(model)
        self._vectors: dict[str, Array] = {}
        self._changed, self._saved = False, time.monotonic()
        self._read()

    def add(self, image: Array, sha256: str) -> str:
        """Embed an image, float32 (h, w) in [0, 1], of a file with this hash; return its key. Raises EngineError."""
        key = f"{sha256} {image.shape[0]}x{image.shape[1]}"
        if key not in self._vectors:
            found = self.model.run(preprocess(image, self.model.contract)[None])[0]
            # The network's own precision; a length of 1 is made again below.
            self._vectors[key] = found.astype(np.float32)
            self.computed += 1
            self._changed = True
            if time.monotonic() - self._saved > SAVE_SECONDS:
                self.save()
        return key

    def rows(self, keys: list[str]) -> NDArray[np.float64]:
        """Return embeddings as float64 (n, k)."""
        result = np.stack([self._vectors[key] for key in keys]).astype(np.float64)
        if self.model.contract.unit_norm:
            result /= np.linalg.norm(result, axis=1, keepdims=True)
        return result

    def save(self) -> None:
        """Write the archive where it has grown. Raises OutputError."""
        self._saved = time.monotonic()
        if not self._changed:
            return
        keys = sorted(self._vectors)
        buffer = io.BytesIO()
        np.savez(buffer, mark=self._mark, keys=keys, vectors=np.stack([self._vectors[key] for key in keys]))
        make_folder(self.path.parent)
        write_atomically(self.path, buffer.getbuffer(), overwrite=True)
        self._changed = False

    def _read(self) -> None:
        if not self.path.exists():
            return
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                mark, keys, vectors = str(archive["mark"]), archive["keys"], archive["vectors"]
            if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != len(keys):
                raise ValueError
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            logger.warning(f"{self.path}: no archive of embeddings that can be read: made anew")
            return
        if mark != self._mark:
            logger.warning(f"{self.path}: of another model, contract or version: made anew")
            return
        self._vectors = dict(zip(map(str, keys), vectors, strict=True))


def fingerprint(model: Model) -> str:
    """Return a hash of all that an embedding depends on, but the image: network, contract, and this version."""
    facts = model.contract.to_json()
    parts = [__version__, model.sha256, json.dumps([facts["input"], facts["output"]])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
