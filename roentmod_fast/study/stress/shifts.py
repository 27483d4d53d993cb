"""How scores shift from source to edit: medians of paired differences in percentile points, with null controls.

The paper's Figure 3: for each finding that was added and each output of a classifier, the median over pairs of the
change in percentile. Added here: an interval by patient, a test with Holm's correction over the cells off the diagonal,
and the same of a control in which nothing was added. The excess is the shift less the control's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.study.datasets import NO_FINDING
from roentmod_fast.study.labels import Rates, asked_findings
from roentmod_fast.study.statistics import (
    FLIPS,
    Interval,
    benjamini_hochberg,
    equivalence,
    holm,
    median_contrast,
    median_interval,
    sign_flip,
)
from roentmod_fast.study.stress.controls import AUTOENCODER, NORMAL, SEED
from roentmod_fast.study.stress.reference import Reference
from roentmod_fast.study.stress.scores import Scored

Values = NDArray[np.float64]
TARGET, OFF_TARGET, CONTROL = "target", "off-target", "control"
LEVEL = 0.05
"""Of the tests, family-wise."""

NOWHERE = Interval(math.nan, math.nan, math.nan)

SHIFTS, NONE, AS_CONTROL, UNDECIDED = "shifts", "no shift", "as the control", "undecided"
"""Conclusions on a cell off the diagonal: more than the control beyond chance; within the margin of the control; moved
as far as the control is; neither is shown."""


@dataclass(frozen=True)
class Cell:
    """What one output of a model does when one finding is added.

    ``role``: ``target`` where the output is of the finding that was asked for, ``off-target``, or ``control``.
    ``shift``: median paired difference in percentile points. ``p``: sign-flip test on the signs of differences;
    ``p_holm`` over the model's off-target cells, ``q`` by Benjamini and Hochberg. ``null_shift``: of the control,
    ``excess``: shift less that, with its own test. ``before`` and ``after``: median probabilities. ``cooccurrence``:
    share of edits in which readers, or rules, saw the finding.
    """

    model: str
    prompt: str
    finding: str
    role: str
    pairs: int
    patients: int
    shift: Interval
    p: float
    before: float
    after: float
    null: str = ""
    null_shift: float = math.nan
    excess: Interval = NOWHERE
    p_excess: float = math.nan
    p_holm: float = math.nan
    q: float = math.nan
    p_excess_holm: float = math.nan
    cooccurrence: float = math.nan
    conclusion: str = ""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of one prompt or control, by row. ``before`` and ``after``: probabilities (n, K); ``points``: (n, K)."""

    keys: NDArray[np.str_]
    patients: NDArray[np.str_]
    repeats: NDArray[np.int64]
    before: Values
    after: Values
    points: Values

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Options:
    """How shifts are computed.

    ``count`` of resamples, and ``flips`` of sign patterns; ``seed`` of both; ``margin`` in percentile points
    within which there is no shift; ``null``: the control that the excess is over, None for the first of ``normal`` and
    ``autoencoder`` that there is; ``rates``: co-occurrence.
    """

    count: int = 2000
    seed: int = 0
    margin: float = 5.0
    null: str | None = None
    rates: Rates = field(default_factory=dict)

    @property
    def flips(self) -> int:
        """Five times as many as resamples, and never too few for Holm's correction."""
        return max(FLIPS, 5 * self.count)


@dataclass(frozen=True, eq=False)
class ModelPairs:
    """All pairs of a model: by prompt, and the controls by name."""

    model: str
    findings: tuple[str, ...]
    prompts: Mapping[str, Pairs]
    controls: Mapping[str, Pairs]


def collect(
    model: str, known: Sequence[str], findings: Sequence[str], scored: Sequence[Scored], reference: Reference
) -> ModelPairs:
    """Sort a model's scores into pairs; ``known``: findings of its outputs, ``findings``: those that are looked at."""
    own = tuple(name for name in findings if name in known)
    columns = [list(known).index(name) for name in own]

    def points(values: Values) -> Values:
        return np.stack([reference.percentile(name, values[:, at]) for at, name in enumerate(own)], axis=1)

    rows: dict[str, list[tuple[str, str, int, Values, Values]]] = {}
    seeds: list[tuple[str, str, int, Values, Values]] = []
    for item in scored:
        if item.source is None:
            continue
        source = item.source[columns]
        first: dict[str, Values] = {}
        for edit, values in item.edits:
            after = values[columns]
            rows.setdefault(edit.prompt, []).append((item.key, item.patient, edit.repeat, source, after))
            if edit.repeat == 0:
                first[edit.prompt] = after
        for edit, values in item.edits:
            if edit.repeat and edit.prompt in first:
                seeds.append((item.key, item.patient, edit.repeat, first[edit.prompt], values[columns]))
        if item.round_trip is not None:
            rows.setdefault("", []).append((item.key, item.patient, 0, source, item.round_trip[columns]))

    def pairs(found: Sequence[tuple[str, str, int, Values, Values]]) -> Pairs:
        before, after = np.stack([row[3] for row in found]), np.stack([row[4] for row in found])
        return Pairs(
            np.array([row[0] for row in found]),
            np.array([row[1] for row in found]),
            np.array([row[2] for row in found]),
            before,
            after,
            points(after) - points(before),
        )

    whole = {name: pairs(found) for name, found in rows.items()}
    controls = {}
    if "" in whole:
        controls[AUTOENCODER] = whole.pop("")
    if normal := [name for name in whole if asked_findings(name) == (NO_FINDING,)]:
        for name in normal:
            del whole[name]
        controls[NORMAL] = pairs([row for name in normal for row in rows[name]])
    if seeds:
        controls[SEED] = pairs(seeds)
    return ModelPairs(model, own, whole, controls)


def analyse(pairs: ModelPairs, options: Options) -> list[Cell]:
    """Return a cell for each prompt or control and each finding of a model.

    Raises SettingError where there are fewer than two patients, or for a control that the cohort has not.
    """
    rng = np.random.default_rng(options.seed)
    null = _null(pairs, options.null)
    cells = []
    for prompt, own in pairs.prompts.items():
        asked = asked_findings(prompt, pairs.findings)
        basic = _cells(pairs, prompt, own, options, rng)
        excess, p_excess, null_shift = _excess(own, None if null is None else pairs.controls[null], options, rng)
        for at, cell in enumerate(basic):
            rates = [rate for each in asked if (rate := options.rates.get(each, {}).get(cell.finding)) is not None]
            cells.append(
                replace(
                    cell,
                    role=TARGET if cell.finding in asked else OFF_TARGET,
                    null=null or "",
                    null_shift=float(null_shift[at]),
                    excess=excess[at],
                    p_excess=float(p_excess[at]),
                    cooccurrence=max(rates) if asked and len(rates) == len(asked) else math.nan,
                )
            )
    for name, own in pairs.controls.items():
        cells += [replace(cell, role=CONTROL) for cell in _cells(pairs, name, own, options, rng)]
    return _concluded(cells, options)


def _null(pairs: ModelPairs, wanted: str | None) -> str | None:
    if wanted is None:
        return next((name for name in (NORMAL, AUTOENCODER) if name in pairs.controls), None)
    if wanted == SEED or wanted not in pairs.controls:
        there = ", ".join(pairs.controls) or "none"
        raise SettingError(f"control {wanted}: not in this cohort for {pairs.model}, which has {there}")
    return wanted


def _cells(pairs: ModelPairs, prompt: str, own: Pairs, options: Options, rng: np.random.Generator) -> list[Cell]:
    patients = len(set(own.patients.tolist()))
    if patients < 2:
        raise SettingError(f"{prompt}: pairs of {patients} patient: intervals by patient need at least 2")
    intervals = median_interval(own.points, own.patients, rng=rng, count=options.count)
    p = sign_flip(own.points, own.patients, rng=rng, count=options.flips, score="sign")
    before, after = np.median(own.before, axis=0), np.median(own.after, axis=0)
    return [
        Cell(
            pairs.model,
            prompt,
            finding,
            CONTROL,
            len(own),
            patients,
            intervals[at],
            float(p[at]),
            float(before[at]),
            float(after[at]),
        )
        for at, finding in enumerate(pairs.findings)
    ]


def _excess(
    own: Pairs, null: Pairs | None, options: Options, rng: np.random.Generator
) -> tuple[list[Interval], Values, Values]:
    """Return the excess over the control's shift on the same sources, its p by pairs, and the control's shift."""
    count = own.points.shape[1]
    if null is None:
        return [NOWHERE] * count, np.full(count, np.nan), np.full(count, np.nan)
    shared = np.isin(own.keys, null.keys)
    theirs = np.isin(null.keys, own.keys)
    if len(set(own.patients[shared].tolist())) < 2:
        return [NOWHERE] * count, np.full(count, np.nan), np.full(count, np.nan)
    mine, control = own.points[shared], null.points[theirs]
    excess = median_contrast(mine, own.patients[shared], control, null.patients[theirs], rng=rng, count=options.count)
    of_source = _means(null.keys[theirs], control)
    paired = mine - np.stack([of_source[key] for key in own.keys[shared].tolist()])
    p = sign_flip(paired, own.patients[shared], rng=rng, count=options.flips, score="sign")
    return excess, p, np.median(control, axis=0)


def _means(keys: NDArray[np.str_], values: Values) -> dict[str, Values]:
    names, codes = np.unique(keys, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values)
    sums /= np.bincount(codes)[:, None]
    return dict(zip(names.tolist(), sums, strict=True))


def _concluded(cells: Sequence[Cell], options: Options) -> list[Cell]:
    """Correct over the off-target cells, and say what each shows."""
    places = [at for at, cell in enumerate(cells) if cell.role == OFF_TARGET]
    result = list(cells)
    if not places:
        return result
    p = np.array([cells[at].p for at in places])
    p_excess = np.array([cells[at].p_excess for at in places])
    adjusted, q, excess_adjusted = holm(p), benjamini_hochberg(p), holm(p_excess)
    for number, at in enumerate(places):
        cell = replace(
            cells[at],
            p_holm=float(adjusted[number]),
            q=float(q[number]),
            p_excess_holm=float(excess_adjusted[number]),
        )
        result[at] = replace(cell, conclusion=_conclusion(cell, options.margin))
    return result


def _conclusion(cell: Cell, margin: float) -> str:
    controlled = bool(cell.null)
    tested, p = (cell.excess, cell.p_excess_holm) if controlled else (cell.shift, cell.p_holm)
    if math.isnan(p):  # the control shares no patients with the cell
        return UNDECIDED
    # The shift itself must be there too: where sources have findings, the control takes them away.
    moves = cell.p_holm <= LEVEL and not cell.shift.low <= 0 <= cell.shift.high
    if moves and p <= LEVEL and not tested.low <= 0 <= tested.high:
        return SHIFTS if equivalence(tested, margin) != "equivalent" else NONE
    if equivalence(tested, margin) == "equivalent":
        moved = cell.p_holm <= LEVEL and equivalence(cell.shift, margin) != "equivalent"
        return AS_CONTROL if controlled and moved else NONE
    return UNDECIDED


@dataclass(frozen=True)
class Difference:
    """How a cell differs between two models on the same pairs, in percentile points: first less second."""

    first: str
    second: str
    prompt: str
    finding: str
    role: str
    pairs: int
    difference: Interval
    p: float
    p_holm: float = math.nan


def compare(first: ModelPairs, second: ModelPairs, options: Options) -> list[Difference]:
    """Compare the shifts of two models on the pairs that both have scored."""
    rng = np.random.default_rng(options.seed)
    result = []
    findings = [name for name in first.findings if name in second.findings]
    for prompt, one in first.prompts.items():
        two = second.prompts.get(prompt)
        if two is None or not findings:
            continue
        names = [_names(each) for each in (one, two)]
        shared = sorted(set(names[0]) & set(names[1]))
        rows = _rows(names, shared)
        points = [
            each.points[at][:, [own.findings.index(name) for name in findings]]
            for each, at, own in zip((one, two), rows, (first, second), strict=True)
        ]
        patients = one.patients[rows[0]]
        if len(set(patients.tolist())) < 2:
            continue
        found = median_contrast(points[0], patients, points[1], patients, rng=rng, count=options.count)
        p = sign_flip(points[0] - points[1], patients, rng=rng, count=options.flips, score="sign")
        asked = asked_findings(prompt, findings)
        result += [
            Difference(
                first.model,
                second.model,
                prompt,
                name,
                TARGET if name in asked else OFF_TARGET,
                len(shared),
                found[at],
                float(p[at]),
            )
            for at, name in enumerate(findings)
        ]
    off = [at for at, item in enumerate(result) if item.role == OFF_TARGET]
    if off:
        adjusted = holm(np.array([result[at].p for at in off]))
        for at, value in zip(off, adjusted, strict=True):
            result[at] = replace(result[at], p_holm=float(value))
    return result


def _names(pairs: Pairs) -> list[str]:
    return [f"{key}/{repeat}" for key, repeat in zip(pairs.keys, pairs.repeats, strict=True)]


def _rows(names: Sequence[Sequence[str]], shared: Sequence[str]) -> list[list[int]]:
    places = [{name: at for at, name in enumerate(each)} for each in names]
    return [[place[name] for name in shared] for place in places]
