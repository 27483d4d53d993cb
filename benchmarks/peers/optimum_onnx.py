"""optimum-onnx: diffusers' pipeline over ONNX Runtime, float32. See ``../speed.py``.

python benchmarks/peers/optimum_onnx.py CHECKPOINT --convert    # once: writes CHECKPOINT.optimum_onnx
python benchmarks/peers/optimum_onnx.py CHECKPOINT RADIOGRAPH
"""

from __future__ import annotations

from diffusers_edit import measure_pipeline
from onnxruntime import SessionOptions
from optimum.onnxruntime import ORTStableDiffusionImg2ImgPipeline
from peer import Clock, beside, check_names, command_line, converted


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--convert", action="store_true", help="write the networks as ONNX, once")
    args = parser.parse_args()
    folder = beside(args.checkpoint, "optimum_onnx")
    if args.convert:
        check_names(args.checkpoint)
        from optimum.exporters.onnx import main_export

        main_export(str(args.checkpoint), output=folder, task="text-to-image", do_validation=False)
        return
    converted(folder, f"{__file__} {args.checkpoint} --convert")
    options = SessionOptions()
    options.intra_op_num_threads = args.threads
    pipeline = ORTStableDiffusionImg2ImgPipeline.from_pretrained(
        folder, provider="CPUExecutionProvider", session_options=options, safety_checker=None
    )
    clock = Clock()
    for name, network in (
        ("unet", pipeline.unet),
        ("vae_encoder", pipeline.vae_encoder),
        ("vae_decoder", pipeline.vae_decoder),
    ):
        network.forward = clock.timed(name, network.forward)
    measure_pipeline(args, pipeline, clock, ("optimum-onnx", "onnxruntime", "diffusers", "torch"))


if __name__ == "__main__":
    main()
