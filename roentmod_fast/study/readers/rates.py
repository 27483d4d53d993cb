"""How often readers saw what, by prompt: co-occurrence, adherence, realism, extra findings, and real or synthetic.

An image counts once: where several readers read it, by the mean of their values. Second readings by the same reader are
left out. "Unsure" counts in three ways, as absent, not at all, and as a half, and all three are reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.study.labels import READ
from roentmod_fast.study.readers.score import Read, Reads
from roentmod_fast.study.readers.sheet import UNSURE
from roentmod_fast.study.statistics import (
    Answer,
    Interval,
    auc_bootstrap,
    bootstrap,
    equivalence,
    mean_interval,
    wilson,
)

Floats = NDArray[np.float64]

ALL_EDITS, CONTROLS = "all edits", "real controls"
"""Rows that are no prompt."""

ASKED, REALISM, EXTRA = "asked", "realism", "extra"
"""Measures that are no finding: all that the prompt asks for was seen, taken for real, another finding was named."""

UNSURES: dict[str, float] = {"absent": 0.0, "excluded": float("nan"), "half": 0.5}
"""What an unsure reading counts as."""

NONE = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Rate:
    """The share of images of a row in which something was seen.

    ``row``: a prompt, :data:`ALL_EDITS` or :data:`CONTROLS`; ``measure``: a finding, or one of :data:`ASKED`,
    :data:`REALISM` and :data:`EXTRA`; ``unsure``: of :data:`UNSURES`; ``reader``: 0 for all. ``images`` that have a
    value, from ``reads``. ``wilson``: the interval of independent images, ``by_patient``: by resampling patients.
    """

    row: str
    measure: str
    unsure: str
    reader: int
    images: int
    reads: int
    patients: int
    seen: float
    wilson: Interval
    by_patient: Interval


@dataclass(frozen=True)
class Telling:
    """How well real and synthetic were distinguished. ``reader``: 0 for all, whose reads count one by one.

    ``called_synthetic``: share of edits that were taken for synthetic, ``called_real``: of controls for real, unsure as
    a half. ``balanced``: the mean of both, 0.5 by chance; ``auc`` by the same answers, graded by confidence where each
    has one. ``answer``: of the equivalence of ``balanced`` and chance within ``margin``.
    """

    reader: int
    edits: int
    controls: int
    unsure: int
    called_synthetic: Interval
    called_real: Interval
    accuracy: float
    balanced: Interval
    auc: Interval
    margin: float
    answer: Answer


def prompts_of(reads: Reads) -> list[str]:
    """Return the prompts of a study: by the finding that they ask for in the paper's order, then by name."""
    asked = {image.prompt: image.asked for image in reads.key.images if not image.real}
    order = {name: number for number, name in enumerate((*READ, *reads.key.findings))}
    return sorted(asked, key=lambda prompt: (min((order.get(name, 99) for name in asked[prompt]), default=99), prompt))


def measures_of(reads: Reads) -> list[str]:
    """Return all measures of a study."""
    return [*reads.key.findings, ASKED, REALISM, EXTRA]


def rates_of(reads: Reads, *, count: int = 2000, level: float = 0.95, seed: int = 1) -> list[Rate]:
    """Return the rates of all rows, pooled and by reader. ``count``: resamples; ``seed``: of them."""
    groups: list[tuple[str, Callable[[Read], bool]]] = [
        (prompt, lambda read, prompt=prompt: not read.image.real and read.image.prompt == prompt)  # type: ignore[misc]
        for prompt in prompts_of(reads)
    ]
    groups += [(ALL_EDITS, lambda read: not read.image.real), (CONTROLS, lambda read: read.image.real)]
    result = []
    for row, belongs in groups:
        for reader in (0, *reads.planned):
            own = [read for read in reads.firsts if belongs(read) and reader in (0, read.image.reader)]
            for unsure in UNSURES:
                rng = np.random.default_rng(seed)
                result += _rates(row, own, reads, unsure, reader, count, level, rng)
    return result


def _rates(
    row: str,
    own: Sequence[Read],
    reads: Reads,
    unsure: str,
    reader: int,
    count: int,
    level: float,
    rng: np.random.Generator,
) -> list[Rate]:
    measures = measures_of(reads)
    if not own:
        empty = wilson(0, 0, level)
        return [Rate(row, name, unsure, reader, 0, 0, 0, 0.0, empty, NONE) for name in measures]
    values = np.array([values_of(read, reads.key.findings, UNSURES[unsure]) for read in own])
    images, patients, given = by_image(own, values)
    intervals = [NONE] * len(measures)
    if reader == 0 and len(set(patients)) > 1:
        intervals = mean_interval(images, patients, rng=rng, count=count, level=level)
    result = []
    for column, name in enumerate(measures):
        known = ~np.isnan(images[:, column])
        seen = float(images[known, column].sum())
        result.append(
            Rate(
                *(row, name, unsure, reader, int(known.sum()), int(given[:, column].sum())),
                *(len(set(patients[known])), seen, wilson(seen, int(known.sum()), level), intervals[column]),
            )
        )
    return result


def values_of(read: Read, findings: Sequence[str], unsure: float) -> list[float]:
    """Return a read's value of each measure, NaN where it has none; ``unsure``: what unsure counts as."""

    def value(cell: int | None) -> float:
        return float("nan") if cell is None else unsure if cell == UNSURE else float(cell)

    seen = {name: value(read.row.findings.get(name)) for name in findings}
    # A prompt that asks for what the sheet has no column of cannot be found to be followed.
    asked = [seen.get(name, float("nan")) for name in read.image.asked] or [float("nan")]
    followed = float("nan") if np.isnan(asked).any() else min(asked)
    return [*seen.values(), followed, value(read.row.realism), float(read.names_extra)]


def by_image(own: Sequence[Read], values: Floats) -> tuple[Floats, NDArray[np.str_], NDArray[np.int64]]:
    """Return the mean of each image's reads (images, measures), its patient, and how many reads have a value."""
    cases = sorted({read.image.case for read in own})
    place = {case: number for number, case in enumerate(cases)}
    rows = np.array([place[read.image.case] for read in own])
    known = ~np.isnan(values)
    total, given = np.zeros((len(cases), values.shape[1])), np.zeros((len(cases), values.shape[1]), dtype=np.int64)
    np.add.at(total, rows, np.where(known, values, 0))
    np.add.at(given, rows, known)
    patient = {read.image.case: read.image.patient for read in own}
    means = np.divide(total, given, out=np.full(total.shape, np.nan), where=given > 0)
    return means, np.array([patient[case] for case in cases]), given


def cooccurrence(reads: Reads, unsure: str = "absent") -> dict[str, dict[str, float]]:
    """Return what ``cohort table --cooccurrence`` reads: for each finding asked for, the share that each was seen in.

    Of prompts that ask for one finding alone; findings are those of the paper's readers, others have no place there.
    """
    names = [name for name in reads.key.findings if name in READ]
    result = {}
    for asked in names:
        own = [read for read in reads.firsts if read.image.asked == (asked,)]
        if own:
            values = np.array([values_of(read, reads.key.findings, UNSURES[unsure]) for read in own])
            images, _, _ = by_image(own, values)
            columns = {name: images[:, number] for number, name in enumerate(reads.key.findings)}
            known = {name: columns[name][~np.isnan(columns[name])] for name in names}
            result[asked] = {name: float(each.mean()) for name, each in known.items() if len(each)}
    return result


def telling_of(
    reads: Reads, *, margin: float = 0.1, count: int = 2000, level: float = 0.95, seed: int = 1
) -> list[Telling]:
    """Return how well readers distinguished real from synthetic, together, then each; nobody of whom a kind is missing.

    ``margin``: by which the balanced accuracy may differ from 0.5 to count as chance.
    """
    result = []
    for reader in (0, *reads.planned):
        own = [read for read in reads.firsts if read.row.realism is not None and reader in (0, read.image.reader)]
        real = np.array([read.image.real for read in own], dtype=bool)
        if real.any() and not real.all():
            result.append(_telling(reader, own, real, margin, count, level, np.random.default_rng(seed)))
    return result


def _telling(
    reader: int,
    own: Sequence[Read],
    real: NDArray[np.bool_],
    margin: float,
    count: int,
    level: float,
    rng: np.random.Generator,
) -> Telling:
    called_real = np.array([0.5 if read.row.realism == UNSURE else float(read.row.realism or 0) for read in own])
    correct = np.where(real, called_real, 1 - called_real)
    patients = np.array([read.image.patient for read in own])
    balanced, area = NONE, NONE
    if len(set(patients)) > 1:
        table = np.column_stack([correct, real])
        balanced = bootstrap(table, patients, _balanced, rng=rng, count=count, level=level)
        if balanced.low == balanced.high:
            balanced = _by_wilson(correct, real, patients, level)
        area = auc_bootstrap(realism_scores(own), real.astype(int), patients, rng=rng, count=count, level=level)
    shifted = Interval(balanced.estimate - 0.5, balanced.low - 0.5, balanced.high - 0.5, level)
    return Telling(
        reader=reader,
        edits=int((~real).sum()),
        controls=int(real.sum()),
        unsure=int((called_real == 0.5).sum()),
        called_synthetic=wilson(float(correct[~real].sum()), int((~real).sum()), level),
        called_real=wilson(float(correct[real].sum()), int(real.sum()), level),
        accuracy=float(correct.mean()),
        balanced=balanced,
        auc=area,
        margin=margin,
        answer=equivalence(shifted, margin),
    )


def _by_wilson(correct: Floats, real: NDArray[np.bool_], patients: NDArray[np.str_], level: float) -> Interval:
    """Return the balanced accuracy with limits where no resample differs, as where all answers are the same.

    Of the Wilson intervals of both kinds, with the number of patients in place of that of images, by Newcombe's hybrid
    for a sum (Newcombe 1998, method 10).
    """
    parts = []
    for kind in (real, ~real):
        count = len(set(patients[kind]))
        parts.append(wilson(float(correct[kind].mean()) * count, count, level))
    estimate = sum(part.estimate for part in parts) / 2
    below = math.hypot(*(part.estimate - part.low for part in parts)) / 2
    above = math.hypot(*(part.high - part.estimate for part in parts)) / 2
    return Interval(estimate, estimate - below, estimate + above, level)


def _balanced(table: Floats) -> float:
    """Return the mean of the shares of correct answers of both kinds; NaN where one is missing."""
    correct, real = table[:, 0], table[:, 1] == 1
    if real.all() or not real.any():
        return float("nan")
    return float((correct[real].mean() + correct[~real].mean()) / 2)


def realism_scores(own: Sequence[Read]) -> Floats:
    """Return how far each read takes its image for real: 0 to 1, by confidence where every read has one."""
    graded = all(read.row.confidence is not None for read in own)
    side = np.array([0.0 if read.row.realism == UNSURE else 1.0 if read.row.realism else -1.0 for read in own])
    weight = np.array([(read.row.confidence or 0) / 5 if graded else 1.0 for read in own])
    return np.asarray(0.5 + side * weight / 2)


def rate_index(rates: Sequence[Rate]) -> dict[tuple[str, str, str, int], Rate]:
    """Return rates by row, measure, unsure and reader."""
    return {(rate.row, rate.measure, rate.unsure, rate.reader): rate for rate in rates}


def check_options(unsure: str, margin: float, count: int) -> None:
    """Raise SettingError for options of a score that cannot be used."""
    if unsure not in UNSURES:
        raise SettingError(f"--unsure {unsure!r}: expected one of {', '.join(UNSURES)}")
    if not 0 < margin < 0.5:
        raise SettingError(f"--margin {margin:g}: expected between 0 and 0.5, such as 0.1")
    if count < 100:
        raise SettingError(f"--resamples {count}: expected at least 100")


def plain(interval: Interval) -> dict[str, Any]:
    """Return an interval as JSON has it, None for what is not known."""
    ends = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: value if np.isfinite(value) else None for name, value in ends.items()}
