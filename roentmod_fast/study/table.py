"""The manifest of a cohort: one row an edit and one a source, as CSV, and as Parquet where pyarrow is installed.

Where images are generated there is one row an image, and the columns of a source are empty.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from roentmod_fast.atomic import stream_atomically
from roentmod_fast.radiograph.model import GENERATED
from roentmod_fast.study.labels import Labels, asked_findings
from roentmod_fast.study.output import csv_bytes
from roentmod_fast.study.plan import SOURCES, Cohort, Edit
from roentmod_fast.study.rows import DONE, Row, read_rows
from roentmod_fast.study.sources import SourceRow, check_splits, label_names

TEXT, WHOLE, NUMBER = str, int, float

COLUMNS: dict[str, type] = {
    **dict.fromkeys(("kind", "edit_id", "split", "patient", "source", "source_key", "source_sha256"), TEXT),
    **{"dataset": TEXT, "view": TEXT, "age": WHOLE, "sex": TEXT, "prompt": TEXT, "finding": TEXT},
    **{"repeat": WHOLE, "seed": WHOLE, "strength": NUMBER, "guidance": NUMBER, "steps": WHOLE, "solver": TEXT},
    **{"calls": WHOLE, "precision": TEXT, "preset": TEXT, "compose": TEXT, "engine": TEXT, "engine_sha256": TEXT},
    **{"version": TEXT, "output": TEXT, "output_sha256": TEXT, "png": TEXT, "png_sha256": TEXT},
    **{"seconds": NUMBER, "device": TEXT, "status": TEXT, "error": TEXT},
}
"""Columns before the labels, each with its type. ``kind``: ``edit``, ``source`` or ``generated``; ``output``: the DICOM
file, or the PNG where no DICOM is written, else ``png`` holds that."""

GENERATED_KIND = "generated"

GROUP = 20_000
"""Rows that are held at once for Parquet."""


def write_tables(cohort: Cohort, labels: Labels) -> tuple[list[Path], int]:
    """Write ``manifest.csv`` and, with pyarrow, ``manifest.parquet``; return the files and the number of rows.

    Raises SettingError where a patient is in two splits, OutputError.
    """
    sources = cohort.sources()
    if cohort.plan.splits is not None or any(row.split for row in sources):
        check_splits(sources)
    names = label_names((cohort.folder / SOURCES).read_text(encoding="utf-8", errors="surrogateescape"))
    findings = _findings(cohort, labels, names)
    rows = read_rows(cohort.folder).by_id
    path, count = cohort.folder / "manifest.csv", 0

    def text() -> Iterator[bytes]:
        nonlocal count
        columns = [*COLUMNS, *(f"y_{name}" for name in findings)]
        values: Iterator[Sequence[Any]] = _values(cohort, sources, names, rows, labels, findings)
        yield csv_bytes([columns], "surrogateescape")
        while group := list(islice(values, GROUP)):
            count += len(group)
            yield csv_bytes(group, "surrogateescape")

    stream_atomically(path, text())
    parquet = _pyarrow()
    if parquet is None:
        return [path], count
    target = cohort.folder / "manifest.parquet"
    stream_atomically(target, _parquet(parquet, findings, _values(cohort, sources, names, rows, labels, findings)))
    return [path, target], count


def _findings(cohort: Cohort, labels: Labels, names: Sequence[str]) -> list[str]:
    known = labels.of_edit("", dict.fromkeys(names, ""), "")
    asked = [finding for prompt in cohort.plan.prompts for finding in asked_findings(prompt, names)]
    return list(dict.fromkeys([*known, *(name for name in asked if name in known)]))


def _values(
    cohort: Cohort,
    sources: Iterable[SourceRow],
    names: Sequence[str],
    rows: dict[str, Row],
    labels: Labels,
    findings: Sequence[str],
) -> Iterator[list[Any]]:
    """Yield the values of each row, None where there is none."""
    for source in sources:
        edits = cohort.edits_of(source)
        if cohort.plan.generates:
            identity = _identity_values(source)
            for edit in edits:
                labelled = labels.of_image(edit.prompt, names, edit.id)
                values = {**identity, **_edit_values(cohort, edit, rows.get(edit.id), names), "kind": GENERATED_KIND}
                values["compose"] = GENERATED
                yield [*values.values(), *(labelled.get(name) for name in findings)]
            continue
        own = dict(zip(names, source.labels, strict=True))
        found = (row.source_sha256 for edit in edits if (row := rows.get(edit.id)) is not None)
        read = source.sha256 or next(filter(None, found), "")  # a row that failed has none
        values = _source_values(source, read)
        yield [*values.values(), *(_number(own.get(name, "")) for name in findings)]
        for edit in edits:
            row = rows.get(edit.id)
            labelled = labels.of_edit(edit.prompt, own, edit.id)
            values |= _edit_values(cohort, edit, row, names)
            yield [*values.values(), *(labelled.get(name) for name in findings)]


def _identity_values(row: SourceRow) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    return values | {"split": row.split, "patient": row.patient, "dataset": row.dataset}


def _source_values(source: SourceRow, sha256: str) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    age = int(source.age) if source.age else None
    values |= {"kind": "source", "split": source.split, "patient": source.patient, "source": source.name}
    values |= {"source_key": source.key, "source_sha256": sha256, "dataset": source.dataset, "view": source.view}
    return values | {"age": age, "sex": source.sex}


def _edit_values(cohort: Cohort, edit: Edit, row: Row | None, names: Sequence[str]) -> dict[str, Any]:
    plan = cohort.plan
    values: dict[str, Any] = {"kind": "edit", "edit_id": edit.id, "prompt": edit.prompt}
    values |= {"finding": "|".join(asked_findings(edit.prompt, names)), "repeat": edit.repeat, "seed": edit.seed}
    values |= {name: plan.settings[name] for name in ("strength", "guidance", "steps", "solver", "calls", "compose")}
    values |= {"precision": plan.precision, "preset": plan.preset, "engine": plan.engine}
    values |= {"engine_sha256": plan.engine_sha256, "version": row.version if row else None}
    files = row.files if row is not None and row.state == DONE else {}
    first, png = files.get("dicom") or files.get("png"), files.get("png") if "dicom" in files else None
    values |= dict(zip(("output", "output_sha256"), first[:2] if first else (None, None), strict=True))
    values |= dict(zip(("png", "png_sha256"), png[:2] if png else (None, None), strict=True))
    values |= {"seconds": row.seconds if files and row else None, "device": row.device if row else None}
    return values | {"status": row.state if row else "pending", "error": row.error if row else None}


def _number(text: str) -> float | None:
    return float(text) if text else None


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        return None


def _parquet(parquet: Any, findings: Sequence[str], values: Iterator[list[Any]]) -> Iterator[bytes]:
    """Yield the content of a Parquet file, a group of rows at a time."""
    arrow = importlib.import_module("pyarrow")
    kinds = {TEXT: arrow.string(), WHOLE: arrow.int64(), NUMBER: arrow.float64()}
    columns = {**COLUMNS, **{f"y_{name}": NUMBER for name in findings}}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    buffer = io.BytesIO()
    with parquet.ParquetWriter(buffer, schema) as writer:
        while group := list(islice(values, GROUP)):
            arrays = [arrow.array(each, kind.type) for each, kind in zip(zip(*group, strict=True), schema, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
    yield buffer.getvalue()
