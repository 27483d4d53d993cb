"""An edit put back into its source."""

from __future__ import annotations

import numpy as np
import pytest

from roentmod_fast.radiograph.compose import compose, removed_share, transmitted_share
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
    centre = (slice(150, 162), slice(150, 160))
    detail, kept = (
        (image - LETTERBOX.invert_smooth(square))[centre] for image, square in ((SOURCE, SQUARE), (edited, spot(0.1)))
    )
    # Half of the way to white was left, and a fifth of it was added: so much contrast is lost.
    np.testing.assert_allclose(kept, 0.8 * detail, atol=0.012)
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


def smooth_step(x: np.ndarray, at: float, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(x - at) / width))


def heart(border: float, width: float, size: int, shape: tuple[int, int]) -> np.ndarray:
    """Dark lung left of ``border`` and bright heart right of it, over ``size`` columns, by an edge of ``width``."""
    x = (np.arange(shape[1]) + 0.5) * size / shape[1]
    return np.tile(0.2 + 0.6 * smooth_step(x, border, width), (shape[0], 1)).astype(np.float32)


BIG, GRID = (400, 400), (64, 64)
BOX = Letterbox.fit(BIG, 64)
GRAIN = (0.01 * RNG.standard_normal(BIG)).astype(np.float32)


def moved(
    to: float, mask: np.ndarray | None = None, mode: str = "contrast"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move a sharp border from column 40 of 64 by an engine that blurs: the source, the edit and the perfect edit."""
    source, perfect = (heart(border, 0.15, 64, BIG) + GRAIN for border in (40, to))
    reference, decoded = (heart(border, 1.0, 64, GRID) for border in (40, to))
    return source, compose(source, decoded, reference, BOX, mode, mask), perfect


@pytest.mark.parametrize("mode", ["delta", "contrast"])
@pytest.mark.parametrize("to", [20, 28])
def test_a_moved_border_leaves_no_ghost(to: float, mode: str) -> None:
    _, edited, perfect = moved(to, mode=mode)
    reference, decoded = (heart(border, 1.0, 64, GRID) for border in (40, to))
    added_only = heart(40, 0.15, 64, BIG) + BOX.invert_smooth(decoded - reference)
    old = slice(int(36 * 6.25), int(44 * 6.25))

    def ghost(image: np.ndarray) -> float:
        """Largest deviation from the perfect edit along the old border, grain averaged out."""
        return float(np.abs((image - perfect)[100:300, old].mean(axis=0)).max())

    assert ghost(added_only + GRAIN) > 0.1
    assert ghost(edited) < 0.03


def under(image: np.ndarray, transmitted: float | np.ndarray) -> np.ndarray:
    """Add density that lets a share of the contrast through."""
    return (1 - (1 - image) * transmitted).astype(np.float32)


def test_a_covered_border_keeps_its_detail() -> None:
    """Density added evenly over a border leaves the border where it was, as sharp as density lets it be."""
    source = heart(40, 0.15, 64, BIG) + GRAIN
    reference = heart(40, 1.0, 64, GRID)
    edited, perfect = compose(source, under(reference, 0.9), reference, BOX, "contrast"), under(source, 0.9)
    detail = source - BOX.invert_smooth(reference)
    error = np.abs(edited - perfect)[50:-50, 50:-50]
    assert (error <= 0.1 * np.abs(detail)[50:-50, 50:-50] + 5e-4).all()


def test_detail_finer_than_the_engine_sees_is_dimmed_by_what_covers_it() -> None:
    source = np.float32(0.3) + GRAIN
    reference = np.full(GRID, 0.3, np.float32)
    edited = compose(source, under(reference, 0.4), reference, BOX, "contrast")
    np.testing.assert_allclose(edited, under(source, 0.4), atol=5e-4)
    darker = compose(source, reference - np.float32(0.2), reference, BOX, "contrast")
    np.testing.assert_allclose(darker, np.clip(source - 0.2, 0, 1), atol=1e-5)


def test_the_share_of_transmitted_contrast() -> None:
    flat = np.full(GRID, 0.5, np.float32)
    np.testing.assert_allclose(transmitted_share(under(flat, 0.7), flat), 0.7, atol=1e-6)
    assert transmitted_share(flat - np.float32(0.3), flat).min() == 1
    assert transmitted_share(np.ones_like(flat), flat).max() < 1e-6
    white = np.full(GRID, 0.999, np.float32)
    assert 0 <= transmitted_share(white, white).min() <= 1


def test_a_new_border_keeps_the_detail_of_what_it_covers() -> None:
    """Ribs below a mass stay sharp: its own border is stronger than theirs and removes none."""
    rows = (np.arange(400) + 0.5)[:, None] * 64 / 400
    ribs = np.float32(0.02) * np.sin(rows * 2).astype(np.float32) * np.ones(BIG, np.float32)
    source = np.float32(0.3) + ribs + GRAIN
    reference = BOX.apply(np.float32(0.3) + ribs)
    share = np.float32(1.2) - heart(40, 1.0, 64, GRID)  # of contrast: all of it left of the border, 0.4 right of it
    edited = compose(source, under(reference, share), reference, BOX, "contrast")
    perfect = under(source, BOX.invert_smooth(share))
    assert np.sqrt(np.mean(np.square(edited - perfect)[100:300])) < 0.3 * GRAIN.std()


def test_far_from_a_moved_border_the_source_stays_bit_for_bit() -> None:
    source, edited, _ = moved(28)
    np.testing.assert_array_equal(edited[:, 330:], source[:, 330:])
    np.testing.assert_array_equal(edited[:, :80], source[:, :80])
    reference, decoded = (heart(border, 1.0, 64, GRID) for border in (40, 28))
    alone = np.abs(BOX.invert_smooth(decoded - reference)) < HALF_LEVEL
    assert 0.2 < alone.mean() < 0.8
    np.testing.assert_array_equal(edited[alone], source[alone])


def test_a_mask_holds_for_dropped_detail_too() -> None:
    mask = np.zeros(BIG, dtype=np.float32)
    mask[:200] = 1
    mask[200:300] = 0.5
    source, edited, _ = moved(28, mask)
    _, whole, _ = moved(28)
    np.testing.assert_array_equal(edited[300:], source[300:])
    np.testing.assert_array_equal(edited[:200], whole[:200])
    reference, decoded = (heart(border, 1.0, 64, GRID) for border in (40, 28))
    added = np.abs(BOX.invert_smooth(decoded - reference))
    part = (np.minimum(added, np.abs(whole - source)) > 4 * HALF_LEVEL)[200:300]
    np.testing.assert_allclose(edited[200:300][part], ((source + whole) / 2)[200:300][part], atol=1e-6)


def test_the_share_of_removed_gradient() -> None:
    reference, flat = heart(40, 1.0, 64, GRID), np.full(GRID, 0.5, np.float32)
    assert removed_share(flat, reference)[:, 40].min() > 0.95
    assert removed_share(reference, reference).max() == 0
    assert removed_share(reference, flat).max() == 0
    assert removed_share(flat, flat).max() == 0
    assert removed_share(2 * reference, reference).max() == 0
    half = removed_share((reference + 0.5) / 2, reference)[:, 40]
    np.testing.assert_allclose(half, 0.5, atol=0.02)
    faint = flat + 0.0005 * np.sin(np.arange(64, dtype=np.float32) * 2)
    assert removed_share(flat, faint.astype(np.float32)).max() < 0.05


def test_drift_of_the_engine_is_not_taken_for_detail() -> None:
    """Where the engine's images are a little bright all over, dropped detail does not darken or brighten the edit."""
    source, perfect = (heart(border, 0.15, 64, BIG) for border in (40, 20))
    reference, decoded = (heart(border, 1.0, 64, GRID) + np.float32(0.05) for border in (40, 20))
    edited = compose(source, decoded, reference, BOX, "contrast")
    old = slice(int(38 * 6.25), int(42 * 6.25))
    assert np.abs((edited - perfect)[100:300, old].mean()) < 0.01


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="expected one of delta, contrast, replace"):
        compose(SOURCE, SQUARE, SQUARE, LETTERBOX, "add")
    with pytest.raises(ValueError, match="a reference is expected"):
        compose(SOURCE, SQUARE, None, LETTERBOX, "delta")
    with pytest.raises(ValueError, match="no reference is expected"):
        compose(SOURCE, SQUARE, SQUARE, LETTERBOX, "replace")
    with pytest.raises(ValueError, match="mask of shape"):
        compose(SOURCE, SQUARE, SQUARE, LETTERBOX, "delta", SQUARE)
