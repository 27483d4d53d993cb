"""Turn a trained checkpoint into the bundle that is shipped, in ``engines/cxr-mini``.

    python -m roentmod_fast_engines.cxr_mini.release WORK/checkpoint

The same exporter as for any checkpoint. The weights are stored as halves, to which the training has rounded them; the
notice is printed at each use; CARD.md and LICENSE stay as they are.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from roentmod_fast.bundle.bundle import read_bundle, verify_files
from roentmod_fast.bundle.manifest import FILE_NAME
from roentmod_fast_export import export_checkpoint

NAME = "cxr-mini"
HOME = Path(__file__).parents[1] / NAME
"""The bundle has a folder of its own: an engine is found by its folder's name, and a hyphen makes no module."""

NOTICE = (
    "cxr-mini is a small engine of this project, not RoentGen: its findings are drawn, no radiologist has validated "
    "it, not for diagnosis"
)
MOST_BYTES = 45_000_000


def release(checkpoint: Path, home: Path = HOME) -> None:
    """Export ``checkpoint`` and put the bundle's files into ``home``.

    Raises ``ValueError``, before anything is replaced, for a bundle that is too large to be shipped.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = export_checkpoint(checkpoint, Path(folder) / NAME, name=NAME, notice=NOTICE, store_halves=True)
        bundle = read_bundle(out)
        total = sum(fact.bytes for fact in bundle.manifest.files.values())
        if total > MOST_BYTES:
            raise ValueError(f"{total} bytes: more than the {MOST_BYTES} that may be shipped")
        home.mkdir(parents=True, exist_ok=True)
        for old in [*home.glob("*.onnx"), *home.glob("*.onnx.*")]:
            old.unlink()
        for name in (FILE_NAME, *bundle.manifest.files):
            (home / name).write_bytes((out / name).read_bytes())
    verify_files(read_bundle(home))
    print(f"{home}: {total / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--home", type=Path, default=HOME, help="folder that the bundle's files go to")
    options = parser.parse_args()
    release(options.checkpoint, options.home)


if __name__ == "__main__":
    main()
