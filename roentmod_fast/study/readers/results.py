"""The files of a scored reader study: tables, the data of other programs, a figure, a page and a JSON with hashes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roentmod_fast._version import __version__
from roentmod_fast.atomic import check_writable, make_folder, write_atomically
from roentmod_fast.study.figure import Panel, heat_map
from roentmod_fast.study.labels import READ
from roentmod_fast.study.output import csv_bytes, ends, json_bytes
from roentmod_fast.study.page.report import Figure, Report, Table
from roentmod_fast.study.readers.agreement import BETWEEN, WITHIN, Agreement, agreement_of
from roentmod_fast.study.readers.formula import guarded
from roentmod_fast.study.readers.imrmc import imrmc_files
from roentmod_fast.study.readers.rates import (
    ALL_EDITS,
    ASKED,
    CONTROLS,
    EXTRA,
    REALISM,
    UNSURES,
    Rate,
    Telling,
    check_options,
    cooccurrence,
    plain,
    prompts_of,
    rate_index,
    rates_of,
    telling_of,
)
from roentmod_fast.study.readers.score import Reads
from roentmod_fast.study.statistics import Interval


@dataclass(frozen=True)
class ScoreOptions:
    """``unsure``: what it counts as in ``cooccurrence.csv`` and the figure. ``margin``: of equivalence with chance.

    ``resamples`` of the bootstrap and their ``seed``; ``level`` of all intervals.
    """

    unsure: str = "absent"
    margin: float = 0.1
    resamples: int = 2000
    seed: int = 1
    level: float = 0.95


@dataclass(frozen=True)
class Score:
    """All that a study's sheets give."""

    reads: Reads
    options: ScoreOptions
    rates: list[Rate]
    telling: list[Telling]
    agreement: list[Agreement]


def score_study(reads: Reads, options: ScoreOptions = ScoreOptions()) -> Score:
    """Compute all results of a study. Raises SettingError for options that cannot be used."""
    check_options(options.unsure, options.margin, options.resamples)
    how: dict[str, Any] = {"count": options.resamples, "seed": options.seed, "level": options.level}
    return Score(
        reads,
        options,
        rates_of(reads, **how),
        telling_of(reads, margin=options.margin, **how),
        agreement_of(reads, **how),
    )


def check_results(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputError where results are in ``folder`` already and may not be replaced."""
    check_writable(folder / PAGE, overwrite=overwrite)


def write_score(score: Score, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write all files into ``folder`` and return their paths, the page first.

    Raises OutputError, where results are there and ``overwrite`` is not given.
    """
    check_results(folder, overwrite=overwrite)
    drawing: dict[str, Any] = {
        "scale": (0.0, 1.0),
        "unit": "share of images",
        "caption": _caption(score),
        "row_title": "prompt",
        "column_title": "finding that readers saw",
        "marked_label": "asked for",
    }
    panels = [_panel(score)]
    figure = heat_map(panels, **drawing)
    svg = heat_map(panels, **{**drawing, "caption": ""}).svg().decode()
    files: dict[str, bytes] = {
        PAGE: _page(score, svg),
        "rates.csv": _table(RATES, map(_rate_cells, score.rates)),
        "reads.csv": _table(*_reads_table(score.reads)),
        "agreement.csv": _table(AGREEMENT, map(_agreement_cells, score.agreement)),
        "cooccurrence.svg": figure.svg(),
        "cooccurrence.png": figure.png(),
        "summary.json": json_bytes(_summary(score)),
        **{name: text.encode("ascii", "replace") for name, text in imrmc_files(score.reads).items()},
    }
    shares = cooccurrence(score.reads, score.options.unsure)
    if shares:
        names = [name for name in READ if name in score.reads.key.findings]
        rows = [[asked, *(own.get(name, float("nan")) for name in names)] for asked, own in shares.items()]
        files[SHARES] = _table(["asked", *names], rows)
    make_folder(folder)
    for old in (folder / SHARES, *folder.glob("imrmc*.txt")):
        if old.name not in files:  # of other sheets: it would be taken for a result of these
            old.unlink(missing_ok=True)
    for name, data in files.items():
        write_atomically(folder / name, data, overwrite=True)
    return [folder / name for name in files]


PAGE, SHARES = "index.html", "cooccurrence.csv"
RATES = (
    *("row", "measure", "unsure", "reader", "images", "reads", "patients", "seen", "rate"),
    *("wilson_low", "wilson_high", "by_patient_low", "by_patient_high"),
)
AGREEMENT = (
    *("kind", "readers", "measure", "images", "prevalence", "agreement", "agreement_low", "agreement_high"),
    *("kappa", "kappa_of", "ac1"),
)


def _rate_cells(rate: Rate) -> list[object]:
    wilson, patient = rate.wilson, rate.by_patient
    return [
        *(rate.row, rate.measure, rate.unsure, rate.reader or "all", rate.images, rate.reads, rate.patients),
        *(rate.seen, wilson.estimate, wilson.low, wilson.high, patient.low, patient.high),
    ]


def _agreement_cells(each: Agreement) -> list[object]:
    return [
        *(each.kind, each.who, each.measure, each.images, each.prevalence, *ends(each.agreement)),
        *(each.kappa, each.kappa_of, each.ac1),
    ]


def _reads_table(reads: Reads) -> tuple[list[str], Iterable[Sequence[object]]]:
    """Return columns and rows of what was read, one row a read, with what the image is."""
    findings = reads.key.findings
    columns = ["study", "reader", "order", "image", "case", "kind", "edit", "prompt", "asked", "patient", "again"]
    columns += ["shared", *findings, "realism", "extra", "confidence", "notes", "seconds", "read_at"]

    def rows() -> Iterable[Sequence[object]]:
        for read in reads.reads:
            image, row = read.image, read.row
            yield [
                *(reads.key.study, image.reader, image.order, image.name, image.case, image.kind, image.edit),
                *(image.prompt, " ".join(image.asked), image.patient, int(image.again), int(image.shared)),
                *(row.findings.get(name) for name in findings),
                *(row.realism, read.extra, row.confidence, read.notes, row.seconds, row.read_at),
            ]

    return columns, rows()


def _panel(score: Score) -> Panel:
    """Return the matrix of prompts and findings, the real controls below."""
    findings, index = score.reads.key.findings, rate_index(score.rates)
    rows = prompts_of(score.reads)
    asked = {image.prompt: image.asked for image in score.reads.key.images}
    every = [*rows, CONTROLS]
    # Where readers were asked for the realism alone, no row has a value: all stay, empty.
    shown = [
        row for row in every if any(index[row, name, score.options.unsure, 0].images for name in findings)
    ] or every
    values = np.full((len(shown), len(findings)), np.nan)
    marked = np.zeros(values.shape, bool)
    notes = [[""] * len(findings) for _ in shown]
    for at, row in enumerate(shown):
        for column, name in enumerate(findings):
            rate = index[row, name, score.options.unsure, 0]
            if rate.images:
                values[at, column] = rate.wilson.estimate
                notes[at][column] = f"n {rate.images}"
            marked[at, column] = row != CONTROLS and name in asked[row]
    return Panel("All readers", shown, list(findings), values, notes, None, marked)


def _caption(score: Score) -> str:
    images = len({read.image.case for read in score.reads.firsts})
    readers = len({read.image.reader for read in score.reads.reads})
    return (
        f"Share of images in which readers saw a finding; {images} images, {readers} readers,"
        f" unsure counted as {score.options.unsure}."
    )


def _page(score: Score, svg: str) -> bytes:
    reads, options = score.reads, score.options
    index = rate_index(score.rates)
    prompts = prompts_of(reads)
    report = Report(reads.key.title)
    first = [
        f"Study {reads.key.study}: {len(reads.reads)} reads of {len({read.image.case for read in reads.reads})} images"
        f" by {len({read.image.reader for read in reads.reads})} readers; {len(reads.sheets)} sheets.",
        *(note[0].upper() + note[1:] + "." for note in reads.notes),
    ]
    report.add("Result", *first, Figure(svg, _caption(score)))
    rows = [_adherence(index, row) for row in (*prompts, ALL_EDITS, CONTROLS)]
    report.add(
        "Adherence, realism and other findings",
        "Followed: all that the prompt asks for was seen. Real: taken for a real radiograph. Other: a finding without"
        " a column was named. Shares of images, unsure counted as absent, with the Wilson interval and, in brackets,"
        " the interval by patient, as images of one patient are not independent.",
        Table(("prompt", "images", "followed", "taken for real", "other finding"), [row for row in rows if row[1]]),
    )
    report.add("Unsure, counted three ways", *_unsure_tables(score, index, prompts))
    if score.telling:
        report.add("Real or synthetic", *_telling_section(score))
    by_reader = [
        [row, *(_share(index[row, ASKED, options.unsure, reader]) for reader in reads.planned)] for row in prompts
    ]
    report.add(
        "By reader", Table(("prompt", *(f"reader {reader}" for reader in reads.planned)), by_reader, "Prompt followed")
    )
    for kind, heading in ((BETWEEN, "Agreement between readers"), (WITHIN, "Agreement within readers")):
        own = [each for each in score.agreement if each.kind == kind]
        if own:
            report.add(heading, *_agreement_section(own))
    report.add("How it was computed", *_method(score))
    return report.render()


def _adherence(index: dict[tuple[str, str, str, int], Rate], row: str) -> list[object]:
    found = [index[row, measure, "absent", 0] for measure in (ASKED, REALISM, EXTRA)]
    return [row, max(rate.images for rate in found), *map(_both, found)]


def _unsure_tables(
    score: Score, index: dict[tuple[str, str, str, int], Rate], prompts: Sequence[str]
) -> Iterable[Table]:
    findings = score.reads.key.findings
    for unsure in UNSURES:
        rows = [[row, *(_share(index[row, name, unsure, 0]) for name in findings)] for row in (*prompts, CONTROLS)]
        yield Table(("prompt", *findings), rows, f"Co-occurrence, unsure counted as {unsure}")


def _telling_section(score: Score) -> list[str | Table]:
    answers = {"equivalent": "chance", "different": "not chance", "undecided": "undecided"}
    rows: list[list[object]] = [
        [
            "all" if each.reader == 0 else f"reader {each.reader}",
            *(each.edits, each.controls, each.unsure, _written(each.called_synthetic), _written(each.called_real)),
            *(each.accuracy, _written(each.balanced), _written(each.auc), answers[each.answer]),
        ]
        for each in score.telling
    ]
    columns = ("reader", "edits", "controls", "unsure", "edits called synthetic", "controls called real", "accuracy")
    return [
        f"Balanced accuracy is 0.5 by chance, whatever the share of controls. Chance: its interval lies within"
        f" {score.options.margin:g} of 0.5. Unsure counts as a half.",
        Table((*columns, "balanced accuracy", "AUC", "answer"), rows),
    ]


def _agreement_section(own: Sequence[Agreement]) -> list[str | Table]:
    rows: list[list[object]] = [
        [each.measure, each.who, each.images, each.prevalence, _written(each.agreement), each.kappa, each.ac1]
        for each in own
    ]
    return [
        "Kappa is low where nearly all answers are the same; AC1 is not. Prevalence: share of the answers that are 1.",
        Table(("measure", "readers", "images", "prevalence", "agreement", "kappa", "AC1"), rows),
    ]


def _method(score: Score) -> list[str]:
    options, key = score.options, score.reads.key
    level = f"{100 * options.level:g} %"
    return [
        f"An image counts once, by the mean of its readers; second readings count for agreement within readers alone."
        f" Wilson: {level}, as if images were independent. By patient: percentile bootstrap, {options.resamples}"
        f" resamples. Images that nobody read, and cells without a value, are left out and never count as absent.",
        f"Key {score.reads.key_sha256[:16]}, cohort {str(key.cohort['digest'])[:16]}, engine {key.cohort['engine']}"
        f" {str(key.cohort['engine_sha256'])[:16]}; roentmod-fast {__version__}.",
    ]


def _share(rate: Rate) -> str:
    return _written(rate.wilson) if rate.images else "-"


def _both(rate: Rate) -> str:
    if not rate.images:
        return "-"
    patient = rate.by_patient
    more = f" [{patient.low:.2f} to {patient.high:.2f}]" if math.isfinite(patient.low) else ""
    return _written(rate.wilson) + more


def _written(interval: Interval) -> str:
    if not math.isfinite(interval.estimate):
        return "-"
    if not math.isfinite(interval.low):
        return f"{interval.estimate:.2f}"
    return f"{interval.estimate:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _table(columns: Iterable[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table as CSV; free text is guarded, as a spreadsheet may take it for a formula."""
    return csv_bytes([tuple(columns), *(tuple(map(_cell, row)) for row in rows)])


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return guarded(value) if isinstance(value, str) else value


def _summary(score: Score) -> dict[str, Any]:
    reads, key, index = score.reads, score.reads.key, rate_index(score.rates)
    options = score.options

    def rate(row: str, measure: str) -> dict[str, Any]:
        found = {unsure: index[row, measure, unsure, 0] for unsure in UNSURES}
        return {
            "images": found["absent"].images,
            **{unsure: {**plain(each.wilson), "by_patient": plain(each.by_patient)} for unsure, each in found.items()},
        }

    return {
        "version": __version__,
        "study": key.study,
        "key_sha256": reads.key_sha256,
        "sheets": [{"name": name, "sha256": digest} for name, digest in reads.sheets],
        "cohort": dict(key.cohort),
        "study_settings": dict(key.settings),
        "options": vars(options),
        "images_compared": reads.checked,
        "reads": len(reads.reads),
        "planned": sum(reads.planned.values()),
        "read_by": {str(reader): len(reads.of(reader)) for reader in reads.planned},
        "notes": reads.notes,
        "adherence": {prompt: rate(prompt, ASKED) for prompt in prompts_of(reads)},
        "realism": {row: rate(row, REALISM) for row in (ALL_EDITS, CONTROLS)},
        "extra": {row: rate(row, EXTRA) for row in (ALL_EDITS, CONTROLS)},
        "real_or_synthetic": [
            {
                "reader": each.reader or "all",
                "edits": each.edits,
                "controls": each.controls,
                "unsure": each.unsure,
                "called_synthetic": plain(each.called_synthetic),
                "called_real": plain(each.called_real),
                "accuracy": each.accuracy,
                "balanced": plain(each.balanced),
                "auc": plain(each.auc),
                "margin": each.margin,
                "answer": each.answer,
            }
            for each in score.telling
        ],
    }
