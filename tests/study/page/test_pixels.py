"""Pixels of a page come back without loss, whatever predicts them."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from roentmod_fast.study.page import pixels

RNG = np.random.default_rng(0)
IMAGES = {
    "noise of 16 bits": RNG.integers(0, 65536, (7, 9)),
    "noise of 12 bits": RNG.integers(0, 4096, (20, 31)),
    "one value": np.full((5, 4), 65535),
    "one pixel": np.full((1, 1), 65535),
    "one row": np.arange(0, 65536, 4096)[None],
    "a ramp": np.add.outer(np.arange(30) * 2000, np.arange(20) * 17),
    "jumps over the whole range": np.indices((8, 8)).sum(axis=0) % 2 * 65535,
}


@pytest.mark.parametrize("kind", [pixels.LEFT, pixels.GRADIENT, pixels.MEDIAN])
@pytest.mark.parametrize("name", IMAGES)
def test_every_predictor_is_undone(name: str, kind: int) -> None:
    values = IMAGES[name].astype(np.uint16)
    text = base64.b64encode(zlib.compress(pixels._planes(values, kind))).decode()
    assert np.array_equal(pixels.decode(pixels.Blob(text, kind), values.shape), values)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", IMAGES)
def test_an_edit_comes_back_from_its_difference(name: str, quick: bool) -> None:
    source = IMAGES[name].astype(np.uint16)
    for change in (0, 1, -1, 300, 40000):
        edit = source.copy()
        edit[: edit.shape[0] // 2] += np.uint16(change % 65536)
        blob = pixels.encode_edit(edit, source, quick=quick)
        assert blob.difference or not quick
        found = pixels.decode(blob, edit.shape)
        if blob.difference:
            found = found + source - np.uint16(pixels.ZERO)
        assert np.array_equal(found, edit), change


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_that_are_encoded_quickly_come_back(name: str) -> None:
    values = IMAGES[name].astype(np.uint16)
    assert np.array_equal(pixels.decode(pixels.encode(values, quick=True), values.shape), values)


def test_a_local_edit_costs_little_and_a_whole_new_image_is_stored_by_itself() -> None:
    noise = np.random.default_rng(1).integers(0, 4096, (400, 300)).astype(np.uint16)
    local = noise.copy()
    local[100:140, 100:140] += 50
    blob = pixels.encode_edit(local, noise)
    assert blob.difference and len(blob.text) < 1000
    smooth = np.add.outer(np.arange(400), np.arange(300)).astype(np.uint16)
    blob = pixels.encode_edit(smooth, noise)
    assert not blob.difference and len(blob.text) < 5000
