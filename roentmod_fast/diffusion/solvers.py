"""One step of the reverse process, as pure functions over arrays.

Arrays are float32 of one shape, usually (N, C, h, w); ``alpha_bar_t`` is :attr:`Schedule.alpha_bar` at the timestep of
``x_t``. Nothing is clipped: Stable Diffusion's latents have no range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Scalar = float | np.float32


def add_noise(x_0: Array, noise: Array, alpha_bar_t: Scalar) -> Array:
    """Return x_t: ``x_0`` noised to timestep t (Ho et al. 2020, eq. 4)."""
    signal, sigma = _split(alpha_bar_t)
    x_t: Array = signal * x_0 + sigma * noise
    return x_t


def to_epsilon(model_output: Array, x_t: Array, alpha_bar_t: Scalar, prediction: str) -> Array:
    """Return the noise in ``x_t`` that the network's output means.

    ``prediction``: ``epsilon``, the output is the noise; ``v_prediction``, it is v = sqrt(alpha_bar) noise -
    sqrt(1 - alpha_bar) x_0 (Salimans & Ho 2022, appendix D). Raises ``ValueError`` for any other.
    """
    if prediction == "epsilon":
        return model_output
    if prediction == "v_prediction":
        signal, sigma = _split(alpha_bar_t)
        eps: Array = signal * model_output + sigma * x_t
        return eps
    raise ValueError(f"prediction {prediction!r} is unknown: expected epsilon or v_prediction")


def ddim_step(x_t: Array, eps: Array, alpha_bar_t: Scalar, alpha_bar_prev: Scalar) -> Array:
    """Return x_prev by one deterministic step (Song et al. 2021, DDIM, eq. 12 with sigma = 0, so eta = 0)."""
    signal_t, sigma_t = _split(alpha_bar_t)
    signal_prev, sigma_prev = _split(alpha_bar_prev)
    x_0 = (x_t - sigma_t * eps) / signal_t
    x_prev: Array = signal_prev * x_0 + sigma_prev * eps
    return x_prev


def _split(alpha_bar: Scalar) -> tuple[np.float32, np.float32]:
    """Return the factors of signal and noise, in float32 so that arrays stay float32."""
    alpha_bar = np.float32(alpha_bar)
    return np.sqrt(alpha_bar), np.sqrt(np.float32(1) - alpha_bar)
