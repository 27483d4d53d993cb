"""How long does one edit take as a user types it, and how much memory? From process start to process end.

    python benchmarks/edit_process.py                 # 7 runs of one 1024x1024 DICOM with the default engine
    python benchmarks/edit_process.py --runs 3 -- --compose replace

Each run is a process of its own; the first one, which also warms the disk cache, is not counted. Also ``--help``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from process import ROENTMOD, run_process

from roentmod_fast.machine import machine_facts

RESULTS = Path(__file__).parent / "results"


def measure(arguments: list[str]) -> dict[str, float]:
    """Run the command line once; return wall and CPU seconds and the peak of resident memory in MB."""
    took = run_process([*ROENTMOD, *arguments], stderr=subprocess.DEVNULL)
    return {"wall_s": took.wall_s, "cpu_s": took.cpu_s, "peak_mb": took.peak_bytes / 1024**2}


def spread(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Minimum, median and maximum of each figure."""
    return {
        name: {
            kind: round(function(run[name] for run in runs), 3)
            for kind, function in (("min", min), ("median", statistics.median), ("max", max))
        }
        for name in runs[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS / "edit_process.json")
    parser.add_argument("extra", nargs="*", help="more options for edit, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chest = str(Path(folder) / "chest.dcm")
        measure(["sample", chest])
        edit = ["edit", chest, "-p", "edema", "--overwrite", *args.extra]
        commands = {"edit": edit, "help": ["--help"]}
        for arguments in commands.values():
            measure(arguments)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(args.runs):  # interleaved, so that a slow minute of the machine meets both
            for name, arguments in commands.items():
                runs[name].append(measure(arguments))
    report = {
        "date": time.strftime("%Y-%m-%d"),
        **machine_facts(),
        "runs": args.runs,
        "options": args.extra,
        **{name: spread(values) for name, values in runs.items()},
    }
    print(json.dumps(report, indent=1))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
