"""diffusers' own pipeline in torch, eager as its users run it or compiled, float32 or bfloat16. See ``../speed.py``.

python benchmarks/peers/diffusers_torch.py CHECKPOINT RADIOGRAPH [--compile] [--bfloat16]
"""

from __future__ import annotations

import torch
from diffusers import StableDiffusionImg2ImgPipeline
from diffusers_edit import measure_pipeline
from peer import Clock, command_line


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--compile", action="store_true", help="torch.compile the UNet and the autoencoder's halves")
    parser.add_argument("--bfloat16", action="store_true", help="weights and arithmetic in bfloat16")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(
        args.checkpoint, safety_checker=None, torch_dtype=torch.bfloat16 if args.bfloat16 else torch.float32
    )
    clock = Clock()
    for name, owner, method in (
        ("unet", pipeline.unet, "forward"),
        ("vae_encoder", pipeline.vae, "encode"),
        ("vae_decoder", pipeline.vae, "decode"),
    ):
        function = getattr(owner, method)
        setattr(owner, method, clock.timed(name, torch.compile(function) if args.compile else function))
    measure_pipeline(args, pipeline, clock, ("torch", "diffusers", "transformers"))


if __name__ == "__main__":
    main()
