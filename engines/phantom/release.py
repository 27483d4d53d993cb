"""Turn a trained checkpoint into the bundle that is shipped, beside this file.

    python -m roentmod_fast_engines.phantom.release WORK/checkpoint

The same exporter as for any checkpoint, with three settings of its own: the weights are stored as fp16, to which the
training has rounded them, so that the bundle is small and nothing is lost; the notice that is shown at each use; and
the files go beside the recipe and the model card, which stay as they are.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from roentmod_fast.bundle.bundle import read_bundle, verify_files
from roentmod_fast.bundle.manifest import FILE_NAME
from roentmod_fast_export import export_checkpoint

HOME = Path(__file__).parent
NOTICE = (
    "phantom is a demonstration engine, trained on drawn radiographs: it is not RoentGen, and on a patient's "
    "radiograph its edits mean nothing"
)
MOST_BYTES = 15_000_000


def release(checkpoint: Path, home: Path = HOME) -> None:
    """Export ``checkpoint`` and put the bundle's files into ``home``.

    Raises ``ValueError``, before anything is replaced, for a bundle that is too large to be shipped.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = export_checkpoint(checkpoint, Path(folder) / "phantom", name="phantom", notice=NOTICE, store_halves=True)
        bundle = read_bundle(out)
        total = sum(fact.bytes for fact in bundle.manifest.files.values())
        if total > MOST_BYTES:
            raise ValueError(f"{total} bytes: more than the {MOST_BYTES} that may be shipped")
        for old in [*home.glob("*.onnx"), *home.glob("*.onnx.*")]:
            old.unlink()
        for name in (FILE_NAME, *bundle.manifest.files):
            (home / name).write_bytes((out / name).read_bytes())
    verify_files(read_bundle(home))
    print(f"{home}: {total / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    release(parser.parse_args().checkpoint)


if __name__ == "__main__":
    main()
