"""The mathematics of an edit, in pure numpy: schedule, noise, guidance, solvers, the denoising loop."""

from __future__ import annotations

from roentmod_fast.diffusion.denoise import SOLVERS, DenoiseStep, Predict, Solver, denoise, held_outside
from roentmod_fast.diffusion.guidance import guide
from roentmod_fast.diffusion.noise import TorchNoise
from roentmod_fast.diffusion.schedule import BETA_SCHEDULES, PREDICTIONS, TIMESTEP_SPACINGS, Schedule, Timesteps
from roentmod_fast.diffusion.solvers import DpmSolver, add_noise, ddim_step, dpm_step, to_epsilon

__all__ = [
    "BETA_SCHEDULES",
    "PREDICTIONS",
    "SOLVERS",
    "TIMESTEP_SPACINGS",
    "DenoiseStep",
    "DpmSolver",
    "Predict",
    "Schedule",
    "Solver",
    "Timesteps",
    "TorchNoise",
    "add_noise",
    "ddim_step",
    "denoise",
    "dpm_step",
    "guide",
    "held_outside",
    "to_epsilon",
]
