"""This project's own way. See ``../speed.py``.

python benchmarks/peers/ours.py ENGINE RADIOGRAPH --device openvino --precision int8 --solver dpm++ --calls 4
"""

from __future__ import annotations

import importlib.metadata

from peer import GUIDANCE, PROMPT, SEED, STEPS, STRENGTH, Clock, Edit, command_line, measure
from PIL import Image

from roentmod_fast.editor import Editor
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.runtime.host import physical_cores
from roentmod_fast.settings import EditConfig

RUNTIMES = ("onnxruntime", "openvino")


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--solver", default="ddim")
    parser.add_argument("--calls", type=int)
    parser.add_argument("--compose", default="replace")
    args = parser.parse_args()
    if args.threads != physical_cores():
        raise SystemExit(f"--threads {args.threads}: an Editor always uses the physical cores, {physical_cores()}")
    editor = Editor.load(args.checkpoint, args.device, args.precision)
    clock = Clock()
    for name in ("unet", "vae_encoder", "vae_decoder"):
        network = getattr(editor.networks, name)
        network.run = clock.timed(name, network.run)
    radiograph = read_radiograph(args.radiograph)

    def edit(steps: int) -> Edit:
        config = EditConfig(
            strength=STRENGTH,
            guidance=GUIDANCE,
            steps=steps,
            seed=SEED,
            compose=args.compose,
            solver=args.solver,
            calls=args.calls if steps == STEPS else None,
        )
        result = editor.edit(radiograph.image, PROMPT, config)
        image = Image.fromarray((result.decoded * 255).round().astype("uint8"))
        return clock.edit(image, evaluations=len(clock.calls["unet"]) // result.unet_calls)

    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    measure(args, edit, ("roentmod-fast", *(name for name in RUNTIMES if name in installed)))


if __name__ == "__main__":
    main()
