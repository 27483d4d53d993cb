"""What does an edit on an NVIDIA GPU cost the CPU? Measured without a GPU.

    make stubs
    python benchmarks/host_side.py ENGINE --python .venv-cuda/bin/python [--out FILE]

``--python`` is that of an environment with this package and onnxruntime-gpu, without CUDA's own libraries (``make
test-cuda`` makes one); ENGINE is a bundle with fp16 networks. The CUDA libraries are stubs (``stub_cuda.py``), so the
time of an edit is that of the CPU: our loop, noise and guidance, ONNX Runtime's work for each launch, and copies, which
go through main memory here and over the bus on a GPU. The GPU's own time is not measured.

``taken_gb`` is the GPU memory that ONNX Runtime holds after the edits, without what CUDA and cuDNN take for themselves.
``launches`` of a guided UNet evaluation are those of kernels, cuBLAS and cuDNN, for each graph that the engine has.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from process import names_only
from stub_cuda import Stubs

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PROMPT = "edema"
LARGE = (2500, 2048)
"""A radiograph as detectors give it."""


def count(stubs: Stubs, network: Any) -> int:
    """Run a UNet once, guided; return its launches."""
    import numpy as np

    from roentmod_fast.bundle.manifest import INPUTS, TYPES

    ports = INPUTS["unet"].items()
    arrays = {name: np.ones((2, *network.inputs[name][1:]), TYPES[port.type]) for name, port in ports}
    before = stubs.count_launches()
    network.run(**arrays)
    return stubs.count_launches() - before


def measure(engine: Path, stubs: Stubs, edits: int, batches: list[int]) -> dict[str, Any]:
    """Be the process that has the stub libraries."""
    from roentmod_fast.bundle.bundle import find_bundle
    from roentmod_fast.editor import Editor
    from roentmod_fast.machine import machine_facts
    from roentmod_fast.phantom import draw
    from roentmod_fast.runtime.backends.base import SessionSpec
    from roentmod_fast.runtime.backends.cuda import CUDA
    from roentmod_fast.runtime.networks import Network
    from roentmod_fast.settings import EditConfig

    bundle = find_bundle(engine)
    plain = bundle.manifest.networks["fp16"]["unet"]
    graphs = {kind: found[plain] for kind, found in bundle.manifest.graphs.items() if plain in found}
    launches: dict[str, int] = {}
    for kind, file in {"plain": plain, **graphs}.items():
        network = Network(CUDA, SessionSpec("unet", bundle.path(file), fp16=True, allow_tf32=True, max_batch=2))
        count(stubs, network)
        launches[kind] = count(stubs, network)
        del network
    rows = []
    for batch in batches:
        before = stubs.allocated()
        editor = Editor.load(bundle.folder, "cuda", "fp16", batch=batch)
        drawn = draw(editor.model.image_size, 1).image, draw(LARGE[0], 1).image[:, : LARGE[1]].copy()
        for image, compose in itertools.product(drawn, ("replace", "contrast")):
            config = EditConfig(0.4, 4.0, 50, 0, compose)
            seconds: list[float] = []
            stages: list[dict[str, float]] = []
            for _ in range(edits + 3):  # the first runs record the graphs
                started = time.perf_counter()
                prepared = editor.encode([editor.place(image, config) for _ in range(batch)])
                results = editor.apply_batch([(item, PROMPT) for item in prepared])
                seconds.append((time.perf_counter() - started) / batch)
                stages.append(results[0].seconds)
            rows.append(
                {
                    "image_size": list(image.shape),
                    "batch": batch,
                    "compose": compose,
                    "seconds_an_edit": statistics.median(seconds[3:]),
                    "spread": [min(seconds[3:]), max(seconds[3:])],
                    "stages": {name: statistics.median(one[name] for one in stages[3:]) for name in stages[-1]},
                    "taken_gb": (stubs.allocated() - before) / 1e9,
                    "notes": list(editor.networks.notes),
                }
            )
            print(json.dumps(rows[-1]), file=sys.stderr)
        del editor, prepared, results
        gc.collect()
    return {**machine_facts(), "launches": launches, "edits": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the environment with the runtime")
    parser.add_argument("--stubs", type=Path, default=ROOT / "stubs", help="what make stubs has made")
    parser.add_argument("--edits", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--out", type=Path, default=RESULTS / "host-side.json")
    parser.add_argument("--be", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    stubs = Stubs.read(args.stubs)
    if args.be:
        print(json.dumps(measure(args.engine, stubs, args.edits, args.batches)))
        return
    command = [str(args.python), __file__, str(args.engine.resolve()), "--be", "--stubs", str(args.stubs.resolve())]
    command += ["--edits", str(args.edits), "--batches", *map(str, args.batches)]
    done = subprocess.run(command, env=stubs.variables(), check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    report = {"date": time.strftime("%Y-%m-%d"), "command": names_only(sys.argv), **found}
    print(json.dumps(found, indent=1))
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
