"""Latents and their noise: the same seed gives the same edit as the reference.

The noise is that of ``torch.randn`` on a CPU, without torch. torch draws from a Mersenne Twister (MT19937), which numpy
has too, and turns uniform numbers into normal ones by Box and Muller's transform: r = sqrt(-2 ln(1 - u1)), angle
2 pi u2, giving r cos and r sin. Which bits become which number depends on how many are asked for at once, see
:meth:`TorchNoise.normal`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError

Array = NDArray[np.float32]

_BLOCK = 16
"""Values that torch transforms at once: eight radii, then eight angles."""

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""To what diffusers' ``DiagonalGaussianDistribution`` clips the encoder's log-variance before it draws."""


class TorchNoise:
    """Draws of ``torch.Generator("cpu").manual_seed(seed)``, in order; any integer seed, modulo 2**32 as in torch."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        # RandomState seeds by the twister's first published routine (init_genrand), as torch does; newer numpy
        # generators hash the seed first.
        state: Any = np.random.RandomState(seed % 2**32).get_state(legacy=False)
        self._bits.state = state

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Return the next ``torch.randn(shape)``: float32, mean 0, variance 1, within 1e-6 of torch's.

        Blocks of 16; where the size is no multiple of 16, the last 16 values are drawn anew, over those before. Raises
        ``ValueError`` for fewer than 16 values, which torch draws in another way and no engine's latents have.
        """
        size = math.prod(shape)
        if size < _BLOCK:
            raise ValueError(f"noise of shape {shape}: expected {_BLOCK} values or more")
        values = self._uniform(size)
        whole = size - size % _BLOCK
        values[:whole] = _box_muller(values[:whole])
        if whole < size:
            values[-_BLOCK:] = _box_muller(self._uniform(_BLOCK))
        return values.reshape(shape)

    def _uniform(self, size: int) -> Array:
        """Return float32 in [0, 1) of 24 bits each."""
        bits = self._bits.random_raw(size) & 0xFFFFFF
        uniform: Array = bits.astype(np.float32) * np.float32(2**-24)
        return uniform


def _box_muller(uniform: Array) -> Array:
    """Transform blocks of 16 uniform numbers into 16 normal ones each, in float32 as torch does."""
    halves = uniform.reshape(-1, 2, _BLOCK // 2)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - halves[:, 0]))
    angle = np.float32(2 * np.pi) * halves[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def edit_noise(shape: tuple[int, int, int], seed: int, given: Array | None = None) -> tuple[Array, Array]:
    """Return the draw of the encoder and the noise that is added, (1, C, h, w) both, in the order of diffusers.

    ``shape``: (C, h, w) of the latents. ``given``: both of them, float32 (2, C, h, w), in place of the seed's. Raises
    :class:`SettingError` where they are of another shape.
    """
    if given is None:
        generator = TorchNoise(seed)
        return generator.normal((1, *shape)), generator.normal((1, *shape))
    if given.shape != (2, *shape):
        raise SettingError(f"noise of shape {given.shape}: expected {(2, *shape)}")
    return np.asarray(given[:1], dtype=np.float32), np.asarray(given[1:], dtype=np.float32)


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
