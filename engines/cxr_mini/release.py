"""Turn a trained checkpoint into the bundle that is shipped, in ``engines/cxr-mini``.

    python -m roentmod_fast_engines.cxr_mini.release WORK/checkpoint

Model card and licence there stay as they are; ``bundling.py`` does the work for every shipped engine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from roentmod_fast_engines.bundling import release_bundle

NAME = "cxr-mini"
HOME = Path(__file__).parents[1] / NAME
"""The bundle has a folder of its own: an engine is found by its folder's name, and a hyphen makes no module."""

NOTICE = (
    "cxr-mini is a small engine of this project, not RoentGen: its findings are drawn, no radiologist has validated "
    "it, not for diagnosis"
)
MOST_BYTES = 45_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--home", type=Path, default=HOME, help="folder that the bundle's files go to")
    options = parser.parse_args()
    release_bundle(options.checkpoint, options.home, name=NAME, notice=NOTICE, most_bytes=MOST_BYTES)


if __name__ == "__main__":
    main()
