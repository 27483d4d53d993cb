"""Turn a trained checkpoint into the bundle that is shipped, beside this file.

    python -m roentmod_fast_engines.phantom.release WORK/checkpoint

Model card and licence there stay as they are; ``bundling.py`` does the work for every shipped engine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from roentmod_fast_engines.bundling import release_bundle

HOME = Path(__file__).parent
NOTICE = (
    "phantom is a demonstration engine, trained on drawn radiographs: it is not RoentGen, and on a patient's "
    "radiograph its edits mean nothing"
)
MOST_BYTES = 15_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    checkpoint = parser.parse_args().checkpoint
    release_bundle(checkpoint, HOME, name="phantom", notice=NOTICE, most_bytes=MOST_BYTES)


if __name__ == "__main__":
    main()
