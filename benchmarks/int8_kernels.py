"""What do OpenVINO's kernels make of an int8 UNet? By instruction set, with activations in uint8 and in int8.

    pip install -e '.[export,int8]'
    python benchmarks/int8_kernels.py ENGINE        # an engine with fp32 and int8, on a CPU with AMX

oneDNN is kept from instruction sets by ``ONEDNN_MAX_CPU_ISA``, so one CPU shows what others do. The samples are
UNet calls of edits of phantoms; each result is compared with that of the float32 network. The first row is
what the file says: ONNX Runtime without optimizations, which computes each operator by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from process import run_process

from roentmod_fast.bundle.bundle import find_bundle
from roentmod_fast.bundle.manifest import OUTPUTS
from roentmod_fast.machine import machine_facts
from roentmod_fast.parity import difference
from roentmod_fast.runtime.backends.openvino import OpenVINOSession
from roentmod_fast_export.int8 import watch_edits

RESULTS = Path(__file__).parent / "results"
INSTRUCTION_SETS = ("AVX512_CORE_AMX", "AVX512_CORE_VNNI", "AVX512_CORE", "AVX2_VNNI", "AVX2")
EVERY = 3
"""Every third call of the edits that are watched: at each noise level, with and without text."""

Samples = list[dict[str, NDArray[Any]]]


def signed(source: Path, target: Path) -> None:
    """Write the network with its activations in int8: the same steps, counted from -128."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.UINT8:
            point = numpy_helper.to_array(tensor).astype(np.int16) - 128
            tensor.CopyFrom(numpy_helper.from_array(point.astype(np.int8), tensor.name))
    onnx.save(model, target, save_as_external_data=True, location=f"{target.name}.data")


def by_onnxruntime(path: Path, samples: Samples) -> list[NDArray[Any]]:
    """Return what the file says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [session.run(None, sample)[0] for sample in samples]


def by_openvino(path: Path, samples: Samples) -> dict[str, Any]:
    """Return what OpenVINO computes, how long a call takes, and what share of the convolutions it runs in integers."""
    session = OpenVINOSession(path)
    names = list(OUTPUTS["unet"])
    session.run(names, samples[0])
    results, seconds = [], []
    for sample in samples:
        started = time.perf_counter()
        results += session.run(names, sample)
        seconds.append(time.perf_counter() - started)
    facts = [node.get_rt_info() for node in session._compiled.get_runtime_model().get_ops()]
    kinds = [fact["primitiveType"].astype(str) for fact in facts if fact["layerType"].astype(str) == "Convolution"]
    integers = [kind for kind in kinds if kind.lower().endswith("i8")]
    return {
        "results": results,
        "ms": round(1000 * statistics.median(seconds), 1),
        "integer_convolutions": f"{len(integers)} of {len(kinds)}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine")
    parser.add_argument("--out", type=Path, default=RESULTS / "int8_kernels.json")
    parser.add_argument("--one", nargs=3, type=Path, metavar=("NETWORK", "SAMPLES", "FOUND"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        network, samples_file, target = args.one
        target.write_bytes(pickle.dumps(by_openvino(network, pickle.loads(samples_file.read_bytes()))))
        return
    bundle = find_bundle(args.engine)
    full, small = (bundle.path(bundle.networks_of(precision)["unet"]) for precision in ("fp32", "int8"))
    watched = watch_edits(bundle.folder, None)["unet"]
    samples = [sample for number, sample in enumerate(watched) if number // 2 % EVERY == 0]
    reference = by_onnxruntime(full, samples)

    def row(kernels: str, activations: str, results: list[NDArray[Any]], **facts: Any) -> dict[str, Any]:
        near = [difference(want, got)["psnr_db"] for want, got in zip(reference, results, strict=True)]
        lowest, median = round(min(near), 1), round(statistics.median(near), 1)
        print(kernels, activations, median, lowest, facts, flush=True)
        return {"kernels": kernels, "activations": activations, "db": median, "db_lowest": lowest, **facts}

    rows = [row("ONNX Runtime", "either", by_onnxruntime(small, samples))]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        signed(small, work / "signed.onnx")
        (work / "samples").write_bytes(pickle.dumps(samples))
        for kernels in INSTRUCTION_SETS:
            for activations, network in (("uint8", small), ("int8", work / "signed.onnx")):
                command = [sys.executable, __file__, args.engine, "--one", network, work / "samples", work / "found"]
                run_process([str(word) for word in command], env={**os.environ, "ONEDNN_MAX_CPU_ISA": kernels})
                found = pickle.loads((work / "found").read_bytes())
                rows.append(row(kernels, activations, **found))
    report = {
        "date": time.strftime("%Y-%m-%d"),
        **machine_facts(),
        "engine": bundle.name,
        "samples": len(samples),
        "rows": rows,
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
