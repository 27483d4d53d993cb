"""optimum-onnx: diffusers' pipeline over ONNX Runtime, float32. See ``../speed.py``.

python benchmarks/peers/optimum_onnx.py CHECKPOINT --convert    # once: writes CHECKPOINT.optimum_onnx
python benchmarks/peers/optimum_onnx.py CHECKPOINT RADIOGRAPH
"""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from onnxruntime import SessionOptions
from optimum.onnxruntime import ORTStableDiffusionImg2ImgPipeline
from peer import (
    GUIDANCE,
    PROMPT,
    SEED,
    STRENGTH,
    Clock,
    Edit,
    beside,
    check_names,
    command_line,
    converted,
    measure,
    picture_size,
)
from PIL import Image


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--convert", action="store_true", help="write the networks as ONNX, once")
    wishes = parser.parse_args()
    folder = beside(wishes.checkpoint, "optimum_onnx")
    if wishes.convert:
        check_names(wishes.checkpoint)
        from optimum.exporters.onnx import main_export

        main_export(str(wishes.checkpoint), output=folder, task="text-to-image", do_validation=False)
        return
    converted(folder, f"{__file__} {wishes.checkpoint} --convert")
    options = SessionOptions()
    options.intra_op_num_threads = wishes.threads
    pipeline = ORTStableDiffusionImg2ImgPipeline.from_pretrained(
        folder, provider="CPUExecutionProvider", session_options=options, safety_checker=None
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    clock = Clock()
    for name, network in (
        ("unet", pipeline.unet),
        ("vae_encoder", pipeline.vae_encoder),
        ("vae_decoder", pipeline.vae_decoder),
    ):
        network.forward = clock.timed(name, network.forward)
    size = picture_size(wishes.checkpoint)
    source = Image.open(wishes.radiograph)

    def edit(steps: int) -> Edit:
        image = source.convert("RGB").resize((size, size))
        [picture] = pipeline(
            PROMPT,
            image,
            strength=STRENGTH,
            guidance_scale=GUIDANCE,
            num_inference_steps=steps,
            generator=torch.Generator("cpu").manual_seed(SEED),
        ).images
        return clock.edit(picture)

    measure(wishes, edit, ("optimum-onnx", "onnxruntime", "diffusers", "torch"))


if __name__ == "__main__":
    main()
