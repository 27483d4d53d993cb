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
    measure,
    picture_size,
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
    wishes = parser.parse_args()
    folder = beside(wishes.checkpoint, "genai")
    if wishes.convert:
        check_names(wishes.checkpoint)
        convert(wishes.checkpoint, folder)
        return
    converted(folder, f"{__file__} {wishes.checkpoint} --convert")
    import numpy as np
    import openvino
    from openvino_genai import Image2ImagePipeline, Scheduler
    from PIL import Image

    size = picture_size(wishes.checkpoint)
    pipeline = Image2ImagePipeline(folder)
    pipeline.set_scheduler(Scheduler.from_config(folder / SCHEDULER, Scheduler.Type.DDIM))
    # One size known beforehand is the quickest way, and so is ours.
    pipeline.reshape(1, size, size, GUIDANCE)
    precision = "bf16" if wishes.bfloat16 else "f32"
    pipeline.compile("CPU", INFERENCE_PRECISION_HINT=precision, INFERENCE_NUM_THREADS=wishes.threads)
    source = Image.open(wishes.radiograph)

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

    measure(wishes, edit, ("openvino-genai", "openvino"))


if __name__ == "__main__":
    main()
