"""The phantom: the same seed is the same patient, and the truth is true."""

from __future__ import annotations

import time

import numpy as np
import pytest

from roentmod_fast.findings import BY_KEY
from roentmod_fast.phantom import CARDIOMEGALY_RATIO, draw, positions

SEEDS = range(6)


def test_same_seed_same_image() -> None:
    assert np.array_equal(draw(128, 5, ("edema",)).image, draw(128, 5, ("edema",)).image)
    assert not np.array_equal(draw(128, 5).image, draw(128, 6).image)


@pytest.mark.parametrize("size", [64, 200, 512])
def test_image_is_in_range_at_any_size(size: int) -> None:
    image = draw(size, 1, ("mass",)).image
    assert image.shape == (size, size)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std() > 0.15


@pytest.mark.parametrize("key", BY_KEY)
def test_a_finding_changes_the_image_inside_its_mask_only(key: str) -> None:
    for seed in SEEDS:
        clean, drawn = draw(192, seed), draw(192, seed, (key,))
        change = np.abs(drawn.image - clean.image)
        assert drawn.anatomy == clean.anatomy
        assert 0.003 < drawn.mask.mean() < 0.25
        # The mask is where the change passes 0.02; the noise is the same in both, but for clipping at 0 and 1.
        assert change[~drawn.mask].max() < 0.05
        assert change[drawn.mask].mean() > 0.03


def test_two_findings_each_keep_their_mask() -> None:
    both = draw(128, 2, ("mass", "effusion"))
    assert set(both.masks) == {"mass", "effusion"} == set(both.truth)
    assert np.array_equal(both.masks["mass"], draw(128, 2, ("mass",)).masks["mass"])
    assert both.truth["mass"] == draw(128, 2, ("mass",)).truth["mass"]


def _centre(mask: np.ndarray, seed: int) -> tuple[float, float]:
    """Centre of a mask in the patient's coordinates: distance from the midline (right negative) and height."""
    anatomy = draw(mask.shape[0], seed).anatomy
    u, v = positions(mask.shape[0], anatomy)
    return float(u[mask].mean() - anatomy.midline), float(v[mask].mean())


def test_findings_lie_where_anatomy_says() -> None:
    """The patient's right is at the image's left."""
    for seed in SEEDS:
        anatomy = draw(64, seed).anatomy
        side, height = _centre(draw(192, seed, ("effusion",)).mask, seed)
        assert side < -0.1
        assert height > 0.55
        side, height = _centre(draw(192, seed, ("pneumonia",)).mask, seed)
        assert side < -0.1
        assert 0.5 < height < anatomy.right_dome
        side, height = _centre(draw(192, seed, ("mass",)).mask, seed)
        assert side > 0.1
        assert height < anatomy.hilum
        side, height = _centre(draw(192, seed, ("hernia",)).mask, seed)
        assert abs(side) < 0.08
        assert abs(height - anatomy.right_dome) < 0.1
        side, height = _centre(draw(192, seed, ("edema",)).mask, seed)
        assert abs(side) < 0.05


def test_right_dome_is_higher_and_usual_heart_is_not_enlarged() -> None:
    for seed in range(40):
        anatomy = draw(32, seed).anatomy
        assert anatomy.right_dome < anatomy.left_dome
        assert anatomy.heart_ratio < 0.5


def test_cardiomegaly_widens_the_heart_to_its_ratio() -> None:
    """Measured in the image: where the enlarged heart's mask ends is where the ratio says."""
    for seed in SEEDS:
        drawn = draw(384, seed, ("cardiomegaly",))
        ratio = drawn.truth["cardiomegaly"]["ratio"]
        assert ratio > CARDIOMEGALY_RATIO
        u, v = positions(384, drawn.anatomy)
        above_dome = v < drawn.anatomy.right_dome - 0.02
        side = (u - drawn.anatomy.midline)[drawn.mask & above_dome]
        measured = (side.max() - side.min()) / (2 * drawn.anatomy.half_thorax)
        assert measured == pytest.approx(ratio, abs=0.03)


def test_hernia_has_an_air_fluid_level() -> None:
    for seed in SEEDS:
        clean, drawn = draw(256, seed), draw(256, seed, ("hernia",))
        truth = drawn.truth["hernia"]
        u, v = positions(256, drawn.anatomy)
        inside = np.hypot(u - truth["centre_u"], v - truth["centre_v"]) < 0.7 * truth["radius"]
        change = drawn.image - clean.image
        assert change[inside & (v > truth["level"] + 0.01)].mean() > 0.02
        assert change[inside & (v < truth["level"] - 0.01)].mean() < -0.02


@pytest.mark.parametrize(
    ("size", "seed", "findings", "says"),
    [(512, 0, ("fracture",), "fracture"), (8, 0, (), "size 8"), (64, -1, (), "seed -1")],
)
def test_bad_arguments_are_named(size: int, seed: int, findings: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        draw(size, seed, findings)


def test_draws_512_pixels_in_no_time() -> None:
    draw(512, 0, ("edema",))
    seconds = []
    for seed in range(5):
        started = time.process_time()
        draw(512, seed, ("edema",))
        seconds.append(time.process_time() - started)
    # 0.12 s on a quiet machine, 0.25 s on a slow one with other programs: that may not fail this test.
    assert min(seconds) < 0.5
