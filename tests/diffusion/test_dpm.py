"""DPM-Solver++(2M) against diffusers' ``DPMSolverMultistepScheduler``, and on an image whose noise is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.diffusion.denoise import denoise
from roentmod_fast.diffusion.noise import TorchNoise
from roentmod_fast.diffusion.schedule import CALLS_POWER, Schedule, Timesteps
from roentmod_fast.diffusion.solvers import DpmSolver, add_noise, ddim_step, dpm_step
from roentmod_fast.errors import SettingError

GOLDENS = Path(__file__).parents[1] / "goldens"
TIMESTEPS = np.array([381, 290, 207, 135, 73, 26])

Array = NDArray[np.float32]


@pytest.mark.parametrize(("last", "to_one"), [("zero", True), ("sigma_min", False)])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_run_of_six_calls(prediction: str, last: str, to_one: bool) -> None:
    with np.load(GOLDENS / "dpm.npz") as arrays:
        golden = dict(arrays)
    schedule = Schedule(prediction=prediction, set_alpha_to_one=to_one)
    timesteps = Timesteps(TIMESTEPS, np.append(TIMESTEPS[1:], -1))
    outputs = iter(golden["outputs"])
    x_t = add_noise(golden["x_0"], golden["noise"], schedule.alpha_bar_at(timesteps.start))
    run = denoise(x_t, schedule, timesteps, lambda x_t, timestep: next(outputs), DpmSolver(len(timesteps)))
    for latents, expected in zip(run, golden[f"{prediction}_{last}"], strict=True):
        assert latents.dtype == np.float32
        # Six steps over numbers up to 6, 4.8e-7 a rounding, and logarithms that diffusers takes in float32.
        np.testing.assert_allclose(latents, expected, rtol=0, atol=1e-5)


def test_the_first_order_step_is_that_of_ddim() -> None:
    x_0, noise = (TorchNoise(seed).normal((1, 4, 8, 8)) for seed in (0, 1))
    here, there = Schedule().alpha_bar_at(381), Schedule().alpha_bar_at(290)
    x_t = add_noise(x_0, noise, here)
    np.testing.assert_allclose(dpm_step(x_t, x_0, here, there), ddim_step(x_t, noise, here, there), rtol=0, atol=2e-6)


def test_the_true_noise_leads_back_to_the_image() -> None:
    schedule = Schedule(set_alpha_to_one=True)
    x_0, noise = (TorchNoise(seed).normal((1, 4, 8, 8)) for seed in (0, 1))
    timesteps = schedule.timesteps_for_calls(381, 5)
    x_t = add_noise(x_0, noise, schedule.alpha_bar_at(timesteps.start))
    *_, last = denoise(x_t, schedule, timesteps, lambda x_t, timestep: noise, DpmSolver(5))
    np.testing.assert_allclose(last, x_0, rtol=0, atol=5e-6)


@pytest.mark.parametrize("calls", [1, 2, 5, 20])
def test_fewer_calls_keep_the_noise_level_at_the_start(calls: int) -> None:
    timesteps = Schedule().timesteps_for_calls(381, calls)
    assert (len(timesteps), timesteps.start, int(timesteps.t_prev[-1])) == (calls, 381, -1)
    assert (np.diff(timesteps.t) < 0).all() and timesteps.t[-1] >= 1
    np.testing.assert_array_equal(timesteps.t_prev[:-1], timesteps.t[1:])
    assert int(timesteps.t[-1]) == round(381 * (1 / calls) ** CALLS_POWER)


@pytest.mark.parametrize(("start", "calls"), [(381, 0), (381, -1), (381, 382), (3, 4)])
def test_calls_that_cannot_be_are_refused(start: int, calls: int) -> None:
    with pytest.raises(SettingError, match=f"calls {calls} cannot be spread over {start} timesteps"):
        Schedule().timesteps_for_calls(start, calls)
