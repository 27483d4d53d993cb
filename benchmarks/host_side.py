"""What does an edit on an NVIDIA card cost the processor? Measured without a card.

    python benchmarks/host_side.py ENGINE --python cuda/bin/python [--out FILE]

``cuda`` is an environment with this package and onnxruntime-gpu, without CUDA's own libraries as pip installs them
(``make test-cuda`` makes one), ENGINE a bundle with half-precision networks. The GPU is a fake
(``tests/cuda/fake_cuda.c``): it takes memory and copies it, counts launches, and computes nothing. So the time that an
edit takes there is the processor's: our loop, noise and guidance, ONNX Runtime's work for each launch, and copies,
which here go through main memory and there over a bus. How long a card takes is not seen.

``taken_gb`` is what ONNX Runtime holds of the card's memory after the edits, without what CUDA and cuDNN take for
themselves. ``launches`` of a guided UNet call are those of kernels, cuBLAS and cuDNN, for each graph of it that the
engine has.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PROMPT = "edema"
LARGE = (2500, 2048)
"""A radiograph as detectors give it."""


def measure(engine: Path, edits: int, batches: list[int]) -> dict[str, Any]:
    """Be the process that has the fake GPU."""
    import ctypes

    from roentmod_fast.bundle.bundle import find_bundle
    from roentmod_fast.editor import Editor
    from roentmod_fast.machine import machine_facts
    from roentmod_fast.phantom import draw
    from roentmod_fast.runtime.backends.cuda import CUDA
    from roentmod_fast.runtime.networks import Network
    from roentmod_fast.runtime.session_spec import SessionSpec
    from roentmod_fast.settings import EditConfig
    from tests.cuda.on_cuda import count

    bundle = find_bundle(engine)
    plain = bundle.manifest.networks["fp16"]["unet"]
    graphs = {kind: found[plain] for kind, found in bundle.manifest.graphs.items() if plain in found}
    counts = ctypes.CDLL("libcudart.so.13")
    counts.fake_taken.restype = ctypes.c_size_t
    launches: dict[str, int] = {}
    for kind, file in {"plain": plain, **graphs}.items():
        network = Network(CUDA, SessionSpec("unet", bundle.path(file), fp16=True, allow_tf32=True, max_batch=2))
        count(network)
        launches[kind] = count(network)[0]
        del network
    rows = []
    for batch in batches:
        before = counts.fake_taken()
        editor = Editor.load(bundle.folder, "cuda", "fp16", batch=batch)
        drawn = draw(editor.model.image_size, 1).image, draw(LARGE[0], 1).image[:, : LARGE[1]].copy()
        for picture, compose in itertools.product(drawn, ("replace", "contrast")):
            config = EditConfig(0.4, 4.0, 50, 0, compose)
            seconds: list[float] = []
            stages: list[dict[str, float]] = []
            for _ in range(edits + 3):  # the first runs record the graphs
                started = time.perf_counter()
                prepared = editor.encode([editor.place(picture, config) for _ in range(batch)])
                results = editor.apply_batch([(item, PROMPT) for item in prepared])
                seconds.append((time.perf_counter() - started) / batch)
                stages.append(results[0].seconds)
            rows.append(
                {
                    "picture": list(picture.shape),
                    "batch": batch,
                    "compose": compose,
                    "seconds_an_edit": statistics.median(seconds[3:]),
                    "spread": [min(seconds[3:]), max(seconds[3:])],
                    "stages": {name: statistics.median(one[name] for one in stages[3:]) for name in stages[-1]},
                    "taken_gb": (counts.fake_taken() - before) / 1e9,
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
    parser.add_argument("--edits", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--out", type=Path, default=RESULTS / "host-side.json")
    parser.add_argument("--be", action="store_true", help=argparse.SUPPRESS)
    wishes = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if wishes.be:
        print(json.dumps(measure(wishes.engine, wishes.edits, wishes.batches)))
        return
    from tests.cuda import fake_cuda

    asked = [str(wishes.python), "-c", "from tests.cuda.fake_cuda import why_not; print(why_not() or '')"]
    missing = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    if missing:
        parser.error(f"{wishes.python}: {missing}")
    with tempfile.TemporaryDirectory() as folder:
        fake_cuda.build(Path(folder))
        command = [str(wishes.python), __file__, str(wishes.engine.resolve()), "--be", "--edits", str(wishes.edits)]
        command += ["--batches", *map(str, wishes.batches)]
        environment = {**os.environ, "LD_LIBRARY_PATH": folder}
        found = json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)
    report = {"date": time.strftime("%Y-%m-%d"), "command": sys.argv, **found}
    print(json.dumps(found, indent=1))
    wishes.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
