"""One step of the reverse process, guidance and solvers, as pure functions over arrays.

Arrays are float32 of one shape, usually (N, C, h, w); ``alpha_bar_t`` is :attr:`Schedule.alpha_bar` at the timestep of
``x_t``. Nothing is clipped: Stable Diffusion's latents have no range.
"""

from __future__ import annotations

import math

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


def guide(unconditional: Array, conditional: Array, scale: float) -> Array:
    """Return u + s (c - u), the network's output drawn towards the prompt (Ho & Salimans 2022, eq. 6 with s = 1 + w).

    Scale 1 is the prompt's own prediction, 0 that of the empty prompt; both arrays float32 of one shape.
    """
    guided: Array = unconditional + np.float32(scale) * (conditional - unconditional)
    return guided


def ddim_step(x_t: Array, eps: Array, alpha_bar_t: Scalar, alpha_bar_prev: Scalar) -> Array:
    """Return x_prev by one deterministic step (Song et al. 2021, DDIM, eq. 12 with sigma = 0, so eta = 0)."""
    signal_t, sigma_t = _split(alpha_bar_t)
    signal_prev, sigma_prev = _split(alpha_bar_prev)
    x_0 = (x_t - sigma_t * eps) / signal_t
    x_prev: Array = signal_prev * x_0 + sigma_prev * eps
    return x_prev


def dpm_step(
    x_t: Array,
    x_0: Array,
    alpha_bar_t: Scalar,
    alpha_bar_prev: Scalar,
    before: tuple[Array, Scalar] | None = None,
) -> Array:
    """Return x_prev by one step of DPM-Solver++(2M) (Lu et al. 2022, DPM-Solver++, algorithm 2).

    ``x_0`` is the finished image as the network sees it now, and ``before`` as it saw it one step earlier, with the
    alpha_bar of that step; without it the step is of first order, which is DDIM's.
    """
    signal_t, sigma_t = _split(alpha_bar_t)
    signal_prev, sigma_prev = _split(alpha_bar_prev)
    estimate = x_0
    if before is not None:
        x_0_before, alpha_bar_before = before
        here, there, past = (_half_log_snr(value) for value in (alpha_bar_t, alpha_bar_prev, alpha_bar_before))
        # How far the estimate moves until the middle of the step, by how far it moved over the last one.
        estimate = x_0 + np.float32((there - here) / (2 * (here - past))) * (x_0 - x_0_before)
    ratio = np.float32(sigma_prev / sigma_t)
    x_prev: Array = ratio * x_t + np.float32(signal_prev - ratio * signal_t) * estimate
    return x_prev


class DpmSolver:
    """DPM-Solver++(2M) over the steps of one run; ``count`` of them. The first and the last are of first order."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._before: tuple[Array, Scalar] | None = None

    def __call__(self, x_t: Array, eps: Array, alpha_bar_t: Scalar, alpha_bar_prev: Scalar) -> Array:
        """Return the latents one step on."""
        signal, sigma = _split(alpha_bar_t)
        x_0: Array = np.asarray((x_t - sigma * eps) / signal, dtype=np.float32)
        self._left -= 1
        before = self._before if self._left else None
        self._before = (x_0, alpha_bar_t)
        return dpm_step(x_t, x_0, alpha_bar_t, alpha_bar_prev, before)


def _half_log_snr(alpha_bar: Scalar) -> float:
    """Return lambda = log(signal / sigma), infinite for no noise; in float64, for differences are taken of it."""
    value = float(alpha_bar)
    return 0.5 * (math.log(value) - math.log1p(-value)) if value < 1 else math.inf


def _split(alpha_bar: Scalar) -> tuple[np.float32, np.float32]:
    """Return the factors of signal and noise, in float32 so that arrays stay float32."""
    alpha_bar = np.float32(alpha_bar)
    return np.sqrt(alpha_bar), np.sqrt(np.float32(1) - alpha_bar)
