"""Turn a trained checkpoint into a bundle that is shipped. Needs the export extra.

The same exporter as for any checkpoint, with two settings of its own: the weights are stored as fp16, to which the
training has rounded them, so that the bundle is small and nothing is lost; and the notice that is shown at each use.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from roentmod_fast.bundle.bundle import read_bundle, verify_files
from roentmod_fast.bundle.manifest import FILE_NAME
from roentmod_fast_export import export_checkpoint


def release_bundle(checkpoint: Path, home: Path, *, name: str, notice: str, most_bytes: int) -> None:
    """Export ``checkpoint`` and put the bundle's files into ``home``; model card and licence there stay as they are.

    Raises ``ValueError``, before anything is replaced, for a bundle of more than ``most_bytes``.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = export_checkpoint(checkpoint, Path(folder) / name, name=name, notice=notice, store_halves=True)
        bundle = read_bundle(out)
        total = sum(fact.bytes for fact in bundle.manifest.files.values())
        if total > most_bytes:
            raise ValueError(f"{total} bytes: more than the {most_bytes} that may be shipped")
        home.mkdir(parents=True, exist_ok=True)
        for old in [*home.glob("*.onnx"), *home.glob("*.onnx.*")]:
            old.unlink()
        for file in (FILE_NAME, *bundle.manifest.files):
            (home / file).write_bytes((out / file).read_bytes())
    verify_files(read_bundle(home))
    print(f"{home}: {total / 1e6:.1f} MB")
