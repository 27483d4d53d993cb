"""What the trainings of cxr-mini draw and aim at: captions that mean what they say, a pull that ends as it must."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("torch", reason="the recipe needs the export extra")
pytest.importorskip("diffusers", reason="the recipe needs the export extra")

from roentmod_fast_engines.cxr_mini.drawing.asked import KEYS, Asked
from roentmod_fast_engines.cxr_mini.pairs import choose_findings
from roentmod_fast_engines.cxr_mini.unet import PULL, pull_at, timesteps
from roentmod_fast_engines.cxr_mini.wording import PLACES, meaning

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_the_pull_goes_from_the_whole_way_to_that_of_guidance_4() -> None:
    pulls = [pull_at(step, 1000) for step in range(1000)]
    assert pulls[0] == pulls[700] == 1.0
    assert pulls[900] == pulls[-1] == pytest.approx(PULL)
    assert all(a >= b for a, b in pairwise(pulls))


def test_timesteps_are_those_of_the_schedule() -> None:
    drawn = timesteps(np.random.default_rng(0), 4000)
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    assert (drawn < 420).mean() > 0.7


def test_a_meaning_names_finding_place_and_severity() -> None:
    both = meaning((Asked("effusion", "left", word="large"), Asked("mass", "right", "upper", word="small")), False)
    names = {KEYS[k] for k in np.flatnonzero(both[: len(KEYS)])}
    assert names == {"effusion", "mass"}
    places = {PLACES[k] for k in np.flatnonzero(both[len(KEYS) : len(KEYS) + len(PLACES)])}
    assert places == {("effusion", "left", ""), ("mass", "right", "upper")}
    assert both[-3] == pytest.approx(0.5)
    assert meaning((), False)[-2] == 1
    assert meaning((), True)[-1] == 1


def test_every_finding_is_chosen_and_two_never_the_same() -> None:
    rng = np.random.default_rng(0)
    some = [choose_findings(rng) for _ in range(600)]
    assert {one.key for asked in some for one in asked} == set(KEYS)
    assert all(len({one.key for one in asked}) == len(asked) for asked in some)
    assert 0.08 < np.mean([len(asked) == 2 for asked in some]) < 0.25
