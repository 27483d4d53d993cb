"""The denoising loop, as a generator: it knows neither networks nor prompts, and whoever draws from it may stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.diffusion.schedule import Schedule, Timesteps
from roentmod_fast.diffusion.solvers import Scalar, ddim_step, to_epsilon

Array = NDArray[np.float32]

Predict = Callable[[Array, int], Array]
"""``predict(x_t, t)`` gives the network's output at timestep t, guidance already applied, in the shape of ``x_t``."""

Solver = Callable[[Array, Array, Scalar, Scalar], Array]
"""``solver(x_t, eps, alpha_bar_t, alpha_bar_prev)`` gives the latents one step on."""


@dataclass(frozen=True)
class DenoiseStep:
    """One step done: the ``index``-th (from 0) of ``count``, taken from ``timestep``, which led to ``x_t``."""

    index: int
    count: int
    timestep: int
    x_t: Array


def denoise(
    x_t: Array,
    schedule: Schedule,
    timesteps: Timesteps,
    steps: int,
    predict: Predict,
    solver: Solver = ddim_step,
) -> Iterator[DenoiseStep]:
    """Yield each step from the noised latents ``x_t`` down to the finished ones.

    ``x_t``: float32 (N, C, h, w), noised to ``timesteps[0]``; not changed. ``timesteps``: descending, from
    ``schedule.partial(steps, strength)`` or ``schedule.timesteps(steps)``. ``steps``: what these were made for; it
    sets how far a step goes. The last step's ``x_t`` is the result.
    """
    for index, timestep in enumerate(timesteps.tolist()):
        alpha_bar_t = schedule.alpha_bar_at(timestep)
        alpha_bar_prev = schedule.alpha_bar_at(schedule.previous(timestep, steps))
        eps = to_epsilon(predict(x_t, timestep), x_t, alpha_bar_t, schedule.prediction)
        x_t = solver(x_t, eps, alpha_bar_t, alpha_bar_prev)
        yield DenoiseStep(index, len(timesteps), timestep, x_t)
