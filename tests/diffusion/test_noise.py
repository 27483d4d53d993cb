"""The noise against ``torch.randn`` on a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.diffusion.noise import TorchNoise

GOLDENS = Path(__file__).parents[1] / "goldens"
SEEDS = (0, 1, 42, 2**32 - 1)

TOLERANCE = 2e-6
"""Blocks are float32 on both sides: numbers up to 6, with a logarithm, sine and cosine of the CPU's and library's
own, each within an ulp or two of 2.4e-7 to 4.8e-7. Measured: 4.8e-7."""


@pytest.mark.parametrize("seed", SEEDS)
def test_successive_large_draws(seed: int) -> None:
    noise = TorchNoise(seed)
    with np.load(GOLDENS / "noise.npz") as golden:
        for draw in range(2):
            values = noise.normal((1, 4, 64, 64))
            assert (values.shape, values.dtype) == ((1, 4, 64, 64), np.float32)
            expected = golden[f"large_{seed}_{draw}"]
            np.testing.assert_allclose(values.reshape(-1)[::7], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_uneven_draws_in_order(seed: int) -> None:
    noise = TorchNoise(seed)
    with np.load(GOLDENS / "noise.npz") as golden:
        for size in (17, 16, 30):
            expected = golden[f"uneven_{seed}_{size}"]
            np.testing.assert_allclose(noise.normal((size,)), expected, rtol=0, atol=TOLERANCE)


def test_the_seed_counts_modulo_two_to_the_32() -> None:
    np.testing.assert_array_equal(TorchNoise(2**32 + 5).normal((20,)), TorchNoise(5).normal((20,)))
    np.testing.assert_array_equal(TorchNoise(-1).normal((20,)), TorchNoise(2**32 - 1).normal((20,)))


@pytest.mark.parametrize("shape", [(0, 4), (), (1,), (15,), (3, 5)])
def test_fewer_values_than_a_block_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 16 values or more"):
        TorchNoise(3).normal(shape)


def test_draws_do_not_touch_numpys_own_generator() -> None:
    np.random.seed(0)
    before = np.random.get_state(legacy=False)["state"]
    TorchNoise(1).normal((100,))
    after = np.random.get_state(legacy=False)["state"]
    assert before["pos"] == after["pos"]
    np.testing.assert_array_equal(before["key"], after["key"])


def test_it_is_standard_normal() -> None:
    values = TorchNoise(9).normal((400, 400))
    # Four standard errors of 160,000 draws: 0.01 for the mean, 0.0071 for the deviation.
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.0071
    assert np.isfinite(values).all()
