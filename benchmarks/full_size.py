"""What does it cost to export a checkpoint of RoentGen's size, and to edit with it? Time, memory, disk, parity.

    python benchmarks/make_checkpoint.py sd1 WORK/sd1
    python benchmarks/full_size.py WORK/sd1 WORK/sd1-engine --radiograph chest.dcm

Each stage is the command line as a user types it, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from process import ROENTMOD, run_process

from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.machine import machine_facts

RESULTS = Path(__file__).parent / "results"


def measure(*arguments: str) -> dict[str, float]:
    """Run the command line once; return wall and CPU seconds and the peak of resident memory in GB, of the
    largest process."""
    took = run_process([*ROENTMOD, *arguments])
    return {
        "wall_s": round(took.wall_s, 1),
        "cpu_s": round(took.cpu_s, 1),
        "peak_gb": round(took.peak_bytes / 1024**3, 2),
    }


def keep(report: dict[str, object], out: Path) -> None:
    """Write what was measured so far."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("engine", type=Path, help="written, or used as it is where it exists")
    parser.add_argument("--precision", default="fp32,fp16")
    parser.add_argument("--tensorrt", default="")
    parser.add_argument("--radiograph", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    out = args.out or RESULTS / f"full_size-{args.checkpoint.name}.json"
    again = args.engine.exists() and out.exists()  # then the export is as it was measured, and where
    report = json.loads(out.read_text()) if again else {"date": time.strftime("%Y-%m-%d"), **machine_facts()}
    if not args.engine.exists():
        export = ["export", str(args.checkpoint), "-o", str(args.engine), "--precision", args.precision]
        report["export"] = measure(*export, *(["--tensorrt", args.tensorrt] if args.tensorrt else []))
    manifest = read_bundle(args.engine).manifest
    report["files_gb"] = {name: round(fact.bytes / 1e9, 3) for name, fact in manifest.files.items()}
    report["parity"] = manifest.parity
    report["tools"] = manifest.made["tools"]
    if args.radiograph is not None:
        edited = args.engine.parent / f"{args.engine.name}-edit.dcm"
        words = ["edit", str(args.radiograph), "-p", "edema", "-o", str(edited), "--engine", str(args.engine)]
        keep(report, out)  # an export of a quarter of an hour is not lost with an edit that fails
        report["edit"] = measure(
            *words, "--device", "cpu", "--compose", "replace", "--overwrite", "--report", f"{edited}.json"
        )
    keep(report, out)
    print(json.dumps({name: report[name] for name in ("export", "edit", "parity") if name in report}, indent=1))


if __name__ == "__main__":
    main()
