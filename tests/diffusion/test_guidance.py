"""Guidance at the scales whose result is known."""

from __future__ import annotations

import numpy as np
import pytest

from roentmod_fast.diffusion.solvers import guide

UNCONDITIONAL = np.array([0.0, 1.0, -2.0], dtype=np.float32)
CONDITIONAL = np.array([1.0, 1.0, 2.0], dtype=np.float32)


@pytest.mark.parametrize(
    ("scale", "expected"), [(0.0, UNCONDITIONAL), (1.0, CONDITIONAL), (4.0, [4.0, 1.0, 14.0]), (0.5, [0.5, 1.0, 0.0])]
)
def test_guide(scale: float, expected: list[float]) -> None:
    guided = guide(UNCONDITIONAL, CONDITIONAL, scale)
    assert guided.dtype == np.float32
    np.testing.assert_array_equal(guided, np.array(expected, dtype=np.float32))  # small integers: exact
