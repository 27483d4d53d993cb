"""What every peer does alike: the settings of the edit, its command line, the clock and the figures it prints.

Each peer runs as a script in an environment of its own, so this needs nothing but Python.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROMPT = "edema"
STRENGTH = 0.4
GUIDANCE = 4.0
STEPS = 50
"""Of the whole schedule, of which ``STRENGTH`` is run: 20 guided UNet calls."""
SHORT_STEPS = 5
"""The same for an edit that only times its stages: two guided UNet calls."""
SEED = 0


@dataclass
class Edit:
    """One edit's image, and the seconds of its stages; None for what a peer's API does not report.

    ``image`` is a PIL image; ``first_unet_call_at`` is the end of the first UNet call on ``time.perf_counter``.
    """

    image: Any
    unet_calls: list[float]
    vae_encoder: float | None
    vae_decoder: float | None
    first_unet_call_at: float


class Clock:
    """Times the functions it is put around: ``unet``, ``vae_encoder`` and ``vae_decoder``."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[float, float]]] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` with its start and end noted under ``name``; its arguments are its library's own."""

        def call(*positional: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = function(*positional, **named)
            self.calls.setdefault(name, []).append((start, time.perf_counter()))
            return result

        return call

    def edit(self, image: Any, evaluations: int = 1) -> Edit:
        """Return what was noted since the last edit; a guided call is ``evaluations`` calls of the UNet."""
        calls, self.calls = self.calls, {}
        seconds = {name: [end - start for start, end in times] for name, times in calls.items()}
        unet = seconds["unet"]
        return Edit(
            image,
            [sum(unet[at : at + evaluations]) for at in range(0, len(unet), evaluations)],
            sum(seconds["vae_encoder"]),
            sum(seconds["vae_decoder"]),
            calls["unet"][evaluations - 1][1],
        )


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of what every peer takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a diffusers folder; ours takes its engine instead")
    parser.add_argument("radiograph", type=Path, nargs="?", help="PNG")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--edits", type=int, default=1, help="whole edits after the one that is the first image")
    parser.add_argument("--no-edit", action="store_true", help="stages alone: an edit in two calls, twice")
    parser.add_argument("--short-first", action="store_true", help="make the first image in two calls, to warm up")
    parser.add_argument("--image", type=Path, help="where to write the last edit as PNG, for inspection")
    return parser


def beside(checkpoint: Path, peer: str) -> Path:
    """Return the folder of the checkpoint's conversion for ``peer``."""
    return checkpoint.parent / f"{checkpoint.name}.{peer}"


def check_names(checkpoint: Path) -> None:
    """Refuse a text encoder whose weights are named as transformers 5 saves them, without their prefix.

    transformers before 5 would draw them anew, with a warning only, and the conversion would hold other weights. The
    names stand in the file's header: its length in 8 bytes, then JSON.
    """
    path = checkpoint / "text_encoder" / "model.safetensors"
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    if not any(name.startswith("text_model.") for name in header):
        raise SystemExit(f"{path}: no weight is named text_model....: make the checkpoint anew with make_checkpoint.py")


def converted(path: Path, command: str) -> Path:
    """Return ``path``; a conversion that is missing ends the program with the command that makes it."""
    if not path.exists():
        raise SystemExit(f"{path}: not there: expected the converted checkpoint: {command}")
    return path


def image_size(checkpoint: Path) -> int:
    """Return the side of the checkpoint's images; a latent stands for 8 x 8 pixels."""
    return 8 * int(json.loads((checkpoint / "unet" / "config.json").read_text(encoding="utf-8"))["sample_size"])


def process_start() -> float:
    """Return when this process began, on ``time.perf_counter``; Linux reports it to a hundredth of a second."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.perf_counter() - age


def measure(args: argparse.Namespace, edit: Callable[[int], Edit], packages: Sequence[str]) -> None:
    """Edit with everything loaded, first cold, then warm, and print the figures as one line of JSON.

    ``edit`` takes the steps of the schedule. ``..._after_s`` count from the start of the process; all lists are of
    the warm edits.
    """
    began, loaded = process_start(), time.perf_counter()
    steps = SHORT_STEPS if args.no_edit else STEPS
    short_first = args.no_edit or args.short_first
    first = edit(SHORT_STEPS if short_first else STEPS)
    first_image = time.perf_counter()
    edits, seconds = [], []
    for _ in range(1 if args.no_edit else args.edits):
        start = time.perf_counter()
        edits.append(edit(steps))
        seconds.append(time.perf_counter() - start)
    last = [first, *edits][-1]
    size = last.image.size
    if min(size) < 2 or last.image.convert("L").getextrema()[0] == last.image.convert("L").getextrema()[1]:
        raise SystemExit(f"the edit is one flat grey, {size[0]} x {size[1]}: expected a image")
    if args.image is not None:
        last.image.save(args.image)
    figures = {
        "load_s": loaded - began,
        "first_unet_call_after_s": first.first_unet_call_at - began,
        "first_image_after_s": None if short_first else first_image - began,
        "guided_unet_call_s": [call for each in edits for call in each.unet_calls],
        "vae_encoder_s": [each.vae_encoder for each in edits if each.vae_encoder is not None],
        "vae_decoder_s": [each.vae_decoder for each in edits if each.vae_decoder is not None],
        "edit_s": [] if args.no_edit else seconds,
        "unet_calls": None if args.no_edit else len(last.unet_calls),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }
    print(json.dumps(figures))
