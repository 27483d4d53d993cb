"""OpenVINO GenAI: the whole pipeline in C++, without torch, in float32 or bfloat16. See ``../speed.py``.

python benchmarks/peers/genai.py CHECKPOINT --convert    # once, with optimum-intel: writes CHECKPOINT.genai
python benchmarks/peers/genai.py CHECKPOINT RADIOGRAPH [--bfloat16]
"""

from __future__ import annotations

import json
import time
from pathlib import Path

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

SCHEDULER = "scheduler/scheduler_config.json"
MS, US = 1e-3, 1e-6


def convert(checkpoint: Path, folder: Path) -> None:
    """Write the networks and the tokenizer as OpenVINO IR, weights in float32 (its default is half).

    The scheduler is read from a file alone, and where that does not say so its predictions would be clipped.
    """
    from optimum.exporters.openvino import main_export
    from optimum.intel.openvino import OVConfig

    main_export(
        str(checkpoint), output=folder, task="text-to-image", ov_config=OVConfig(dtype="fp32"), convert_tokenizer=True
    )
    scheduler = folder / SCHEDULER
    settings = json.loads(scheduler.read_text(encoding="utf-8"))
    scheduler.write_text(json.dumps({**settings, "clip_sample": False}, indent=2), encoding="utf-8")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--convert", action="store_true", help="write the networks as OpenVINO IR, once")
    parser.add_argument("--bfloat16", action="store_true", help="arithmetic in bfloat16, its default with AMX")
    args = parser.parse_args()
    folder = beside(args.checkpoint, "genai")
    if args.convert:
        check_names(args.checkpoint)
        convert(args.checkpoint, folder)
        return
    converted(folder, f"{__file__} {args.checkpoint} --convert")
    import numpy as np
    import openvino
    from openvino_genai import Image2ImagePipeline, Scheduler
    from PIL import Image

    size = image_size(args.checkpoint)
    pipeline = Image2ImagePipeline(folder)
    pipeline.set_scheduler(Scheduler.from_config(folder / SCHEDULER, Scheduler.Type.DDIM))
    # One size known beforehand is the quickest way, and so is ours.
    pipeline.reshape(1, size, size, GUIDANCE)
    precision = "bf16" if args.bfloat16 else "f32"
    pipeline.compile("CPU", INFERENCE_PRECISION_HINT=precision, INFERENCE_NUM_THREADS=args.threads)
    source = Image.open(args.radiograph)

    def edit(steps: int) -> Edit:
        image = openvino.Tensor(np.asarray(source.convert("RGB").resize((size, size)))[None])
        ends: list[float] = []

        def step_done(step: int, steps: int, latents: openvino.Tensor) -> bool:
            ends.append(time.perf_counter())
            return False  # go on

        result = pipeline.generate(
            PROMPT,
            image,
            strength=STRENGTH,
            guidance_scale=GUIDANCE,
            num_inference_steps=steps,
            rng_seed=SEED,
            callback=step_done,
        )
        took = pipeline.get_performance_metrics()
        return Edit(
            Image.fromarray(result.data[0]),
            [US * call for call in took.raw_metrics.unet_inference_durations],
            MS * took.get_vae_encoder_infer_duration(),
            MS * took.get_vae_decoder_infer_duration(),
            ends[0],
        )

    measure(args, edit, ("openvino-genai", "openvino"))


if __name__ == "__main__":
    main()
