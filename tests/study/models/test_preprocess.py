"""An image becomes what clean-fid, CLIP's transforms and torchxrayvision make of it, and each key of a contract counts.

What they gave was recorded by ``tests/goldens/preprocess.py``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.study.models.contract import FILTERS, FITS, Contract
from roentmod_fast.study.models.preprocess import preprocess
from tests.goldens.preprocess import EVERY, FILE, SHAPES, pattern

PLAIN = Contract(
    name="plain",
    kind="embedder",
    size=(24, 24),
    channels=1,
    range=(0.0, 1.0),
    fit="stretch",
    filter="bilinear",
    values="embedding",
)
CLEAN_FID = replace(PLAIN, size=(299, 299), channels=3, range=(-1.0, 127 / 128), filter="bicubic")
CLIP = replace(PLAIN, size=(224, 224), fit="resize-crop", filter="bicubic", quantize=True)
TORCHXRAYVISION = replace(PLAIN, size=(224, 224), range=(-1024.0, 1024.0), fit="crop", filter="bilinear-skimage")


def golden(name: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    with np.load(FILE) as file:
        return np.asarray(file[f"{name} {shape[0]}x{shape[1]}"])


def image(shape: tuple[int, int]) -> NDArray[np.float32]:
    return pattern(shape).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("shape", SHAPES)
def test_clean_fid(shape: tuple[int, int]) -> None:
    found = preprocess(image(shape), CLEAN_FID)
    assert found.shape == (3, 299, 299) and np.array_equal(found[0], found[2])
    assert np.abs(found[0, ::EVERY, ::EVERY] - golden("clean_fid", shape)).max() < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_clips_transforms(shape: tuple[int, int]) -> None:
    difference = np.abs(preprocess(image(shape), CLIP)[0, ::EVERY, ::EVERY] - golden("clip", shape))
    assert difference.max() < 1.001 / 255
    assert difference.mean() < 0.3 / 255


@pytest.mark.parametrize("shape", SHAPES)
def test_torchxrayvision(shape: tuple[int, int]) -> None:
    found = preprocess(image(shape), TORCHXRAYVISION)
    assert np.abs(found[0, ::EVERY, ::EVERY] - golden("torchxrayvision", shape)).max() < 1e-4 * 2048


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("shape", [(60, 40), (40, 61), (24, 24), (5, 7), (1, 1), (100, 3)])
def test_every_fit_and_filter_gives_the_size_in_range(fit: str, method: str, shape: tuple[int, int]) -> None:
    found = preprocess(image(shape), replace(PLAIN, fit=fit, filter=method, size=(24, 20), range=(-3.0, 5.0)))
    assert found.shape == (1, 24, 20) and found.dtype == np.float32
    assert -3 <= found.min() <= found.max() <= 5


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_a_flat_image_stays_flat_inside(method: str, level: float) -> None:
    flat = np.full((50, 50), level, np.float32)
    found = preprocess(flat, replace(PLAIN, filter=method, range=(-1.0, 1.0)))
    assert np.abs(found[0, 4:-4, 4:-4] - (2 * level - 1)).max() < 1e-5


def test_pad_crop_stretch_and_resize_crop_show_different_parts() -> None:
    wide = np.zeros((20, 40), np.float32)
    wide[:, :10] = 1  # a bright left quarter
    square = replace(PLAIN, size=(20, 20), filter="box")
    padded, cropped, stretched, resized = (
        preprocess(wide, replace(square, fit=fit))[0] for fit in ("pad", "crop", "stretch", "resize-crop")
    )
    assert padded[0].max() == 0 and padded[10, :5].min() == 1 and padded[10, 5:].max() == 0
    assert cropped.max() == 0 and resized.max() == 0
    assert stretched[:, :5].min() == 1 and stretched[:, 5:].max() == 0


def test_range_mean_and_std_come_after_rounding_to_8_bits() -> None:
    level = np.full((24, 24), 0.5, np.float32)
    contract = replace(PLAIN, channels=2, range=(0.0, 255.0), quantize=True, mean=(100.0, 28.0), std=(1.0, 10.0))
    found = preprocess(level, contract)
    assert np.unique(found[0]).tolist() == [28.0] and np.unique(found[1]).tolist() == [10.0]


def test_an_inverted_range_is_the_negative() -> None:
    shown = image((24, 24))
    found = preprocess(shown, replace(PLAIN, range=(1.0, 0.0)))
    assert np.abs(found[0] - (1 - shown)).max() < 1e-6


def test_the_source_is_not_changed() -> None:
    shown = image((24, 24))
    before = shown.copy()
    preprocess(shown, replace(PLAIN, filter="bilinear-skimage"))[:] = 7
    assert np.array_equal(shown, before)
