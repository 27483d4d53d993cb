"""Statistics of a study: percentiles, intervals by patient, tests, agreement. NumPy only.

Sections: checks; percentiles and shifts; resampling by patient; tests; ROC curves; proportions; agreement.

Arrays are float64 unless stated. ``groups`` names the patient of each row: integers or strings, any order, as many as
rows. Edits of one patient are not independent, so that the patient is the unit that is resampled. ``rng`` is an
argument, never global: the same generator state gives the same numbers. Nothing prints.

Every function raises SettingError, with one line, for empty input, for values that are not finite (where NaN does not
stand for "missing"), for lengths that differ and for fewer than two patients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roentmod_fast.errors import SettingError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Method = Literal["percentile", "bca"]
Score = Literal["mean", "sign"]
Answer = Literal["equivalent", "different", "undecided"]

COUNT = 2000
"""Resamples of an interval."""
FLIPS = 10000
"""Sign flips of a test."""
LEVEL = 0.95
_CHUNK = 4_000_000
"""Weights that stand in memory at once: bounds a call's memory to some 50 MB."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the limits of its interval; NaN where undefined."""

    estimate: float
    low: float
    high: float
    level: float = LEVEL


# Checks


def _values(name: str, values: ArrayLike, *, dimensions: int | None = None, missing: bool = False) -> Floats:
    """Return ``values`` as float64, checked. ``missing``: NaN is allowed, infinity is not."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufO":  # text, dates and complex numbers would be converted in silence
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise SettingError(f"{name}: expected numbers in an array") from None
    if array.ndim == 0 or array.size == 0:
        raise SettingError(f"{name}: empty, expected at least one value")
    if dimensions is not None and array.ndim != dimensions:
        raise SettingError(f"{name}: shape {array.shape}, expected {dimensions} dimension{'s' * (dimensions > 1)}")
    if missing and np.isinf(array).any():
        raise SettingError(f"{name}: holds infinity, expected finite numbers, NaN where missing")
    if not missing and not np.isfinite(array).all():
        raise SettingError(f"{name}: holds NaN or infinity, expected finite numbers")
    return array


def _same_length(first: str, one: NDArray[Any], second: str, other: NDArray[Any]) -> None:
    if len(one) != len(other):
        raise SettingError(f"{second}: {len(other)} rows, expected as many as {first}, {len(one)}")


def _patients(name: str, groups: ArrayLike) -> NDArray[Any]:
    """Return ``groups`` as an array (n,) that can be sorted."""
    array = np.asarray(groups)
    if array.ndim != 1 or array.size == 0:
        raise SettingError(f"{name}: shape {array.shape}, expected the patient of each row")
    if array.dtype.kind not in "biufUS":
        raise SettingError(f"{name}: expected whole numbers or strings, one a row")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SettingError(f"{name}: holds NaN or infinity, expected the patient of each row")
    return array


def _codes(groups: ArrayLike, rows: NDArray[Any], name: str) -> tuple[Integers, int]:
    """Return patients as 0 .. G - 1, (n,) in the order of the rows, and G."""
    patients = _patients("groups", groups)
    _same_length(name, rows, "groups", patients)
    found, codes = np.unique(patients, return_inverse=True)
    if len(found) < 2:
        raise SettingError("groups: 1 patient, expected at least 2 to resample by patient")
    return codes.astype(np.int64), len(found)


def _z(level: float) -> float:
    """Return the normal quantile of a two-sided interval."""
    if not 0 < level < 1:
        raise SettingError(f"level {level:g}: expected between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf((1 + level) / 2)


def _count(count: int) -> int:
    if count < 1:
        raise SettingError(f"count {count}: expected at least 1 resample")
    return count


# Percentiles and shifts


def percentiles(reference_sorted: ArrayLike, values: ArrayLike) -> Floats:
    """Return the mid-rank percentile of each value in a reference: 100 (n_below + n_equal / 2) / n.

    ``reference_sorted``: (n,), ascending, the scores of a model on the real cohort. ``values``: any shape; so is the
    result, in [0, 100]. Both must have passed through the same float type, or equal scores do not compare as equal.
    A value of the reference itself counts as its own equal. Source: scipy.stats.percentileofscore(kind="mean").
    """
    reference = _values("reference", reference_sorted, dimensions=1)
    scores = _values("values", values)
    if np.any(reference[1:] < reference[:-1]):
        raise SettingError("reference: not ascending, expected sorted scores (numpy.sort)")
    below = np.searchsorted(reference, scores, side="left")
    upto = np.searchsorted(reference, scores, side="right")
    return np.asarray(50.0 * (below + upto) / len(reference), dtype=np.float64)


def median_difference(before: ArrayLike, after: ArrayLike) -> Floats:
    """Return the median of ``after - before`` along axis 0: shape of one row, without axes for (n,).

    ``before``, ``after``: same shape (n, ...), paired. The median of differences, not the difference of medians.
    """
    first, second = _values("before", before), _values("after", after)
    if first.shape != second.shape:
        raise SettingError(f"after: shape {second.shape}, expected that of before, {first.shape}")
    return np.asarray(np.median(second - first, axis=0))


def equivalence(interval: Interval, margin: float) -> Answer:
    """Compare an interval with an equivalence margin, in the interval's unit.

    ``equivalent``: inside (-margin, margin), also where it excludes 0 (a difference that is real and too small to
    matter). ``different``: excludes 0 and reaches the margin. ``undecided``: else, and where a limit is NaN. With a
    level of 0.95 this is two one-sided tests at 2.5 % each (Schuirmann 1987 uses 5 %, a level of 0.9).
    """
    if not (np.isfinite(margin) and margin > 0):
        raise SettingError(f"margin {margin:g}: expected above 0, in the unit of the interval, such as 5")
    if np.isnan(interval.low) or np.isnan(interval.high):
        return "undecided"
    if -margin < interval.low and interval.high < margin:
        return "equivalent"
    return "different" if interval.low > 0 or interval.high < 0 else "undecided"


# Resampling by patient


def resample_groups(patients: int, count: int, rng: np.random.Generator) -> Integers:
    """Return how often each patient is in each resample: int64 (count, patients), each row with sum ``patients``.

    Patients are drawn with replacement, all rows of a patient together. A weighted statistic of the rows, with
    ``weights[:, codes]`` for the codes of the rows, is the statistic of the resample.
    """
    if patients < 2:
        raise SettingError(f"groups: {patients} patient{'s' * (patients != 1)}, expected at least 2 to resample")
    rows = np.empty((_count(count), patients), dtype=np.int64)
    at_once = max(1, _CHUNK // patients)
    for first in range(0, count, at_once):
        part = rows[first : first + at_once]
        drawn = rng.integers(patients, size=part.shape)
        drawn += patients * np.arange(len(part))[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    return rows


def _row_indices(codes: Integers, weights: Integers) -> Iterator[Integers]:
    """Yield the rows of each resample, a patient's rows together."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    everyone = np.arange(len(sizes))
    for row in weights:
        drawn = np.repeat(everyone, row)
        lengths = sizes[drawn]
        ends = np.cumsum(lengths)
        yield order[np.repeat(starts[drawn] - (ends - lengths), lengths) + np.arange(ends[-1])]


def _t_quantile(level: float, freedom: int) -> float:
    """Return the two-sided quantile of Student's t: Abramowitz and Stegun 26.7.3 and 26.7.4, by bisection."""

    def inside(t: float) -> float:
        angle = np.arctan(t / np.sqrt(freedom))
        terms = np.arange(1 + freedom % 2, freedom - 2, 2)
        series = np.cumprod(np.cos(angle) ** 2 * terms / (terms + 1)).sum()
        if freedom % 2 == 0:
            return float(np.sin(angle) * (1 + series))
        return float(2 / np.pi * (angle + (np.sin(angle) * np.cos(angle) * (1 + series) if freedom > 1 else 0)))

    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return low


def _percentile_levels(level: float, patients: int) -> tuple[float, float]:
    """Return the quantiles of replicates that a percentile interval takes: Hesterberg's expanded percentiles.

    A resample of G patients spreads like one with variance (G - 1) / G and normal quantiles, too little where patients
    are few. So (1 - level) / 2 becomes Phi(-t sqrt(G / (G - 1))) with Student's t of G - 1. At a level of 0.95 it is
    0.0231 for 100 patients and 0.0159 for 20. Source: Hesterberg 2015, The American Statistician 69, section 4.
    """
    _z(level)
    freedom = patients - 1
    quantile = _t_quantile(level, freedom) if freedom <= 1000 else _z(level)
    low = NormalDist().cdf(-quantile * float(np.sqrt(patients / freedom)))
    return low, 1 - low


def _limits(replicates: Floats, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
    """Return quantiles ``low`` and ``high`` (shape of a replicate, or one number) of replicates (count, ...).

    Undefined replicates (NaN) are left out; where they are more than half, the limits are NaN.
    """
    flat = replicates.reshape(len(replicates), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    lows, highs = (np.broadcast_to(np.asarray(end, dtype=np.float64).ravel(), flat.shape[1:]) for end in (low, high))
    whole = ~np.isnan(flat).any(axis=0)
    if whole.all() and np.ndim(low) == np.ndim(high) == 0:
        ends[:] = np.quantile(flat, [float(lows[0]), float(highs[0])], axis=0)
    else:
        for column in range(flat.shape[1]):
            defined = flat[~np.isnan(flat[:, column]), column]
            if 2 * len(defined) >= len(flat) and np.isfinite(lows[column]):
                ends[:, column] = np.quantile(defined, [lows[column], highs[column]])
    shape = replicates.shape[1:]
    return ends[0].reshape(shape), ends[1].reshape(shape)


def _bca_levels(estimate: Floats, replicates: Floats, jackknife: Floats, z: float) -> tuple[Floats, Floats]:
    """Return the quantiles that BCa takes instead of (1 - level) / 2 and (1 + level) / 2.

    Efron and Tibshirani 1993, equations 14.10 to 14.15; ties of a replicate with the estimate count as half, as in
    scipy.stats.bootstrap.
    """
    normal = NormalDist()
    defined = np.maximum((~np.isnan(replicates)).sum(axis=0), 1)
    share = ((replicates < estimate).sum(axis=0) + (replicates == estimate).sum(axis=0) / 2) / defined
    bias = np.vectorize(normal.inv_cdf, otypes=[np.float64])(np.clip(share, 1e-9, 1 - 1e-9))
    spread = np.nanmean(jackknife, axis=0) - jackknife
    square = np.nansum(spread**2, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        acceleration = np.where(square > 0, np.nansum(spread**3, axis=0) / (6 * square**1.5), 0.0)

    def level(end: float) -> Floats:
        with np.errstate(divide="ignore"):
            moved = bias + (bias + end) / (1 - acceleration * (bias + end))
        return np.asarray(np.vectorize(normal.cdf, otypes=[np.float64])(moved), dtype=np.float64)

    return level(-z), level(z)


@overload
def bootstrap(
    values_by_row: ArrayLike,
    groups: ArrayLike,
    statistic: Callable[[Floats], float],
    *,
    rng: np.random.Generator,
    count: int = ...,
    method: Method = ...,
    level: float = ...,
    missing: bool = ...,
) -> Interval: ...


@overload
def bootstrap(
    values_by_row: ArrayLike,
    groups: ArrayLike,
    statistic: Callable[[Floats], Floats],
    *,
    rng: np.random.Generator,
    count: int = ...,
    method: Method = ...,
    level: float = ...,
    missing: bool = ...,
) -> NDArray[np.object_]: ...


def bootstrap(
    values_by_row: ArrayLike,
    groups: ArrayLike,
    statistic: Callable[[Floats], Any],
    *,
    rng: np.random.Generator,
    count: int = COUNT,
    method: Method = "percentile",
    level: float = LEVEL,
    missing: bool = False,
) -> Any:
    """Return the bootstrap interval of a statistic, resampled by patient.

    ``values_by_row``: (n, ...). ``statistic`` takes such an array with another n and works along axis 0; where it gives
    a number the result is an Interval, where it gives an array the result is an object array of Intervals of its shape.
    ``method``: ``percentile`` (levels expanded for the number of patients), or ``bca`` with the jackknife by patient.
    ``missing``: NaN is allowed in the values. Resamples with an undefined statistic (NaN) are left out; where they are
    more than half, the limits are NaN.

    The statistic is called for each resample: :func:`median_interval`, :func:`mean_interval` and :func:`auc_bootstrap`
    do the same for all resamples at once. Source: Efron and Tibshirani 1993, chapters 13 and 14.
    """
    values = _values("values", values_by_row, missing=missing)
    codes, patients = _codes(groups, values, "values")
    z = _z(level)
    if method not in ("percentile", "bca"):
        raise SettingError(f"method {method!r}: expected percentile or bca")
    estimate = np.asarray(statistic(values), dtype=np.float64)
    weights = resample_groups(patients, count, rng)
    replicates = np.stack(
        [np.asarray(statistic(values[rows]), dtype=np.float64) for rows in _row_indices(codes, weights)]
    )
    low: ArrayLike
    high: ArrayLike
    low, high = _percentile_levels(level, patients)
    if method == "bca":
        one_less = 1 - np.eye(patients, dtype=np.int64)
        jackknife = np.stack(
            [np.asarray(statistic(values[rows]), dtype=np.float64) for rows in _row_indices(codes, one_less)]
        )
        low, high = _bca_levels(estimate, replicates, jackknife, z)
    found = _intervals(estimate, *_limits(replicates, low, high), level)
    return found if found.ndim else found.item()


def _intervals(estimate: Floats, low: Floats, high: Floats, level: float) -> NDArray[np.object_]:
    """Return Intervals of the shape of ``estimate``; limits of an undefined estimate are NaN."""
    result = np.empty(estimate.shape, dtype=np.object_)
    for place in np.ndindex(estimate.shape):
        value = float(estimate[place])
        ends = (np.nan, np.nan) if np.isnan(value) else (float(low[place]), float(high[place]))
        result[place] = Interval(value, *ends, level)
    return result


def _columns(name: str, values: ArrayLike, *, missing: bool = False) -> Floats:
    """Return values as (n, k), checked; (n,) is one column."""
    array = _values(name, values, missing=missing)
    if array.ndim > 2:
        raise SettingError(f"{name}: shape {array.shape}, expected (rows, columns)")
    return array if array.ndim == 2 else array[:, None]


def median_replicates(values: ArrayLike, groups: ArrayLike, weights: Integers) -> Floats:
    """Return the median of each column in each resample: (count, k).

    ``values``: (n, k) or (n,). ``weights``: (count, patients) of :func:`resample_groups`, patients in ascending order
    of ``groups``. NaN for a resample without rows. The same weights serve several arrays of the same patients, so that
    their medians are compared within each resample.
    """
    array = _columns("values", values)
    codes, patients = _codes(groups, array, "values")
    if weights.ndim != 2 or weights.shape[1] != patients:
        raise SettingError(f"weights: shape {weights.shape}, expected (count, {patients} patients)")
    return _medians(array, codes, weights)


def _medians(array: Floats, codes: Integers, weights: Integers) -> Floats:
    result = np.empty((len(weights), array.shape[1]))
    order = np.argsort(array, axis=0, kind="stable")
    at_once = max(1, _CHUNK // len(array))
    for first in range(0, len(weights), at_once):
        # Patients first, so that a patient's weights are gathered as whole rows.
        part = weights[first : first + at_once].T.astype(np.int32)
        for column in range(array.shape[1]):
            rows = order[:, column]
            below = part[codes[rows]]
            np.cumsum(below, axis=0, out=below)
            total = below[-1]
            ascending = array[rows, column]
            # The first row that reaches half of the weights, and the first beyond half: another one only where a
            # row reaches half exactly.
            lower = np.minimum((below < (total + 1) // 2).sum(axis=0), len(array) - 1)
            middle = ascending[lower]
            halves = np.flatnonzero(2 * below[lower, np.arange(len(lower))] == total)
            upper = np.minimum((below[:, halves] <= total[halves] // 2).sum(axis=0), len(array) - 1)
            middle[halves] = (middle[halves] + ascending[upper]) / 2
            result[first : first + at_once, column] = np.where(total > 0, middle, np.nan)
    return result


def median_interval(
    differences: ArrayLike,
    groups: ArrayLike,
    *,
    rng: np.random.Generator,
    count: int = COUNT,
    level: float = LEVEL,
) -> list[Interval]:
    """Return the median of each column with its percentile bootstrap interval by patient: k Intervals.

    ``differences``: (n, k), or (n,) for one column. All columns share their resamples. The percentile levels are
    expanded for the number of patients: plain ones cover 90 % at 10 patients and 93 % at 20 where 95 % is asked for.
    The interval errs towards wide where many differences are equal, such as 0.
    """
    array = _columns("differences", differences)
    codes, patients = _codes(groups, array, "differences")
    _z(level)
    replicates = _medians(array, codes, resample_groups(patients, count, rng))
    ends = _limits(replicates, *_percentile_levels(level, patients))
    return list(_intervals(np.median(array, axis=0), *ends, level))


def median_contrast(
    first: ArrayLike,
    first_groups: ArrayLike,
    second: ArrayLike,
    second_groups: ArrayLike,
    *,
    rng: np.random.Generator,
    count: int = COUNT,
    level: float = LEVEL,
) -> list[Interval]:
    """Return median(first) - median(second) of each column with its interval: k Intervals.

    ``first``: (n, k); ``second``: (m, k), of the same patients in whole or in part, such as a shift and its null
    control, or two models on the same pairs. A patient is drawn for both at once. Differences that are paired row by
    row go to :func:`median_interval` as ``first - second``, which is another quantity.
    """
    one, two = _columns("first", first), _columns("second", second)
    if one.shape[1] != two.shape[1]:
        raise SettingError(f"second: {two.shape[1]} columns, expected as many as first, {one.shape[1]}")
    patients = [_patients("first groups", first_groups), _patients("second groups", second_groups)]
    _same_length("first", one, "first groups", patients[0])
    _same_length("second", two, "second groups", patients[1])
    _z(level)
    if (patients[0].dtype.kind in "US") != (patients[1].dtype.kind in "US"):
        raise SettingError("second groups: expected the same patients as first groups, all numbers or all strings")
    codes, everyone = _codes(np.concatenate(patients), np.concatenate(patients), "first and second")
    weights = resample_groups(everyone, count, rng)
    replicates = _medians(one, codes[: len(one)], weights) - _medians(two, codes[len(one) :], weights)
    ends = _limits(replicates, *_percentile_levels(level, everyone))
    return list(_intervals(np.median(one, axis=0) - np.median(two, axis=0), *ends, level))


def mean_interval(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    rng: np.random.Generator,
    count: int = COUNT,
    level: float = LEVEL,
) -> list[Interval]:
    """Return the mean of each column, over all its rows, with its percentile bootstrap interval by patient.

    ``values``: (n, k) or (n,), NaN where missing, such as 1 for present, 0 for absent, NaN for not read. A column
    without values is NaN.
    """
    array = _columns("values", values, missing=True)
    codes, patients = _codes(groups, array, "values")
    _z(level)
    present = ~np.isnan(array)
    sums, sizes = np.zeros((patients, array.shape[1])), np.zeros((patients, array.shape[1]))
    np.add.at(sums, codes, np.where(present, array, 0.0))
    np.add.at(sizes, codes, present.astype(np.float64))
    weights = resample_groups(patients, count, rng).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        replicates = (weights @ sums) / (weights @ sizes)
        estimate = sums.sum(axis=0) / sizes.sum(axis=0)
    return list(_intervals(estimate, *_limits(replicates, *_percentile_levels(level, patients)), level))


# Tests


def sign_flip(
    differences: ArrayLike,
    groups: ArrayLike,
    *,
    rng: np.random.Generator,
    count: int = FLIPS,
    score: Score = "mean",
) -> Floats:
    """Return the two-sided p of "differences are symmetric about 0" for each column: (k,), without axes for (n,).

    ``differences``: (n, k) or (n,). The statistic is the mean over patients of each patient's mean. Where all
    2 ** patients sign patterns are at most ``count``, all are taken and p is exact; else ``count`` random patterns and
    the observed one: p = (1 + as extreme) / (1 + count), never 0 (Phipson and Smyth 2010). A patient's differences
    flip together, and so do all columns.

    ``score``: ``mean`` takes the differences, ``sign`` their signs (-1, 0, 1). ``sign`` tests the median, "as many up
    as down", and so fits :func:`median_interval`. Percentile points are curved: noise that is symmetric in a model's
    logits moves the mean of points but not their median. In simulation (``benchmarks/study_statistics.py``) the
    family-wise error with Holm is 3 % by ``sign`` and 10 % by ``mean``: take ``sign`` for percentile points. Source:
    Fisher 1935; Good 2000, section 3.2.
    """
    if score not in ("mean", "sign"):
        raise SettingError(f"score {score!r}: expected mean or sign")
    array = _columns("differences", differences)
    codes, patients = _codes(groups, array, "differences")
    _count(count)
    if score == "sign":
        array = np.sign(array)
    means = np.zeros((patients, array.shape[1]))
    np.add.at(means, codes, array)
    means /= np.bincount(codes)[:, None]
    observed = np.abs(means.sum(axis=0))
    # Sums in another order differ by rounding: what equals the observed one counts as extreme.
    threshold = observed - 1e-12 * np.abs(means).sum(axis=0)
    exact = patients < 60 and 2**patients <= count
    total = 2**patients if exact else count
    extreme = np.zeros(array.shape[1], dtype=np.int64)
    at_once = max(1, _CHUNK // patients)
    for first in range(0, total, at_once):
        size = min(at_once, total - first)
        if exact:
            flips = (np.arange(first, first + size)[:, None] >> np.arange(patients)) & 1
        else:
            flips = rng.integers(2, size=(size, patients), dtype=np.int8)
        extreme += (np.abs((2.0 * flips - 1) @ means) >= threshold).sum(axis=0)
    p = extreme / total if exact else (1 + extreme) / (1 + count)
    return np.asarray(p if np.ndim(differences) == 2 else p[0], dtype=np.float64)


def _p_values(p: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """Return p as float64 of its own shape and the flat places of the defined ones, smallest first."""
    array = _values("p", p, missing=True)
    if np.any((array < 0) | (array > 1)):
        raise SettingError("p: expected values from 0 to 1, NaN where not tested")
    flat = array.ravel()
    places = np.flatnonzero(~np.isnan(flat))
    return array, places[np.argsort(flat[places], kind="stable")]


def holm(p: ArrayLike) -> Floats:
    """Return p adjusted by Holm's step-down method, same shape: bounds the family-wise error.

    NaN stays NaN and is not counted, such as the diagonal of a matrix. Source: Holm 1979; R p.adjust("holm").
    """
    array, order = _p_values(p)
    flat, result = array.ravel(), np.full(array.size, np.nan)
    ranks = np.arange(len(order), 0, -1)
    result[order] = np.minimum(np.maximum.accumulate(ranks * flat[order]), 1) if len(order) else ()
    return result.reshape(array.shape)


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Return p adjusted by Benjamini and Hochberg's step-up method, same shape: bounds the false discovery rate.

    NaN stays NaN and is not counted. Source: Benjamini and Hochberg 1995; R p.adjust("BH").
    """
    array, order = _p_values(p)
    flat, result = array.ravel(), np.full(array.size, np.nan)
    descending = order[::-1]
    factors = len(order) / np.arange(len(order), 0, -1)
    result[descending] = np.minimum(np.minimum.accumulate(factors * flat[descending]), 1) if len(order) else ()
    return result.reshape(array.shape)


# ROC curves


def _labels(labels: ArrayLike, scores: Floats, name: str = "scores") -> Bools:
    """Return labels as bool (n,); both classes are there."""
    array = _values("labels", labels, dimensions=1)
    _same_length(name, scores, "labels", array)
    if not np.isin(array, (0, 1)).all():
        raise SettingError("labels: expected 0 for absent and 1 for present")
    positive = array == 1
    if positive.all() or not positive.any():
        raise SettingError(f"labels: all are {int(positive[0])}, expected both 0 and 1")
    return np.asarray(positive)


def _midranks(values: Floats) -> Floats:
    """Return ranks from 1, ties with the mean of theirs: (n,)."""
    ascending = np.sort(values)
    below = np.searchsorted(ascending, values, side="left")
    upto = np.searchsorted(ascending, values, side="right")
    return np.asarray((below + upto + 1) / 2, dtype=np.float64)


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the area under the ROC curve: P(score of a positive > of a negative) + P(equal) / 2.

    ``scores``: (n,), higher means present. ``labels``: (n,), 0 or 1. Source: Mann and Whitney 1947, by mid-ranks.
    """
    values = _values("scores", scores, dimensions=1)
    positive = _labels(labels, values)
    return float(_shares(values, positive)[0].mean())


def _shares(values: Floats, positive: Bools) -> tuple[Floats, Floats]:
    """Return DeLong's structural components: V10 of each positive (m,), V01 of each negative (n,).

    V10: share of negatives below it; V01: share of positives above it; ties are half. Sun and Xu 2014, equation 5.
    """
    ranks = _midranks(values)
    m, n = int(positive.sum()), int((~positive).sum())
    above = (ranks[positive] - _midranks(values[positive])) / n
    below = 1 - (ranks[~positive] - _midranks(values[~positive])) / m
    return above, below


def _delong_covariance(columns: Sequence[Floats], positive: Bools, codes: Integers | None) -> tuple[Floats, Floats]:
    """Return AUCs (k,) of score columns on the same cases and their covariance (k, k).

    DeLong 1988; by patient where ``codes`` are given, Obuchowski 1997 (sums of components over a patient's
    cases, and the covariance of a patient's positives with its negatives). The second is the first where each patient
    has one case.
    """
    parts = [_shares(values, positive) for values in columns]
    areas = np.array([above.mean() for above, _ in parts])
    present, absent = (np.stack([part[side] for part in parts]) - areas[:, None] for side in (0, 1))
    m, n = present.shape[1], absent.shape[1]
    if codes is None:
        codes = np.arange(len(positive))
    groups = int(codes.max()) + 1
    sums = np.zeros((2, len(columns), groups))
    for side, (spread, owners) in enumerate(((present, codes[positive]), (absent, codes[~positive]))):
        for column in range(len(columns)):
            sums[side, column] = np.bincount(owners, weights=spread[column], minlength=groups)
    with_present, with_absent = (len(np.unique(codes[side])) for side in (positive, ~positive))
    if min(with_present, with_absent) < 2:
        raise SettingError("labels: 1 patient of a class, expected at least 2 of each for an interval")
    cross = sums[0] @ sums[1].T * groups / (groups - 1)
    covariance = (
        sums[0] @ sums[0].T * with_present / (with_present - 1) / m**2
        + sums[1] @ sums[1].T * with_absent / (with_absent - 1) / n**2
        + (cross + cross.T) / (m * n)
    )
    return areas, covariance


def _optional_codes(groups: ArrayLike | None, rows: Floats) -> Integers | None:
    return None if groups is None else _codes(groups, rows, "scores")[0]


def _separated(area: float, m: int, n: int, z: float) -> tuple[float, float]:
    """Return the limits of an AUC whose estimated variance is 0, such as 1: Newcombe 2006, method 5.

    Solves |area - theta| = z sqrt(variance(theta)) for theta, with the variance of Hanley and McNeil 1982 and both
    sample sizes in the numerator replaced by their mean.
    """
    larger = (m + n) / 2 - 1

    def beyond(theta: float) -> bool:
        shape = 1 + larger * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (area - theta) ** 2 > z**2 * theta * (1 - theta) * shape / (m * n)

    ends = []
    for end in (0.0, 1.0):
        inside, outside = area, end
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if beyond(middle) else (middle, outside)
        ends.append(inside)
    return ends[0], ends[1]


def _patients_of(positive: Bools, codes: Integers | None) -> tuple[int, int]:
    """Return how many patients have a positive and how many a negative; cases without ``codes``."""
    if codes is None:
        return int(positive.sum()), int((~positive).sum())
    return len(np.unique(codes[positive])), len(np.unique(codes[~positive]))


def delong(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, *, level: float = LEVEL) -> Interval:
    """Return the AUC with DeLong's interval on the logit scale, so that it stays within [0, 1].

    ``groups``: patients, for several cases a patient (Obuchowski 1997); without them cases count as independent. Where
    the estimated variance is 0 (classes separated), the limits are those of Newcombe 2006, method 5. At least two
    cases (patients) of each class. Source: DeLong 1988; Sun and Xu 2014; logit: Pepe 2003, section 5.2.
    """
    values = _values("scores", scores, dimensions=1)
    positive = _labels(labels, values)
    z = _z(level)
    codes = _optional_codes(groups, values)
    areas, covariance = _delong_covariance([values], positive, codes)
    area, variance = float(areas[0]), float(covariance[0, 0])
    if variance <= 1e-15 or area in (0.0, 1.0):
        return Interval(area, *_separated(area, *_patients_of(positive, codes), z), level)
    centre = np.log(area / (1 - area))
    reach = z * np.sqrt(variance) / (area * (1 - area))
    low, high = (float(1 / (1 + np.exp(-end))) for end in (centre - reach, centre + reach))
    return Interval(area, low, high, level)


def delong_paired(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    level: float = LEVEL,
) -> tuple[Interval, float]:
    """Return the difference of two AUCs on the same cases, ``first`` minus ``second``, and its two-sided p.

    The interval is plain (normal, clipped to [-1, 1]); ``groups`` as for :func:`delong`. Where the variance of the
    difference is 0, equal AUCs give (0, 0, 0) and p 1, others the limits of Newcombe 1998, method 10, and p NaN.
    """
    one = _values("first", first, dimensions=1)
    two = _values("second", second, dimensions=1)
    _same_length("first", one, "second", two)
    positive = _labels(labels, one, "first")
    z = _z(level)
    areas, covariance = _delong_covariance([one, two], positive, _optional_codes(groups, one))
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 1e-15:
        if abs(difference) < 1e-12:
            return Interval(0.0, 0.0, 0.0, level), 1.0
        a, b = (delong(values, labels, groups, level=level) for values in (one, two))
        low = difference - float(np.hypot(a.estimate - a.low, b.high - b.estimate))
        high = difference + float(np.hypot(a.high - a.estimate, b.estimate - b.low))
        return Interval(difference, max(low, -1.0), min(high, 1.0), level), float("nan")
    deviation = float(np.sqrt(variance))
    p = 2 * NormalDist().cdf(-abs(difference) / deviation)
    return Interval(difference, max(difference - z * deviation, -1.0), min(difference + z * deviation, 1.0), level), p


def auc_replicates(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, weights: Integers) -> Floats:
    """Return the AUC in each resample: (count,), NaN where a class is missing.

    ``weights``: (count, patients) of :func:`resample_groups`, patients in ascending order of ``groups``.
    """
    values = _values("scores", scores, dimensions=1)
    positive = _labels(labels, values)
    codes, patients = _codes(groups, values, "scores")
    if weights.ndim != 2 or weights.shape[1] != patients:
        raise SettingError(f"weights: shape {weights.shape}, expected (count, {patients} patients)")
    return _areas(values, positive, codes, weights)


def _areas(values: Floats, positive: Bools, codes: Integers, weights: Integers) -> Floats:
    order = np.argsort(values, kind="stable")
    ascending, present, owners = values[order], positive[order], codes[order]
    absent = np.flatnonzero(~present)
    # Of each positive: how many negatives are below it and how many below or equal, in the order of the negatives.
    below = np.searchsorted(ascending[absent], ascending[present], side="left")
    upto = np.searchsorted(ascending[absent], ascending[present], side="right")
    result = np.empty(len(weights))
    at_once = max(1, _CHUNK // len(values))
    for first in range(0, len(weights), at_once):
        part = weights[first : first + at_once].T
        counted = np.zeros((len(absent) + 1, part.shape[1]))
        np.cumsum(part[owners[absent]], axis=0, out=counted[1:])
        drawn = part[owners[present]]
        wins = (drawn * (counted[below] + counted[upto])).sum(axis=0)
        pairs = drawn.sum(axis=0) * counted[-1]
        with np.errstate(invalid="ignore"):
            result[first : first + at_once] = np.where(pairs > 0, wins / (2 * np.maximum(pairs, 1)), np.nan)
    return result


def auc_bootstrap(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    rng: np.random.Generator,
    count: int = COUNT,
    level: float = LEVEL,
) -> Interval:
    """Return the AUC with its percentile bootstrap interval by patient.

    Resamples without a class are left out. Where all resamples are equal (classes separated, or all scores equal), the
    limits are those of Newcombe 2006, method 5, with the numbers of patients. With 30 patients of a class and an AUC of
    0.9 it covers 93 % in simulation, :func:`delong` with ``groups`` 94 %.
    """
    values = _values("scores", scores, dimensions=1)
    positive = _labels(labels, values)
    codes, patients = _codes(groups, values, "scores")
    z = _z(level)
    area = auc(values, positive)
    if area in (0.0, 1.0):
        return Interval(area, *_separated(area, *_patients_of(positive, codes), z), level)
    replicates = _areas(values, positive, codes, resample_groups(patients, count, rng))
    if np.nanmax(replicates) == np.nanmin(replicates):
        return Interval(area, *_separated(area, *_patients_of(positive, codes), z), level)
    low, high = _limits(replicates, *_percentile_levels(level, patients))
    return Interval(area, float(low), float(high), level)


def auc_bootstrap_paired(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    rng: np.random.Generator,
    count: int = COUNT,
    level: float = LEVEL,
) -> Interval:
    """Return the difference of two AUCs on the same cases, ``first`` minus ``second``, with its interval by patient."""
    one = _values("first", first, dimensions=1)
    two = _values("second", second, dimensions=1)
    _same_length("first", one, "second", two)
    positive = _labels(labels, one, "first")
    codes, patients = _codes(groups, one, "first")
    _z(level)
    weights = resample_groups(patients, count, rng)
    replicates = _areas(one, positive, codes, weights) - _areas(two, positive, codes, weights)
    low, high = _limits(replicates, *_percentile_levels(level, patients))
    return Interval(auc(one, positive) - auc(two, positive), float(low), float(high), level)


# Proportions


def wilson(successes: float, trials: float, level: float = LEVEL) -> Interval:
    """Return a proportion with Wilson's score interval, without continuity correction.

    ``successes`` may be a fraction, such as an unsure read counted as half. No trials: NaN in [0, 1]. Source: Wilson
    1927; Newcombe 1998, method 3.
    """
    z = _z(level)
    if not (np.isfinite(successes) and np.isfinite(trials) and 0 <= successes <= trials):
        raise SettingError(f"successes {successes:g} of {trials:g}: expected finite counts, 0 <= successes <= trials")
    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0, level)
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    reach = z * float(np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)))
    scale = 1 + z**2 / trials
    # The limits of 0 and of all are exact, not 1e-17 beside.
    low = 0.0 if successes == 0 else max((centre - reach) / scale, 0.0)
    high = 1.0 if successes == trials else min((centre + reach) / scale, 1.0)
    return Interval(float(share), float(low), float(high), level)


# Agreement


def rating_counts(ratings: ArrayLike, categories: Sequence[float] | None = None) -> Floats:
    """Return how many raters gave each category to each subject: (subjects, categories).

    ``ratings``: (subjects, raters), numbers as names of categories, NaN where a rater gave none. ``categories``: all
    that could be given, in the order of the columns; without it those that were given, ascending.
    """
    array = _values("ratings", ratings, dimensions=2, missing=True)
    given = np.unique(array[~np.isnan(array)])
    known = given if categories is None else _values("categories", list(categories), dimensions=1)
    if len(np.unique(known)) != len(known):
        raise SettingError("categories: one comes twice, expected each once")
    strange = np.setdiff1d(given, known)
    if len(strange):
        raise SettingError(f"ratings: hold {strange[0]:g}, expected one of {', '.join(f'{one:g}' for one in known)}")
    return np.asarray((array[:, :, None] == known).sum(axis=1), dtype=np.float64)


def _agreement_counts(ratings: ArrayLike, counts: bool, categories: Sequence[float] | None) -> Floats:
    """Return the counts of subjects with at least one rating: (subjects, categories)."""
    if not counts:
        array = rating_counts(ratings, categories)
    else:
        array = _values("counts", ratings, dimensions=2)
        if np.any(array < 0) or np.any(array != np.round(array)):
            raise SettingError("counts: expected whole numbers of raters, 0 or more")
    return np.asarray(array[array.sum(axis=1) > 0])


def _observed_agreement(counts: Floats) -> float:
    """Return the mean share of agreeing pairs of raters, over subjects with at least two ratings; else NaN."""
    raters = counts.sum(axis=1)
    several = raters >= 2
    if not several.any():
        return float("nan")
    pairs = (counts * (counts - 1)).sum(axis=1)[several] / (raters * (raters - 1))[several]
    return float(pairs.mean())


def _chance_corrected(observed: float, chance: float) -> float:
    if np.isnan(observed) or 1 - chance < 1e-12:
        return float("nan")
    return float((observed - chance) / (1 - chance))


def percent_agreement(ratings: ArrayLike, *, counts: bool = False, categories: Sequence[float] | None = None) -> float:
    """Return the mean share of agreeing pairs of raters, in [0, 1]; NaN where no subject has two ratings.

    ``ratings``: (subjects, raters), NaN where missing; with ``counts``: (subjects, categories), numbers of raters.
    """
    return _observed_agreement(_agreement_counts(ratings, counts, categories))


def cohen_kappa(first: ArrayLike, second: ArrayLike) -> float:
    """Return Cohen's unweighted kappa of two raters; NaN where undefined (both gave one same category only).

    ``first``, ``second``: (n,), numbers as names of categories; subjects with NaN of either are left out. Source:
    Cohen 1960, equation 1.
    """
    one = _values("first", first, dimensions=1, missing=True)
    two = _values("second", second, dimensions=1, missing=True)
    _same_length("first", one, "second", two)
    both = ~(np.isnan(one) | np.isnan(two))
    one, two = one[both], two[both]
    if len(one) == 0:
        return float("nan")
    names = np.union1d(one, two)
    chance = float(sum((one == name).mean() * (two == name).mean() for name in names))
    return _chance_corrected(float((one == two).mean()), chance)


def fleiss_kappa(ratings: ArrayLike, *, counts: bool = False, categories: Sequence[float] | None = None) -> float:
    """Return Fleiss' kappa of any number of raters; NaN where undefined (only one category was given).

    ``ratings``: (subjects, raters), NaN where missing; with ``counts``: (subjects, categories), numbers of raters. With
    missing ratings: agreement over subjects with at least two, shares of the categories over those with at least one.
    Source: Fleiss 1971; missing: Gwet 2014, section 2.4, as in irrCAC.
    """
    table = _agreement_counts(ratings, counts, categories)
    if not len(table):
        return float("nan")
    shares = (table / table.sum(axis=1, keepdims=True)).mean(axis=0)
    return _chance_corrected(_observed_agreement(table), float((shares**2).sum()))


def gwet_ac1(ratings: ArrayLike, *, counts: bool = False, categories: Sequence[float] | None = None) -> float:
    """Return Gwet's AC1, which stays defined and near the agreement where one category prevails.

    Arguments and missing ratings as for :func:`fleiss_kappa`. It depends on the number of categories: name all that
    could be given by ``categories``. NaN where fewer than two are known. Source: Gwet 2008, equations 4 and 5.
    """
    table = _agreement_counts(ratings, counts, categories)
    if not len(table) or table.shape[1] < 2:
        return float("nan")
    shares = (table / table.sum(axis=1, keepdims=True)).mean(axis=0)
    chance = float((shares * (1 - shares)).sum()) / (table.shape[1] - 1)
    return _chance_corrected(_observed_agreement(table), chance)
