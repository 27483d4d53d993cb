"""Between images and latents: what goes into the autoencoder, what is drawn from its posterior, what comes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""To what diffusers' ``DiagonalGaussianDistribution`` clips the encoder's log-variance before it draws."""


def to_channels(squares: Sequence[Array]) -> Array:
    """Return N grey images (S, S) in [0, 1] as the encoder takes them: (N, 3, S, S) in [-1, 1]."""
    grey = np.stack(squares)[:, None] * 2 - 1
    return np.ascontiguousarray(np.repeat(grey, 3, axis=1), dtype=np.float32)


def to_grey(decoded: Array) -> Array:
    """Return what the decoder gives, (N, 3, S, S) in about [-1, 1], as grey (N, S, S) in [0, 1]: the channels' mean."""
    return np.asarray(np.clip(decoded / 2 + 0.5, 0, 1).mean(axis=1), dtype=np.float32)


def sample_latents(mean: Array, log_variance: Array, draw: Array, scaling: float) -> Array:
    """Return scaled latents, drawn from the encoder's posterior by standard normal ``draw``; all of one shape."""
    deviation = np.exp(0.5 * np.clip(log_variance, *LOG_VARIANCE_RANGE))
    return np.asarray((mean + deviation * draw) * np.float32(scaling), dtype=np.float32)


def latents_touched(square: Array, scale: int) -> Array:
    """Return 1 for each latent whose ``scale`` x ``scale`` pixels a region (S, S) touches, else 0: (1, 1, s, s)."""
    s = square.shape[0] // scale
    touched = square.reshape(s, scale, s, scale).max(axis=(1, 3))[None, None] > 0
    return np.asarray(touched, dtype=np.float32)
