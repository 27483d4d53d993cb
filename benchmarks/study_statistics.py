"""Do the study's intervals cover and its tests keep their level? Simulation; no images. Writes a report.

    python benchmarks/study_statistics.py [--trials 2000] [--out FILE]

A trial is a study of 100 patients, each edited twice by each of 6 prompts, with 6 findings read by a classifier: 36
cells. A logit of an edit is that of its source (normal, of a patient) plus the shift, a patient's own reaction and
noise; logits become percentiles of a reference of 5,000. So the differences in points are clustered by patient and
curved by the percentile scale. True medians are those of 100,000 pairs.

``coverage``: share of trials whose 95 % interval holds the truth. ``family_wise_error``: share of trials with at least
one of the 30 off-diagonal cells at Holm's p <= 0.05 while all shifts are 0. ``power``: share of trials in which a
planted off-diagonal shift is found, among 27 cells without one. AUCs are of binormal scores.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.machine import machine_facts
from roentmod_fast.study import statistics

Floats = NDArray[np.float64]
OUT = Path(__file__).parent / "results" / "study_statistics.json"
PATIENTS, REPEATS, PROMPTS, FINDINGS = 100, 2, 6, 6
REACTION, NOISE = 0.2, 0.2
"""Standard deviations of a patient's reaction and of an edit's noise, in logits of a cohort with deviation 1."""
PLANTED = (2.0, 5.0, 10.0)
RESAMPLES = 1000
"""Half of the default: less time, and if anything less coverage."""
REFERENCE = np.array([NormalDist().inv_cdf((rank + 0.5) / 5000) for rank in range(5000)])


def points(rng: np.random.Generator, patients: int, repeats: int, shifts: Floats) -> Floats:
    """Return differences in percentile points, (patients * repeats, cells), for shifts of the logits (cells,)."""
    cells = len(shifts)
    source = rng.normal(-0.5, 0.8, (patients, 1, cells))
    reaction = rng.normal(0, REACTION, (patients, 1, cells)) + rng.normal(0, 0.1, (patients, 1, 1))
    edit = source + shifts + reaction + rng.normal(0, NOISE, (patients, repeats, cells))
    before, after = (statistics.percentiles(REFERENCE, part) for part in (source, edit))
    return (after - before).reshape(-1, cells)


def shift_for(median: float) -> float:
    """Return the shift of the logits whose median difference is ``median`` points."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        found = float(np.median(points(np.random.default_rng(7), 100_000, 1, np.array([middle]))))
        low, high = (middle, high) if found < median else (low, middle)
    return low


def holds(intervals: list[statistics.Interval], truth: Floats) -> Floats:
    """Return 1 where an interval holds the truth, else 0."""
    return np.array([float(one.low <= true <= one.high) for one, true in zip(intervals, truth, strict=True)])


def summary(hits: Floats) -> dict[str, Any]:
    """Return the share of hits, with its simulation error by trial; hits (trials, ...)."""
    by_trial = hits.reshape(len(hits), -1).mean(axis=1)
    error = 1.96 * by_trial.std(ddof=1) / np.sqrt(len(by_trial))
    return {"share": round(float(by_trial.mean()), 4), "simulation_error": round(float(error), 4), "trials": len(hits)}


def median_coverage(rng: np.random.Generator, trials: int) -> dict[str, Any]:
    """Coverage of the median's interval over the 36 cells: a sixth has a shift of 10 points, the others none."""
    shift = shift_for(10.0)
    on_target = np.eye(PROMPTS, FINDINGS).ravel()
    groups = np.repeat(np.arange(PATIENTS), REPEATS)
    hits = np.empty((trials, PROMPTS * FINDINGS))
    for trial in range(trials):
        found = statistics.median_interval(
            points(rng, PATIENTS, REPEATS, shift * on_target), groups, rng=rng, count=RESAMPLES
        )
        hits[trial] = holds(found, 10.0 * on_target)
    off, on = on_target == 0, on_target == 1
    result = {"all cells": summary(hits), "no shift": summary(hits[:, off]), "10 points": summary(hits[:, on])}
    for patients in (10, 20, 50):
        groups = np.repeat(np.arange(patients), REPEATS)
        small = np.stack(
            [
                holds(
                    statistics.median_interval(
                        points(rng, patients, REPEATS, np.zeros(6)), groups, rng=rng, count=RESAMPLES
                    ),
                    np.zeros(6),
                )
                for _ in range(trials)
            ]
        )
        result[f"{patients} patients, no shift"] = summary(small)
    return result


def auc_coverage(rng: np.random.Generator, trials: int) -> dict[str, Any]:
    """Coverage of AUC intervals: independent cases, and three cases a patient that share most of their score."""
    result: dict[str, Any] = {}
    for name, patients, cases, shared in (("independent", 200, 1, 0.0), ("clustered", 100, 3, 0.7)):
        groups = np.repeat(np.arange(patients), cases)
        for area in (0.75, 0.9):
            distance = np.sqrt(2) * NormalDist().inv_cdf(area)
            ways: dict[str, list[float]] = {"delong": [], "delong by patient": [], "bootstrap by patient": []}
            for _ in range(trials):
                # A patient has the finding in all of its cases or in none, as in follow-up.
                sick = rng.random(patients) < 0.3
                sick[:2], sick[2:4] = True, False
                labels = sick[groups].astype(int)
                scores = np.sqrt(shared) * rng.normal(size=patients)[groups]
                scores = scores + np.sqrt(1 - shared) * rng.normal(size=len(groups)) + distance * labels
                found = (
                    statistics.delong(scores, labels),
                    statistics.delong(scores, labels, groups),
                    statistics.auc_bootstrap(scores, labels, groups, rng=rng, count=RESAMPLES),
                )
                for way, one in zip(ways, found, strict=True):
                    ways[way].append(float(one.low <= area <= one.high))
            result[f"{name}, AUC {area:g}"] = {way: summary(np.array(hits)) for way, hits in ways.items()}
    return result


def wilson_coverage(rng: np.random.Generator, trials: int) -> dict[str, Any]:
    """Mean coverage of Wilson's interval over shares from 0.02 to 0.98."""
    shares = np.linspace(0.02, 0.98, 49)
    result = {}
    for size in (20, 50, 100):
        table = [statistics.wilson(found, size) for found in range(size + 1)]
        low, high = (np.array([getattr(one, end) for one in table]) for end in ("low", "high"))
        drawn = rng.binomial(size, shares, (trials, len(shares)))
        result[f"n {size}"] = summary(((low[drawn] <= shares) & (shares <= high[drawn])).astype(float))
    return result


def errors_and_power(rng: np.random.Generator, trials: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Family-wise error over the 30 off-diagonal cells and power for planted shifts, for both scores."""
    groups = np.repeat(np.arange(PATIENTS), REPEATS)
    cells = PROMPTS * (FINDINGS - 1)
    shifts = np.zeros(cells)
    shifts[: len(PLANTED)] = [shift_for(size) for size in PLANTED]
    error: dict[str, list[float]] = {}
    power: dict[str, list[list[float]]] = {"sign": [], "mean": []}
    for _ in range(trials):
        null, planted = points(rng, PATIENTS, REPEATS, np.zeros(cells)), points(rng, PATIENTS, REPEATS, shifts)
        for score in ("sign", "mean"):
            p = statistics.sign_flip(null, groups, rng=rng, score=score)  # type: ignore[arg-type]
            error.setdefault(score, []).append(float((statistics.holm(p) <= 0.05).any()))
            error.setdefault(f"{score}, without Holm", []).append(float((p <= 0.05).any()))
            adjusted = statistics.holm(statistics.sign_flip(planted, groups, rng=rng, score=score))  # type: ignore[arg-type]
            power[score].append((adjusted[: len(PLANTED)] <= 0.05).astype(float).tolist())
    found = {
        score: {f"{size:g} points": summary(np.array(hits)[:, place]) for place, size in enumerate(PLANTED)}
        for score, hits in power.items()
    }
    return {score: summary(np.array(hits)) for score, hits in error.items()}, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    error, power = errors_and_power(rng, args.trials)
    report = {
        "date": datetime.date.today().isoformat(),
        "command": f"python benchmarks/study_statistics.py --trials {args.trials} --seed {args.seed}",
        **machine_facts(),
        "patients": PATIENTS,
        "edits_a_patient_and_prompt": REPEATS,
        "cells": PROMPTS * FINDINGS,
        "resamples": RESAMPLES,
        "flips": statistics.FLIPS,
        "family_wise_error": error,
        "power": power,
        "coverage": {
            "median": median_coverage(rng, args.trials),
            "auc": auc_coverage(rng, args.trials),
            "wilson": wilson_coverage(rng, args.trials),
        },
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
