"""stable-diffusion.cpp, over ggml, without torch; half or 8 bit weights. See ``../speed.py``.

python benchmarks/peers/ggml.py CHECKPOINT --convert                  # once: writes CHECKPOINT.ggml/f16.gguf, q8_0.gguf
python benchmarks/peers/ggml.py CHECKPOINT RADIOGRAPH --weights q8_0
"""

from __future__ import annotations

import ctypes
import re
import time
from pathlib import Path

import stable_diffusion_cpp
from peer import (
    GUIDANCE,
    PROMPT,
    SEED,
    STRENGTH,
    Edit,
    beside,
    check_names,
    command_line,
    converted,
    image_size,
    measure,
)
from PIL import Image
from stable_diffusion_cpp import StableDiffusion

WEIGHTS = ("f16", "q8_0")
STAGE = re.compile(r"(encode|decode)_first_stage completed, taking ([\d.]+)s")
"""Of the autoencoder's halves the library tells no more than these lines of its log, in hundredths of a second."""


def convert(checkpoint: Path, folder: Path) -> None:
    """Write one gguf file for each of :data:`WEIGHTS`.

    Convolutions are never quantized and keep their source's type, so that the 8 bit file is made from the half one.
    """
    folder.mkdir()
    source = checkpoint
    for weights in WEIGHTS:
        path = folder / f"{weights}.gguf"
        if not StableDiffusion().convert(str(source), output_path=str(path), output_type=weights):
            raise SystemExit(f"{source}: stable-diffusion.cpp does not convert it to {weights}")
        source = path


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--weights", choices=WEIGHTS, default="f16")
    parser.add_argument("--convert", action="store_true", help="write gguf files, once")
    args = parser.parse_args()
    folder = beside(args.checkpoint, "ggml")
    stages: dict[str, float] = {}

    @stable_diffusion_cpp.sd_log_callback
    def log(level: int, text: bytes, data: ctypes.c_void_p) -> None:
        found = STAGE.search(text.decode("utf-8", "replace"))
        if found:
            stages[found[1]] = float(found[2])

    if args.convert:
        check_names(args.checkpoint)
        convert(args.checkpoint, folder)
        return
    path = converted(folder / f"{args.weights}.gguf", f"{__file__} {args.checkpoint} --convert")
    pipeline = StableDiffusion(model_path=str(path), n_threads=args.threads, verbose=False)
    stable_diffusion_cpp.sd_set_log_callback(log, ctypes.c_void_p(0))
    size = image_size(args.checkpoint)
    source = Image.open(args.radiograph)

    def edit(steps: int) -> Edit:
        ends: list[float] = []

        def step_done(step: int, steps: int, seconds: float) -> None:
            ends.append(time.perf_counter())

        stages.clear()
        calls = int(steps * STRENGTH)
        [image] = pipeline.generate_image(
            PROMPT,
            init_image=source.convert("RGB").resize((size, size)),
            width=size,
            height=size,
            # It runs int(steps * strength) + 1 steps; so it starts at the noise level of the others, in as many calls.
            strength=(calls - 0.5) / steps,
            cfg_scale=GUIDANCE,
            sample_method="ddim_trailing",
            sample_steps=steps,
            seed=SEED,
            progress_callback=step_done,
        )
        start, *ends = ends  # it also tells when it begins
        if len(ends) != calls:
            raise SystemExit(f"stable-diffusion.cpp reported {len(ends)} steps: expected {calls}")
        return Edit(
            image,
            [after - before for before, after in zip((start, *ends), ends, strict=False)],
            stages.get("encode"),
            stages.get("decode"),
            ends[0],
        )

    measure(args, edit, ("stable-diffusion-cpp-python",))


if __name__ == "__main__":
    main()
