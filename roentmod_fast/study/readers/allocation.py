"""Which image is read by whom, and in which order: pure, and the same for the same generator.

Readers get about the same number of images and of each stratum (a prompt, or the real controls). Some images are read
by all readers, some twice by the same one. In a reader's order the images of a patient are far apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from roentmod_fast.errors import SettingError

_ORDERS = 20
"""Orders that are drawn at most until one has no two images of a patient after each other."""

_TRIES = 50
"""Orders of a patient's images that are compared where one of them comes twice."""


@dataclass(frozen=True)
class Item:
    """An image to be read. ``stratum``: what is balanced, such as its prompt; ``patient``: whose image it is."""

    stratum: str
    patient: str


@dataclass(frozen=True)
class Reading:
    """One image in a reader's order. ``item``: its place in the list; ``again``: the second reading by this reader."""

    item: int
    again: bool = False


@dataclass(frozen=True)
class Allocation:
    """``orders``: what each reader reads, in order. ``shared``: places of the items that all readers read.

    ``neighbours``: how often an image follows one of the same patient, as cannot be helped where a patient has most of
    the images.
    """

    orders: tuple[tuple[Reading, ...], ...]
    shared: frozenset[int]
    neighbours: int


def allocate(
    items: Sequence[Item], readers: int, rng: np.random.Generator, *, overlap: float = 0.2, repeat: float = 0.05
) -> Allocation:
    """Allocate images to readers.

    ``overlap``: share of the images that all readers read; ``repeat``: share of a reader's images that come twice. Both
    are at least one image where they are above 0. Raises SettingError for what cannot be allocated.
    """
    if readers < 1:
        raise SettingError(f"{readers} readers: expected at least 1")
    for name, share in (("overlap", overlap), ("repeat", repeat)):
        if not 0 <= share <= 1:
            raise SettingError(f"{name} {share:g}: expected a share from 0 to 1")
    if len(items) < readers:
        raise SettingError(f"{len(items)} images for {readers} readers: expected at least one each")
    shared = _spread_over_strata(items, range(len(items)), overlap, rng) if readers > 1 else []
    read_by = [list(shared) for _ in range(readers)]
    _deal(items, sorted(set(range(len(items))) - set(shared)), read_by, rng)
    orders, neighbours = [], 0
    for own in read_by:
        again = _spread_over_strata(items, sorted(own), repeat, rng)
        order, close = _ordered(
            items, [*(Reading(item) for item in own), *(Reading(item, True) for item in again)], rng
        )
        orders.append(order)
        neighbours += close
    return Allocation(tuple(orders), frozenset(shared), neighbours)


def _spread_over_strata(
    items: Sequence[Item], places: Sequence[int], share: float, rng: np.random.Generator
) -> list[int]:
    """Draw a share of places, from the strata by their sizes: by systematic sampling of a list sorted by stratum."""
    if share == 0:
        return []
    count = max(1, round(share * len(places)))
    mixed = [places[each] for each in rng.permutation(len(places))]
    names = sorted({items[place].stratum for place in places})
    rank = {names[each]: number for number, each in enumerate(rng.permutation(len(names)))}
    mixed.sort(key=lambda place: rank[items[place].stratum])
    step = len(mixed) / count
    start = rng.random() * step
    return [mixed[min(int(start + number * step), len(mixed) - 1)] for number in range(count)]


def _deal(items: Sequence[Item], places: Sequence[int], read_by: list[list[int]], rng: np.random.Generator) -> None:
    """Give each place to one reader: to who has the fewest of its stratum, then of all, then of its patient."""
    of_stratum = [Counter(items[place].stratum for place in own) for own in read_by]
    of_patient = [Counter(items[place].patient for place in own) for own in read_by]
    mixed = [places[each] for each in rng.permutation(len(places))]
    names = sorted({items[place].stratum for place in places})
    rank = {names[each]: number for number, each in enumerate(rng.permutation(len(names)))}
    for place in sorted(mixed, key=lambda place: rank[items[place].stratum]):
        item, tie = items[place], rng.random(len(read_by))
        reader = min(
            range(len(read_by)),
            key=lambda each: (
                of_stratum[each][item.stratum],
                len(read_by[each]),
                of_patient[each][item.patient],
                tie[each],
            ),
        )
        read_by[reader].append(place)
        of_stratum[reader][item.stratum] += 1
        of_patient[reader][item.patient] += 1


def _ordered(
    items: Sequence[Item], readings: Sequence[Reading], rng: np.random.Generator
) -> tuple[tuple[Reading, ...], int]:
    """Return readings with those of a patient far apart, and how many follow one of the same patient.

    With few patients some orders cannot be repaired; the first of a few that leaves no neighbours is taken.
    """
    best, least = list[Reading](), len(readings) + 1
    for _ in range(_ORDERS):
        order = _drawn_order(items, readings, rng)
        close = sum(items[one.item].patient == items[two.item].patient for one, two in pairwise(order))
        if close < least:
            best, least = order, close
        if not close:
            break
    seen, result = set[int](), []
    for reading in best:  # the first of two is the first reading
        result.append(Reading(reading.item, reading.item in seen))
        seen.add(reading.item)
    return tuple(result), least


def _drawn_order(items: Sequence[Item], readings: Sequence[Reading], rng: np.random.Generator) -> list[Reading]:
    """Return readings in random order, those of a patient at equal distances from a random place on.

    Which image of a patient takes which place is random, so that place and stratum have nothing to do with each other;
    of an image that comes twice the places are as far apart as a few random tries give.
    """
    groups = defaultdict(list)
    for reading in readings:
        groups[items[reading.item].patient].append(reading)
    slots = []
    for patient in sorted(groups):
        own = _apart([groups[patient][each] for each in rng.permutation(len(groups[patient]))], rng)
        start = rng.random()
        slots += [((number + start) / len(own), rng.random(), reading) for number, reading in enumerate(own)]
    order = [reading for _, _, reading in sorted(slots, key=lambda slot: slot[:2])]
    _part_neighbours(order, [items[reading.item].patient for reading in order])
    return order


def _apart(readings: list[Reading], rng: np.random.Generator) -> list[Reading]:
    """Return a patient's readings in an order in which an image that comes twice does so at a distance."""
    twice = [reading.item for reading in readings if reading.again]
    if not twice:
        return readings
    best, distance = readings, -1
    for _ in range(_TRIES):
        tried = [readings[each] for each in rng.permutation(len(readings))]
        seen = [reading.item for reading in tried]
        places = [[number for number, item in enumerate(seen) if item == each] for each in twice]
        # The order is no circle: the end of a patient's slots is the end of the reading.
        least = min(last - first for first, last in places)
        if least > distance:
            best, distance = tried, least
        if distance >= len(readings) // 2:
            break
    return best


def _part_neighbours(order: list[Reading], patients: list[str]) -> None:
    """Swap a reading that follows one of the same patient with the nearest one that makes no such pair."""
    for place in range(1, len(order)):
        if patients[place] != patients[place - 1]:
            continue
        for other in sorted(range(len(order)), key=lambda each: (abs(each - place), each)):
            if _swaps_well(patients, place, other):
                order[place], order[other] = order[other], order[place]
                patients[place], patients[other] = patients[other], patients[place]
                break


def _swaps_well(patients: Sequence[str], one: int, two: int) -> bool:
    """Tell whether a swap leaves no neighbours of one patient around both places."""
    if patients[one] == patients[two]:
        return False
    swapped = list(patients)
    swapped[one], swapped[two] = swapped[two], swapped[one]
    around = {place for each in (one, two) for place in (each, each + 1) if 0 < place < len(swapped)}
    return all(swapped[place] != swapped[place - 1] for place in around)
