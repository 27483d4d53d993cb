"""PSNR, SSIM and the share of changed pixels, against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from roentmod_fast.radiograph.metrics import HALF_LEVEL, change_statistics, share_changed, ssim

RNG = np.random.default_rng(5)
SOURCE = RNG.random((300, 400)).astype(np.float32)


def test_statistics_of_no_change() -> None:
    statistics = change_statistics(SOURCE, SOURCE)
    assert (statistics.psnr_db, statistics.ssim, statistics.share_changed) == (None, 1.0, 0.0)


def test_statistics_of_a_known_change() -> None:
    after = SOURCE.copy()
    after[:30] += 0.1
    statistics = change_statistics(SOURCE, after)
    assert statistics.share_changed == pytest.approx(0.1)
    assert statistics.psnr_db == pytest.approx(-10 * np.log10(0.1 * 0.01), abs=1e-3)
    assert 0.9 < statistics.ssim < 1


def test_ssim_against_the_formula_of_one_window() -> None:
    a, b = RNG.random((7, 7)).astype(np.float32), RNG.random((7, 7)).astype(np.float32)
    covariance = np.cov(a.ravel(), b.ravel())
    top = (2 * a.mean() * b.mean() + 1e-4) * (2 * covariance[0, 1] + 9e-4)
    bottom = (a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (covariance[0, 0] + covariance[1, 1] + 9e-4)
    assert change_statistics(a, b).ssim == pytest.approx(float(top / bottom), rel=1e-5)


def test_statistics_require_the_same_shape() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        change_statistics(SOURCE, SOURCE[:64, :64])


@pytest.mark.parametrize("shape", [(7, 7), (31, 40), (70, 33), (5, 90)])
def test_ssim_against_all_windows_one_by_one(shape: tuple[int, int]) -> None:
    a, b = RNG.random(shape).astype(np.float32), RNG.random(shape).astype(np.float32)
    side = min(7, *shape)
    windows = (np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (side, side)) for x in (a, b))
    x, y = (window.reshape(*window.shape[:2], -1) for window in windows)
    mean_x, mean_y = x.mean(axis=2), y.mean(axis=2)
    covariance = ((x - mean_x[..., None]) * (y - mean_y[..., None])).sum(axis=2) / (side**2 - 1)
    top = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    bottom = (mean_x**2 + mean_y**2 + 1e-4) * (x.var(axis=2, ddof=1) + y.var(axis=2, ddof=1) + 9e-4)
    assert ssim(a, b) == pytest.approx(float((top / bottom).mean()), abs=1e-5)


def test_a_change_of_half_a_level_counts() -> None:
    before = np.zeros((40, 50), dtype=np.float32)
    after = before.copy()
    after[0, :10], after[1, :10] = HALF_LEVEL * 1.01, HALF_LEVEL * 0.99
    assert change_statistics(before, after).share_changed == pytest.approx(10 / 2000)


@pytest.mark.parametrize("shape", [(1, 1), (31, 7), (32, 5), (70, 9)])
def test_the_share_that_changed_alone_is_that_of_the_statistics(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    before = rng.random(shape, dtype=np.float32)
    after = before + rng.choice([0, 0.001, 0.01, -0.2], shape).astype(np.float32)
    assert share_changed(before, after) == change_statistics(before, after).share_changed
