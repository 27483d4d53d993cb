"""Window filters against every window, one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.radiograph.filters import box_mean, running_mean, window_extreme

RNG = np.random.default_rng(3)
SHAPES = [(1, 1), (1, 30), (17, 40), (40, 17)]


def windows(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the window around each pixel, (H, W, size * size), with the outermost pixels repeated."""
    padded = np.pad(values, size // 2, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size)).reshape(*values.shape, -1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 3, 5, 9, 13, 41])
@pytest.mark.parametrize(("extreme", "reduce"), [(np.minimum, np.min), (np.maximum, np.max)])
def test_extremes(shape: tuple[int, int], size: int, extreme: np.ufunc, reduce: Callable[..., Any]) -> None:
    values = RNG.integers(-300, 300, shape).astype(np.int16)
    found = window_extreme(values, size, extreme)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, reduce(windows(values, size), axis=2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("extreme", "reduce"), [(np.logical_or, np.any), (np.logical_and, np.all)])
def test_masks(shape: tuple[int, int], extreme: np.ufunc, reduce: Callable[..., Any]) -> None:
    mask = RNG.random(shape) < 0.2
    found = window_extreme(mask, 5, extreme)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, reduce(windows(mask, 5), axis=2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 3, 7, 21])
def test_running_mean(shape: tuple[int, int], size: int) -> None:
    values = RNG.random(shape)
    np.testing.assert_allclose(running_mean(values, size), windows(values, size).mean(axis=2), atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 7), (17, 40), (40, 17)])
@pytest.mark.parametrize("size", range(1, 8))
def test_box_mean_of_windows_inside(shape: tuple[int, int], size: int) -> None:
    values = RNG.random(shape).astype(np.float32)
    inside = np.lib.stride_tricks.sliding_window_view(values, (size, size)).mean(axis=(2, 3))
    found = box_mean(values, size)
    assert found.dtype == np.float32 and found.shape == inside.shape
    np.testing.assert_allclose(found, inside, atol=1e-6)
