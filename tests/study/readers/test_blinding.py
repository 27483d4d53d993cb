"""Blinding: what is not content tells real from synthetic at chance, and did not before."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roentmod_fast.errors import SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.study.plan import Origin
from roentmod_fast.study.readers.blinding import TAIL, TAIL_LEVELS, blind, levels, mark_height, png
from roentmod_fast.study.readers.key import read_key
from roentmod_fast.study.readers.make import StudyMaker, StudySettings
from roentmod_fast.study.statistics import auc_bootstrap
from tests.study.readers.conftest import SIZE, drawn_cohort, edit_pixels, source_image

PATIENTS = 60


def chunks(data: bytes) -> list[tuple[bytes, int]]:
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], length))
        at += 12 + length
    return found


def features(path: Path, order: float) -> list[float]:
    """Return all that may tell an image's kind without what it shows."""
    data, facts = path.read_bytes(), path.stat()
    with Image.open(path) as opened:
        pixels = np.asarray(opened)
        info = len(opened.info)
    shown = pixels[pixels.shape[0] // 10 :] >> (8 if pixels.dtype == np.uint16 else 0)
    counts = np.bincount(shown.ravel(), minlength=256).astype(float)
    inside = counts[8:248]
    comb = np.abs(np.diff(inside)).sum() / inside.sum()
    tails = [*counts[:4], *counts[252:], counts[:3].sum(), counts[253:].sum()]
    kinds = [len(chunks(data)), sum(length for kind, length in chunks(data) if kind != b"IDAT")]
    names = [int(path.stem[1:3], 16) if path.stem.startswith("x") else 0]
    size = [len(data), facts.st_size, facts.st_mtime, opened.size[0], opened.size[1], pixels.dtype.itemsize]
    # As a share of the pixels, since squares and their sources differ in size.
    share = [value / shown.size for value in tails]
    return [*map(float, size), *share, float((counts > 0).mean()), comb, info, *map(float, kinds), *names, order]


def auc_of(table: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> tuple[float, float, float]:
    """Return AUC and interval of a linear classifier that is tested on patients it was not trained on."""
    spread = table.std(axis=0)
    table = table[:, spread > 1e-9]
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    table = np.hstack([table, table**2, np.ones((len(table), 1))])
    scores = np.zeros(len(table))
    for fold in range(8):
        test = patients % 8 == fold
        train, target = table[~test], np.where(labels[~test], 1.0, -1.0)
        weights = np.linalg.solve(train.T @ train + 5 * np.eye(train.shape[1]), train.T @ target)
        scores[test] = table[test] @ weights
    found = auc_bootstrap(scores, labels, patients, rng=np.random.default_rng(0), count=500)
    return found.estimate, found.low, found.high


@pytest.mark.slow
def test_all_but_content_tells_real_from_synthetic_at_chance(tmp_path: Path) -> None:
    # Edits that hold what their sources hold: whatever tells them apart is a trace of how they were written.
    # The plan names no folder of this run: names, order and noise, which are drawn by its hash, are the same each time.
    cohort = drawn_cohort(tmp_path, PATIENTS, ("edema",), draws=False, origin=Origin("files", "sources", "content"))
    settings = StudySettings(readers=1, size=112, controls=0.5, repeat=0)
    assert StudyMaker(cohort, tmp_path / "study", settings, root=tmp_path / "sources").make() is not None
    key = read_key(tmp_path / "study" / "key.json")
    assert len(key.images) == 2 * PATIENTS
    labels = np.array([each.real for each in key.images]).astype(int)
    patients = np.array([int(each.patient[1:]) for each in key.images])
    blinded = [features(tmp_path / "study" / each.path, each.order) for each in key.images]
    estimate, low, high = auc_of(np.array(blinded), labels, patients)
    assert low <= 0.5 <= high, (estimate, low, high)
    # The same classifier on the files before they were blinded.
    raw = []
    for each in key.images:
        number = int(each.patient[1:])
        source = tmp_path / "sources" / f"s{number}.png"
        edit = cohort.folder / cohort.paths(each.edit)["png"] if each.edit else source
        raw.append(features(edit, 0))
    assert auc_of(np.array(raw), labels, patients)[1] > 0.95


@pytest.mark.parametrize("what", ["histogram", "edges"])
def test_traces_in_single_features_are_gone(what: str) -> None:
    """Of the same content, clipped with steps and not: the same tails, all levels, no comb."""
    image = source_image(3)
    clipped = edit_pixels(image)[:, 3:-3].astype(np.float32) / 255
    whole = np.asarray(Image.fromarray(image).resize(clipped.shape[::-1], Image.Resampling.BICUBIC))
    both = [blind(each, 256, SIZE, np.random.default_rng(5))[mark_height(256) :] for each in (clipped, whole)]
    inside = [each[:, np.flatnonzero(each.any(axis=0))] for each in both]
    counts = [np.bincount(each.ravel(), minlength=256) for each in inside]
    if what == "histogram":
        assert all((each > 0).all() for each in counts)
        tail = TAIL * inside[0].size / TAIL_LEVELS
        for each in counts:
            # Level 0 also holds the canvas.
            assert np.abs(each[1:TAIL_LEVELS] - tail).max() <= 1
            assert np.abs(each[-TAIL_LEVELS:] - tail).max() <= 1
        assert np.abs(np.diff(counts[0][20:230])).mean() < 2 * np.abs(np.diff(counts[1][20:230])).mean() + 5
    else:
        assert [each.shape for each in inside] == [inside[0].shape] * 2


def test_sharpness_is_that_of_the_coarser_one() -> None:
    fine = draw(256, 4).image
    coarse = np.asarray(Image.fromarray(fine).resize((64, 64), Image.Resampling.BICUBIC))
    rng = np.random.default_rng

    def detail(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image[20:].astype(float), axis=1)).mean())

    one, two = blind(fine, 256, 64, rng(1)), blind(coarse, 256, 64, rng(1))
    assert detail(one) == pytest.approx(detail(two), rel=0.01)
    assert detail(blind(fine, 256, 256, rng(1))) > 1.05 * detail(two)


def test_a_png_has_pixels_and_nothing_else() -> None:
    sizes = set()
    for number in range(3):
        pixels = blind(draw(64, number).image, 80, 64, np.random.default_rng(number))
        data = png(pixels)
        sizes.add(len(data))
        assert [kind for kind, _ in chunks(data)] == [b"IHDR", b"IDAT", b"IEND"]
        at = 8
        for kind, length in chunks(data):
            body = data[at + 4 : at + 8 + length]
            assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(body), kind
            at += 12 + length
    assert len(sizes) == 1
    with Image.open(__import__("io").BytesIO(data)) as opened:
        assert np.array_equal(np.asarray(opened), pixels)


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (64, 64), (8, 8)])
def test_any_shape_lies_on_the_canvas_below_the_mark(shape: tuple[int, int]) -> None:
    image = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    pixels = blind(image, 128, 128, np.random.default_rng(1))
    strip = mark_height(128)
    assert pixels.shape == (128, 128) and pixels.dtype == np.uint8
    rows, columns = np.flatnonzero(pixels[strip:].any(axis=1)), np.flatnonzero(pixels[strip:].any(axis=0))
    assert max(len(rows), len(columns)) >= 117
    assert len(rows) / len(columns) == pytest.approx(shape[0] / shape[1], rel=0.05)
    assert abs((columns[0] + columns[-1]) / 2 - 63.5) <= 1.5


def test_window_keeps_the_order_of_brightness() -> None:
    ramp = np.linspace(0.2, 0.6, 10_000, dtype=np.float32).reshape(100, 100)
    result = levels(ramp, np.random.default_rng(1)).ravel().astype(int)
    assert (np.diff(result) >= 0).all() and (result[0], result[-1]) == (0, 255)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_image_of_one_level_is_an_error(value: float) -> None:
    with pytest.raises(SettingError, match="one grey level"):
        blind(np.full((64, 64), value, dtype=np.float32), 64, 64, np.random.default_rng(1))
