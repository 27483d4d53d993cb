"""The reader of edited films: what it sees in drawn findings, on phantoms as films, and what it does not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.phantom import draw as draw_phantom
from roentmod_fast_engines.cxr_mini.drawing.asked import Asked
from roentmod_fast_engines.cxr_mini.drawing.draw import draw
from roentmod_fast_engines.cxr_mini.drawing.geometry import Scene
from roentmod_fast_engines.cxr_mini.drawing.tissue import blur
from roentmod_fast_engines.cxr_mini.pairs import fields_of


@pytest.fixture(scope="module", params=(0, 3))
def case(request: pytest.FixtureRequest) -> tuple[Scene, NDArray[np.bool_]]:
    film = draw_phantom(256, request.param)
    masks = fields_of(film)
    return Scene.of(film.image, masks), masks


@pytest.mark.parametrize(
    "asked",
    [
        Asked("edema"),
        Asked("effusion", "left"),
        Asked("effusion", "right", severity=0.95),
        Asked("mass", "left", "upper"),
        Asked("mass", "right", "upper", severity=0.95),
        Asked("pneumonia", "right", "middle"),
        Asked("pneumonia", "left", "lower", severity=0.95),
        Asked("cardiomegaly"),
        Asked("cardiomegaly", severity=0.95),
        Asked("hernia"),
    ],
    ids=lambda asked: f"{asked.key} {asked.place} {asked.severity}",
)
def test_a_drawn_finding_is_seen_in_its_place(case: tuple[Scene, NDArray[np.bool_]], asked: Asked) -> None:
    from film_reader import read

    scene, masks = case
    reading = read(scene, masks, draw(scene, [asked], 1)[0])
    assert (asked.key, asked.side, asked.lobe) in reading.found
    assert reading.keys == {asked.key}


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_nothing_is_seen_where_nothing_was_drawn(case: tuple[Scene, NDArray[np.bool_]], sigma: float) -> None:
    from film_reader import read

    scene, masks = case
    reading = read(scene, masks, blur(scene.image, sigma) if sigma else scene.image)
    assert reading.found == frozenset()
    assert reading.numbers["amount"] < -3
    assert all(np.isfinite(value) for value in reading.numbers.values())


def test_of_two_findings_one_is_seen_and_no_other(case: tuple[Scene, NDArray[np.bool_]]) -> None:
    from film_reader import read

    scene, masks = case
    asked = (Asked("cardiomegaly"), Asked("mass", "left", "upper"))
    keys = read(scene, masks, draw(scene, asked, 1)[0]).keys
    assert keys
    assert keys <= {"cardiomegaly", "mass"}


def test_rules_are_written_as_they_are_read(tmp_path: Path) -> None:
    from film_reader import PLACES, Rules
    from film_reader_fit import write

    stored = Rules.load()
    write(stored, tmp_path / "rules.json", 1)
    again = Rules.load(tmp_path / "rules.json")
    assert again.names == stored.names
    assert again.weights.shape == (len(PLACES), len(stored.names))
    np.testing.assert_allclose(again.weights, stored.weights, rtol=1e-4)
    np.testing.assert_allclose(again.limits, stored.limits, rtol=1e-4)


def test_a_regression_finds_what_separates() -> None:
    from film_reader_fit import regress

    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3))
    weights, offset = regress(x, (x[:, 1] > 0.5).astype(float), 1.0)
    assert weights[1] > 3 * np.abs(weights[[0, 2]]).max()
    assert np.mean((x @ weights + offset > 0) == (x[:, 1] > 0.5)) > 0.9
