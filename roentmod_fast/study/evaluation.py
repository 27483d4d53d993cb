"""AUC of classifiers on labelled radiographs, with intervals, paired against the first of them: the paper's Table 1."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast._version import __version__
from roentmod_fast.atomic import make_folder, write_atomically
from roentmod_fast.errors import RefusedError, SettingError, SourceError
from roentmod_fast.machine import machine_facts
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.figure import interval_plot
from roentmod_fast.study.output import csv_bytes, ends, finite, json_bytes
from roentmod_fast.study.page.report import Figure, Report, Table
from roentmod_fast.study.pairs import squared
from roentmod_fast.study.samples import REAL, Sample, SampleSet
from roentmod_fast.study.statistics import Interval, auc_bootstrap, auc_bootstrap_paired, delong, delong_paired
from roentmod_fast.study.stress.scorers import Scorer

Values = NDArray[np.float64]
NOWHERE = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Result:
    """The AUC of one model for one finding on one table.

    ``delong``: by patient, on the logit scale; ``bootstrap``: by patient. ``difference``: to ``against``, the first
    model that has the finding, on the same radiographs, ``delong`` and ``bootstrap``, with DeLong's p; NaN for that
    model itself.
    """

    model: str
    table: str
    finding: str
    images: int
    positives: int
    patients: int
    delong: Interval
    bootstrap: Interval
    difference: Interval = NOWHERE
    difference_bootstrap: Interval = NOWHERE
    p: float = math.nan
    against: str = ""


@dataclass
class Evaluation:
    """Evaluates models on tables of labelled real radiographs.

    ``tables``: samples by name; edits among them are left out. ``split``: of the samples that count, None for all.
    ``left_out``: radiographs that cannot be read, or that a table of predictions does not hold, by reason.
    """

    scorers: Sequence[Scorer]
    tables: dict[str, SampleSet]
    split: str | None = "test"
    count: int = 2000
    seed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        names = [scorer.name for scorer in self.scorers]
        if twice := [name for name in names if names.count(name) > 1]:
            raise SettingError(f"two models are called {twice[0]}: change the name in one contract")
        self._samples = {name: self._chosen(name, data) for name, data in self.tables.items()}
        self._results: list[Result] = []

    @property
    def images(self) -> int:
        """How many radiographs there are to score."""
        return sum(map(len, self._samples.values()))

    def run(self) -> Iterator[int]:
        """Score all radiographs, yield how many are done, and compute the results at the end."""
        done = 0
        for name, samples in self._samples.items():
            kept, scores = list[Sample](), list[list[Values]]()
            for sample in samples:
                found = self._score(sample)
                if found is not None:
                    kept.append(sample)
                    scores.append(found)
                done += 1
                yield done
            self._results += self._analysed(name, kept, scores)

    @property
    def results(self) -> Sequence[Result]:
        """The results, after :meth:`run`."""
        return self._results

    def _chosen(self, name: str, data: SampleSet) -> list[Sample]:
        samples = [
            each for each in data.samples if each.kind == REAL and (self.split is None or each.split == self.split)
        ]
        if not samples:
            raise SettingError(f"{name}: no real radiograph of the split {self.split}: give another with --split")
        return samples

    def _score(self, sample: Sample) -> list[Values] | None:
        image = None
        if any(scorer.looks for scorer in self.scorers):
            try:
                if sample.sha256 and hashlib.sha256(sample.file.read()).hexdigest() != sample.sha256:
                    self.left_out["changed since the manifest was written"] += 1
                    return None
                radiograph = read_radiograph(sample.file, force=sample.settled)
                image = squared(radiograph.image, radiograph.aspect)
                if sample.frame is not None:  # as training shows it
                    image = Letterbox.fit(image.shape, sample.frame).apply(image)
            except RefusedError:
                self.left_out["marked as synthetic, not a real radiograph"] += 1
                return None
            except SourceError:
                self.left_out["cannot be read"] += 1
                return None
        found = [scorer.score(image, (sample.name, sample.file.name)) for scorer in self.scorers]
        if any(values is None for values in found):
            self.left_out["without a prediction of each model"] += 1
            return None
        return [values for values in found if values is not None]

    def _analysed(self, table: str, samples: Sequence[Sample], scores: Sequence[Sequence[Values]]) -> list[Result]:
        results, data = [], self.tables[table]
        for at, finding in enumerate(data.findings):
            labels = np.array([each.labels[at] for each in samples])
            known = ~np.isnan(labels)
            positive = labels[known] > 0.5
            patients = np.array([each.patient for each in samples])[known]
            if min(len(set(patients[positive])), len(set(patients[~positive]))) < 2:
                self.left_out[f"{finding} in {table}: fewer than two patients with or without it"] += 1
                continue
            first: tuple[str, Values] | None = None
            for number, scorer in enumerate(self.scorers):
                if finding not in scorer.findings:
                    continue
                column = scorer.findings.index(finding)
                own = np.array([each[number][column] for each in scores])[known]
                result = Result(
                    scorer.name,
                    table,
                    finding,
                    int(known.sum()),
                    int(positive.sum()),
                    len(set(patients.tolist())),
                    delong(own, positive, patients),
                    auc_bootstrap(own, positive, patients, rng=np.random.default_rng(self.seed), count=self.count),
                )
                results.append(result if first is None else self._compared(result, own, *first, positive, patients))
                first = (scorer.name, own) if first is None else first
        return results

    def _compared(
        self,
        result: Result,
        own: Values,
        against: str,
        first: Values,
        positive: NDArray[np.bool_],
        patients: NDArray[np.str_],
    ) -> Result:
        difference, p = delong_paired(own, first, positive, patients)
        rng = np.random.default_rng(self.seed)
        resampled = auc_bootstrap_paired(own, first, positive, patients, rng=rng, count=self.count)
        found = {"difference": difference, "difference_bootstrap": resampled, "p": p, "against": against}
        return Result(**{**vars(result), **found})


COLUMNS = (
    *("model", "table", "finding", "n_images", "n_positive", "n_patients", "auc", "delong_lo", "delong_hi"),
    *("bootstrap_lo", "bootstrap_hi", "difference", "difference_lo", "difference_hi"),
    *("difference_bootstrap_lo", "difference_bootstrap_hi", "p", "against"),
)


def write_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write ``auc.csv``, ``auc.md`` in Table 1's form, a figure, a page and a JSON; the page comes first."""
    results = evaluation.results
    if not results:
        raise SettingError("no finding of the tables has enough patients, or no model has it: nothing to write")
    make_folder(folder)
    several = len({each.table for each in results}) > 1
    rows = [(f"{f'{each.table}: ' * several}{each.finding}, {each.model}", each.delong) for each in results]
    caption = "AUC with DeLong's 95 % interval by patient"
    drawing: dict[str, Any] = {"title": "AUC", "unit": "AUC", "limits": (0.0, 1.0), "reference": 0.5}
    plot = interval_plot(rows, caption=caption, **drawing)
    columns, lines = _wide(results)
    report = Report("Evaluation")
    notes = [f"Left out: {count} x {reason}." for reason, count in evaluation.left_out.items()]
    notes += [f"{name}: {note}." for name, data in evaluation.tables.items() for note in data.notes]
    split = "all radiographs" if evaluation.split is None else f"the split {evaluation.split}"
    report.add("AUC", f"Real radiographs of {split}. In brackets: DeLong's 95 % interval by patient.", *notes)
    report.add("", Table(columns, lines), Figure(interval_plot(rows, caption="", **drawing).svg().decode(), caption))
    compared = [each for each in results if not math.isnan(each.difference.estimate)]
    if compared:
        cells = [
            [
                each.model,
                each.table,
                each.finding,
                each.against,
                _written(each.difference),
                _written(each.difference_bootstrap),
                each.p,
            ]
            for each in compared
        ]
        heads = [
            "model",
            "table",
            "finding",
            "against",
            "difference (DeLong)",
            "difference (bootstrap by patient)",
            "p",
        ]
        report.add("Against the first model that has the finding", Table(heads, cells, digits=4))
    files = {
        "index.html": report.render(),
        "auc.csv": csv_bytes([COLUMNS, *map(_values, results)]),
        "auc.md": _markdown(columns, lines),
        "auc.svg": plot.svg(),
        "auc.png": plot.png(),
        "result.json": _facts(evaluation),
    }
    for name, data in files.items():
        write_atomically(folder / name, data, overwrite=True)
    return [folder / name for name in files]


def _wide(results: Sequence[Result]) -> tuple[list[str], list[list[object]]]:
    """Return Table 1: a row for each table and model, a column for each finding."""
    findings = list(dict.fromkeys(each.finding for each in results))
    cells = {(each.table, each.model, each.finding): each for each in results}
    lines = []
    for table, model in dict.fromkeys((each.table, each.model) for each in results):
        found = [cells.get((table, model, finding)) for finding in findings]
        lines.append([table, model, *("-" if each is None else _written(each.delong) for each in found)])
    return ["table", "model", *findings], lines  # type: ignore[return-value]


def _written(interval: Interval) -> str:
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _values(each: Result) -> list[object]:
    return [
        *(each.model, each.table, each.finding, each.images, each.positives, each.patients, *ends(each.delong)),
        *(*ends(each.bootstrap)[1:], *ends(each.difference), *ends(each.difference_bootstrap)[1:]),
        *(each.p, each.against),
    ]


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[object]]) -> bytes:
    def row(cells: Sequence[object]) -> str:
        return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join([row(columns), f"|{'---|' * len(columns)}", *map(row, lines), ""]).encode("utf-8", "replace")


def _facts(evaluation: Evaluation) -> bytes:
    facts = {
        "version": __version__,
        "machine": machine_facts(),
        "split": evaluation.split,
        "resamples": evaluation.count,
        "models": [{"name": scorer.name, "sha256": scorer.sha256} for scorer in evaluation.scorers],
        "tables": {name: data.digest for name, data in evaluation.tables.items()},
        "left_out": dict(evaluation.left_out),
        "notes": {name: list(data.notes) for name, data in evaluation.tables.items()},
        "results": [finite(asdict(each)) for each in evaluation.results],
    }
    return json_bytes(facts)
