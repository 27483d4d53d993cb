"""The steps against those of diffusers' ``DDIMScheduler``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.diffusion.schedule import Schedule
from roentmod_fast.diffusion.solvers import add_noise, ddim_step, to_epsilon

GOLDENS = Path(__file__).parents[1] / "goldens"
STEPS = 50

Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def golden() -> Iterator[Arrays]:
    with np.load(GOLDENS / "solvers.npz") as arrays:
        yield dict(arrays)


@pytest.mark.parametrize("timestep", [981, 381, 1])
def test_add_noise(golden: Arrays, timestep: int) -> None:
    x_t = add_noise(golden["x_0"], golden["noise"], Schedule().alpha_bar_at(timestep))
    assert x_t.dtype == np.float32
    # Two products and a sum of numbers up to 4: one rounding more where one side fuses them.
    np.testing.assert_allclose(x_t, golden[f"x_{timestep}"], rtol=0, atol=5e-7)


@pytest.mark.parametrize("timestep", [981, 381, 1])
@pytest.mark.parametrize("set_alpha_to_one", [False, True])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim_step(golden: Arrays, prediction: str, set_alpha_to_one: bool, timestep: int) -> None:
    schedule = Schedule(set_alpha_to_one=set_alpha_to_one, prediction=prediction)
    x_t, output = golden[f"x_{timestep}"], golden["output"]
    alpha_bar_t = schedule.alpha_bar_at(timestep)
    eps = to_epsilon(output, x_t, alpha_bar_t, prediction)
    x_prev = ddim_step(x_t, eps, alpha_bar_t, schedule.alpha_bar_at(timestep - 1000 // STEPS))
    assert x_prev.dtype == np.float32
    # Numbers up to 6, so 2.4e-7 a rounding. From v, diffusers computes x_0 directly and we through the noise, which
    # costs a division by sqrt(alpha_bar), 0.08 at timestep 981, that the next factor takes back.
    np.testing.assert_allclose(x_prev, golden[f"{prediction}_{set_alpha_to_one}_{timestep}"], rtol=0, atol=1e-6)


def test_a_step_with_the_true_noise_finds_the_image(golden: Arrays) -> None:
    x_0, noise = golden["x_0"], golden["noise"]
    alpha_bar = Schedule().alpha_bar_at(381)
    found = ddim_step(add_noise(x_0, noise, alpha_bar), noise, alpha_bar, 1.0)
    # The division by sqrt(alpha_bar), 0.73, enlarges the roundings of numbers up to 4 but little.
    np.testing.assert_allclose(found, x_0, rtol=0, atol=1e-6)


def test_v_of_known_noise_means_that_noise(golden: Arrays) -> None:
    x_0, noise = golden["x_0"], golden["noise"]
    alpha_bar = Schedule().alpha_bar_at(381)
    x_t = add_noise(x_0, noise, alpha_bar)
    v = np.sqrt(alpha_bar) * noise - np.sqrt(1 - alpha_bar) * x_0
    # Four products of numbers up to 4, nothing enlarged.
    np.testing.assert_allclose(to_epsilon(v, x_t, alpha_bar, "v_prediction"), noise, rtol=0, atol=1e-6)


def test_arguments_are_not_changed(golden: Arrays) -> None:
    x_t, output = golden["x_381"].copy(), golden["output"].copy()
    ddim_step(x_t, to_epsilon(output, x_t, 0.5, "v_prediction"), 0.5, 0.6)
    np.testing.assert_array_equal(x_t, golden["x_381"])
    np.testing.assert_array_equal(output, golden["output"])


def test_an_unknown_prediction_is_refused(golden: Arrays) -> None:
    with pytest.raises(ValueError, match="prediction 'sample' is unknown"):
        to_epsilon(golden["output"], golden["x_381"], 0.5, "sample")
