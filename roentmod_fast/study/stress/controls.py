"""Null controls: what moves a classifier's outputs although no finding was added.

``autoencoder``: the source through encoder and decoder alone. ``normal``: the edit towards "no acute cardiopulmonary
process". ``seed``: an edit against the same edit with other noise. The last two are edits of the cohort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.editor import Editor
from roentmod_fast.radiograph.raster import edit_png, read_raster
from roentmod_fast.result import Decoded, provenance_of
from roentmod_fast.study.make import load_editor
from roentmod_fast.study.pairs import SourceImage, squared
from roentmod_fast.study.plan import Cohort

Array = NDArray[np.float32]
AUTOENCODER, NORMAL, SEED = "autoencoder", "normal", "seed"
CONTROLS = (NORMAL, AUTOENCODER, SEED)


class RoundTrip:
    """Makes what the plan's autoencoder gives back of a source, written as the plan's edits are."""

    def __init__(self, cohort: Cohort) -> None:
        """Open the plan's engine. Raises as :func:`~.study.make.load_editor` does."""
        self._cohort = cohort
        self._editor: Editor = load_editor(cohort)

    def image(self, source: SourceImage) -> Array:
        """Return the round trip of a source in the size of its edits: float32 (H, W) in [0, 1]."""
        plan, editor = self._cohort.plan, self._editor
        prepared = editor.prepare(source.radiograph, plan.config, protect_markers=plan.protect_markers)
        image = editor.reconstruct(prepared)
        result = editor.finish(Decoded(prepared, "", image, {}, 0, ""))
        if plan.output.format != "dicom":
            how = provenance_of(editor.bundle, editor.device.name, "", prepared.settings)
            data = edit_png(source.radiograph, result.image, how, bits=plan.output.png_bits, size=plan.output.size)
            made = read_raster(data, "round trip", force=True)
            return squared(made.image, made.aspect)
        radiograph = source.radiograph
        assert radiograph.grayscale is not None
        stored = radiograph.to_stored(result.image)
        return squared(radiograph.orientation.upright(radiograph.grayscale.apply(stored)), radiograph.aspect)
