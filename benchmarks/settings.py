"""What does each lossy setting cost in fidelity? Each alone against the exact edit, on phantoms with known truth.

    python benchmarks/settings.py --engine ENGINE --device openvino        # an engine with all precisions, 35 phantoms
    python benchmarks/settings.py --phantoms 2 --out try.json

Rows are fp16, int8, bfloat16 (on OpenVINO where the CPU has it), fewer sampling steps with DDIM and DPM-Solver++(2M),
even and denser steps, and guidance in an interval of noise levels only (Kynkäänniemi et al. 2024), which the runtime
does not offer: at the same cost fewer steps are nearer to exact. ``unet_evaluations`` counts a guided step twice.
PSNR is measured on the engine's own images, the finding's presence with compose ``contrast``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fidelity import psnr
from phantom_fidelity import KEY_OF, RESULTS
from phantom_reader import read
from roentmod_fast.diffusion.denoise import SOLVERS, denoise
from roentmod_fast.diffusion.schedule import CALLS_POWER, Timesteps
from roentmod_fast.diffusion.solvers import add_noise, guide
from roentmod_fast.editor import Editor
from roentmod_fast.findings import FINDINGS
from roentmod_fast.machine import machine_facts
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.compose import compose
from roentmod_fast.result import Prepared
from roentmod_fast.settings import EditConfig

Array = NDArray[np.float32]
GUIDANCE = 4.0


@dataclass(frozen=True)
class Row:
    """One setting: ``calls`` None is the full schedule; below the noise level ``guided_from`` no step is guided."""

    name: str
    precision: str = "fp32"
    calls: int | None = None
    solver: str = "ddim"
    power: float = CALLS_POWER
    guided_from: float = 0.0


FAST_ON_CPUS = ("int8", "bf16", "int8-bf16")

ROWS = (
    Row("fp16", "fp16"),
    *(Row(precision, precision) for precision in FAST_ON_CPUS),
    *(Row(f"DDIM, {n} steps, even spacing", calls=n, power=1.0) for n in (4, 6, 10)),
    *(Row(f"DPM-Solver++, {n} steps, even spacing", calls=n, solver="dpm++", power=1.0) for n in (4, 6, 10)),
    *(Row(f"DPM-Solver++, {n} steps", calls=n, solver="dpm++") for n in (3, 4, 5, 6, 8, 10)),
    Row("DPM-Solver++, 5 steps, guided above 0.05", calls=5, solver="dpm++", guided_from=0.05),
    Row("DPM-Solver++, 5 steps, guided above 0.10", calls=5, solver="dpm++", guided_from=0.10),
    Row("DPM-Solver++, 10 steps, guided above 0.15", calls=10, solver="dpm++", guided_from=0.15),
    *(
        Row(f"{precision}, DPM-Solver++, {n} steps", precision, n, "dpm++")
        for precision in FAST_ON_CPUS
        for n in (4, 6, 8)
    ),
)


def timesteps_of(editor: Editor, row: Row, full: Timesteps) -> Timesteps:
    """Return the timesteps of a row."""
    return full if row.calls is None else editor.schedule.timesteps_for_calls(full.start, row.calls, row.power)


def run(editor: Editor, prepared: Prepared, row: Row, prompt: str) -> tuple[Array, int]:
    """Edit towards ``prompt`` (empty: without guidance); return the decoded image and the UNet evaluations."""
    states = [editor.networks.encode_text(editor._tokenizer.encode(text)) for text in ("", prompt)]
    networks = editor.networks
    evaluations = 0

    def predict(x_t: Array, timestep: int) -> Array:
        nonlocal evaluations
        evaluations += 1
        conditional = networks.predict(x_t, timestep, states[1])
        if not prompt or timestep < row.guided_from * editor.model.train_timesteps:
            return conditional
        evaluations += 1
        return guide(networks.predict(x_t, timestep, states[0]), conditional, GUIDANCE)

    timesteps = timesteps_of(editor, row, prepared.timesteps)
    x_t = add_noise(prepared.x_0, prepared.noise, editor.schedule.alpha_bar_at(timesteps.start))
    *_, x_t = denoise(x_t, editor.schedule, timesteps, predict, SOLVERS[row.solver](len(timesteps)))
    return editor._decode(x_t, prepared.watch)[0], evaluations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="phantom")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--phantoms", type=int, default=35)
    names = [row.name for row in ROWS]
    parser.add_argument("--rows", nargs="+", default=names, choices=names, metavar="ROW", help="beside exact")
    parser.add_argument("--out", type=Path, default=RESULTS / "settings.json")
    args = parser.parse_args()
    editors = {"fp32": Editor.load(args.engine, args.device, "fp32")}
    asked = {row.precision for row in ROWS if row.name in args.rows} - editors.keys()
    for precision in asked.intersection(editors["fp32"].device.precisions(editors["fp32"].bundle)):
        editors[precision] = Editor.load(args.engine, args.device, precision)
    rows = [row for row in ROWS if row.precision in editors and row.name in args.rows]
    size = editors["fp32"].model.image_size
    exact = Row("exact")
    found: dict[str, list[dict[str, Any]]] = {row.name: [] for row in (exact, *rows)}
    for seed in range(args.phantoms):
        source = draw(size, seed)
        prepared = {
            name: editor.prepare(source.image, EditConfig(seed=seed, compose="replace"))
            for name, editor in editors.items()
        }
        bases = {row.name: run(editors[row.precision], prepared[row.precision], row, "")[0] for row in (exact, *rows)}
        for finding in FINDINGS:
            reference: Array | None = None
            for row in (exact, *rows):
                ready = prepared[row.precision]
                decoded, evaluations = run(editors[row.precision], ready, row, finding.prompt)
                reference = decoded if reference is None else reference
                image = compose(source.image, decoded, bases[row.name], ready.letterbox, "contrast")
                present = KEY_OF[finding.prompt] in read(source, image)[0]
                record = {"finding": finding.key, "evaluations": evaluations, "present": present}
                if row is not exact:
                    record["psnr_db"] = psnr(decoded, reference)
                found[row.name].append(record)
        print(f"phantom {seed} done", flush=True)
        write(args, editors["fp32"], found, seed + 1)
    for row in json.loads(args.out.read_text())["rows"]:
        print(row)


def write(args: argparse.Namespace, editor: Editor, found: dict[str, list[dict[str, Any]]], phantoms: int) -> None:
    """Write the results so far."""
    table = []
    for name, records in found.items():
        near = [record["psnr_db"] for record in records if "psnr_db" in record]
        table.append(
            {
                "settings": name,
                "unet_evaluations": max(record["evaluations"] for record in records),
                "psnr_db_median": round(float(np.median(near)), 1) if near else None,
                "psnr_db_lowest": round(min(near), 1) if near else None,
                "present": round(float(np.mean([record["present"] for record in records])), 3),
            }
        )
    report = {
        "date": time.strftime("%Y-%m-%d"),
        **machine_facts(),
        "engine": {"name": editor.bundle.name, "manifest_sha256": editor.bundle.manifest_hash},
        "device": args.device,
        "phantoms": phantoms,
        "edits_a_row": len(next(iter(found.values()))),
        "rows": table,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
