"""Agreement between readers, of the images that several read, and within readers, of those that one read twice.

Kappa is low where nearly all images have a finding or nearly none, whatever readers do; Gwet's AC1 and the prevalence
stand beside it. "Unsure" is an answer of its own here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.study.readers.rates import NONE, REALISM
from roentmod_fast.study.readers.score import Read, Reads
from roentmod_fast.study.readers.sheet import PRESENT, READINGS
from roentmod_fast.study.statistics import (
    Interval,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    mean_interval,
    percent_agreement,
)

Floats = NDArray[np.float64]

BETWEEN, WITHIN = "between", "within"


@dataclass(frozen=True)
class Agreement:
    """Agreement on one measure.

    ``kind``: :data:`BETWEEN` or :data:`WITHIN`; ``who``: ``all``, a pair such as ``1 and 2``, or a reader. ``images``
    with at least two answers; ``prevalence``: share of the answers that are 1. ``agreement``: share of agreeing pairs
    of answers, by image, with its interval by patient. ``kappa``: Fleiss' of ``all`` between readers, else Cohen's.
    Values are NaN where undefined.
    """

    kind: str
    who: str
    measure: str
    images: int
    prevalence: float
    agreement: Interval
    kappa: float
    kappa_of: str
    ac1: float


def agreement_of(reads: Reads, *, count: int = 2000, level: float = 0.95, seed: int = 1) -> list[Agreement]:
    """Return the agreement on each finding and on realism, between readers and within them."""
    readers = list(reads.planned)
    result = []
    for measure in (*reads.key.findings, REALISM):
        rng = np.random.default_rng(seed)
        ratings, patients = _ratings(reads.firsts, measure, readers)
        result.append(_agreement(BETWEEN, "all", measure, ratings, patients, count, level, rng))
        if len(readers) > 2:
            for one, two in combinations(range(len(readers)), 2):
                who = f"{readers[one]} and {readers[two]}"
                pair = ratings[:, [one, two]]
                result.append(_agreement(BETWEEN, who, measure, pair, patients, count, level, rng))
        for who, own in (("all", reads.reads), *((str(reader), reads.of(reader)) for reader in readers)):
            ratings, patients = _repeats(own, measure)
            result.append(_agreement(WITHIN, who, measure, ratings, patients, count, level, rng))
    return [each for each in result if each.images]


def _agreement(
    kind: str,
    who: str,
    measure: str,
    ratings: Floats,
    patients: NDArray[np.str_],
    count: int,
    level: float,
    rng: np.random.Generator,
) -> Agreement:
    several = (~np.isnan(ratings)).sum(axis=1) >= 2
    ratings, patients = ratings[several], patients[several]
    nan = float("nan")
    if not len(ratings):
        return Agreement(kind, who, measure, 0, nan, NONE, nan, "", nan)
    each = np.array([percent_agreement(row[None]) for row in ratings])
    interval = Interval(float(each.mean()), nan, nan, level)
    if len(set(patients)) > 1:
        [interval] = mean_interval(each, patients, rng=rng, count=count, level=level)
    fleiss = kind == BETWEEN and ratings.shape[1] > 2
    kappa = fleiss_kappa(ratings) if fleiss else cohen_kappa(ratings[:, 0], ratings[:, 1])
    given = ratings[~np.isnan(ratings)]
    return Agreement(
        *(kind, who, measure, len(ratings), float((given == PRESENT).mean()), interval),
        *(kappa, "Fleiss" if fleiss else "Cohen", gwet_ac1(ratings, categories=READINGS)),
    )


def _ratings(own: Sequence[Read], measure: str, readers: Sequence[int]) -> tuple[Floats, NDArray[np.str_]]:
    """Return answers (images, readers), NaN where none, and the patient of each image."""
    cases = sorted({read.image.case for read in own})
    place = {case: number for number, case in enumerate(cases)}
    ratings = np.full((len(cases), max(2, len(readers))), np.nan)
    patients = [""] * len(cases)
    for read in own:
        row = place[read.image.case]
        ratings[row, readers.index(read.image.reader)] = _answer(read, measure)
        patients[row] = read.image.patient
    return ratings, np.array(patients)


def _repeats(own: Sequence[Read], measure: str) -> tuple[Floats, NDArray[np.str_]]:
    """Return first and second answers (images, 2) of the images that a reader read twice, and their patients."""
    first = {(read.image.reader, read.image.case): read for read in own if not read.image.again}
    pairs = [
        (first[place], read)
        for read in own
        if read.image.again and (place := (read.image.reader, read.image.case)) in first
    ]
    ratings = np.array([[_answer(read, measure) for read in pair] for pair in pairs]).reshape(len(pairs), 2)
    return ratings, np.array([two.image.patient for _, two in pairs], dtype=np.str_)


def _answer(read: Read, measure: str) -> float:
    cell = read.row.realism if measure == REALISM else read.row.findings.get(measure)
    return float("nan") if cell is None else float(cell)
