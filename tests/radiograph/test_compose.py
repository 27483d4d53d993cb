"""An edit put back into its source."""

from __future__ import annotations

import numpy as np
import pytest

from roentmod_fast.radiograph.compose import compose
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.metrics import HALF_LEVEL

RNG = np.random.default_rng(0)
SOURCE = (0.2 + 0.6 * RNG.random((300, 400))).astype(np.float32)
LETTERBOX = Letterbox.fit((300, 400), 64)
SQUARE = LETTERBOX.apply(SOURCE)


def spot(height: float) -> np.ndarray:
    change = np.zeros((64, 64), dtype=np.float32)
    change[28:36, 20:30] = height
    return SQUARE + change


@pytest.mark.parametrize("mode", ["delta", "contrast"])
def test_nothing_changed_is_the_source_bit_for_bit(mode: str) -> None:
    np.testing.assert_array_equal(compose(SOURCE, SQUARE, SQUARE, LETTERBOX, mode), SOURCE)


@pytest.mark.parametrize("mode", ["delta", "contrast"])
def test_a_change_is_added_at_native_resolution(mode: str) -> None:
    edited = compose(SOURCE, spot(0.1), SQUARE, LETTERBOX, mode)
    assert edited.dtype == np.float32 and edited.shape == SOURCE.shape
    centre = edited[150:162, 150:160] - SOURCE[150:162, 150:160]
    np.testing.assert_allclose(centre, 0.1, atol=2e-3)
    far = np.ones_like(SOURCE, dtype=bool)
    far[100:220, 80:240] = False
    np.testing.assert_array_equal(edited[far], SOURCE[far])


def test_changes_below_half_a_level_are_left_out() -> None:
    np.testing.assert_array_equal(compose(SOURCE, spot(HALF_LEVEL * 0.98), SQUARE, LETTERBOX, "delta"), SOURCE)
    edited = compose(SOURCE, spot(0.3), SQUARE, LETTERBOX, "delta")
    changed = edited != SOURCE
    assert np.abs(edited - SOURCE)[changed].min() >= HALF_LEVEL - 1e-6


def test_the_result_stays_in_range() -> None:
    assert compose(SOURCE, spot(5), SQUARE, LETTERBOX, "delta").max() == 1
    assert compose(SOURCE, spot(-5), SQUARE, LETTERBOX, "delta").min() == 0


def test_replace_is_the_decoded_image_without_padding() -> None:
    decoded = np.zeros((64, 64), dtype=np.float32)
    decoded[LETTERBOX.top : LETTERBOX.top + LETTERBOX.height] = 0.5
    edited = compose(SOURCE, decoded, None, LETTERBOX, "replace")
    np.testing.assert_allclose(edited, 0.5, atol=1e-6)


@pytest.mark.parametrize(("mode", "reference"), [("delta", SQUARE), ("replace", None)])
def test_outside_the_mask_the_source_stays(mode: str, reference: np.ndarray | None) -> None:
    mask = np.zeros_like(SOURCE)
    mask[100:200, 100:160] = 1
    mask[100:200, 160:200] = 0.5
    decoded = np.clip(SQUARE + 0.2, 0, 1)
    edited = compose(SOURCE, decoded, reference, LETTERBOX, mode, mask)
    np.testing.assert_array_equal(edited[mask == 0], SOURCE[mask == 0])
    whole = compose(SOURCE, decoded, reference, LETTERBOX, mode)
    np.testing.assert_allclose(edited[mask == 1], whole[mask == 1], atol=1e-6)
    half = mask == 0.5
    inside = half & (whole > 0) & (whole < 1)
    np.testing.assert_allclose(edited[inside], (SOURCE[inside] + whole[inside]) / 2, atol=1e-5)


def test_an_empty_mask_is_the_source_bit_for_bit() -> None:
    nothing = np.zeros_like(SOURCE)
    np.testing.assert_array_equal(compose(SOURCE, spot(0.4), None, LETTERBOX, "replace", nothing), SOURCE)


def test_inputs_are_not_changed() -> None:
    copies = SOURCE.copy(), SQUARE.copy()
    compose(SOURCE, spot(0.4), SQUARE, LETTERBOX, "delta")
    np.testing.assert_array_equal(SOURCE, copies[0])
    np.testing.assert_array_equal(SQUARE, copies[1])


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="expected one of delta, contrast, replace"):
        compose(SOURCE, SQUARE, SQUARE, LETTERBOX, "add")
    with pytest.raises(ValueError, match="a reference is expected"):
        compose(SOURCE, SQUARE, None, LETTERBOX, "delta")
    with pytest.raises(ValueError, match="no reference is expected"):
        compose(SOURCE, SQUARE, SQUARE, LETTERBOX, "replace")
    with pytest.raises(ValueError, match="mask of shape"):
        compose(SOURCE, SQUARE, SQUARE, LETTERBOX, "delta", SQUARE)
