"""Allocation: balanced between readers and strata, overlap and repeats in their shares, patients apart."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.study.readers.allocation import Allocation, Item, Reading, allocate

PROMPTS = ("edema", "hernia", "mass", "real")


def items(patients: int = 25, strata: tuple[str, ...] = PROMPTS) -> list[Item]:
    return [Item(name, f"p{number}") for number in range(patients) for name in strata]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def first_readings(allocation: Allocation) -> list[set[int]]:
    return [{reading.item for reading in order if not reading.again} for order in allocation.orders]


@pytest.mark.parametrize("readers", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", range(4))
def test_readers_get_the_same_number_of_images_and_of_each_prompt(readers: int, seed: int) -> None:
    given = items()
    allocation = allocate(given, readers, rng(seed))
    own = first_readings(allocation)
    assert set().union(*own) == set(range(len(given)))
    sizes = [len(each) for each in own]
    assert max(sizes) - min(sizes) <= 1
    for prompt in PROMPTS:
        counts = [sum(given[item].stratum == prompt for item in each) for each in own]
        assert max(counts) - min(counts) <= 1


def test_shares_of_overlap_and_repeats() -> None:
    given = items()
    allocation = allocate(given, 3, rng(), overlap=0.2, repeat=0.05)
    own = first_readings(allocation)
    assert set.intersection(*own) == allocation.shared
    assert len(allocation.shared) == 20
    assert max(Counter(given[item].stratum for item in allocation.shared).values()) <= 6
    assert all(len(set.union(*own) & each) for each in own)
    assert sum(sum(item in each for each in own) == 1 for item in range(len(given))) == 80
    for order in allocation.orders:
        assert sum(reading.again for reading in order) == round(0.05 * sum(not reading.again for reading in order))


@pytest.mark.parametrize("seed", range(10))
def test_images_of_a_patient_are_apart_and_repeats_distant(seed: int) -> None:
    given = items(30, (*PROMPTS, "a", "b", "c", "d"))
    allocation = allocate(given, 2, rng(seed), repeat=0.1)
    assert allocation.neighbours == 0
    for order in allocation.orders:
        patients = [given[reading.item].patient for reading in order]
        assert all(one != two for one, two in pairwise(patients))
        places = {name: [number for number, each in enumerate(patients) if each == name] for name in set(patients)}
        distances = [two - one for each in places.values() for one, two in pairwise(each)]
        # Far apart: a patient's images lie over the whole order and not in one part of it.
        assert np.median(distances) > len(order) / 12
        for number, reading in enumerate(order):
            if reading.again:
                first = order.index(Reading(reading.item))
                assert number - first >= len(order) / 5


def test_place_in_the_order_has_nothing_to_do_with_the_stratum() -> None:
    places = []
    for seed in range(40):
        given = [*items(20, ("real",)), *items(20, ("edema",) * 3)]
        [order] = allocate(given, 1, rng(seed), repeat=0).orders
        ranks = [number / len(order) for number, reading in enumerate(order) if given[reading.item].stratum == "real"]
        places.append(np.mean(ranks))
    # The mean of a uniform rank is 0.5; its standard error over 40 x 20 is 0.01.
    assert abs(np.mean(places) - 0.5) < 0.03


def test_the_same_generator_gives_the_same_allocation_and_another_another() -> None:
    given = items()
    assert allocate(given, 3, rng(5)) == allocate(given, 3, rng(5))
    assert allocate(given, 3, rng(5)) != allocate(given, 3, rng(6))


def test_few_patients_are_reported_and_not_an_endless_search() -> None:
    allocation = allocate(items(1), 1, rng(), repeat=0)
    assert allocation.neighbours == 3
    assert all(allocate(items(4), 2, rng(seed)).neighbours == 0 for seed in range(20))
    alternating = [Item("a", "p"), Item("a", "q"), Item("b", "p"), Item("b", "q")]
    assert all(allocate(alternating, 1, rng(seed), repeat=0).neighbours == 0 for seed in range(20))


def test_none_and_all() -> None:
    allocation = allocate(items(5), 2, rng(), overlap=0, repeat=0)
    assert allocation.shared == frozenset()
    assert [len(order) for order in allocation.orders] == [10, 10]
    everything = allocate(items(5), 2, rng(), overlap=1, repeat=1)
    assert [len(order) for order in everything.orders] == [40, 40]
    assert allocate(items(5), 2, rng(), overlap=0.001, repeat=0).shared != frozenset()


@pytest.mark.parametrize(
    ("readers", "options", "match"),
    [
        (0, {}, "0 readers"),
        (5, {}, "4 images for 5 readers"),
        (2, {"overlap": 1.2}, "overlap 1.2"),
        (2, {"overlap": -0.1}, "overlap -0.1"),
        (2, {"repeat": float("nan")}, "repeat nan"),
    ],
)
def test_what_cannot_be_allocated(readers: int, options: dict[str, float], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        allocate(items(1), readers, rng(), **options)
