"""Is our edit the one that diffusers makes? Both, side by side in one process, over many settings.

    roentmod-fast export CHECKPOINT -o ENGINE
    python benchmarks/sameness.py CHECKPOINT ENGINE                      # the whole grid, for small engines
    python benchmarks/sameness.py CHECKPOINT ENGINE --steps 20 --out benchmarks/results/sameness-sd1.json

The same weights, image, prompt and seed; theirs is ``StableDiffusionImg2ImgPipeline`` with ``DDIMScheduler`` and
``torch.Generator("cpu").manual_seed(42)``, in float32. Rows are written as they come; a row
that is there is not run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import diffusers
import torch

from roentmod_fast.editor import Editor
from roentmod_fast.machine import machine_facts
from roentmod_fast.settings import EditConfig
from roentmod_fast_export import parity
from roentmod_fast_export.checkpoint import open_checkpoint
from roentmod_fast_export.engine_side import edit_difference, edit_image

RESULTS = Path(__file__).parent / "results"
STRENGTHS = (0.2, 0.4, 0.75, 1.0)
GUIDANCES = (1.0, 4.0, 7.5)
STEPS = (20, 50, 75)
PROMPT = "right pleural effusion"
SEED = 42


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    parser.add_argument("--guidances", type=float, nargs="+", default=GUIDANCES)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    parser.add_argument("--vae", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "sameness.json")
    args = parser.parse_args()

    opened = open_checkpoint(args.checkpoint, args.vae)
    pipeline = parity.reference_pipeline(opened)
    editor = Editor.load(args.engine, device="cpu", precision="fp32")
    image = edit_image(opened.model)
    facts = machine_facts()
    report = {
        "date": time.strftime("%Y-%m-%d"),
        **facts,
        "packages": {**facts["packages"], "torch": torch.__version__, "diffusers": diffusers.__version__},
        "engine": editor.bundle.name,
        "image_size": opened.model.image_size,
        "prompt": PROMPT,
        "seed": SEED,
        "rows": json.loads(args.out.read_text())["rows"] if args.out.exists() else [],
    }
    done = {(row["strength"], row["guidance"], row["steps"]) for row in report["rows"]}
    for steps, guidance, strength in itertools.product(args.steps, args.guidances, args.strengths):
        if (strength, guidance, steps) in done:
            continue
        config = EditConfig(strength, guidance, steps, SEED, "replace")
        started = time.perf_counter()
        theirs = parity.reference_edit(pipeline, image, config, PROMPT)
        between = time.perf_counter()
        result = editor.edit(image, PROMPT, config)
        ended = time.perf_counter()
        difference = edit_difference(theirs, result.decoded)
        row = {
            "strength": strength,
            "guidance": guidance,
            "steps": steps,
            "unet_calls": result.unet_calls,
            "psnr_db": round(difference["psnr_db"], 1),
            "max_abs": float(f"{difference['max_abs']:.2g}"),
            "diffusers_s": round(between - started, 2),
            "ours_s": round(ended - between, 2),
        }
        print(json.dumps(row), flush=True)
        report["rows"].append(row)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"worst of {len(report['rows'])}: {min(row['psnr_db'] for row in report['rows'])} dB")


if __name__ == "__main__":
    main()
