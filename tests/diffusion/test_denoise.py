"""The loop against a whole run of diffusers' image-to-image pipeline, the network's outputs played back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.diffusion.denoise import denoise
from roentmod_fast.diffusion.noise import TorchNoise
from roentmod_fast.diffusion.schedule import Schedule
from roentmod_fast.diffusion.solvers import add_noise, guide

GOLDENS = Path(__file__).parents[1] / "goldens"
EDITS = json.loads((GOLDENS / "edit.json").read_text(encoding="utf-8"))

Array = NDArray[np.float32]


@pytest.mark.parametrize(("layout", "prediction"), [("sd1", "epsilon"), ("v", "v_prediction")])
def test_a_whole_edit(layout: str, prediction: str) -> None:
    settings = EDITS[layout]
    with np.load(GOLDENS / f"edit_{layout}.npz") as arrays:
        golden = dict(arrays)
    schedule = Schedule(prediction=prediction)
    timesteps = schedule.timesteps_for(settings["steps"], settings["strength"])
    outputs = iter(golden["outputs"])

    noise = TorchNoise(settings["seed"])
    mean, logvar = golden["mean"], golden["logvar"]
    x_0 = np.float32(0.18215) * (mean + np.exp(logvar / 2) * noise.normal(mean.shape))
    x_t = add_noise(x_0, noise.normal(x_0.shape), schedule.alpha_bar_at(timesteps.start))
    # The noise's own tolerance, and nothing that would enlarge it.
    np.testing.assert_allclose(x_t, golden["x_start"], rtol=0, atol=2e-6)

    asked: list[int] = []

    def predict(x_t: Array, timestep: int) -> Array:
        asked.append(timestep)
        unconditional, conditional = next(outputs)
        return guide(unconditional[None], conditional[None], settings["guidance"])

    seen = list(denoise(x_t, schedule, timesteps, predict))
    assert asked == timesteps.t.tolist()
    assert len(seen) == len(timesteps) == 20
    # Latents up to 5: twenty steps of a few roundings of 4.8e-7 each, and the start's own difference.
    for latents, expected in zip(seen, golden["latents"], strict=True):
        np.testing.assert_allclose(latents[0], expected, rtol=0, atol=1e-5)
        assert latents.dtype == np.float32


def test_the_true_noise_leads_back_to_the_image() -> None:
    schedule = Schedule(set_alpha_to_one=True)
    x_0, noise = (TorchNoise(seed).normal((1, 4, 8, 8)) for seed in (0, 1))
    timesteps = schedule.timesteps_for(50, 1.0)
    x_t = add_noise(x_0, noise, schedule.alpha_bar_at(timesteps.start))
    *_, last = denoise(x_t, schedule, timesteps, lambda x_t, timestep: noise)
    # The first division by sqrt(alpha_bar), 0.08, enlarges a rounding of 2.4e-7 twelvefold; fifty steps add theirs.
    np.testing.assert_allclose(last, x_0, rtol=0, atol=2e-5)


def test_a_run_can_be_stopped_and_asks_for_no_more_than_it_gives() -> None:
    calls: list[int] = []

    def predict(x_t: Array, timestep: int) -> Array:
        calls.append(timestep)
        return x_t

    schedule = Schedule()
    x_t = np.ones((1, 4, 2, 2), dtype=np.float32)
    run = denoise(x_t, schedule, schedule.timesteps_for(10, 1.0), predict)
    assert calls == []
    next(run)
    assert calls == [901]
    next(run)
    assert calls == [901, 801]
    np.testing.assert_array_equal(x_t, 1)


def test_the_solver_is_an_argument() -> None:
    schedule = Schedule()
    x_t = np.zeros((1, 1, 1, 1), dtype=np.float32)
    steps = denoise(x_t, schedule, schedule.timesteps_for(4, 1.0), lambda x_t, t: x_t, lambda x_t, eps, a, b: x_t + 1)
    assert [latents.item() for latents in steps] == [1, 2, 3, 4]
