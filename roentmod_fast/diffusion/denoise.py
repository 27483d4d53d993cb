"""The denoising loop, as a generator: it knows neither networks nor prompts, and whoever draws from it may stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.diffusion.schedule import Schedule, Timesteps
from roentmod_fast.diffusion.solvers import DpmSolver, Scalar, add_noise, ddim_step, to_epsilon

Array = NDArray[np.float32]

Predict = Callable[[Array, int], Array]
"""``predict(x_t, t)`` gives the network's output at timestep t, guidance already applied, in the shape of ``x_t``."""

Solver = Callable[[Array, Array, Scalar, Scalar], Array]
"""``solver(x_t, eps, alpha_bar_t, alpha_bar_prev)`` gives the latents one step on."""

SOLVERS: Mapping[str, Callable[[int], Solver]] = {"ddim": lambda count: ddim_step, "dpm++": DpmSolver}
"""The solvers by name, each made for one run of ``count`` steps."""


def denoise(
    x_t: Array,
    schedule: Schedule,
    timesteps: Timesteps,
    predict: Predict,
    solver: Solver = ddim_step,
) -> Iterator[Array]:
    """Yield the latents after each step, from the noised ones ``x_t`` down to the finished ones.

    ``x_t``: float32 (N, C, h, w), noised to ``timesteps.start``; not changed. ``timesteps`` are of ``schedule``. A
    ``solver`` that looks back on earlier steps is made anew for each run. What is yielded last is the result.
    """
    for t, t_prev in zip(timesteps.t.tolist(), timesteps.t_prev.tolist(), strict=True):
        alpha_bar_t, alpha_bar_prev = schedule.alpha_bar_at(t), schedule.alpha_bar_at(t_prev)
        eps = to_epsilon(predict(x_t, t), x_t, alpha_bar_t, schedule.prediction)
        x_t = solver(x_t, eps, alpha_bar_t, alpha_bar_prev)
        yield x_t


def held_outside(inside: Array, x_0: Array, noise: Array, solver: Solver) -> Solver:
    """Return ``solver`` with latents outside a region held to the source, noised as far as the step.

    ``inside``: float32 (N, 1, h, w), 1 where the solver is free. ``x_0``, ``noise``: the source's latents and the noise
    that was added, (N, C, h, w).
    """

    def step(x_t: Array, eps: Array, alpha_bar_t: Scalar, alpha_bar_prev: Scalar) -> Array:
        free = solver(x_t, eps, alpha_bar_t, alpha_bar_prev)
        held = add_noise(x_0, noise, alpha_bar_prev)
        return np.asarray(inside * free + (1 - inside) * held, dtype=np.float32)

    return step
