"""How fast is an edit of RoentGen's size on this processor, against diffusers? Interleaved, each in its own process.

    python benchmarks/make_checkpoint.py sd1 WORK/sd1
    roentmod-fast export WORK/sd1 -o WORK/engine --precision fp32,int8
    python benchmarks/speed.py WORK/sd1 WORK/engine chest.dcm --torch TORCH/bin/python --openvino OPENVINO/bin/python

``--torch`` and ``--openvino`` are interpreters of environments that have the ``export`` and the ``openvino`` extra.
In each round every way runs once: stages alone (a guided UNet call, the autoencoder's halves), and in the first round a
whole edit. Beside them, in the same round, a large float32 matrix product says what the processor can do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from process import run_process

from roentmod_fast.report import machine_facts

HERE = Path(__file__).parent
GUIDED_CALL_TFLOP = 1.61
"""Of Stable Diffusion 1's UNet at 64 x 64 latents, a batch of two; a multiply and an add are two operations."""

WAYS: dict[str, dict[str, Any]] = {
    "diffusers, eager": {"peer": "diffusers_eager", "python": "torch"},
    "ours, cpu, fp32, DDIM": {"peer": "ours", "python": "here", "words": ["--device", "cpu"]},
    "ours, openvino, fp32, DDIM": {"peer": "ours", "python": "openvino", "words": ["--device", "openvino"]},
    "ours, openvino, int8, DDIM": {
        "peer": "ours",
        "python": "openvino",
        "words": ["--device", "openvino", "--precision", "int8"],
    },
    "ours, openvino, fp32, DPM-Solver++ in 5 calls": {
        "peer": "ours",
        "python": "openvino",
        "words": ["--device", "openvino", "--solver", "dpm++", "--calls", "5"],
    },
    "ours, openvino, int8, DPM-Solver++ in 8 calls": {
        "peer": "ours",
        "python": "openvino",
        "words": ["--device", "openvino", "--precision", "int8", "--solver", "dpm++", "--calls", "8"],
    },
    "ours, openvino, int8, DPM-Solver++ in 4 calls": {
        "peer": "ours",
        "python": "openvino",
        "words": ["--device", "openvino", "--precision", "int8", "--solver", "dpm++", "--calls", "4"],
    },
}


def matrix_product_gflops(size: int = 4096) -> float:
    """Return GFLOP/s of a float32 matrix product in numpy, the best of three."""
    a = np.random.default_rng(0).random((size, size), dtype=np.float32)
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        rates.append(2 * size**3 / (time.perf_counter() - start) / 1e9)
    return max(rates)


def run(way: dict[str, Any], pythons: dict[str, str], wishes: argparse.Namespace, edit: bool) -> dict[str, Any]:
    """Run one way in a process; return its figures with its peak of resident memory in GB."""
    source = wishes.engine if way["peer"] == "ours" else wishes.checkpoint
    command = [pythons[way["python"]], str(HERE / "peers" / f"{way['peer']}.py"), str(source), str(wishes.radiograph)]
    command += way.get("words", [])
    if not edit:
        command.append("--no-edit")
    took = run_process(command, stderr=subprocess.DEVNULL)
    return {**json.loads(took.stdout.strip().splitlines()[-1]), "peak_gb": took.peak_bytes / 1024**3}


def summarize(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians over the rounds, and what the one whole edit gave."""
    calls = [value for figures in rounds for value in figures["guided_unet_call_s"]]
    edit = next((figures for figures in rounds if "edit_s" in figures), {})
    summary = {"guided_unet_call_s": round(statistics.median(calls), 3)}
    for name in ("vae_encoder_s", "vae_decoder_s", "load_s", "first_unet_call_after_s"):
        summary[name] = round(statistics.median(figures[name] for figures in rounds), 2)
    summary["peak_gb"] = round(max(figures["peak_gb"] for figures in rounds), 2)
    if edit:
        summary |= {"edit_s": round(edit["edit_s"], 1), "unet_calls": edit["unet_calls"]}
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("engine", type=Path)
    parser.add_argument("radiograph", type=Path)
    parser.add_argument("--torch", default=sys.executable)
    parser.add_argument("--openvino", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), metavar="WAY")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "speed.json")
    wishes = parser.parse_args()
    pythons = {"torch": wishes.torch, "openvino": wishes.openvino, "here": sys.executable}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in wishes.ways}
    rates = []
    for number in range(wishes.rounds):
        for name in wishes.ways:
            rates.append(matrix_product_gflops())
            found[name].append(run(WAYS[name], pythons, wishes, edit=number == 0))
            print(f"round {number + 1}: {name}: {json.dumps(found[name][-1])}", file=sys.stderr, flush=True)
            report = {
                "date": time.strftime("%Y-%m-%d"),
                **machine_facts(),
                "rounds": number + 1,
                "matrix_product_gflops": {"median": round(statistics.median(rates)), "highest": round(max(rates))},
                "guided_call_tflop": GUIDED_CALL_TFLOP,
                "ways": {name: summarize(figures) for name, figures in found.items() if figures},
                "all": found,
            }
            wishes.out.parent.mkdir(parents=True, exist_ok=True)
            wishes.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report["ways"], indent=1))


if __name__ == "__main__":
    main()
