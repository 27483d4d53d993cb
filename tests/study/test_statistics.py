"""Statistics of a study against published examples, and against scipy 1.17.1, statsmodels 0.15.0, scikit-learn 1.9.1.

Those packages are no dependency: their numbers were computed once, by the call that stands beside them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.study import statistics
from roentmod_fast.study.statistics import (
    Interval,
    auc,
    auc_bootstrap,
    auc_bootstrap_paired,
    auc_replicates,
    benjamini_hochberg,
    bootstrap,
    cohen_kappa,
    delong,
    delong_paired,
    equivalence,
    fleiss_kappa,
    gwet_ac1,
    holm,
    mean_interval,
    median_contrast,
    median_difference,
    median_interval,
    median_replicates,
    percent_agreement,
    percentiles,
    rating_counts,
    resample_groups,
    sign_flip,
    wilson,
)

NAN = float("nan")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Percentiles and shifts


def test_percentiles_are_mid_ranks() -> None:
    # [scipy.stats.percentileofscore(reference, v, kind="mean") for v in values]
    found = percentiles([1, 2, 2, 3, 5, 5, 5, 8], [0, 1, 2, 4, 5, 8, 9])
    assert found.tolist() == [0, 6.25, 25, 50, 68.75, 93.75, 100]


def test_percentiles_keep_the_shape_and_a_constant_reference_is_the_middle() -> None:
    assert percentiles([0.5] * 3, np.full((2, 3, 4), 0.5)).shape == (2, 3, 4)
    assert percentiles([0.5] * 3, [0.4, 0.5, 0.6]).tolist() == [0, 50, 100]


def test_percentiles_do_not_change_under_a_rising_transformation() -> None:
    scores, values = np.sort(rng().normal(size=200)), rng(1).normal(size=50)
    logistic = [1 / (1 + np.exp(-part)) for part in (scores, values)]
    assert np.array_equal(percentiles(scores, values), percentiles(*logistic))


def test_the_median_of_paired_differences_is_no_difference_of_medians() -> None:
    before, after = np.array([1.0, 2, 9]), np.array([4.0, 3, 8])
    assert median_difference(before, after) == 1
    assert np.median(after) - np.median(before) == 2
    assert median_difference(np.stack([before, after], 1), np.stack([after, before], 1)).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (-1, 2, "equivalent"),
        (1, 2, "equivalent"),  # excludes 0 as well: real and too small
        (6, 9, "different"),
        (2, 9, "different"),
        (-9, -2, "different"),
        (-2, 9, "undecided"),
        (-5, 5, "undecided"),  # a limit on the margin is not inside
        (0, 9, "undecided"),
        (NAN, NAN, "undecided"),
    ],
)
def test_equivalence(low: float, high: float, answer: str) -> None:
    assert equivalence(Interval((low + high) / 2, low, high), 5) == answer


# Resampling by patient


def test_every_resample_has_as_many_patients_and_is_uniform() -> None:
    weights = resample_groups(7, 4000, rng())
    assert weights.shape == (4000, 7) and (weights.sum(axis=1) == 7).all()
    assert np.allclose(weights.mean(axis=0), 1, atol=0.06)
    assert np.allclose(weights.var(axis=0), 6 / 7, atol=0.1)  # of Binomial(7, 1/7)


def test_resamples_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, values = resample_groups(9, 100, rng()), rng(1).normal(size=(18, 2))
    medians = median_replicates(values, np.repeat(np.arange(9), 2), whole)
    monkeypatch.setattr(statistics, "_CHUNK", 50)
    assert np.array_equal(resample_groups(9, 100, rng()), whole)
    assert np.array_equal(median_replicates(values, np.repeat(np.arange(9), 2), whole), medians)


@pytest.mark.parametrize("ties", [False, True])
def test_medians_of_resamples_are_those_of_repeated_rows(ties: bool) -> None:
    groups = rng(3).integers(6, size=25) * 10 - 7  # any codes, any order, unequal sizes
    values = rng(4).integers(4, size=(25, 3)).astype(float) if ties else rng(4).normal(size=(25, 3))
    names = np.unique(groups)
    weights = resample_groups(len(names), 200, rng(5))
    for row, found in zip(weights, median_replicates(values, groups, weights), strict=True):
        repeated = np.concatenate(
            [values[groups == name] for name, times in zip(names, row, strict=True) for _ in range(times)]
        )
        assert np.array_equal(found, np.median(repeated, axis=0))


def test_fast_intervals_are_those_of_the_general_bootstrap() -> None:
    groups, values = rng(6).integers(12, size=40), rng(7).normal(size=(40, 3))
    fast = median_interval(values, groups, rng=rng(8), count=300)
    slow = bootstrap(values, groups, lambda rows: np.median(rows, axis=0), rng=rng(8), count=300)
    assert fast == slow.tolist()
    means = mean_interval(values, groups, rng=rng(8), count=300)
    general = bootstrap(values, groups, lambda rows: rows.mean(axis=0), rng=rng(8), count=300)
    assert np.allclose([(one.low, one.high) for one in means], [(one.low, one.high) for one in general], atol=1e-12)
    labels = rng(9).integers(2, size=40)
    pairs = np.stack([values[:, 0], labels], axis=1)
    areas = bootstrap(pairs, groups, lambda rows: auc(rows[:, 0], rows[:, 1]), rng=rng(8), count=300)
    found = auc_bootstrap(values[:, 0], labels, groups, rng=rng(8), count=300)
    assert np.allclose([found.low, found.high], [areas.low, areas.high], atol=1e-12)


def test_scores_that_are_all_equal_have_limits_by_their_number() -> None:
    limits = []
    for count in (6, 60):
        labels = np.arange(count) % 2
        found = auc_bootstrap(np.ones(count), labels, range(count), rng=rng(), count=100)
        assert found.estimate == 0.5 and found.low < 0.5 < found.high
        plain = delong(np.ones(count), labels)
        assert (found.low, found.high) == pytest.approx((plain.low, plain.high))
        limits.append(found.high - found.low)
    assert limits[1] < limits[0] / 2


def test_names_and_order_of_patients_do_not_matter() -> None:
    values, groups = rng().normal(size=(30, 2)), np.repeat(np.arange(10), 3)
    base = median_interval(values, groups, rng=rng(1), count=200)
    assert median_interval(values, [f"p{code}" for code in groups], rng=rng(1), count=200) == base
    order = rng(2).permutation(30)
    assert median_interval(values[order], groups[order], rng=rng(1), count=200) == base
    assert median_interval(values[:, 0], groups, rng=rng(1), count=200) == base[:1]
    assert median_interval(values, groups, rng=rng(1), count=200) == base, "the same generator gives the same"
    assert median_interval(values, groups, rng=rng(2), count=200) != base


EFRON = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
"""Efron and Tibshirani 1993, table 14.1, A: spatial test data. Table 14.2: variance 171.5, BCa 90 % 115.8 to 259.6."""


def test_bca_of_the_spatial_test_data() -> None:
    found = bootstrap(EFRON, range(26), np.var, rng=rng(), count=6000, method="bca", level=0.9)
    assert found.estimate == pytest.approx(171.534, abs=1e-3)
    # scipy.stats.bootstrap((A,), numpy.var, n_resamples=200000, confidence_level=0.9, method="BCa"): 115.82, 261.16
    assert found.low == pytest.approx(115.82, abs=2)
    assert found.high == pytest.approx(261.16, abs=3)


def test_percentile_levels_are_expanded_for_few_patients() -> None:
    # scipy.stats.norm.cdf(-scipy.stats.t.ppf(0.975, G - 1) * sqrt(G / (G - 1)))
    for patients, low in ((2, 0.0), (3, 6.834e-08), (5, 0.000954), (10, 0.008551), (20, 0.015881), (100, 0.023064)):
        assert statistics._percentile_levels(0.95, patients)[0] == pytest.approx(low, rel=1e-3, abs=1e-12)
    assert statistics._percentile_levels(0.95, 10**6)[0] == pytest.approx(0.025, abs=1e-6)
    # scipy.stats.t.ppf(0.975, freedom)
    for freedom, quantile in ((1, 12.7062047), (2, 4.3026527), (3, 3.1824463), (10, 2.2281389), (99, 1.984217)):
        assert statistics._t_quantile(0.95, freedom) == pytest.approx(quantile, rel=1e-7)


def test_undefined_resamples_are_left_out() -> None:
    half = bootstrap([1.0, 1, 1, 0], range(4), lambda rows: float(rows.mean()) if rows.max() > 0 else NAN, rng=rng())
    assert half.estimate == 0.75 and 0 < half.low <= half.high <= 1
    never = bootstrap([1.0, 2], [0, 1], lambda rows: NAN, rng=rng(), count=20)
    assert np.isnan([never.estimate, never.low, never.high]).all()
    rare = bootstrap([1.0, 2, 3], range(3), lambda rows: 1.0 if len(set(rows)) == 3 else NAN, rng=rng(), count=200)
    assert rare.estimate == 1 and np.isnan([rare.low, rare.high]).all()


def test_a_mean_leaves_out_what_is_missing() -> None:
    values = np.array([[1, NAN], [0, NAN], [1, NAN], [NAN, NAN]])
    first, second = mean_interval(values, [0, 0, 1, 2], rng=rng(), count=100)
    assert first.estimate == pytest.approx(2 / 3) and 0 <= first.low <= first.high <= 1
    assert np.isnan([second.estimate, second.low, second.high]).all()


def test_a_contrast_draws_a_patient_for_both_sides() -> None:
    values, groups = rng().normal(size=(60, 2)), np.repeat(np.arange(30), 2)
    [none, shifted] = median_contrast(values, groups, values - [0, 3], groups, rng=rng(1), count=200)
    assert (none.estimate, none.low, none.high) == (0, 0, 0), "the same rows differ in no resample"
    assert np.allclose([shifted.estimate, shifted.low, shifted.high], 3)
    # A side may lack patients; strings and numbers are not the same patients.
    [part, _] = median_contrast(values, groups, values[:40], groups[:40], rng=rng(1), count=200)
    assert part.low < part.estimate < part.high
    with pytest.raises(SettingError, match="same patients"):
        median_contrast(values, groups, values, [str(code) for code in groups], rng=rng())


def test_a_study_takes_well_under_a_second() -> None:
    values = rng().normal(size=(100, 36))
    started = time.process_time()
    median_interval(values, range(100), rng=rng())
    sign_flip(values, range(100), rng=rng())
    assert time.process_time() - started < 1.5  # 0.1 s on an idle CPU


# Tests


def test_sign_flips_are_enumerated_where_few() -> None:
    differences = np.array([1.2, -0.3, 0.8, 2.1, 0.4, -0.9, 1.7, 0.6])
    # scipy.stats.permutation_test((d,), mean, permutation_type="samples", n_resamples=inf).pvalue
    assert float(sign_flip(differences, range(8), rng=rng())) == 0.1015625
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    byhand = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9).mean()
    assert float(sign_flip(differences, range(8), rng=rng())) == byhand
    assert float(sign_flip(differences, range(8), rng=rng(), count=255)) != byhand, "256 patterns are more than 255"
    assert float(sign_flip(differences, range(8), rng=rng(), count=200_000 // 800 + 5)) == pytest.approx(
        byhand, abs=0.06
    )


def test_sign_flips_take_means_of_patients() -> None:
    groups = np.array([3, 3, 3, 1, 2, 2])
    values = np.array([1.0, 2, 3, 4, -1, 2])
    means = [2.0, 4.0, 0.5]
    assert sign_flip(values, groups, rng=rng()) == sign_flip(means, range(3), rng=rng()) == 0.25
    both = sign_flip(np.stack([values, -values], 1), groups, rng=rng())
    assert both.tolist() == [0.25, 0.25], "two-sided"


def test_sign_flip_is_never_zero_and_a_column_of_zeros_is_one() -> None:
    values = np.stack([np.full(40, 5.0), np.zeros(40)], axis=1)
    assert sign_flip(values, range(40), rng=rng(), count=999).tolist() == [0.001, 1.0]


def test_the_sign_score_is_the_sign_test() -> None:
    values = [3.0, 0.1, 7, 2, 5, -0.2, 1, 4, 6, -40]
    # scipy.stats.binomtest(8, 10).pvalue
    assert float(sign_flip(values, range(10), rng=rng(), score="sign")) == pytest.approx(0.109375)
    assert float(sign_flip(values, range(10), rng=rng())) > 0.9, "one outlier holds the mean"


P = [0.01, 0.02, 0.03, 0.04, 0.05, 0.001, 0.2, 1.0]


def test_holm_and_benjamini_hochberg() -> None:
    # statsmodels.stats.multitest.multipletests(P, method="holm"), method="fdr_bh"
    assert np.allclose(holm(P), [0.07, 0.12, 0.15, 0.16, 0.16, 0.008, 0.4, 1.0])
    wanted = [0.04, 0.16 / 3, 0.06, 0.064, 0.2 / 3, 0.008, 1.6 / 7, 1.0]
    assert np.allclose(benjamini_hochberg(P), wanted)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_adjusted_p_keeps_nan_and_shape(adjust: Callable[[Any], Any]) -> None:
    matrix = np.array([[NAN, 0.01, 0.04], [0.03, NAN, 0.2]])
    found = adjust(matrix)
    assert np.array_equal(np.isnan(found), np.isnan(matrix))
    assert np.array_equal(found[~np.isnan(found)], adjust(matrix[~np.isnan(matrix)]))
    assert np.isnan(adjust([NAN, NAN])).all()
    assert adjust([0.6, 0.7]).max() <= 1 and adjust([0.04]).tolist() == [0.04]


# ROC curves

SCORES = [0.1, 0.4, 0.35, 0.8, 0.4, 0.9, 0.7, 0.2, 0.35, 0.6]
OTHERS = [0.2, 0.3, 0.5, 0.7, 0.6, 0.8, 0.4, 0.1, 0.6, 0.55]
LABELS = [0, 0, 1, 1, 1, 1, 0, 0, 0, 1]


def components(scores: Any, labels: Any) -> tuple[Any, Any]:
    """Return DeLong's V10 and V01 by their definition: DeLong 1988, equations 4 and 5."""
    present = [score for score, label in zip(scores, labels, strict=True) if label]
    absent = [score for score, label in zip(scores, labels, strict=True) if not label]
    psi = np.array([[(x > y) + (x == y) / 2 for y in absent] for x in present])
    return psi.mean(axis=1), psi.mean(axis=0)


def test_auc_counts_ties_as_half() -> None:
    assert auc(SCORES, LABELS) == pytest.approx(0.8)  # sklearn.metrics.roc_auc_score(LABELS, SCORES)
    assert auc([1, 1, 1], [0, 1, 1]) == 0.5
    assert auc([1, 2], [False, True]) == 1 and auc([2, 1], [0, 1]) == 0


def test_delong_by_its_definition() -> None:
    (a10, a01), (b10, b01) = components(SCORES, LABELS), components(OTHERS, LABELS)
    variance = a10.var(ddof=1) / 5 + a01.var(ddof=1) / 5
    assert variance == pytest.approx(0.022)
    reach = 1.959964 * math.sqrt(0.022) / (0.8 * 0.2)
    found = delong(SCORES, LABELS)
    limits = [1 / (1 + math.exp(-(math.log(4) + side * reach))) for side in (-1, 1)]
    assert np.allclose([found.estimate, found.low, found.high], [0.8, *limits], atol=1e-6)
    paired = (a10 - b10).var(ddof=1) / 5 + (a01 - b01).var(ddof=1) / 5
    difference, p = delong_paired(SCORES, OTHERS, LABELS)
    assert difference.estimate == pytest.approx(-0.1)
    assert difference.low == pytest.approx(-0.1 - 1.959964 * math.sqrt(paired), abs=1e-6)
    assert p == pytest.approx(0.5761501)  # 2 * scipy.stats.norm.sf(0.1 / sqrt(paired))


def test_delong_by_patient_is_delong_with_one_case_each() -> None:
    one, other = delong(SCORES, LABELS, list(range(10))[::-1]), delong(SCORES, LABELS)
    assert np.allclose([one.low, one.high], [other.low, other.high])
    # Every case twice, as the same patient: no more is known.
    twice = delong(SCORES * 2, LABELS * 2, list(range(10)) * 2)
    assert np.allclose([twice.low, twice.high], [other.low, other.high])
    naive = delong(SCORES * 2, LABELS * 2)
    assert naive.high - naive.low < 0.8 * (twice.high - twice.low)


def test_separated_classes_have_an_interval() -> None:
    for found in (
        delong([1, 2, 3, 4], [0, 0, 1, 1]),
        auc_bootstrap([1, 2, 3, 4], [0, 0, 1, 1], range(4), rng=rng()),
    ):
        assert found.estimate == 1 == found.high and 0.2 < found.low < 0.8
    larger = delong([0] * 50 + [1] * 50, [0] * 50 + [1] * 50)
    assert 0.9 < larger.low < 1
    mirrored = delong([1] * 50 + [0] * 50, [0] * 50 + [1] * 50)
    assert mirrored.low == 0 and mirrored.high == pytest.approx(1 - larger.low)
    # All scores equal: an AUC of 0.5 without estimated variance.
    level = delong([1.0] * 20, [0, 1] * 10)
    assert level.low < 0.4 and level.high > 0.6


def test_paired_aucs_that_do_not_vary() -> None:
    same, p = delong_paired(SCORES, SCORES, LABELS)
    assert (same.estimate, same.low, same.high, p) == (0, 0, 0, 1)
    opposite, p = delong_paired([1, 2, 3, 4], [4, 3, 2, 1], [0, 0, 1, 1])
    assert opposite.estimate == 1 and opposite.low < 0.6 and math.isnan(p)
    found = auc_bootstrap_paired(SCORES, SCORES, LABELS, range(10), rng=rng())
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_resamples_of_an_auc_are_those_of_repeated_cases() -> None:
    weights = resample_groups(5, 50, rng())
    groups = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    for row, found in zip(weights, auc_replicates(SCORES, LABELS, groups, weights), strict=True):
        cases = np.repeat(np.arange(10), row[groups])
        labels = np.array(LABELS)[cases]
        if labels.all() or not labels.any():
            assert math.isnan(found)
        else:
            assert found == pytest.approx(auc(np.array(SCORES)[cases], labels))
    difference = auc_bootstrap_paired(SCORES, OTHERS, LABELS, groups, rng=rng())
    assert difference.estimate == pytest.approx(-0.1)
    assert difference.low < difference.estimate < difference.high


# Proportions


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_newcombe_s_table(successes: int, trials: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    found = wilson(successes, trials)
    assert found.estimate == successes / trials
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    mirrored = wilson(trials - successes, trials)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_wilson_at_its_ends() -> None:
    assert wilson(20, 20).high == 1 and wilson(0, 20).low == 0
    none = wilson(0, 0)
    assert math.isnan(none.estimate) and (none.low, none.high) == (0, 1)
    assert wilson(2.5, 10).estimate == 0.25
    assert wilson(5, 10, level=0.5).high < wilson(5, 10).high


# Agreement

FLEISS = """00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"""
"""Fleiss 1971, table 1: 30 patients, 6 psychiatrists each, 5 diagnoses; agreement 0.5556, kappa 0.430."""

RATERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T
"""Gwet 2014, table 2.10 (irrCAC's cac.raw4raters): agreement 0.8182, Fleiss' kappa 0.76117, AC1 0.77544."""


def test_fleiss_kappa_of_the_psychiatric_diagnoses() -> None:
    counts = [[int(digit) for digit in row] for row in FLEISS.split()]
    assert fleiss_kappa(counts, counts=True) == pytest.approx(0.430245, abs=1e-6)  # statsmodels fleiss_kappa
    assert percent_agreement(counts, counts=True) == pytest.approx(0.5556, abs=1e-4)
    ratings = [np.repeat(np.arange(5), row) for row in counts]
    assert fleiss_kappa(ratings) == pytest.approx(0.430245, abs=1e-6)
    assert np.array_equal(rating_counts(ratings), counts)


def test_agreement_with_missing_ratings() -> None:
    assert percent_agreement(RATERS) == pytest.approx(0.8181818, abs=1e-7)
    assert fleiss_kappa(RATERS) == pytest.approx(0.76117, abs=1e-5)
    assert gwet_ac1(RATERS) == pytest.approx(0.77544, abs=1e-5)
    nobody = np.vstack([RATERS, np.full((3, 4), NAN)])
    assert gwet_ac1(nobody) == gwet_ac1(RATERS)


def pairs(*cells: tuple[int, int, int]) -> Any:
    """Return two raters' ratings (n, 2) of a table's cells: first, second, count."""
    return np.repeat([cell[:2] for cell in cells], [cell[2] for cell in cells], axis=0).astype(float)


def test_cohen_kappa_of_1960() -> None:
    """Cohen 1960, table 2: 200 subjects, agreement 0.70, 0.41 by chance, kappa 0.492."""
    table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    both = pairs(*((row, column, table[row][column]) for row in range(3) for column in range(3)))
    # statsmodels.stats.inter_rater.cohens_kappa(table).kappa
    assert cohen_kappa(both[:, 0], both[:, 1]) == pytest.approx(0.491525, abs=1e-6)
    more = np.vstack([both, [[1, NAN], [NAN, 2]]])
    assert cohen_kappa(more[:, 0], more[:, 1]) == cohen_kappa(both[:, 0], both[:, 1])


def test_the_paradox_of_kappa() -> None:
    """Gwet 2002: 118, 5, 2 and 0 of 125: agreement 0.944, kappa -0.0234, AC1 0.9408."""
    both = pairs((1, 1, 118), (1, 0, 5), (0, 1, 2))
    assert percent_agreement(both) == pytest.approx(0.944)
    assert cohen_kappa(both[:, 0], both[:, 1]) == pytest.approx(-0.0234, abs=1e-4)
    assert gwet_ac1(both) == pytest.approx(0.9408, abs=1e-4)


def test_agreement_is_nan_where_undefined() -> None:
    same = np.ones((5, 2))
    assert math.isnan(cohen_kappa(same[:, 0], same[:, 1])) and math.isnan(fleiss_kappa(same))
    assert math.isnan(gwet_ac1(same)) and gwet_ac1(same, categories=[0, 1]) == 1
    assert percent_agreement(same) == 1
    alone = np.array([[1, NAN], [NAN, 0]])
    for measure in (percent_agreement, fleiss_kappa, gwet_ac1):
        assert math.isnan(measure(alone))
        assert math.isnan(measure(np.full((2, 2), NAN)))
    assert math.isnan(cohen_kappa([NAN, 1], [1, NAN]))


def test_ac1_depends_on_the_categories_that_could_be_given() -> None:
    both = pairs((1, 1, 10), (0, 0, 8), (1, 0, 2))
    assert gwet_ac1(both, categories=[0, 1]) == gwet_ac1(both) < gwet_ac1(both, categories=[0, 1, 2])
    with pytest.raises(SettingError, match="hold 0, expected one of 1, 2"):
        gwet_ac1(both, categories=[1, 2])


def test_agreement_by_patient() -> None:
    ratings = np.where(rng().random((60, 3)) < 0.1, NAN, rng(1).integers(2, size=(60, 3)))
    found = bootstrap(ratings, np.arange(60) // 3, gwet_ac1, rng=rng(), count=100, missing=True)
    assert found.low < found.estimate < found.high


# Simulation


def test_intervals_cover_and_tests_keep_their_level() -> None:
    """A small part of benchmarks/study_statistics.py: 300 trials at once, as columns."""
    trials, patients = 300, 40
    groups = np.repeat(np.arange(patients), 2)
    draw = rng(11)
    own = draw.normal(size=(patients, trials))[groups]
    values = 3 + 5 * (own + draw.normal(size=(80, trials)))
    hits = sum(one.low <= 3 <= one.high for one in median_interval(values, groups, rng=draw, count=500))
    assert 0.91 <= hits / trials <= 0.99  # 0.95 -+ 3 standard errors of 300 trials
    p = sign_flip(values - 3, groups, rng=draw, count=1999)
    assert 0.012 <= (p <= 0.05).mean() <= 0.09
    families = [holm(p[first : first + 30]).min() <= 0.05 for first in range(0, trials, 30)]
    assert sum(families) <= 4  # of 10 at 0.05: more has a chance of 6e-5


# Errors

CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "empty reference": (lambda: percentiles([], [1]), "reference: empty"),
    "unsorted reference": (lambda: percentiles([2, 1], [1]), "not ascending"),
    "NaN in values": (lambda: percentiles([1, 2], [NAN]), "values: holds NaN"),
    "infinity in values": (lambda: percentiles([1, 2], [np.inf]), "values: holds NaN or infinity"),
    "two-dimensional reference": (lambda: percentiles([[1, 2]], [1]), "expected 1 dimension"),
    "text": (lambda: percentiles([1, 2], ["a"]), "values: expected numbers"),
    "numbers as text": (lambda: percentiles([1, 2], ["1"]), "values: expected numbers"),
    "dates": (lambda: percentiles([1, 2], np.array(["2026-11-27"], "M8[D]")), "values: expected numbers"),
    "None": (lambda: percentiles([1, 2], [None, object()]), "values: expected numbers"),
    "complex": (lambda: percentiles([1, 2], [1j]), "values: expected numbers"),
    "ragged": (lambda: median_interval([[1, 2], [1]], [0, 1], rng=rng()), "expected numbers"),  # type: ignore[list-item]
    "shapes of pairs": (lambda: median_difference([1, 2], [1]), "after: shape"),
    "margin of 0": (lambda: equivalence(Interval(0, -1, 1), 0), "margin 0: expected above 0"),
    "margin NaN": (lambda: equivalence(Interval(0, -1, 1), NAN), "margin nan"),
    "no patients": (lambda: median_interval([1, 2], [], rng=rng()), "groups: shape"),
    "other length": (lambda: median_interval([1, 2], [1], rng=rng()), "groups: 1 rows, expected as many as"),
    "a single patient": (lambda: median_interval([1, 2], [7, 7], rng=rng()), "1 patient, expected at least 2"),
    "a single patient of a test": (lambda: sign_flip([1, 2], [7, 7], rng=rng()), "1 patient, expected at least 2"),
    "a single patient, bootstrap": (lambda: bootstrap([1, 2], [7, 7], np.var, rng=rng()), "1 patient, expected"),
    "a single patient, mean": (lambda: mean_interval([1, 2], [7, 7], rng=rng()), "1 patient, expected"),
    "a single patient, AUC": (lambda: auc_bootstrap([1, 2], [0, 1], [7, 7], rng=rng()), "1 patient, expected"),
    "NaN as a patient": (lambda: median_interval([1, 2], [0, NAN], rng=rng()), "groups: holds NaN"),
    "objects as patients": (lambda: median_interval([1, 2], [None, {}], rng=rng()), "groups: expected whole numbers"),
    "NaN differences": (lambda: median_interval([1, NAN], [0, 1], rng=rng()), "differences: holds NaN"),
    "empty differences": (lambda: sign_flip(np.empty((0, 3)), [], rng=rng()), "differences: empty"),
    "no columns": (lambda: median_interval(np.empty((3, 0)), range(3), rng=rng()), "differences: empty"),
    "three dimensions": (
        lambda: median_interval(np.ones((3, 1, 1)), range(3), rng=rng()),
        r"expected \(rows, columns\)",
    ),
    "no resamples": (lambda: median_interval([1, 2], [0, 1], rng=rng(), count=0), "count 0"),
    "level of 95": (lambda: median_interval([1, 2], [0, 1], rng=rng(), level=95), "level 95: expected between"),
    "level of 1": (lambda: wilson(1, 2, 1.0), "level 1"),
    "method": (lambda: bootstrap([1, 2], [0, 1], np.var, rng=rng(), method="x"), "expected percentile or bca"),  # type: ignore[call-overload]
    "score": (lambda: sign_flip([1, 2], [0, 1], rng=rng(), score="x"), "expected mean or sign"),  # type: ignore[arg-type]
    "missing not allowed": (lambda: bootstrap([1, NAN], [0, 1], np.var, rng=rng()), "holds NaN"),
    "infinite mean": (lambda: mean_interval([1, np.inf], [0, 1], rng=rng()), "holds infinity"),
    "columns of a contrast": (lambda: median_contrast([[1, 2]], [0], [[1]], [1], rng=rng()), "1 columns"),
    "weights of other patients": (
        lambda: median_replicates([1, 2], [0, 1], np.ones((3, 3), dtype=np.int64)),
        "weights",
    ),
    "AUC weights": (lambda: auc_replicates([1, 2], [0, 1], [0, 1], np.ones((3, 3), dtype=np.int64)), "weights"),
    "p above 1": (lambda: holm([0.1, 1.2]), "p: expected values from 0 to 1"),
    "p below 0": (lambda: benjamini_hochberg([-0.1]), "p: expected values from 0 to 1"),
    "no p": (lambda: holm([]), "p: empty"),
    "one class": (lambda: auc([1, 2], [1, 1]), "labels: all are 1, expected both"),
    "no positive": (lambda: delong([1, 2], [0, 0]), "labels: all are 0"),
    "other labels": (lambda: auc([1, 2, 3], [0, 1, 2]), "labels: expected 0 for absent"),
    "NaN label": (lambda: auc([1, 2], [0, NAN]), "labels: holds NaN"),
    "labels of other length": (lambda: auc([1, 2], [0, 1, 1]), "labels: 3 rows"),
    "one positive": (lambda: delong([1, 2, 3], [0, 0, 1]), "1 patient of a class"),
    "paired lengths": (lambda: delong_paired([1, 2], [1], [0, 1]), "second: 1 rows"),
    "paired one class": (lambda: auc_bootstrap_paired([1, 2], [1, 2], [1, 1], [0, 1], rng=rng()), "all are 1"),
    "more than all": (lambda: wilson(3, 2), "successes 3 of 2"),
    "below 0": (lambda: wilson(-1, 2), "successes -1 of 2"),
    "NaN trials": (lambda: wilson(0, NAN), "successes 0 of nan"),
    "flat ratings": (lambda: fleiss_kappa([1, 2, 3]), "ratings: shape"),
    "no ratings": (lambda: gwet_ac1(np.empty((0, 2))), "ratings: empty"),
    "negative counts": (lambda: fleiss_kappa([[1, -1]], counts=True), "counts: expected whole numbers"),
    "half counts": (lambda: fleiss_kappa([[1, 0.5]], counts=True), "counts: expected whole numbers"),
    "a category twice": (lambda: gwet_ac1([[1, 1]], categories=[1, 1]), "one comes twice"),
    "raters of other length": (lambda: cohen_kappa([1, 2], [1]), "second: 1 rows"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_an_error_of_one_line(name: str) -> None:
    call, message = CASES[name]
    with pytest.raises(SettingError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
