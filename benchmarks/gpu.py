"""How fast is an edit on an NVIDIA GPU, against diffusers on the same GPU? NOT RUN YET: no GPU was at hand.

    python -m venv torch && torch/bin/pip install -e '.[export]' && torch/bin/pip install --no-deps clip-anytorch
    python -m venv cuda && cuda/bin/pip install -e '.[gpu]'
    python -m venv rtx && rtx/bin/pip install -e '.[rtx]'        # GeForce RTX and RTX PRO only
    torch/bin/python benchmarks/gpu.py WORK eager=torch compile=torch cuda=cuda cuda-nographs=cuda rtx=rtx

Weights are random, of full size; they and the fp16 engine are made in WORK where they are not there yet. Each peer is
a process in an environment of its own, given as NAME=ENVIRONMENT: ``eager`` and ``compile`` are diffusers in half
precision, any other name is a device of ours, ``-nographs`` behind it one without CUDA graphs. Peers take turns, one
task each, so that a GPU that warms up or throttles affects all of them. They share the GPU memory: where that
is too small, name fewer peers or ``--batches``. ``cpu`` is a device as well, with which this script can be tried.

Before anything is timed each of our devices is compared with the CPU (``engines verify --device``). One that
computes wrongly ends the run, for its time would mean nothing.

For each of ``--batches``, how many images are edited together: ``cold`` is from the start of the process to the end
of its first edit, with nothing compiled yet; ``unet``: one guided step, two items an image; ``vae``: encoder and
decoder; ``edit``: all images.
``memory`` is the GPU memory a peer takes for its first edit. ``share`` is the UNet's arithmetic over that of
``ceiling``, the largest fp16 matrix product that torch reaches.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from process import ROENTMOD, names_only

RESULTS = Path(__file__).parent / "results"
PROMPT, STEP = "edema", 500
TASKS = ("unet", "vae", "edit")
DIFFUSERS = ("eager", "compile")
Task = Callable[[], Any]


def our_tasks(name: str, engine: Path, batch: int, precision: str) -> dict[str, Task]:
    """Return the tasks of one of our devices, and its notes."""
    import numpy as np

    from roentmod_fast.editor import Editor
    from roentmod_fast.phantom import draw
    from roentmod_fast.settings import EditConfig

    device, _, without = name.partition("-")
    editor = Editor.load(engine, device, precision, batch=batch, graphs=without != "nographs")
    model, networks = editor.model, editor.networks
    latents = np.zeros((2 * batch, model.latent_channels, model.latent_size, model.latent_size), np.float32)
    image = np.zeros((batch, 3, model.image_size, model.image_size), np.float32)
    text = networks.encode_text(np.zeros((2 * batch, model.max_tokens), np.int64))
    radiograph = draw(model.image_size, 1).image
    config = EditConfig(0.4, 4.0, 50, 0, "replace")

    def edit() -> Any:
        prepared = editor.encode([editor.place(radiograph, config) for _ in range(batch)])
        return editor.apply_batch([(item, PROMPT) for item in prepared])

    return {
        "unet": lambda: networks.predict(latents, STEP, text),
        "vae": lambda: (networks.encode_image(image), networks.decode(latents[:batch])),
        "edit": edit,
        "notes": lambda: networks.notes,
    }


def diffusers_tasks(name: str, checkpoint: Path, batch: int) -> dict[str, Task]:
    """Return diffusers' tasks in fp16, and the GPU's own measures."""
    import torch

    from roentmod_fast_export import parity
    from roentmod_fast_export.checkpoint import open_checkpoint
    from roentmod_fast_export.engine_side import edit_image

    opened = open_checkpoint(checkpoint)
    pipeline = parity.reference_pipeline(opened).to("cuda", torch.float16)
    if name == "compile":
        pipeline.unet = torch.compile(pipeline.unet, mode="max-autotune")
        pipeline.vae.decode = torch.compile(pipeline.vae.decode, mode="max-autotune-no-cudagraphs")
    half = {"dtype": torch.float16, "device": "cuda"}
    size = opened.model.latent_size
    latents = torch.zeros(2 * batch, opened.model.latent_channels, size, size, **half)
    text = torch.zeros(2 * batch, opened.model.max_tokens, pipeline.unet.config.cross_attention_dim, **half)
    image = torch.zeros(batch, 3, opened.model.image_size, opened.model.image_size, **half)
    radiograph = torch.from_numpy(edit_image(opened.model).copy())[None, None].expand(batch, 3, -1, -1)

    def done(result: Any) -> Any:
        torch.cuda.synchronize()
        return result

    def unet() -> Any:
        with torch.no_grad():
            return done(pipeline.unet(latents, STEP, text, return_dict=False))

    def vae() -> Any:
        with torch.no_grad():
            return done((pipeline.vae.encode(image), pipeline.vae.decode(latents[:batch], return_dict=False)))

    def ceiling() -> float:
        """TFLOP/s of a large product in fp16."""
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
        result = pipeline(
            prompt=[PROMPT] * batch,
            image=radiograph,
            strength=0.4,
            guidance_scale=4.0,
            num_inference_steps=50,
            generator=[torch.Generator("cpu").manual_seed(0) for _ in range(batch)],
            output_type="np",
        )
        return done(result)

    tasks: dict[str, Task] = {"unet": unet, "vae": vae, "edit": edit, "notes": list}
    return {**tasks, "ceiling": ceiling, "arithmetic": arithmetic} if name == "eager" else tasks


def work(name: str, folder: Path, batch: int, precision: str) -> None:
    """Be a peer: for each task that is named on stdin, carry it out and answer its seconds and its value."""
    if name in DIFFUSERS:
        tasks = diffusers_tasks(name, folder / "checkpoint", batch)
    else:
        tasks = our_tasks(name, folder / "engine", batch, precision)
    for line in sys.stdin:
        task = line.strip()
        started = time.perf_counter()
        result = tasks[task]()
        seconds = time.perf_counter() - started
        value = None if task in TASKS else result
        print(json.dumps({"seconds": seconds, "value": value}), flush=True)


class Peer:
    """A process that is a peer, and what was measured of it."""

    def __init__(self, name: str, environment: Path, folder: Path, batch: int, precision: str) -> None:
        before, started = memory_used(), time.perf_counter()
        command = [str(environment / "bin" / "python"), __file__, str(folder), "--be", name]
        command += ["--batches", str(batch), "--precision", precision]
        self.cache = tempfile.TemporaryDirectory()
        own = with_own_cache(self.cache.name)
        self.process = subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: dict[str, list[float]] = {task: [] for task in TASKS}
        self.name, self.batch = name, batch
        self.ask("edit")
        self.cold = time.perf_counter() - started
        after = memory_used()
        self.memory_gib = None if before is None or after is None else round((after - before) / 2**30, 2)
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
        return {
            "peer": self.name,
            "batch": self.batch,
            "cold": self.cold,
            "memory_gib": self.memory_gib,
            "median": median,
            "spread": spread,
            "images_per_second": self.batch / median["edit"],
            "notes": self.ask("notes")["value"],
        }


def memory_used() -> int | None:
    """Return the bytes in use on all GPUs, None where there is none."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return None
    return sum(int(line) for line in output.split()) * 2**20


def prepare(folder: Path, layout: str, names: list[str]) -> None:
    """Make the checkpoint and the engine that are needed and not there yet."""
    made = (folder / "engine").exists()
    if not (folder / "checkpoint").exists() and (not made or set(names) & set(DIFFUSERS)):
        maker = Path(__file__).with_name("make_checkpoint.py")
        subprocess.run([sys.executable, str(maker), layout, str(folder / "checkpoint")], check=True)
    if not made:
        options = ["-o", str(folder / "engine"), "--precision", "fp16", "--keep-anyway"]
        subprocess.run([*ROENTMOD, "export", str(folder / "checkpoint"), *options], check=True)


def with_own_cache(folder: str) -> dict[str, str]:
    """Return an environment in which nothing is compiled yet, and what is compiled is kept in ``folder``."""
    return {**os.environ, "XDG_CACHE_HOME": folder}


def verify(device: str, environment: Path, engine: Path) -> list[str]:
    """Compare a device of ours with the CPU; return its line for each network."""
    command = [str(environment / "bin" / "python"), "-m", "roentmod_fast", "engines", "verify", str(engine)]
    with tempfile.TemporaryDirectory() as cache:
        own = with_own_cache(cache)
        done = subprocess.run([*command, "--device", device], env=own, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if "dB to the CPU" in line]
    print(*lines, sep="\n")
    if done.returncode != 0:
        raise SystemExit(f"{device}: {done.stderr.strip()}")
    return lines


def measure(peers: list[Peer], rounds: int) -> list[dict[str, Any]]:
    """Let the peers take turns at each task; return a row for each, with the GPU's own measures where one has them."""
    for task in TASKS:
        for _ in range(rounds):
            for peer in peers:
                peer.seconds[task].append(peer.ask(task)["seconds"])
    rows = [peer.row() for peer in peers]
    for eager in [peer for peer in peers if peer.name == "eager"]:
        ceiling, arithmetic = (eager.ask(name)["value"] for name in ("ceiling", "arithmetic"))
        for row in rows:
            row |= {"ceiling": ceiling, "arithmetic": arithmetic}
            row["share"] = arithmetic / row["median"]["unet"] / ceiling
    for peer in peers:
        peer.process.terminate()
        peer.process.wait()
        peer.cache.cleanup()
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table, and under it what the devices noted."""
    print(f"{'':14} batch   cold s  memory GiB  unet ms    vae ms   edit s  images/s  share")
    for row in rows:
        median = row["median"]
        memory = "-" if row["memory_gib"] is None else f"{row['memory_gib']:.2f}"
        share = f"{row['share']:.0%}" if "share" in row else "-"
        print(
            f"{row['peer']:14} {row['batch']:5} {row['cold']:8.1f} {memory:>11} {median['unet'] * 1e3:8.2f}"
            f" {median['vae'] * 1e3:9.2f} {median['edit']:8.3f} {row['images_per_second']:9.2f} {share:>6}"
        )
    for row in rows:
        for note in row["notes"]:
            print(f"{row['peer']}, batch {row['batch']}: {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("peers", nargs="*", metavar="NAME=ENVIRONMENT")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16], metavar="IMAGES")
    parser.add_argument("--layout", default="sd1", choices=("sd1", "sd2"))
    parser.add_argument("--precision", default="fp16", help="of our networks; diffusers is in fp16 always")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--be", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.be:
        work(args.be, args.work, args.batches[0], args.precision)
        return
    from roentmod_fast.machine import machine_facts
    from roentmod_fast.runtime import gpus

    named = [tuple(peer.split("=", 1)) for peer in args.peers]
    if not named or any(len(pair) != 2 for pair in named):
        parser.error("give peers as NAME=ENVIRONMENT, such as cuda=/path/to/venv")
    prepare(args.work, args.layout, [name for name, _ in named])
    ours = {(name.partition("-")[0], place) for name, place in named if name not in DIFFUSERS}
    parity = {
        f"{device}={Path(place).name}": verify(device, Path(place), args.work / "engine")
        for device, place in sorted(ours)
    }
    rows: list[dict[str, Any]] = []
    for batch in args.batches:
        peers = [Peer(name, Path(place), args.work, batch, args.precision) for name, place in named]
        rows += measure(peers, args.rounds)
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": names_only(sys.argv),
        **machine_facts(),
        "gpus": [gpu.__dict__ for gpu in gpus.list_gpus()],
        "layout": args.layout,
        "precision": args.precision,
        "rounds": args.rounds,
        "parity": parity,
        "rows": rows,
    }
    show(rows)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
