"""This project's own way: one process, figures as JSON on stdout. See ``speed.py``.

python benchmarks/peers/ours.py ENGINE RADIOGRAPH --device openvino --precision int8 --solver dpm++ --calls 4
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from roentmod_fast.editor import EditConfig, Editor  # noqa: E402
from roentmod_fast.radiograph.read import read_radiograph  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("radiograph", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--solver", default="ddim")
    parser.add_argument("--calls", type=int)
    parser.add_argument("--compose", default="replace")
    parser.add_argument("--no-edit", action="store_true", help="stages alone")
    wishes = parser.parse_args()
    editor = Editor.load(wishes.engine, wishes.device, wishes.precision)
    loaded = time.perf_counter()
    model, networks = editor.model, editor.networks
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((1, model.latent_channels, model.latent_size, model.latent_size), dtype=np.float32)
    tokens = np.zeros((1, model.max_tokens), dtype=np.int64)
    text = networks.encode_text(tokens)
    networks.predict(latents, 300, text)
    first = time.perf_counter()
    figures: dict[str, object] = {"load_s": loaded - STARTED, "first_unet_call_after_s": first - STARTED}
    calls = []
    for _ in range(2):
        start = time.perf_counter()
        networks.predict(latents, 300, text)
        networks.predict(latents, 300, text)
        calls.append(time.perf_counter() - start)
    figures["guided_unet_call_s"] = calls
    image = rng.uniform(-1, 1, (1, 3, model.image_size, model.image_size)).astype(np.float32)
    start = time.perf_counter()
    networks.encode_image(image)
    between = time.perf_counter()
    networks.decode(latents)
    figures["vae_encoder_s"] = between - start
    figures["vae_decoder_s"] = time.perf_counter() - between
    if not wishes.no_edit:
        radiograph = read_radiograph(wishes.radiograph)
        start = time.perf_counter()
        config = EditConfig(compose=wishes.compose, solver=wishes.solver, calls=wishes.calls)
        result = editor.edit(radiograph.image, "edema", config)
        figures["edit_s"] = time.perf_counter() - start
        figures["unet_calls"] = result.unet_calls
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
