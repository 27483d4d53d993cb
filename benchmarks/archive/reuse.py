"""Reusing the UNet's deep features across steps (DeepCache, Ma et al. 2024): two graphs made from an engine's one.

    python benchmarks/archive/reuse.py ENGINE            # cost of a shallow call against a whole one

The UNet's up blocks join the deeper features with the skip connections of its down blocks. The deeper features change
slowly from step to step: computed in every ``every``-th call only, the calls between need no more than the last
``joins`` joins and what leads to them. The runtime does not offer it: fewer steps are nearer to exact at the same cost
(``results/settings-reuse.json``). Needs ``onnx``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from roentmod_fast.bundle.bundle import find_bundle
from roentmod_fast.bundle.manifest import INPUTS, item_shapes
from roentmod_fast.machine import machine_facts
from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU

RESULTS = Path(__file__).parent / "results"
Array = NDArray[Any]
DEEP = "deep_features"


def split(path: Path, joins: int, folder: Path) -> tuple[Path, Path]:
    """Write a whole UNet that gives its deep features as well, and a shallow one that takes them, into ``folder``."""
    model = onnx.load(path, load_external_data=False)
    external = (tensor for tensor in model.graph.initializer if uses_external_data(tensor))
    for name in {ExternalDataInfo(tensor).location for tensor in external}:
        os.link(path.parent / name, folder / name)
    joined = [
        node
        for node in model.graph.node
        if node.op_type == "Concat" and any(field.name == "axis" and field.i == 1 for field in node.attribute)
    ]
    deep = joined[-joins].input[0]
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == deep:
                    names[index] = DEEP
    [known] = [value for value in model.graph.value_info if value.name == deep]
    known.name = DEEP
    whole_path, shallow_path = folder / "whole.onnx", folder / f"shallow-{joins}.onnx"
    shallow = onnx.utils.Extractor(model).extract_model([*INPUTS["unet"], DEEP], ["prediction"])
    # Of the inputs only the names are known to be used; one that the shallow part does without is no input of it.
    used = {name for node in shallow.graph.node for name in node.input}
    for value in [value for value in shallow.graph.input if value.name not in used]:
        shallow.graph.input.remove(value)
    onnx.save(shallow, shallow_path)
    model.graph.output.append(known)
    onnx.save(model, whole_path)
    return whole_path, shallow_path


class ReusingUNet:
    """Replace the UNet of :class:`roentmod_fast.runtime.networks.Networks` on the CPU during one edit."""

    def __init__(self, path: Path, joins: int, every: int) -> None:
        self.every = every
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            whole, shallow = split(path, joins, Path(folder))
            self._whole, self._shallow = (CPU.open(SessionSpec("unet", path)) for path in (whole, shallow))
        self._shallow_inputs = {value.name for value in self._shallow.get_inputs()}
        self.forget()

    def forget(self) -> None:
        """Begin another edit."""
        self._kept: dict[bytes, Array] = {}
        self._calls: dict[bytes, int] = {}

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Run one item; each text has deep features of its own."""
        text = arrays["text_states"].tobytes()
        calls = self._calls.get(text, 0)
        self._calls[text] = calls + 1
        if calls % self.every == 0:
            prediction, self._kept[text] = self._whole.run(["prediction", DEEP], arrays)
            return {"prediction": prediction}
        feed = {**arrays, DEEP: self._kept[text]}
        [prediction] = self._shallow.run(["prediction"], {name: feed[name] for name in self._shallow_inputs})
        return {"prediction": prediction}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine")
    parser.add_argument("--joins", type=int, nargs="+", default=[1, 3, 6])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "reuse.json")
    args = parser.parse_args()
    bundle = find_bundle(args.engine)
    path = bundle.path(bundle.networks_of("fp32")["unet"])
    inputs = {port.name: port for port in onnx.load(path, load_external_data=False).graph.input}
    width = inputs["text_states"].type.tensor_type.shape.dim[2].dim_value
    random = np.random.default_rng(0)
    arrays: dict[str, Array] = {
        name: np.array([400]) if name == "timestep" else random.standard_normal((1, *shape), dtype=np.float32)
        for name, shape in item_shapes("unet", bundle.manifest.model, width).items()
    }
    rows = []
    for joins in args.joins:
        unet = ReusingUNet(path, joins, every=2)
        for _ in range(2):
            unet.run(**arrays)
        seconds: tuple[list[float], list[float]] = ([], [])
        for call in range(2 * args.rounds):
            started = time.perf_counter()
            unet.run(**arrays)
            seconds[call % 2].append(time.perf_counter() - started)
        whole, shallow = (statistics.median(part) for part in seconds)
        rows.append({"joins": joins, "whole_s": whole, "shallow_s": shallow, "share": round(shallow / whole, 3)})
        print(json.dumps(rows[-1]), flush=True)
    report = {"date": time.strftime("%Y-%m-%d"), **machine_facts(), "engine": bundle.name, "rows": rows}
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
