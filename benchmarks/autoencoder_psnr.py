"""How well do images pass through an engine's autoencoder? PSNR of phantoms and of files, none of them trained on.

    python benchmarks/autoencoder_psnr.py                              # 20 phantoms
    python benchmarks/autoencoder_psnr.py FOLDER --out results.json    # and the radiographs in a folder

The latents' mean is decoded, so this is the floor of every edit of the compose mode ``replace``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from roentmod_fast.editor import Editor
from roentmod_fast.errors import SourceError
from roentmod_fast.machine import installed_versions
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.sources import find_sources
from roentmod_fast.settings import EditConfig

RESULTS = Path(__file__).parent / "results"


def reconstruction_psnr(editor: Editor, image: np.ndarray) -> float:
    """PSNR in dB of an image's reconstruction at the engine's size, over the area that the image covers."""
    noise = np.zeros((2, editor.model.latent_channels, editor.model.latent_size, editor.model.latent_size), np.float32)
    prepared = editor.prepare(image, EditConfig(), noise=noise)
    letterbox = prepared.letterbox
    before, after = (
        letterbox.crop(letterbox.apply(prepared.radiograph.image)),
        letterbox.crop(editor.reconstruct(prepared)),
    )
    return float(-10 * np.log10(np.mean(np.square(before - after))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--engine", default="phantom")
    parser.add_argument("--out", type=Path, default=RESULTS / "autoencoder_psnr.json")
    args = parser.parse_args()
    editor = Editor.load(args.engine)
    rows = {}
    phantoms = [reconstruction_psnr(editor, draw(editor.model.image_size, seed).image) for seed in range(20)]
    rows["20 phantoms, median"] = round(float(np.median(phantoms)), 2)
    for source in find_sources(args.folders).sources if args.folders else ():
        if "mask" in source.stem:
            continue
        try:
            rows[source.path.name] = round(reconstruction_psnr(editor, read_radiograph(source, force=True).image), 2)
        except SourceError as error:
            print(error)
    for name, value in rows.items():
        print(f"{value:6.2f} dB  {name}")
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "packages": installed_versions(),
        "engine": editor.bundle.name,
        "engine_hash": editor.bundle.manifest_hash,
        "psnr_db": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
