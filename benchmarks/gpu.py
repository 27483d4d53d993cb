"""How fast is an edit on an NVIDIA card, against diffusers on the same card? NOT RUN YET: no card was at hand.

    python -m venv torch && torch/bin/pip install -e '.[export]' && torch/bin/pip install --no-deps clip-anytorch
    python -m venv cuda && cuda/bin/pip install -e '.[gpu]'
    python -m venv rtx && rtx/bin/pip install -e '.[rtx]'        # GeForce RTX and RTX PRO cards only
    torch/bin/python benchmarks/gpu.py WORK eager=torch compile=torch cuda=cuda rtx=rtx

Weights are random, of full size; they and the fp16 engine are made in WORK where they are not there yet. Each peer is
a process in an environment of its own, given as NAME=ENVIRONMENT: ``eager`` and ``compile`` are diffusers in half
precision, any other name is a device of ours. Peers take turns, one edit each, so that a card that warms up or
throttles does so for all of them.

``cold`` is from the start of the process to the end of its first edit. ``unet``: one guided step, two items; ``vae``:
encoder and decoder. ``memory`` is what the card holds more when the peer has edited once. ``share`` is the UNet's
arithmetic over that of ``ceiling``, the largest fp16 matrix product that torch reaches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PROMPT, STEP = "edema", 500
TASKS = ("unet", "vae", "edit")
DIFFUSERS = ("eager", "compile")
Task = Callable[[], Any]


def our_tasks(device: str, engine: Path) -> dict[str, Task]:
    """Return what ``device`` is timed at."""
    import numpy as np

    from roentmod_fast.editor import EditConfig, Editor
    from roentmod_fast.phantom import draw

    editor = Editor.load(engine, device, "fp16")
    model, networks = editor.model, editor.networks
    latents = np.zeros((2, model.latent_channels, model.latent_size, model.latent_size), np.float32)
    image = np.zeros((1, 3, model.image_size, model.image_size), np.float32)
    text = networks.encode_text(np.zeros((2, model.max_tokens), np.int64))
    picture = draw(model.image_size, 1).image
    return {
        "unet": lambda: networks.predict(latents, STEP, text),
        "vae": lambda: (networks.encode_image(image), networks.decode(latents[:1])),
        "edit": lambda: editor.edit(picture, PROMPT, EditConfig(0.4, 4.0, 50, 0, "replace")),
    }


def diffusers_tasks(name: str, checkpoint: Path) -> dict[str, Task]:
    """Return what diffusers is timed at, in half precision, and the card's own measures."""
    import torch

    from roentmod_fast.editor import EditConfig
    from roentmod_fast_export import verdict
    from roentmod_fast_export.checkpoint import open_checkpoint

    opened = open_checkpoint(checkpoint)
    pipeline = verdict.reference_pipeline(opened).to("cuda", torch.float16)
    if name == "compile":
        pipeline.unet = torch.compile(pipeline.unet, mode="max-autotune")
        pipeline.vae.decode = torch.compile(pipeline.vae.decode, mode="max-autotune-no-cudagraphs")
    half = {"dtype": torch.float16, "device": "cuda"}
    size = opened.model.latent_size
    latents = torch.zeros(2, opened.model.latent_channels, size, size, **half)
    text = torch.zeros(2, opened.model.max_tokens, pipeline.unet.config.cross_attention_dim, **half)
    image = torch.zeros(1, 3, opened.model.image_size, opened.model.image_size, **half)
    picture = verdict.edit_picture(opened.model)
    config = EditConfig(0.4, 4.0, 50, 0, "replace")

    def done(result: Any) -> Any:
        torch.cuda.synchronize()
        return result

    def unet() -> Any:
        with torch.no_grad():
            return done(pipeline.unet(latents, STEP, text, return_dict=False))

    def vae() -> Any:
        with torch.no_grad():
            return done((pipeline.vae.encode(image), pipeline.vae.decode(latents[:1], return_dict=False)))

    def ceiling() -> float:
        """TFLOP/s of a large product in half precision."""
        side = 8192
        left, right = torch.randn(side, side, **half), torch.randn(side, side, **half)
        done(left @ right)
        started = time.perf_counter()
        for _ in range(20):
            product = left @ right
        done(product)
        return 20 * 2 * side**3 / (time.perf_counter() - started) / 1e12

    def arithmetic() -> float:
        """TFLOP of one guided step."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            unet()
        return counter.get_total_flops() / 1e12

    def edit() -> Any:
        return done(verdict.reference_edit(pipeline, picture, config, PROMPT))

    tasks: dict[str, Task] = {"unet": unet, "vae": vae, "edit": edit}
    return {**tasks, "ceiling": ceiling, "arithmetic": arithmetic} if name == "eager" else tasks


def work(name: str, folder: Path) -> None:
    """Be a peer: for each task that is named on stdin, carry it out and answer its seconds and its number."""
    tasks = diffusers_tasks(name, folder / "checkpoint") if name in DIFFUSERS else our_tasks(name, folder / "engine")
    for line in sys.stdin:
        started = time.perf_counter()
        result = tasks[line.strip()]()
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "number": result if isinstance(result, float) else None}), flush=True)


class Peer:
    """A process that is a peer, and what was measured of it."""

    def __init__(self, name: str, environment: Path, folder: Path) -> None:
        before, started = memory_used(), time.perf_counter()
        command = [str(environment / "bin" / "python"), __file__, str(folder), "--be", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: dict[str, list[float]] = {task: [] for task in TASKS}
        self.name = name
        self.ask("edit")
        self.cold = time.perf_counter() - started
        self.memory = memory_used() - before
        for task in TASKS:
            for _ in range(3):  # torch.compile records its graphs in the second run and the third
                self.ask(task)

    def ask(self, task: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{task}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name}: ended with status {self.process.wait()} at {task}")
        return dict(json.loads(answer))

    def row(self) -> dict[str, Any]:
        median = {task: statistics.median(values) for task, values in self.seconds.items()}
        spread = {task: [min(values), max(values)] for task, values in self.seconds.items()}
        memory = round(self.memory / 2**30, 2)
        return {"cold": self.cold, "memory_gib": memory, "median": median, "spread": spread}


def memory_used() -> int:
    """Return the bytes in use on all cards, none where there is no card."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return 0
    return sum(int(line) for line in said.split()) * 2**20


def prepare(folder: Path, layout: str) -> None:
    """Make the checkpoint and the engine that are not there yet."""
    if not (folder / "checkpoint").exists():
        maker = Path(__file__).with_name("make_checkpoint.py")
        subprocess.run([sys.executable, str(maker), layout, str(folder / "checkpoint")], check=True)
    if not (folder / "engine").exists():
        command = [sys.executable, "-c", "from roentmod_fast.cli import main; main()", "export"]
        wishes = ["-o", str(folder / "engine"), "--precision", "fp16", "--keep-anyway"]
        subprocess.run([*command, str(folder / "checkpoint"), *wishes], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("peers", nargs="*", metavar="NAME=ENVIRONMENT")
    parser.add_argument("--layout", default="sd1", choices=("sd1", "sd2"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--be", help=argparse.SUPPRESS)
    wishes = parser.parse_args()
    if wishes.be:
        work(wishes.be, wishes.work)
        return
    from roentmod_fast.engine import nvidia
    from roentmod_fast.report import installed_versions

    prepare(wishes.work, wishes.layout)
    peers = [Peer(name, Path(place), wishes.work) for name, place in (peer.split("=") for peer in wishes.peers)]
    for task in TASKS:
        for _ in range(wishes.rounds):
            for peer in peers:
                peer.seconds[task].append(peer.ask(task)["seconds"])
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": sys.argv,
        "packages": installed_versions(),
        "cards": [card.__dict__ for card in nvidia.list_cards()],
        "layout": wishes.layout,
        "rounds": wishes.rounds,
        "peers": {peer.name: peer.row() for peer in peers},
    }
    for peer in peers:
        if peer.name == "eager":
            report |= {name: peer.ask(name)["number"] for name in ("ceiling", "arithmetic")}
    print(f"{'':9}   cold s  memory GiB  unet ms   vae ms   edit s  images/s  share")
    for name, row in report["peers"].items():
        median = row["median"]
        row["images_per_second"] = 1 / median["edit"]
        if "ceiling" in report:
            row["share"] = report["arithmetic"] / median["unet"] / report["ceiling"]
        share = f"{row['share']:.0%}" if "share" in row else "-"
        print(
            f"{name:9} {row['cold']:8.1f} {row['memory_gib']:11.2f} {median['unet'] * 1e3:8.2f}"
            f" {median['vae'] * 1e3:8.2f} {median['edit']:8.3f} {row['images_per_second']:9.2f} {share:>6}"
        )
    wishes.out.parent.mkdir(parents=True, exist_ok=True)
    wishes.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for peer in peers:
        peer.process.terminate()


if __name__ == "__main__":
    main()
