"""What does the first start on an RTX GPU cost the CPU, which compiles the networks? Measured without a GPU.

    python -m venv rtx && rtx/bin/pip install -e '.[rtx]'
    make stubs
    rtx/bin/python benchmarks/first_start.py ENGINE [--rounds N] [--out FILE]

ENGINE is a bundle with fp16 networks and no TensorRT engines for ``--architecture``. The CUDA libraries are stubs
(``stub_cuda.py``): NVIDIA's plugin compiles for them as for a GPU and caches the result. To open that, and to choose
kernels at the first run, it needs a GPU; neither is in these times.

``seconds`` and ``cached_gb`` are of each network, the seconds medians of the rounds; ``peak_gb`` is the peak memory of
the process when the UNet was compiled.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from process import names_only
from stub_cuda import Stubs

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
SESSION: Any = None
OPTIONS: Any = None


class CompileOnly:
    """Replace ONNX Runtime's session: it compiles and stops before the GPU is used; its ports are the file's.

    ``spent``: for each so far the seconds, and the process's peak memory when it was done, in bytes.
    """

    spent: ClassVar[list[tuple[float, int]]] = []

    def __init__(self, path: str, options: Any, **arguments: Any) -> None:
        import onnxruntime

        options.add_session_config_entry("session.compile_only", "1")
        started = time.perf_counter()
        try:
            SESSION(path, options, **arguments)
        except RuntimeError as error:
            if str(error) != "Session has not been initialized.":
                raise
        self.spent.append((time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
        stored = OPTIONS()
        stored.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        ports = SESSION(path, stored, providers=["CPUExecutionProvider"])
        # Copies, so that the stored graph's memory is free again.
        self._inputs, self._outputs = (
            [SimpleNamespace(name=port.name, type=port.type, shape=port.shape) for port in each]
            for each in (ports.get_inputs(), ports.get_outputs())
        )

    def get_inputs(self) -> list[Any]:
        return self._inputs

    def get_outputs(self) -> list[Any]:
        return self._outputs

    def get_providers(self) -> list[str]:
        from roentmod_fast.runtime.backends.tensorrt_rtx import RTX

        return [RTX.provider]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return []


def compile_once(engine: Path, architecture: str, batch: int) -> dict[str, Any]:
    """Be the process that has the stub libraries."""
    from roentmod_fast.bundle.bundle import find_bundle
    from roentmod_fast.bundle.manifest import NETWORKS
    from roentmod_fast.folders import cache_folder
    from roentmod_fast.machine import machine_facts
    from roentmod_fast.runtime.backends.ort import import_onnxruntime
    from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
    from roentmod_fast.runtime.networks import Networks

    global SESSION, OPTIONS
    onnxruntime = import_onnxruntime()
    SESSION, OPTIONS = onnxruntime.InferenceSession, onnxruntime.SessionOptions

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
        """Name the architecture, which the plugin otherwise measures on the GPU."""

        def add_provider_for_devices(self, devices: Any, options: dict[str, str]) -> None:
            super().add_provider_for_devices(devices, {**options, "nv_target_sm": architecture})

    onnxruntime.InferenceSession, onnxruntime.SessionOptions = CompileOnly, Options
    Networks.open(find_bundle(engine), RTX, "fp16", batch=batch)
    spent = dict(zip(NETWORKS, CompileOnly.spent, strict=True))
    cached = {path.parents[1].name.split(".")[0]: path.stat().st_size for path in cache_folder().rglob("*.engine")}
    return {
        **machine_facts(),
        "seconds": {network: seconds for network, (seconds, peak) in spent.items()},
        "cached_gb": {network: cached[network] / 1e9 for network in NETWORKS},
        "peak_gb": spent["unet"][1] / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--architecture", default="sm89")
    parser.add_argument("--batch", type=int, default=1, help="images edited at once")
    parser.add_argument("--stubs", type=Path, default=ROOT / "stubs", help="what make stubs SM=... has made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "first-start.json")
    parser.add_argument("--be", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.be:
        print(json.dumps(compile_once(args.engine, args.architecture, args.batch)))
        return
    stubs = Stubs.read(args.stubs)
    command = [sys.executable, __file__, str(args.engine.resolve()), "--be", "--batch", str(args.batch)]
    command += ["--architecture", args.architecture]
    rounds = []
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            own = stubs.variables(plugin=True, XDG_CACHE_HOME=cache)
            done = subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=3600)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        rounds.append(json.loads(done.stdout))
        print(f"round {number + 1} of {args.rounds}: {sum(rounds[-1]['seconds'].values()):.1f} s", file=sys.stderr)
    found = {
        **rounds[0],
        "architecture": args.architecture,
        "batch": args.batch,
        "rounds": args.rounds,
        "seconds": {name: statistics.median(each["seconds"][name] for each in rounds) for name in rounds[0]["seconds"]},
        "peak_gb": max(each["peak_gb"] for each in rounds),
    }
    report = {"date": time.strftime("%Y-%m-%d"), "command": names_only(sys.argv), **found}
    print(json.dumps(found, indent=1))
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
