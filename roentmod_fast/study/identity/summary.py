"""Medians, spread, retrieval and AUC of the scores, by prompt and over all, each with an interval by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.study.identity.distances import Floats, Retrieval, cosine, partners, retrieve, squared_distance
from roentmod_fast.study.identity.embeddings import Embeddings
from roentmod_fast.study.identity.measure import CONTROL, MODEL, REAL, Measured, Query
from roentmod_fast.study.statistics import (
    LEVEL,
    Interval,
    auc_bootstrap,
    bootstrap,
    mean_interval,
    median_contrast,
    median_interval,
    wilson,
)

ALL = ""
"""The prompt of a row that is over all prompts."""

DIFFERENCE = "model - real"
"""Score of a row that compares medians; below 0 the edits are nearer to their source than follow-ups are."""

SCORES = (MODEL, CONTROL, REAL, DIFFERENCE)
PIXELS = {"ssim": "SSIM", "psnr_db": "PSNR in dB", "share_changed": "share of pixels that changed"}
"""Measures that need no network."""


@dataclass(frozen=True)
class SummaryRow:
    """One cell: a measure (an embedding's name, or of :data:`PIXELS`), a prompt and a score.

    ``median`` and ``iqr`` are of the squared distance, or of the measure itself; ``q1`` and ``q3`` its quartiles.
    ``rank1``: share whose own source is the nearest; ``mrr``: mean reciprocal rank; ``auc``: how often a pair of it is
    nearer than one of another patient. None where it does not apply.
    """

    measure: str
    prompt: str
    score: str
    pairs: int
    patients: int
    median: Interval
    iqr: Interval | None = None
    q1: float | None = None
    q3: float | None = None
    cosine: Interval | None = None
    rank1: Interval | None = None
    mrr: Interval | None = None
    auc: Interval | None = None


@dataclass(frozen=True)
class Scores:
    """The distances of one embedding. Arrays are by query; ``control`` is NaN for follow-ups and where there is none.

    ``control_cosine`` likewise.
    """

    name: str
    distance: Floats
    cosine: Floats
    control: Floats
    control_cosine: Floats
    retrieval: Retrieval


@dataclass
class Comparison:
    """What is made of what was measured. ``seed``: of partners and resamples. ``resamples``: of an interval."""

    measured: Measured
    seed: int = 0
    resamples: int = 2000
    level: float = LEVEL
    scores: list[Scores] = field(default_factory=list)

    @cached_property
    def partner(self) -> NDArray[np.int64]:
        """Of each query the index of the edit of another patient with the same prompt and repeat; -1 for none."""
        queries = self.measured.queries
        result = np.full(len(queries), -1, np.int64)
        cells: dict[tuple[str, int], list[int]] = {}
        for number, query in enumerate(queries):
            if query.kind == MODEL:
                cells.setdefault((query.prompt, query.repeat), []).append(number)
        for (prompt, repeat), members in cells.items():
            codes = [self.measured.patients[queries[number].source] for number in members]
            found = partners(codes, self._rng("partners", prompt, str(repeat)))
            for number, other in zip(members, found, strict=True):
                result[number] = members[other] if other >= 0 else -1
        return result

    @property
    def prompts(self) -> list[str]:
        """Prompts in the order of the plan, as far as there are edits or follow-ups of them."""
        return [text for text in dict.fromkeys(query.prompt for query in self.measured.queries) if text]

    def add(self, model: Embeddings, index: int) -> Scores:
        """Compare by one embedding; ``index``: of the model among the keys."""
        measured = self.measured
        if not measured.queries:
            raise SettingError("no edit and no follow-up can be read with its source: see roentmod-fast cohort verify")
        sources = model.rows([keys[index] for keys in measured.keys])
        images = model.rows([query.keys[index] for query in measured.queries])
        own = np.asarray([query.source for query in measured.queries], np.int64)
        control, control_cosine = np.full(len(images), np.nan), np.full(len(images), np.nan)
        there = np.flatnonzero(self.partner >= 0)
        other = images[self.partner[there]]
        control[there] = squared_distance(sources[own[there]], other)
        control_cosine[there] = cosine(sources[own[there]], other)
        scores = Scores(
            model.model.name,
            squared_distance(sources[own], images),
            cosine(sources[own], images),
            control,
            control_cosine,
            retrieve(images, list(own), sources, measured.patients),
        )
        self.scores.append(scores)
        return scores

    def rows(self, done: Callable[[str], None] = lambda name: None) -> list[SummaryRow]:
        """Return all rows: embeddings in their order, then what needs no network; prompts, then all of them."""
        result = list[SummaryRow]()
        for scores in self.scores:
            for prompt in (*self.prompts, ALL):
                result += self._of_embedding(scores, prompt)
                done(scores.name)
        for name in PIXELS:
            values = np.asarray(
                [getattr(query.change, name) for query in self.measured.queries], dtype=np.float64
            )  # None, of a PSNR without a difference, becomes NaN
            for prompt in (*self.prompts, ALL):
                for kind in (MODEL, REAL):
                    chosen = self._chosen(kind, prompt)
                    chosen = chosen[np.isfinite(values[chosen])]
                    if len(chosen):
                        result.append(self._spread(name, prompt, kind, values[chosen], chosen))
            done(name)
        return result

    def _of_embedding(self, scores: Scores, prompt: str) -> list[SummaryRow]:
        rows = list[SummaryRow]()
        edits = self._chosen(MODEL, prompt)
        controls = edits[self.partner[edits] >= 0]
        for kind, chosen, distance, cosines in (
            (MODEL, edits, scores.distance, scores.cosine),
            (CONTROL, controls, scores.control, scores.control_cosine),
            (REAL, self._chosen(REAL, prompt), scores.distance, scores.cosine),
        ):
            if not len(chosen):
                continue
            rng = self._rng(scores.name, prompt, kind)
            row = self._spread(scores.name, prompt, kind, distance[chosen], chosen)
            whole = chosen[np.isfinite(cosines[chosen])]
            extra: dict[str, Interval] = {}
            if len(whole):
                extra["cosine"] = self._median(cosines[whole], self._patients(whole), rng)
            if kind != CONTROL:
                extra["rank1"] = self._share(scores.retrieval.hit[chosen], chosen, rng)
                extra["mrr"] = self._mean(1 / scores.retrieval.rank[chosen], chosen, rng)
                if len(controls):
                    extra["auc"] = self._auc(distance[chosen], chosen, scores.control[controls], controls, rng)
            rows.append(SummaryRow(**{**row.__dict__, **extra}))
        follow_ups = self._chosen(REAL, prompt)
        if len(edits) and len(follow_ups):
            rows.append(self._difference(scores, prompt, edits, follow_ups))
        return rows

    def _difference(
        self, scores: Scores, prompt: str, edits: NDArray[np.intp], follow_ups: NDArray[np.intp]
    ) -> SummaryRow:
        both = np.concatenate([self._patients(edits), self._patients(follow_ups)])
        count = len(np.unique(both))
        first, second = scores.distance[edits], scores.distance[follow_ups]
        if count < 2:
            interval = self._unknown(float(np.median(first) - np.median(second)))
        else:
            rng = self._rng(scores.name, prompt, DIFFERENCE)
            [interval] = median_contrast(
                first,
                self._patients(edits),
                second,
                self._patients(follow_ups),
                rng=rng,
                count=self.resamples,
                level=self.level,
            )
        return SummaryRow(scores.name, prompt, DIFFERENCE, len(follow_ups), count, interval)

    def _chosen(self, kind: str, prompt: str) -> NDArray[np.intp]:
        def fits(query: Query) -> bool:
            return query.kind == kind and prompt in (ALL, query.prompt)

        chosen, seen = list[int](), set[tuple[int, str]]()
        for number, query in enumerate(self.measured.queries):
            # A follow-up of several prompts is one image: over all prompts it counts once.
            image = query.source, query.sha256
            if fits(query) and not (query.kind == REAL and prompt == ALL and image in seen):
                seen.add(image)
                chosen.append(number)
        return np.array(chosen, dtype=np.intp)

    def _patients(self, chosen: NDArray[np.intp]) -> NDArray[np.int64]:
        queries, patients = self.measured.queries, self.measured.patients
        return np.asarray([patients[queries[number].source] for number in chosen], np.int64)

    def _spread(self, measure: str, prompt: str, kind: str, values: Floats, chosen: NDArray[np.intp]) -> SummaryRow:
        groups, rng = self._patients(chosen), self._rng(measure, prompt, f"{kind} spread")
        q1, q3 = np.quantile(values, [0.25, 0.75])
        median = self._median(values, groups, rng)
        patients = len(np.unique(groups))
        iqr = self._unknown(float(q3 - q1))
        if patients > 1:
            iqr = bootstrap(values, groups, _iqr, rng=rng, count=self.resamples, level=self.level)
        return SummaryRow(measure, prompt, kind, len(values), patients, median, iqr, float(q1), float(q3))

    def _median(self, values: Floats, groups: NDArray[np.int64], rng: np.random.Generator) -> Interval:
        if len(np.unique(groups)) < 2:
            return self._unknown(float(np.median(values)))
        return median_interval(values, groups, rng=rng, count=self.resamples, level=self.level)[0]

    def _mean(self, values: Floats, chosen: NDArray[np.intp], rng: np.random.Generator) -> Interval:
        groups = self._patients(chosen)
        if len(np.unique(groups)) < 2:
            return self._unknown(float(values.mean()))
        return mean_interval(values, groups, rng=rng, count=self.resamples, level=self.level)[0]

    def _share(self, values: Floats, chosen: NDArray[np.intp], rng: np.random.Generator) -> Interval:
        """Return a mean of shares; where all are alike resampling has no width, and Wilson's by patients stands in."""
        if values.min() == values.max() and values[0] in (0.0, 1.0):
            patients = len(np.unique(self._patients(chosen)))
            return wilson(values[0] * patients, patients, self.level)
        return self._mean(values, chosen, rng)

    def _auc(
        self,
        distance: Floats,
        chosen: NDArray[np.intp],
        control: Floats,
        controls: NDArray[np.intp],
        rng: np.random.Generator,
    ) -> Interval:
        groups = np.concatenate([self._patients(chosen), self._patients(controls)])
        labels = np.repeat([1, 0], [len(distance), len(control)])
        return auc_bootstrap(
            -np.concatenate([distance, control]), labels, groups, rng=rng, count=self.resamples, level=self.level
        )

    def _unknown(self, estimate: float) -> Interval:
        """Return an estimate of one patient, which has no interval."""
        return Interval(estimate, float("nan"), float("nan"), self.level)

    def _rng(self, *names: str) -> np.random.Generator:
        """Return a generator that belongs to one cell, so that another prompt or model changes no other number."""
        digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest[:8], "big")])


def _iqr(values: Floats) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low)


def find(rows: Sequence[SummaryRow], measure: str, prompt: str, score: str) -> SummaryRow | None:
    """Return the row of a cell, None where there is none."""
    return next((row for row in rows if (row.measure, row.prompt, row.score) == (measure, prompt, score)), None)
