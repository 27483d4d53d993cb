"""Letterbox and its exact way back."""

from __future__ import annotations

import numpy as np
import pytest

from roentmod_fast.radiograph.letterbox import Letterbox

SHAPES = [(512, 512), (1024, 1024), (2128, 2000), (300, 700), (700, 300), (97, 64), (64, 64), (40, 1000), (255, 257)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [64, 256])
def test_a_ramp_comes_back_without_a_shift(shape: tuple[int, int], size: int) -> None:
    rows, columns = shape
    y = (np.arange(rows, dtype=np.float32) + 0.5) / rows
    x = (np.arange(columns, dtype=np.float32) + 0.5) / columns
    ramp = (y[:, None] + x[None]) / 2
    letterbox = Letterbox.fit(shape, size)
    for back in (letterbox.invert(letterbox.apply(ramp)), letterbox.invert_smooth(letterbox.apply(ramp))):
        assert back.shape == shape and back.dtype == np.float32
        # Away from the edges, where a kernel sees the edge, a linear ramp is kept by any symmetric kernel.
        sides = zip(shape, (letterbox.height, letterbox.width), strict=True)
        margin = [max(1, int(np.ceil(4 * outer / inner))) for outer, inner in sides]
        if all(2 * m < n for m, n in zip(margin, shape, strict=True)):
            inside = (slice(margin[0], -margin[0]), slice(margin[1], -margin[1]))
            assert np.abs(back[inside] - ramp[inside]).max() < 2e-3


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if min(shape) > 40])
def test_a_point_comes_back_to_its_place(shape: tuple[int, int]) -> None:
    size = 128
    letterbox = Letterbox.fit(shape, size)
    for share in (0.25, 0.5, 0.8):
        at = int(shape[0] * share), int(shape[1] * share)
        y, x = np.ogrid[: shape[0], : shape[1]]
        blob = np.exp(-(((y - at[0]) / (shape[0] / 10)) ** 2) - ((x - at[1]) / (shape[1] / 10)) ** 2).astype(np.float32)
        for back in (letterbox.invert(letterbox.apply(blob)), letterbox.invert_smooth(letterbox.apply(blob))):
            inside = np.where(back > 0.05, back, 0)
            centre = [float((inside * axis).sum() / inside.sum()) for axis in (y, x)]
            usual = np.where(blob > 0.05, blob, 0)
            expected = [float((usual * axis).sum() / usual.sum()) for axis in (y, x)]
            # A twentieth of a pixel of the coarser grid.
            steps = [max(1.0, n / inner) for n, inner in zip(shape, (letterbox.height, letterbox.width), strict=True)]
            for found, wanted, step in zip(centre, expected, steps, strict=True):
                assert abs(found - wanted) < 0.05 * step


def test_the_longer_side_fills_the_square_and_the_rest_is_black() -> None:
    letterbox = Letterbox.fit((300, 600), 256)
    square = letterbox.apply(np.ones((300, 600), dtype=np.float32))
    assert (letterbox.height, letterbox.width, letterbox.top, letterbox.left) == (128, 256, 64, 0)
    assert square.shape == (256, 256)
    assert (square[:64] == 0).all() and (square[192:] == 0).all() and (square[64:192] == 1).all()


def test_no_black_is_mixed_in_on_the_way_back() -> None:
    letterbox = Letterbox.fit((300, 600), 256)
    ones = np.ones((300, 600), dtype=np.float32)
    for back in (letterbox.invert(letterbox.apply(ones)), letterbox.invert_smooth(letterbox.apply(ones))):
        np.testing.assert_allclose(back, 1, atol=1e-6)


def test_the_same_size_is_untouched() -> None:
    image = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    letterbox = Letterbox.fit((64, 64), 64)
    np.testing.assert_array_equal(letterbox.apply(image), image)
    np.testing.assert_array_equal(letterbox.invert(image), image)


def test_pixels_that_are_not_square_are_shown_square() -> None:
    letterbox = Letterbox.fit((100, 200), 256, aspect=2.0)
    assert (letterbox.height, letterbox.width) == (256, 256)
    assert letterbox.invert(np.zeros((256, 256), dtype=np.float32)).shape == (100, 200)


def test_shrinking_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 1], dtype=np.float32), (512, 256))
    square = Letterbox.fit((512, 512), 64).apply(stripes)
    assert np.abs(square[:, 4:-4] - 0.5).max() < 0.05


def test_a_smooth_difference_does_not_ring() -> None:
    square = np.zeros((32, 32), dtype=np.float32)
    square[10:20, 10:20] = 1
    letterbox = Letterbox.fit((320, 320), 32)
    smooth = letterbox.invert_smooth(square)
    assert smooth.min() >= 0 and smooth.max() <= 1 + 1e-6
    assert letterbox.invert(square).min() < -0.01, "bicubic does ring: that is why the difference goes another way"


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 5000)])
def test_extreme_shapes(shape: tuple[int, int]) -> None:
    letterbox = Letterbox.fit(shape, 64)
    assert letterbox.invert(letterbox.apply(np.full(shape, 0.5, dtype=np.float32))).shape == shape
    assert letterbox.invert_smooth(np.zeros((64, 64), dtype=np.float32)).shape == shape


def test_wrong_shapes_are_named() -> None:
    letterbox = Letterbox.fit((10, 20), 64)
    with pytest.raises(ValueError, match="expected"):
        letterbox.apply(np.zeros((20, 10), dtype=np.float32))
    with pytest.raises(ValueError, match="expected"):
        letterbox.invert(np.zeros((32, 32), dtype=np.float32))
    with pytest.raises(ValueError, match="cannot fit"):
        Letterbox.fit((0, 10), 64)
