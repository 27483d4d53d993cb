"""The files of a stress test: a long table, matrices, figure, page and a JSON with hashes and versions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from roentmod_fast._version import __version__
from roentmod_fast.atomic import write_atomically
from roentmod_fast.machine import machine_facts
from roentmod_fast.study.figure import Panel, heat_map, number_text
from roentmod_fast.study.output import csv_bytes, ends, file_name, finite, json_bytes
from roentmod_fast.study.page.report import Figure, Report, Table
from roentmod_fast.study.statistics import Interval
from roentmod_fast.study.stress.run import Results
from roentmod_fast.study.stress.shifts import CONTROL, OFF_TARGET, SHIFTS, TARGET, Cell

COLUMNS = (
    *("model", "prompt", "finding", "role", "n_pairs", "n_patients", "shift", "lo", "hi", "p", "p_holm", "q"),
    *("null", "null_shift", "excess", "excess_lo", "excess_hi", "p_excess", "p_excess_holm"),
    *("before", "after", "cooccurrence", "conclusion"),
)
"""Of ``shifts.csv``."""


def write_results(results: Results, folder: Path) -> list[Path]:
    """Write all files of a stress test into ``folder`` and return their paths, the page first. Raises OutputError."""
    panels = [_panel(results, scorer.name) for scorer in results.scorers]
    caption = f"Median change from source to edit, in percentile points; {_pairs(results)}. Below: 95 % interval."
    drawing: dict[str, Any] = {
        "scale": max(5.0, *(float(np.nanmax(np.abs(panel.values), initial=0)) for panel in panels)),
        "unit": "percentile points",
        "caption": caption,
        "row_title": "added",
        "column_title": "output of the classifier",
        "muted_label": "not shown to differ from the control",
        "marked_label": "asked for",
    }
    figure = heat_map(panels, **drawing)
    files: dict[str, bytes] = {
        "index.html": _page(results, heat_map(panels, **{**drawing, "caption": ""}).svg(), caption),
        "shifts.csv": csv_bytes([COLUMNS, *map(_values, results.cells)]),
        "shifts.svg": figure.svg(),
        "shifts.png": figure.png(),
        "result.json": json_bytes(_facts(results)),
    }
    for panel, scorer in zip(panels, results.scorers, strict=True):
        rows = [[name, *line] for name, line in zip(panel.rows, panel.values.tolist(), strict=True)]
        files[f"matrix-{file_name(scorer.name)}.csv"] = csv_bytes([["added", *panel.columns], *rows])
    if results.differences:
        columns = ("first", "second", "prompt", "finding", "role", "n_pairs", "difference", "lo", "hi", "p", "p_holm")
        lines = (
            [
                *(each.first, each.second, each.prompt, each.finding, each.role, each.pairs),
                *(*ends(each.difference), each.p, each.p_holm),
            ]
            for each in results.differences
        )
        files["differences.csv"] = csv_bytes([columns, *lines])
    for name, data in files.items():
        write_atomically(folder / name, data, overwrite=True)
    return [folder / name for name in files]


def _panel(results: Results, model: str) -> Panel:
    """Return the paper's matrix: what was added down, outputs across; controls below."""
    cells = {(cell.prompt, cell.finding): cell for cell in results.cells if cell.model == model}
    prompts = list(dict.fromkeys(cell.prompt for cell in results.cells if cell.model == model))
    controls = {cell.prompt for cell in results.cells if cell.role == CONTROL}
    rows = [f"control: {name}" if name in controls else name for name in prompts]
    shape = len(prompts), len(results.findings)
    values, muted, marked = np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, bool)
    notes = [[""] * shape[1] for _ in prompts]
    for at, prompt in enumerate(prompts):
        for column, finding in enumerate(results.findings):
            cell = cells.get((prompt, finding))
            if cell is None:
                continue
            values[at, column] = cell.shift.estimate
            muted[at, column] = cell.role == OFF_TARGET and cell.conclusion != SHIFTS
            marked[at, column] = cell.role == TARGET
            ends = (number_text(end, 0, signed=False) for end in (cell.shift.low, cell.shift.high))
            notes[at][column] = " to ".join(ends)
    return Panel(model, rows, list(results.findings), values, notes, muted, marked)


def _page(results: Results, svg: bytes, caption: str) -> bytes:
    plan = results.cohort.plan
    report = Report("Stress test")
    off = [cell for cell in results.cells if cell.role == OFF_TARGET]
    found = [cell for cell in off if cell.conclusion == SHIFTS]
    conclusions = Counter(cell.conclusion for cell in off)
    lines = [
        f"{_pairs(results)}. Engine {plan.engine}, strength {plan.settings['strength']:g}, guidance"
        f" {plan.settings['guidance']:g}, composed by {plan.settings['compose']}.",
        f"{len(off)} cells off the diagonal: "
        + ", ".join(f"{count} {name}" for name, count in conclusions.items())
        + ".",
        *results.notes,
        *(f"Left out: {count} x {reason}." for reason, count in results.left_out.items()),
        *(f"Not there: {count} edits {state}." for state, count in results.missing.items()),
        *(f"{name}: {count} images without a prediction." for name, count in results.unknown.items() if count),
    ]
    report.add("Result", *lines, Figure(svg.decode(), caption))
    if found:
        report.add(
            "Outputs that shift unasked",
            "More than the control, with Holm's correction over the model's cells off the diagonal at 5 %. A finding"
            " that the engine adds unasked is one reason, a shortcut of the model another: see the co-occurrence.",
            _table(sorted(found, key=lambda cell: -abs(cell.excess.estimate))),
        )
    for scorer in results.scorers:
        own = [cell for cell in results.cells if cell.model == scorer.name]
        report.add(
            scorer.name,
            Table(*_summary([cell for cell in own if cell.role == TARGET]), caption="Asked for"),
            Table(*_summary([cell for cell in own if cell.role == OFF_TARGET]), caption="Not asked for"),
            Table(*_summary([cell for cell in own if cell.role == CONTROL]), caption="Null controls"),
        )
    if results.differences:
        rows = [
            [f"{each.first} - {each.second}", each.prompt, each.finding, _written(each.difference), each.p_holm]
            for each in results.differences
        ]
        columns = ("models", "added", "output", "difference (95 % interval)", "p (Holm)")
        report.add("Models on the same pairs", Table(columns, rows, "Percentile points", 4))
    report.add("How it was computed", *_method(results))
    return report.render()


def _table(cells: Sequence[Cell]) -> Table:
    columns, rows = _summary(cells)
    return Table(["model", *columns], [[cell.model, *row] for cell, row in zip(cells, rows, strict=True)])


def _summary(cells: Sequence[Cell]) -> tuple[list[str], list[list[object]]]:
    columns = ["added", "output", "shift (95 % interval)", "control", "excess (95 % interval)", "p (Holm)"]
    columns += ["probability before", "after", "co-occurrence", "conclusion"]
    rows: list[list[object]] = []
    for cell in cells:
        p = cell.p_excess_holm if math.isfinite(cell.p_excess_holm) else cell.p_holm
        null = "-" if math.isnan(cell.null_shift) else number_text(cell.null_shift, 1, signed=True)
        line: list[object] = [cell.prompt, cell.finding, _written(cell.shift), null, _written(cell.excess), p]
        rows.append([*line, cell.before, cell.after, cell.cooccurrence, cell.conclusion or "-"])
    return columns, rows


def _method(results: Results) -> list[str]:
    options = results.options
    references = zip(results.scorers, results.references, strict=True)
    origins = "; ".join(f"{scorer.name}: {each.origin}" for scorer, each in references)
    lines = [
        "Shift: median over pairs of the percentile of the edit less that of its source. Percentiles are mid-ranks"
        f" among scores of real radiographs: {origins}.",
        f"Intervals: percentile bootstrap by patient, {options.count} resamples. p: sign-flip test by patient"
        " on the signs of differences."
        f" Excess: shift less the control's on the same sources. Margin: {options.margin:g} points.",
    ]
    cohort = f"Cohort {results.cohort.digest.hex()[:16]}, engine {results.cohort.plan.engine_sha256[:16]}"
    models = ", ".join(f"{scorer.name} {scorer.sha256[:16]}" for scorer in results.scorers)
    return [*lines, f"{cohort}; models: {models}; roentmod-fast {__version__}."]


def _pairs(results: Results) -> str:
    cells = [cell for cell in results.cells if cell.role != CONTROL]
    by_prompt = {(cell.model, cell.prompt): cell.pairs for cell in cells}
    first = results.scorers[0].name
    pairs = sum(count for (model, _), count in by_prompt.items() if model == first)
    return f"{pairs} pairs of {max((cell.patients for cell in cells), default=0)} patients"


def _values(cell: Cell) -> list[object]:
    return [
        *(cell.model, cell.prompt, cell.finding, cell.role, cell.pairs, cell.patients, *ends(cell.shift)),
        *(cell.p, cell.p_holm, cell.q, cell.null, cell.null_shift, *ends(cell.excess)),
        *(cell.p_excess, cell.p_excess_holm, cell.before, cell.after, cell.cooccurrence, cell.conclusion),
    ]


def _written(interval: Interval) -> str:
    if not math.isfinite(interval.estimate):
        return "-"
    estimate, low, high = (number_text(value, 1, signed=True) for value in ends(interval))
    return f"{estimate} ({low} to {high})"


def _facts(results: Results) -> dict[str, Any]:
    plan = results.cohort.plan

    return {
        "version": __version__,
        "machine": machine_facts(),
        "cohort": {"sha256": results.cohort.digest.hex(), "engine": plan.engine, "engine_sha256": plan.engine_sha256},
        "settings": dict(plan.settings),
        "models": [
            {
                "name": scorer.name,
                "sha256": scorer.sha256,
                "findings": list(scorer.findings),
                "reference": {"sha256": each.sha256, "count": each.count, "of": each.origin},
            }
            for scorer, each in zip(results.scorers, results.references, strict=True)
        ],
        "options": {name: value for name, value in asdict(results.options).items() if name != "rates"},
        "left_out": dict(results.left_out),
        "missing": dict(results.missing),
        "without_prediction": dict(results.unknown),
        "notes": list(results.notes),
        "cells": [finite(asdict(cell)) for cell in results.cells],
        "differences": [finite(asdict(each)) for each in results.differences],
    }
