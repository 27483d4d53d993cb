"""diffusers' own pipeline in torch, float32, eager as its users run it or compiled. See ``../speed.py``.

python benchmarks/peers/diffusers_torch.py CHECKPOINT RADIOGRAPH [--compile]
"""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline
from peer import GUIDANCE, PROMPT, SEED, STRENGTH, Clock, Edit, command_line, measure, picture_size
from PIL import Image


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--compile", action="store_true", help="torch.compile the UNet and the autoencoder's halves")
    wishes = parser.parse_args()
    torch.set_num_threads(wishes.threads)
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(wishes.checkpoint, safety_checker=None)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    pipeline.set_progress_bar_config(disable=True)
    clock = Clock()
    for name, owner, method in (
        ("unet", pipeline.unet, "forward"),
        ("vae_encoder", pipeline.vae, "encode"),
        ("vae_decoder", pipeline.vae, "decode"),
    ):
        function = getattr(owner, method)
        setattr(owner, method, clock.timed(name, torch.compile(function) if wishes.compile else function))
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

    measure(wishes, edit, ("torch", "diffusers", "transformers"))


if __name__ == "__main__":
    main()
