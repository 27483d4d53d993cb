"""Text to token ids, exactly as CLIP's own tokenizer does.

The rules (lower case, splitting, byte pairs, padding) all stand in the bundle's ``tokenizer.json``, written by the
exporter, and are carried out by the ``tokenizers`` package. It is imported on first use, so that ``--help`` is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import EngineError

if TYPE_CHECKING:
    import tokenizers

Tokens = NDArray[np.int64]


class Tokenizer:
    """One bundle's tokenizer; made by :meth:`load`."""

    def __init__(self, backend: tokenizers.Tokenizer, max_tokens: int, pad_id: int) -> None:
        self._backend = backend
        self.max_tokens = max_tokens
        self.pad_id = pad_id

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> Tokenizer:
        """Read ``path``, a ``tokenizer.json``, for a text encoder that takes ``max_tokens`` tokens (CLIP: 77).

        Raises :class:`EngineError` where the file is missing, is no ``tokenizer.json``, does not say how it pads or
        does not put a start and an end token around a text.
        """
        import tokenizers

        remedy = "export the engine again"
        if max_tokens < 3:
            raise EngineError(f"{path}: max_tokens {max_tokens} leaves no room for a text: {remedy}")
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise EngineError(f"{path}: cannot be read ({error.strerror}): {remedy}") from error
        except Exception as error:  # the package raises bare Exception for all that it does not understand
            raise EngineError(f"{path}: no tokenizer.json of the tokenizers package ({error}): {remedy}") from error
        if backend.padding is None:
            # SD 1.x pads with the end token and SD 2.x with "!": a guess would change every prompt without a word.
            raise EngineError(f"{path}: does not say how it pads, expected padding with a pad_id: {remedy}")
        pad_id = backend.padding["pad_id"]
        # Both are done below: the length is the text encoder's, and what is cut off must be logged.
        backend.no_truncation()
        backend.no_padding()
        if len(backend.encode("").ids) != 2:
            raise EngineError(f"{path}: does not put a start and an end token around a text: {remedy}")
        return cls(backend, max_tokens, pad_id)

    def encode(self, text: str) -> Tokens:
        """Return start token, text, end token and padding: int64 (1, max_tokens).

        A text that is too long is cut at its end; the end token stays.
        """
        ids = self._backend.encode(text).ids
        if len(ids) > self.max_tokens:
            ids = [*ids[: self.max_tokens - 1], ids[-1]]
        padding = [self.pad_id] * (self.max_tokens - len(ids))
        return np.array([ids + padding], dtype=np.int64)

    def truncated(self, text: str) -> str:
        """Return the end of ``text`` that :meth:`encode` cuts off; empty where all of it fits."""
        encoding = self._backend.encode(text)
        if len(encoding.ids) <= self.max_tokens:
            return ""
        first_lost = encoding.offsets[self.max_tokens - 1]
        return text[first_lost[0] :]
