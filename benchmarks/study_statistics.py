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
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.machine import machine_facts
from roentmod_fast.study import statistics

Floats = NDArray[np.float64]
Hits = dict[str, Floats]
"""1 or 0 of each trial (trials, ...), by names whose parts are separated by slashes."""
OUT = Path(__file__).parent / "results" / "study_statistics.json"
PATIENTS, REPEATS, PROMPTS, FINDINGS = 100, 2, 6, 6
REACTION, NOISE = 0.2, 0.2
"""Standard deviations of a patient's reaction and of an edit's noise, in logits of a cohort with deviation 1."""
PLANTED = (2.0, 5.0, 10.0)
RESAMPLES, FLIPS = 1000, 5000
"""Half of the defaults: less time, and if anything less coverage and less power."""
BLOCK = 100
"""Trials of one task of a worker."""
SCORES: tuple[statistics.Score, ...] = ("sign", "mean")
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


def median_hits(rng: np.random.Generator, trials: int, shifts: dict[float, float]) -> Hits:
    """Hits of the median's interval over the 36 cells: a sixth has a shift of 10 points, the others none."""
    on_target = np.eye(PROMPTS, FINDINGS).ravel()
    groups = np.repeat(np.arange(PATIENTS), REPEATS)
    cells = []
    for _ in range(trials):
        differences = points(rng, PATIENTS, REPEATS, shifts[10.0] * on_target)
        found = statistics.median_interval(differences, groups, rng=rng, count=RESAMPLES)
        cells.append(holds(found, 10.0 * on_target))
    hits = np.stack(cells)
    return {
        "median/all cells": hits,
        "median/no shift": hits[:, on_target == 0],
        "median/10 points": hits[:, on_target == 1],
    }


def few_patients_hits(rng: np.random.Generator, trials: int, shifts: dict[float, float]) -> Hits:
    """Hits of the median's interval with fewer patients, six cells without a shift."""
    result: Hits = {}
    for patients in (10, 20, 50):
        groups = np.repeat(np.arange(patients), REPEATS)
        cells = []
        for _ in range(trials):
            differences = points(rng, patients, REPEATS, np.zeros(6))
            found = statistics.median_interval(differences, groups, rng=rng, count=RESAMPLES)
            cells.append(holds(found, np.zeros(6)))
        result[f"median/{patients} patients, no shift"] = np.stack(cells)
    return result


def auc_hits(rng: np.random.Generator, trials: int, shifts: dict[float, float]) -> Hits:
    """Hits of AUC intervals: independent cases, and three cases a patient that share most of their score."""
    result: dict[str, list[float]] = {}
    for name, patients, cases, shared in (("independent", 200, 1, 0.0), ("clustered", 100, 3, 0.7)):
        groups = np.repeat(np.arange(patients), cases)
        for area in (0.75, 0.9):
            distance = np.sqrt(2) * NormalDist().inv_cdf(area)
            for _ in range(trials):
                # A patient has the finding in all of its cases or in none.
                sick = rng.random(patients) < 0.3
                sick[:2], sick[2:4] = True, False
                labels = sick[groups].astype(int)
                scores = np.sqrt(shared) * rng.normal(size=patients)[groups]
                scores = scores + np.sqrt(1 - shared) * rng.normal(size=len(groups)) + distance * labels
                for way, one in (
                    ("delong", statistics.delong(scores, labels)),
                    ("delong by patient", statistics.delong(scores, labels, groups)),
                    (
                        "bootstrap by patient",
                        statistics.auc_bootstrap(scores, labels, groups, rng=rng, count=RESAMPLES),
                    ),
                ):
                    hit = float(one.low <= area <= one.high)
                    result.setdefault(f"auc/{name}, AUC {area:g}/{way}", []).append(hit)
    return {name: np.array(hits) for name, hits in result.items()}


def wilson_hits(rng: np.random.Generator, trials: int, shifts: dict[float, float]) -> Hits:
    """Hits of Wilson's interval over shares from 0.02 to 0.98."""
    shares = np.linspace(0.02, 0.98, 49)
    result: Hits = {}
    for size in (20, 50, 100):
        table = [statistics.wilson(found, size) for found in range(size + 1)]
        low, high = (np.array([getattr(one, end) for one in table]) for end in ("low", "high"))
        drawn = rng.binomial(size, shares, (trials, len(shares)))
        result[f"wilson/n {size}"] = ((low[drawn] <= shares) & (shares <= high[drawn])).astype(float)
    return result


def error_hits(rng: np.random.Generator, trials: int, shifts: dict[float, float]) -> Hits:
    """Families with a false finding, without and with planted shifts that are found, for both scores."""
    groups = np.repeat(np.arange(PATIENTS), REPEATS)
    cells = PROMPTS * (FINDINGS - 1)
    logits = np.zeros(cells)
    logits[: len(PLANTED)] = [shifts[size] for size in PLANTED]
    result: dict[str, list[float]] = {}
    for _ in range(trials):
        null, planted = points(rng, PATIENTS, REPEATS, np.zeros(cells)), points(rng, PATIENTS, REPEATS, logits)
        for score in SCORES:
            p = statistics.sign_flip(null, groups, rng=rng, count=FLIPS, score=score)
            result.setdefault(f"error/{score}", []).append(float((statistics.holm(p) <= 0.05).any()))
            result.setdefault(f"error/{score}, without Holm", []).append(float((p <= 0.05).any()))
            adjusted = statistics.holm(statistics.sign_flip(planted, groups, rng=rng, count=FLIPS, score=score))
            for size, one in zip(PLANTED, adjusted, strict=False):
                result.setdefault(f"power/{score}/{size:g} points", []).append(float(one <= 0.05))
    return {name: np.array(hits) for name, hits in result.items()}


PARTS = (median_hits, error_hits, auc_hits, few_patients_hits, wilson_hits)


def simulate(seed: int, trials: int, workers: int) -> dict[str, Any]:
    """Run all parts in blocks of trials, each with a generator of its own; nest the summaries by their names."""
    shifts = {size: shift_for(size) for size in PLANTED}
    blocks = [min(BLOCK, trials - first) for first in range(0, trials, BLOCK)]
    tasks = [(part, block) for part in PARTS for block in blocks]
    seeds = np.random.SeedSequence(seed).spawn(len(tasks))
    merged: dict[str, list[Floats]] = {}
    with ProcessPoolExecutor(workers) as pool:
        waiting = [
            pool.submit(part, np.random.default_rng(own), block, shifts)
            for (part, block), own in zip(tasks, seeds, strict=True)
        ]
        for one in waiting:
            for name, hits in one.result().items():
                merged.setdefault(name, []).append(hits)
    result: dict[str, Any] = {}
    for name, parts in merged.items():
        *path, last = name.split("/")
        inner = result
        for step in path:
            inner = inner.setdefault(step, {})
        inner[last] = summary(np.concatenate(parts))
    return result


def seconds_of_a_study(rng: np.random.Generator) -> dict[str, float]:
    """Return the time of one study's statistics, best of five."""
    differences, groups = points(rng, PATIENTS, 1, np.zeros(36)), np.arange(PATIENTS)
    best: dict[str, float] = {}
    for _ in range(5):
        for name, call in (("median_interval", statistics.median_interval), ("sign_flip", statistics.sign_flip)):
            started = time.perf_counter()
            call(differences, groups, rng=rng)  # type: ignore[operator]
            best[name] = min(best.get(name, np.inf), round(time.perf_counter() - started, 4))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2, help="processes; the numbers do not depend on it")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    found = simulate(args.seed, args.trials, args.workers)
    report = {
        "date": datetime.date.today().isoformat(),
        "command": f"python benchmarks/study_statistics.py --trials {args.trials} --seed {args.seed}",
        **machine_facts(),
        "patients": PATIENTS,
        "edits_a_patient_and_prompt": REPEATS,
        "cells": PROMPTS * FINDINGS,
        "resamples": RESAMPLES,
        "flips": FLIPS,
        "family_wise_error": found["error"],
        "power": found["power"],
        "coverage": {name: found[name] for name in ("median", "auc", "wilson")},
        "seconds": seconds_of_a_study(np.random.default_rng(args.seed)),
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
