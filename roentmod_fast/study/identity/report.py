"""The folder that ``identity`` writes: pairs, summary, figure, page, and a JSON of what it was made with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from roentmod_fast._version import __version__
from roentmod_fast.atomic import check_writable, make_folder, write_atomically
from roentmod_fast.study.identity.embeddings import Embeddings
from roentmod_fast.study.identity.figure import identity_figure
from roentmod_fast.study.identity.measure import CONTROL, MODEL, REAL, Measured
from roentmod_fast.study.identity.summary import ALL, DIFFERENCE, PIXELS, Comparison, SummaryRow, find
from roentmod_fast.study.output import csv_bytes, ends, finite, json_bytes
from roentmod_fast.study.page.report import Figure, Report, Table
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.statistics import Interval

FILES = ("pairs.csv", "summary.csv", "identity.svg", "identity.png", "index.html", "result.json")
INTERVALS = ("median", "iqr", "cosine", "rank1", "mrr", "auc")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputError, before any work is done, where the outputs cannot be written."""
    for name in FILES:
        check_writable(folder / name, overwrite=overwrite)


def write_report(
    folder: Path,
    cohort: Cohort,
    comparison: Comparison,
    models: Sequence[Embeddings],
    rows: Sequence[SummaryRow],
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write all files and return them; without an embedding there is no figure. Raises OutputError."""
    make_folder(folder)
    contents: dict[str, bytes] = {
        "pairs.csv": csv_bytes(_pairs(comparison)),
        "summary.csv": csv_bytes(_summary(rows)),
    }
    svg = None
    if models:
        drawing = identity_figure(rows, [model.model.name for model in models], comparison.prompts)
        svg = drawing.svg().decode()
        contents |= {"identity.svg": svg.encode(), "identity.png": drawing.png()}
    contents["index.html"] = _page(cohort, comparison, models, rows, svg)
    contents["result.json"] = _result(cohort, comparison, models, rows)
    for name, data in contents.items():
        write_atomically(folder / name, data, overwrite=overwrite)
    return [folder / name for name in contents]


def _pairs(comparison: Comparison) -> Iterable[Sequence[object]]:
    """Yield one line a pair, control pairs too; patients and sources as the manifest names them."""
    measured = comparison.measured
    names = [scores.name for scores in comparison.scores]
    yield [
        *("score", "edit_id", "line", "prompt", "repeat", "source", "source_key", "patient", "other_source"),
        *("other_patient", *PIXELS),
        *(f"{name}.{part}" for name in names for part in ("d2", "cosine", "rank")),
    ]
    for number, query in enumerate(measured.queries):
        source = measured.sources[query.source]
        facts: list[object] = [query.prompt, query.repeat, source.name, source.key, source.patient]
        change = [query.change.ssim, query.change.psnr_db, query.change.share_changed]
        own = [
            value
            for scores in comparison.scores
            for value in (scores.distance[number], scores.cosine[number], scores.retrieval.rank[number])
        ]
        line = query.line or None
        yield [query.kind, query.edit_id, line, *facts, None, None, *map(_cell, change), *map(_cell, own)]
        partner = int(comparison.partner[number])
        if partner >= 0:
            edit = measured.queries[partner]
            other = measured.sources[edit.source]
            control = [
                value
                for scores in comparison.scores
                for value in (scores.control[number], scores.control_cosine[number], None)
            ]
            blank = [None] * len(PIXELS)
            head = [CONTROL, edit.edit_id, None, *facts, other.name, other.patient]
            yield [*head, *blank, *map(_cell, control)]


def _summary(rows: Sequence[SummaryRow]) -> Iterable[Sequence[object]]:
    yield [
        *("measure", "prompt", "score", "pairs", "patients", "q1", "q3"),
        *(name for each in INTERVALS for name in (each, f"{each}_low", f"{each}_high")),
    ]
    for row in rows:
        values = [row.measure, row.prompt or "all", row.score, row.pairs, row.patients, _cell(row.q1), _cell(row.q3)]
        for each in INTERVALS:
            interval = getattr(row, each)
            values += [None] * 3 if interval is None else map(_cell, ends(interval))
        yield values


def _cell(value: Any) -> object:
    """Return a number as CSV has it: all its digits, nothing where there is none."""
    return None if value is None or not math.isfinite(value) else repr(float(value))


def _page(
    cohort: Cohort,
    comparison: Comparison,
    models: Sequence[Embeddings],
    rows: Sequence[SummaryRow],
    svg: str | None,
) -> bytes:
    measured, level = comparison.measured, round(100 * comparison.level)
    report = Report("Identity: how near edits stay to their patient")
    edits = sum(query.kind == MODEL for query in measured.queries)
    later = len(measured.queries) - edits
    report.add(
        "What was compared",
        f"{edits} edits of {len(measured.sources)} radiographs of {measured.patient_count} patients, by"
        f" {cohort.plan.engine} (strength {cohort.plan.settings['strength']:g}, guidance"
        f" {cohort.plan.settings['guidance']:g}); {later} real follow-ups.",
        "model: an edit and its own source. control: the edit of another patient with the same prompt, each edit once,"
        " drawn by chance. real: a follow-up of the same patient, where a table of them was given.",
        f"Intervals are of {level} %, {comparison.resamples} resamples of patients, seed {comparison.seed}.",
    )
    lost = [*measured.left_out.items(), *((f"edit {state}", count) for state, count in measured.pending.items())]
    if lost:
        report.add("Not compared", Table(("reason", "pairs"), sorted(lost)))
    prompts = [*comparison.prompts, ALL]
    if svg is not None:
        report.add(
            "Squared distance of embeddings", Figure(svg, "By prompt; a pointer over a square shows its number.")
        )
    for model in models:
        _sections(report, model, rows, prompts, measured)
    _pixels(report, rows, prompts)
    return report.render()


def _sections(
    report: Report, model: Embeddings, rows: Sequence[SummaryRow], prompts: Sequence[str], measured: Measured
) -> None:
    name, contract = model.model.name, model.model.contract
    distances, retrieval = list[list[object]](), list[list[object]]()
    follow_ups = any(row.score == REAL and row.measure == name for row in rows)
    for prompt in prompts:
        found = {score: find(rows, name, prompt, score) for score in (CONTROL, MODEL, REAL, DIFFERENCE)}
        cosine = None if (own := found[MODEL]) is None else own.cosine
        line = [_spread(found[CONTROL]), _spread(own)]
        if follow_ups:
            difference = found[DIFFERENCE]
            line += [_spread(found[REAL]), _interval(None if difference is None else difference.median)]
        distances.append([prompt or "all prompts", *line, _interval(cosine)])
        for score in (MODEL, REAL):
            row = found[score]
            if row is not None:
                values = [_interval(row.rank1), _interval(row.mrr), _interval(row.auc)]
                retrieval.append([prompt or "all prompts", score, row.pairs, row.patients, *values])
    report.add(
        f"{name}: distances",
        "Squared distance of embeddings, the pairwise FID of one image a side: median [interval], and the interquartile"
        " range in round brackets." + (" Embeddings have length 1." if contract.unit_norm else ""),
        Table(("prompt", CONTROL, MODEL, *((REAL, DIFFERENCE) if follow_ups else ()), "cosine, model"), distances),
    )
    report.add(
        f"{name}: retrieval",
        f"Among {measured.patient_count} sources, one of each patient, the own one is the nearest (rank 1), 1 / rank in"
        " the mean (MRR), and nearer than another patient's edit (AUC of the scores above)."
        f" By chance rank 1 is {1 / measured.patient_count:.4f} and AUC 0.5.",
        Table(("prompt", "score", "pairs", "patients", "rank 1", "MRR", "AUC"), retrieval),
        f"Network {model.model.path.name}, SHA-256 {model.model.sha256[:16]}..., on {model.model.device}."
        f" Weights: {contract.source or 'source not stated'}",
    )


def _pixels(report: Report, rows: Sequence[SummaryRow], prompts: Sequence[str]) -> None:
    lines = []
    for prompt in prompts:
        for score in (MODEL, REAL):
            found = [find(rows, name, prompt, score) for name in PIXELS]
            if any(found):
                lines.append([prompt or "all prompts", score, *map(_spread, found)])
    report.add(
        "Without a network",
        "From the own source, in the edits' size: median [interval], interquartile range in round brackets.",
        Table(("prompt", "score", *PIXELS.values()), lines),
    )


def _spread(row: SummaryRow | None) -> str | None:
    return None if row is None or row.iqr is None else f"{_interval(row.median)} ({_digits(row.iqr.estimate)})"


def _interval(interval: Interval | None) -> str | None:
    if interval is None:
        return None
    estimate, low, high = (_digits(value) for value in ends(interval))
    return f"{estimate} [{low}, {high}]" if math.isfinite(interval.low) else estimate


def _digits(value: float) -> str:
    """Return a number with four significant digits; below 1 with three decimals, below 0.1 with as many digits."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    size = math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, 3 - size if size >= 0 else 2 - size)}f}" if abs(value) < 1e5 else f"{value:.3e}"


def _result(cohort: Cohort, comparison: Comparison, models: Sequence[Embeddings], rows: Sequence[SummaryRow]) -> bytes:
    measured, plan = comparison.measured, cohort.plan
    result = {
        "command": "identity",
        "version": __version__,
        "cohort": {
            "plan_sha256": cohort.digest.hex(),
            "engine": plan.engine,
            "engine_sha256": plan.engine_sha256,
            "settings": dict(plan.settings),
        },
        "settings": {"seed": comparison.seed, "resamples": comparison.resamples, "level": comparison.level},
        "counts": {
            "sources": len(measured.sources),
            "patients": measured.patient_count,
            "edits": sum(query.kind == MODEL for query in measured.queries),
            "follow_ups": sum(query.kind == REAL for query in measured.queries),
            "left_out": dict(sorted(measured.left_out.items())),
            "not_made": dict(sorted(measured.pending.items())),
        },
        "models": [
            {
                "name": each.model.name,
                "file": each.model.path.name,
                "sha256": each.model.sha256,
                "device": each.model.device,
                "contract": each.model.contract.to_json(),
            }
            for each in models
        ],
        "summary": [
            {
                "measure": row.measure,
                "prompt": row.prompt or None,
                "score": row.score,
                "pairs": row.pairs,
                "patients": row.patients,
                "quartiles": None if row.q1 is None else [row.q1, row.q3],
                **{name: _numbers(getattr(row, name)) for name in INTERVALS},
            }
            for row in rows
        ],
    }
    return json_bytes(result)


def _numbers(interval: Interval | None) -> list[float | None] | None:
    if interval is None:
        return None
    return [finite(value) for value in ends(interval)]
