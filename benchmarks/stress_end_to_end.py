"""A stress test from edits to figure, timed: two classifiers trained on phantoms, one with a planted shortcut.

    python benchmarks/phantom_classifiers.py classifiers/
    roentmod-fast cohort plan --dataset table --metadata phantoms.csv --prompts paper \
        -p "no acute cardiopulmonary process" --compose replace --format png --size 256 --png-bits 8 -o phantoms/
    roentmod-fast cohort run phantoms/
    python benchmarks/stress_end_to_end.py classifiers/ phantoms/ films/ --reference classifiers/reference/ FILMS/nih/

Writes ``results/stress.json``: per cohort the time of the command, conclusions, and the cell of the shortcut.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from roentmod_fast.machine import machine_facts

RESULTS = Path(__file__).parent / "results"
MODELS = ("clean", "shortcut")
CELLS = (("cardiomegaly", "hernia"), ("hernia", "cardiomegaly"))
"""What was added and which output is looked at: the planted shortcut, and its reverse."""


def test(cohort: Path, classifiers: Path, reference: Path, output: Path) -> dict[str, Any]:
    """Run the command and return what it found and how long the whole process took."""
    models = [part for name in MODELS for part in ("--model", str(classifiers / f"{name}.onnx"))]
    command = [sys.executable, "-m", "roentmod_fast", "stress", str(cohort), *models, "-o", str(output)]
    command += ["--reference", str(reference)]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    facts = json.loads((output / "result.json").read_text(encoding="utf-8"))
    cells = facts["cells"]
    found: dict[str, Any] = {"seconds": round(seconds, 1), "left_out": facts["left_out"], "models": {}}
    found["pairs"] = sum(
        cell["pairs"]
        for cell in cells
        if cell["finding"] == "edema" and cell["model"] == "clean" and cell["role"] != "control"
    )
    found["reference"] = facts["models"][0]["reference"]["count"]
    found["patients"] = max(cell["patients"] for cell in cells)
    for model in MODELS:
        own = [cell for cell in cells if cell["model"] == model]
        off = [cell for cell in own if cell["role"] == "off-target"]
        target = {cell["prompt"]: shown(cell["shift"]) for cell in own if cell["role"] == "target"}
        controls = [
            {"control": cell["prompt"], "output": cell["finding"], "shift": shown(cell["shift"])}
            for cell in own
            if cell["role"] == "control"
        ]
        pairs = [cell for cell in own if (cell["prompt"], cell["finding"]) in CELLS]
        found["models"][model] = {
            "conclusions": dict(Counter(cell["conclusion"] for cell in off)),
            "targets": target,
            "controls": controls,
            "cells": [
                {name: cell[name] for name in ("prompt", "finding", "conclusion", "p_excess_holm")}
                | {name: shown(cell[name]) for name in ("shift", "excess")}
                for cell in pairs
            ],
        }
    found["differences"] = [
        {name: each[name] for name in ("prompt", "finding", "p_holm")} | {"difference": shown(each["difference"])}
        for each in facts["differences"]
        if (each["prompt"], each["finding"]) in CELLS
    ]
    return found


def shown(interval: dict[str, float | None]) -> list[float | None]:
    """Return estimate and limits."""
    return [None if interval[name] is None else round(interval[name], 1) for name in ("estimate", "low", "high")]  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("classifiers", type=Path)
    parser.add_argument("cohorts", type=Path, nargs="+")
    parser.add_argument("--reference", type=Path, nargs="+", required=True, help="real radiographs, for each cohort")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep figures and pages in a folder of each cohort")
    options = parser.parse_args()
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), **machine_facts(), "cohorts": {}}
    for cohort, reference in zip(options.cohorts, options.reference, strict=True):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) if options.keep is None else options.keep / cohort.name
            report["cohorts"][cohort.name] = test(cohort, options.classifiers, reference, folder)
    (RESULTS / "stress.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
