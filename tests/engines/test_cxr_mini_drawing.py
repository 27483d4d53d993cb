"""Findings drawn into a film: in the right place, more with severity, and nothing elsewhere. On phantoms as films."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.findings import PROMPTS, find_findings
from roentmod_fast.phantom import draw as draw_phantom
from roentmod_fast_engines.cxr_mini.drawing.asked import KEYS, LOBES, TABLE_4, Asked, caption, choose, parse
from roentmod_fast_engines.cxr_mini.drawing.draw import draw
from roentmod_fast_engines.cxr_mini.drawing.geometry import LEFT, RIGHT, Scene
from roentmod_fast_engines.cxr_mini.pairs import fields_of

SEEDS = (0, 3, 11)


@functools.cache
def scene_of(seed: int, size: int = 256) -> tuple[Scene, NDArray[np.bool_]]:
    film = draw_phantom(size, seed)
    masks = fields_of(film)
    film.image.flags.writeable = masks.flags.writeable = False
    return Scene.of(film.image, masks), masks


@pytest.fixture(scope="module", params=SEEDS)
def case(request: pytest.FixtureRequest) -> tuple[Scene, NDArray[np.bool_]]:
    return scene_of(request.param)


def change(scene: Scene, *asked: Asked) -> NDArray[np.float32]:
    return draw(scene, asked, 5)[0] - scene.image


@pytest.mark.parametrize("prompt", [prompt for prompt in TABLE_4 if prompt != PROMPTS[0]])
def test_every_prompt_of_the_paper_changes_the_film_within_its_range(
    case: tuple[Scene, NDArray[np.bool_]], prompt: str
) -> None:
    scene, _ = case
    image, masks = draw(scene, [parse(prompt)], 5)
    assert image.dtype == np.float32
    assert image.shape == scene.image.shape
    assert image.min() >= 0 and image.max() <= 1
    assert masks[parse(prompt).key].any()
    assert np.abs(image - scene.image).max() > 0.03


@pytest.mark.parametrize(("side", "lobe"), LOBES)
@pytest.mark.parametrize("key", ["pneumonia", "mass"])
def test_a_finding_lies_in_its_lobe(case: tuple[Scene, NDArray[np.bool_]], key: str, side: str, lobe: str) -> None:
    scene, masks = case
    added = np.maximum(change(scene, Asked(key, side, lobe)), 0)
    inside = masks[RIGHT if side == "right" else LEFT]
    assert added[inside].sum() > 0.85 * added.sum()
    height = scene.height(RIGHT if side == "right" else LEFT)
    centre = float((height * added).sum() / added.sum())
    low, high = {"upper": (0.1, 0.47), "middle": (0.5, 0.8), "lower": (0.6, 1.0)}[lobe]
    assert low < centre < high


@pytest.mark.parametrize("side", ["right", "left"])
def test_fluid_lies_at_the_base_of_its_side_and_hides_the_angle(
    case: tuple[Scene, NDArray[np.bool_]], side: str
) -> None:
    scene, masks = case
    index = RIGHT if side == "right" else LEFT
    added = np.maximum(change(scene, Asked("effusion", side, severity=0.6)), 0)
    assert added[masks[1 - index]].sum() < 0.02 * added.sum()
    height = scene.height(index)
    assert added[masks[index] & (height < 0.35)].sum() < 0.05 * added.sum()
    angle = masks[index] & (height > 0.8) & (scene.depth(index) > 0.6)
    assert added[angle].mean() > 0.1


def test_a_large_heart_reaches_the_ratio_and_leaves_the_upper_lungs(case: tuple[Scene, NDArray[np.bool_]]) -> None:
    scene, masks = case
    image, _ = draw(scene, [Asked("cardiomegaly", severity=0.7)], 5)
    grown = Scene.of(image, masks)
    assert grown.heart_ratio > scene.heart_ratio + 0.05
    top = int(scene.heart_top - 0.06 * scene.size)
    np.testing.assert_allclose(image[:top], scene.image[:top], atol=0.02)


def test_edema_is_denser_at_the_hila_than_at_the_rim(case: tuple[Scene, NDArray[np.bool_]]) -> None:
    scene, masks = case
    added = change(scene, Asked("edema", kind="butterfly"))
    for side in (RIGHT, LEFT):
        depth, height = scene.depth(side), scene.height(side)
        level = masks[side] & (height > 0.35) & (height < 0.6)
        assert added[level & (depth < 0.4)].mean() > 2 * added[level & (depth > 0.8)].mean()


def test_a_hernia_has_gas_over_fluid_at_the_midline(case: tuple[Scene, NDArray[np.bool_]]) -> None:
    scene, _ = case
    added = change(scene, Asked("hernia", severity=0.7))
    where = np.abs(added) > 0.02
    assert np.abs(scene.from_midline[where]).max() < 0.3 * scene.thorax_width
    rows = np.flatnonzero(where.any(1))
    middle = (rows[0] + rows[-1]) // 2
    assert added[middle:][where[middle:]].mean() > added[:middle][where[:middle]].mean() + 0.02


@pytest.mark.parametrize("key", KEYS)
def test_more_severe_changes_more(key: str) -> None:
    amounts = []
    for severity in (0.1, 0.5, 0.95):
        total = 0.0
        for seed in SEEDS:
            scene, _ = scene_of(seed)
            one = parse(
                {"nodules": "solitary lung nodule"}.get(key, key if key != "effusion" else "right pleural effusion")
            )
            asked = Asked(one.key, one.side, one.lobe, one.kind, "", severity)
            total += float(np.abs(change(scene, asked)).sum())
        amounts.append(total)
    assert amounts[0] < amounts[1] < amounts[2]


def test_the_same_seed_draws_the_same_and_two_findings_are_both_there() -> None:
    scene, masks = scene_of(3)
    asked = (Asked("mass", "left", "upper"), Asked("effusion", "right"))
    first, where = draw(scene, asked, 9)
    again, _ = draw(scene, asked[::-1], 9)
    np.testing.assert_array_equal(first, again)
    assert set(where) == {"mass", "effusion"}
    assert where["mass"][masks[LEFT]].any()
    assert where["effusion"][masks[RIGHT]].any()


def test_a_film_of_other_size_works() -> None:
    scene, _ = scene_of(0, 320)
    image, _ = draw(scene, [Asked("edema"), Asked("cardiomegaly")], 1)
    assert image.shape == (320, 320)


@pytest.mark.parametrize("masks", ["none", "one", "thin"])
def test_fields_that_are_no_lungs_are_refused(masks: str) -> None:
    film = draw_phantom(256, 0)
    fields = fields_of(film)
    if masks == "none":
        fields[:] = False
    elif masks == "one":
        fields[LEFT] = False
    else:
        fields[:, 40:] = False
    with pytest.raises(ValueError, match=r"lung|rows"):
        Scene.of(film.image, fields)


def test_an_unknown_finding_is_refused() -> None:
    scene, _ = scene_of(0)
    with pytest.raises(ValueError, match="unknown finding"):
        draw(scene, [Asked("fracture")], 0)


def test_captions_name_what_is_asked() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        key = str(rng.choice(["cardiomegaly", "edema", "effusion", "pneumonia", "mass", "hernia"]))
        asked = choose(key, rng)
        text = caption((asked,), rng)
        assert asked.side not in ("left",) or "left" in text or text.count("mass")
        assert asked.lobe not in ("upper", "lower") or asked.lobe in text or key == "mass"
        if key in ("edema", "hernia"):
            assert key in find_findings(text) or "oedema" in text or "bat wing" in text or "interstitial" in text
    assert caption((), rng) in {
        "normal chest radiograph",
        "no acute cardiopulmonary abnormality",
        "clear lungs",
        "no finding",
        PROMPTS[0],
    }


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("middle lobe pneumonia", ("pneumonia", "right", "middle")),
        ("pneumonia", ("pneumonia", "right", "middle")),
        ("large left pleural effusion", ("effusion", "left", "")),
        ("left upper lobe mass", ("mass", "left", "upper")),
        ("multiple pulmonary nodules", ("nodules", "", "")),
    ],
)
def test_prompts_are_parsed(prompt: str, asked: tuple[str, str, str]) -> None:
    one = parse(prompt)
    assert (one.key, one.side, one.lobe) == asked
