"""How fast is an edit of RoentGen's size on this CPU, against its peers? Interleaved, each in its own process.

    python benchmarks/peers/environments.py ENVIRONMENTS
    python benchmarks/make_checkpoint.py sd1 WORK/sd1
    roentmod-fast export WORK/sd1 -o WORK/engine --precision fp32,int8
    python benchmarks/speed.py WORK/sd1 WORK/engine chest.dcm --environments ENVIRONMENTS --convert
    python benchmarks/speed.py WORK/sd1 WORK/engine chest.dcm --environments ENVIRONMENTS

``--convert`` writes the checkpoint in the forms of other runtimes beside it, once, and measures nothing. In each round
every way runs in one process: first an edit with nothing warmed up, then ``--edits`` more. The first round starts cold,
with the files of environment and model dropped from the system's memory and torch.compile's cache empty; later rounds
start with the files read and that cache full. ``--edits`` takes a number for each round, the last for all that follow;
0 times the stages alone, in edits of two calls. ``--short-first`` makes the first edit such a one, which warms up at a
quarter of the cost. Beside them, in the same round, a large float32 matrix product shows what the CPU can do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import page_cache
from peers.environments import python_of
from peers.peer import beside
from PIL import Image
from process import run_process

from roentmod_fast.machine import machine_facts
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.runtime.host import physical_cores

HERE = Path(__file__).parent
GUIDED_CALL_TFLOP = 1.61
"""Of Stable Diffusion 1's UNet at 64 x 64 latents, a batch of two; a multiply and an add are two operations."""


@dataclass(frozen=True)
class Way:
    """A file of ``peers/``, the environment it runs in and its arguments; ``conversion``: of the checkpoint."""

    peer: str
    environment: str
    words: tuple[str, ...] = ()
    conversion: str | None = None


def ours(*words: str) -> Way:
    """Return one of our ways on OpenVINO."""
    return Way("ours", "ours_openvino", ("--device", "openvino", *words))


WAYS = {
    "diffusers, eager": Way("diffusers_torch", "diffusers"),
    "diffusers, torch.compile": Way("diffusers_torch", "diffusers", ("--compile",)),
    "diffusers, eager, bfloat16": Way("diffusers_torch", "diffusers", ("--bfloat16",)),
    "diffusers, torch.compile, bfloat16": Way("diffusers_torch", "diffusers", ("--compile", "--bfloat16")),
    "optimum-onnx": Way("optimum_onnx", "optimum_onnx", conversion="optimum_onnx"),
    "OpenVINO GenAI": Way("genai", "openvino_genai", conversion="genai"),
    "OpenVINO GenAI, bfloat16": Way("genai", "openvino_genai", ("--bfloat16",), conversion="genai"),
    "stable-diffusion.cpp, f16": Way("ggml", "ggml", ("--weights", "f16"), conversion="ggml"),
    "stable-diffusion.cpp, q8_0": Way("ggml", "ggml", ("--weights", "q8_0"), conversion="ggml"),
    "ours, cpu, fp32, DDIM": Way("ours", "ours_cpu", ("--device", "cpu")),
    **{
        f"ours, openvino, {precision}, DDIM": ours("--precision", precision)
        for precision in ("fp32", "bf16", "int8", "int8-bf16")
    },
    "ours, openvino, fp32, DPM-Solver++ in 5 steps": ours("--solver", "dpm++", "--calls", "5"),
    **{
        f"ours, openvino, {precision}, DPM-Solver++ in {calls} steps": ours(
            "--precision", precision, "--solver", "dpm++", "--calls", str(calls)
        )
        for precision in ("bf16", "int8", "int8-bf16")
        for calls in (8, 4)
    },
}
CONVERTERS = {"optimum_onnx": "optimum_onnx", "genai": "openvino_convert", "ggml": "ggml"}
"""Which environment converts for which peer."""


def convert(args: argparse.Namespace) -> None:
    """Write what is missing of the checkpoint's other forms."""
    for peer in sorted({WAYS[name].peer for name in args.ways} & set(CONVERTERS)):
        if not beside(args.checkpoint, peer).exists():
            python = python_of(args.environments / CONVERTERS[peer])
            command = [str(python), str(HERE / "peers" / f"{peer}.py"), str(args.checkpoint), "--convert"]
            subprocess.run(command, check=True)


def matrix_product_gflops(size: int = 4096) -> float:
    """Return GFLOP/s of a float32 matrix product in numpy, the best of three."""
    a = np.random.default_rng(0).random((size, size), dtype=np.float32)
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        rates.append(2 * size**3 / (time.perf_counter() - start) / 1e9)
    return max(rates)


def run(way: Way, args: argparse.Namespace, work: Path, *, edits: int, cold: bool) -> dict[str, Any]:
    """Run one way in a process; return its figures with its peak of resident memory in GB.

    ``work`` holds the radiograph as ``chest.png`` and what a way compiles: a cold start finds none of it.
    """
    source = args.engine if way.peer == "ours" else args.checkpoint
    files = source if way.conversion is None else beside(source, way.conversion)
    environment = args.environments / way.environment
    compiled = work / "-".join((way.peer, *way.words))
    threads = str(physical_cores())
    command = [
        str(python_of(environment)),
        str(HERE / "peers" / f"{way.peer}.py"),
        str(source),
        str(work / "chest.png"),
    ]
    command += ["--threads", threads, *way.words]
    command += ["--edits", str(edits)] if edits else ["--no-edit"]
    command += ["--short-first"] if args.short_first else []
    (page_cache.drop if cold else page_cache.warm)(environment, files, compiled)
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(compiled), "XDG_CACHE_HOME": str(compiled)}
    variables = {**os.environ, "OMP_NUM_THREADS": threads, **caches}
    if way.peer == "ours":
        variables["PYTHONPATH"] = str(HERE.parent)  # this checkout, not the wheel its environment was made with
    took = run_process(command, env=variables)
    return {**json.loads(took.stdout.strip().splitlines()[-1]), "peak_gb": took.peak_bytes / 1024**3}


def summarize(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians over the rounds, of which the first one started cold; None for what a peer does not report."""
    edits = [seconds for figures in rounds for seconds in figures["edit_s"]]
    first_images = [figures["first_image_after_s"] for figures in rounds if figures["first_image_after_s"]]
    return {
        "guided_unet_call_s": median((call for figures in rounds for call in figures["guided_unet_call_s"]), 3),
        "vae_encoder_s": median((value for figures in rounds for value in figures["vae_encoder_s"]), 2),
        "vae_decoder_s": median((value for figures in rounds for value in figures["vae_decoder_s"]), 2),
        "open_warm_s": median((figures["load_s"] for figures in rounds[1:]), 1),
        "first_unet_call_cold_s": median((figures["first_unet_call_after_s"] for figures in rounds[:1]), 1),
        "first_unet_call_warm_s": median((figures["first_unet_call_after_s"] for figures in rounds[1:]), 1),
        "first_image_cold_s": median(first_images[:1], 1),
        "first_image_warm_s": median(first_images[1:], 1),
        "edit_s": median(edits, 1),
        "edit_s_lowest": round(min(edits), 1) if edits else None,
        "edit_s_highest": round(max(edits), 1) if edits else None,
        "edits": len(edits),
        # Rounds that time stages alone have none.
        "unet_calls": next((figures["unet_calls"] for figures in rounds if figures["unet_calls"]), None),
        "peak_gb": round(max(figures["peak_gb"] for figures in rounds), 2),
        "peak_warm_gb": max((round(figures["peak_gb"], 2) for figures in rounds[1:]), default=None),
    }


def median(values: Iterable[float], digits: int) -> float | None:
    """Return the median, None of nothing."""
    known = list(values)
    return round(statistics.median(known), digits) if known else None


def versions(found: Iterable[list[dict[str, Any]]]) -> dict[str, str]:
    """Return the packages of all ways; peers may have different versions of one."""
    seen: dict[str, dict[str, None]] = {}
    for rounds in found:
        for figures in rounds:
            for name, version in figures["packages"].items():
                seen.setdefault(name, {})[version] = None
    return {name: " and ".join(known) for name, known in sorted(seen.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("engine", type=Path)
    parser.add_argument("radiograph", type=Path)
    parser.add_argument("--environments", type=Path, required=True, help="what peers/environments.py made")
    parser.add_argument("--convert", action="store_true", help="convert the checkpoint for the peers, and end")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--edits", type=int, nargs="+", default=[1], metavar="N", help="warm whole edits in a process of each round"
    )
    parser.add_argument("--short-first", action="store_true", help="the first image of a process in two calls")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), metavar="WAY")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "speed.json")
    args = parser.parse_args()
    if args.convert:
        convert(args)
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in args.ways}
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        grey = (read_radiograph(args.radiograph).image * 255).round().astype("uint8")
        Image.fromarray(grey).save(work / "chest.png")
        for number in range(args.rounds):
            for name in args.ways:
                rates.append(matrix_product_gflops())
                edits = args.edits[min(number, len(args.edits) - 1)]
                found[name].append(run(WAYS[name], args, work, edits=edits, cold=number == 0))
                print(f"round {number + 1}: {name}: {json.dumps(found[name][-1])}", file=sys.stderr, flush=True)
                report = {
                    "date": time.strftime("%Y-%m-%d"),
                    **machine_facts(),
                    "packages": versions(found.values()),
                    "rounds": number + 1,
                    "matrix_product_gflops": {"median": round(statistics.median(rates)), "highest": round(max(rates))},
                    "guided_call_tflop": GUIDED_CALL_TFLOP,
                    "ways": {way: summarize(rounds) for way, rounds in found.items() if rounds},
                    "all": found,
                }
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report["ways"], indent=1))


if __name__ == "__main__":
    main()
