"""What does the first start on an RTX GPU cost the processor, which compiles the networks? Measured without a card.

    python -m venv rtx && rtx/bin/pip install -e '.[rtx]'
    rtx/bin/python benchmarks/first_start.py ENGINE [--rounds N] [--out FILE]

ENGINE is a bundle with half-precision networks and no engines for ``--architecture``. The GPU is a fake
(``tests/cuda/fake_cuda.c``): NVIDIA's plugin compiles for it and caches the result. To open that,
and to choose kernels at the first run, it needs a real GPU; neither is in these times.

``seconds`` and ``kept_gb`` are of each network, the seconds medians of the rounds; ``peak_gb`` is the most that the
process held when the UNet was compiled.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def compile_once(engine: Path, architecture: str, batch: int) -> dict[str, Any]:
    """Be the process that has the fake GPU."""
    from roentmod_fast.bundle.bundle import find_bundle
    from roentmod_fast.bundle.manifest import NETWORKS
    from roentmod_fast.folders import cache_folder
    from roentmod_fast.machine import machine_facts
    from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
    from roentmod_fast.runtime.networks import Networks
    from tests.cuda import on_rtx

    on_rtx.compile_only(architecture)
    Networks.open(find_bundle(engine), RTX, "fp16", batch=batch)
    spent = dict(zip(NETWORKS, on_rtx.Compiled.spent, strict=True))
    kept = {path.parents[1].name.split(".")[0]: path.stat().st_size for path in cache_folder().rglob("*.engine")}
    return {
        **machine_facts(),
        "seconds": {network: seconds for network, (seconds, peak) in spent.items()},
        "kept_gb": {network: kept[network] / 1e9 for network in NETWORKS},
        "peak_gb": spent["unet"][1] / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--architecture", default="sm89")
    parser.add_argument("--batch", type=int, default=1, help="pictures edited at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "first-start.json")
    parser.add_argument("--be", action="store_true", help=argparse.SUPPRESS)
    wishes = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if wishes.be:
        print(json.dumps(compile_once(wishes.engine, wishes.architecture, wishes.batch)))
        return
    from roentmod_fast.runtime.backends.tensorrt_rtx import RTX_PACKAGE
    from tests.cuda import fake_cuda

    missing = fake_cuda.why_not(RTX_PACKAGE)
    if missing:
        parser.error(missing)
    rounds = []
    for number in range(wishes.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            fake_cuda.build(folder)
            fake_cuda.plug_in(folder / "pci")
            card = {"FAKE_SM": wishes.architecture.removeprefix("sm"), "FAKE_PCI": str(folder / "pci")}
            command = [__file__, str(wishes.engine.resolve()), "--be", "--batch", str(wishes.batch)]
            command += ["--architecture", wishes.architecture]
            done = fake_cuda.run(folder, *command, **card, XDG_CACHE_HOME=str(folder / "cache"), seconds=3600)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        rounds.append(json.loads(done.stdout))
        print(f"round {number + 1} of {wishes.rounds}: {sum(rounds[-1]['seconds'].values()):.1f} s", file=sys.stderr)
    found = {
        **rounds[0],
        "architecture": wishes.architecture,
        "batch": wishes.batch,
        "rounds": wishes.rounds,
        "seconds": {name: statistics.median(each["seconds"][name] for each in rounds) for name in rounds[0]["seconds"]},
        "peak_gb": max(each["peak_gb"] for each in rounds),
    }
    report = {"date": time.strftime("%Y-%m-%d"), "command": sys.argv, **found}
    print(json.dumps(found, indent=1))
    wishes.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
