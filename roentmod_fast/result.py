"""What an edit gives: the edited radiograph, which can be looked at and saved."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roentmod_fast._version import __version__
from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.radiograph.metrics import ChangeStatistics, change_statistics
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.settings import EditSettings

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EditResult:
    """One edited radiograph.

    ``radiograph``: the source. ``image``: float32 (H, W) in [0, 1], the source with the edit in it, at the source's
    size. ``decoded``: float32 (S, S) in [0, 1], the engine's own image. ``seconds`` by stage and ``unet_calls`` are
    those of this edit; what it shares with others of the same radiograph counts for the first. The seconds of a network
    that ran for a batch are shared evenly by those it ran for; ``unet_calls`` are as many as without a batch.
    ``truncated`` is the end of the prompt that did not fit, or empty.

    In a notebook a result shows itself as before, after and difference.
    """

    radiograph: Radiograph
    image: Array
    decoded: Array
    prompt: str
    settings: EditSettings
    provenance: Provenance
    seconds: Mapping[str, float]
    unet_calls: int
    truncated: str

    @cached_property
    def change(self) -> ChangeStatistics:
        """How far the edit is from its source, computed at first use."""
        return change_statistics(self.radiograph.image, self.image)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        file_format: str | None = None,
        deidentify: str = "pseudonymize",
        sop_class: str = "source",
        transfer_syntax: str = "explicit",
        label: bool = False,
        overwrite: bool = False,
    ) -> str | None:
        """Write the edit as DICOM or PNG; return the SOP Instance UID of a DICOM.

        ``file_format``: ``dicom`` or ``png``, by default what the name says, ``.dcm`` or ``.png``. The file says that
        it is synthetic. The other arguments are those of
        :func:`roentmod_fast.radiograph.write.write_edit`. Raises OutputError and SettingError.
        """
        from roentmod_fast.radiograph.write import format_of, write_edit

        return write_edit(
            path,
            self.radiograph,
            self.image,
            self.provenance,
            file_format=format_of(path) if file_format is None else file_format,
            deidentify=deidentify,
            sop_class=sop_class,
            transfer_syntax=transfer_syntax,
            label=label,
            overwrite=overwrite,
        )

    def preview(self) -> Image.Image:
        """Return before, after and their difference side by side, marked as synthetic, as an RGB image."""
        from roentmod_fast.radiograph.preview import preview

        return preview(self.radiograph.image, self.image, self.prompt, aspect=self.radiograph.aspect)

    def _repr_png_(self) -> bytes:
        """Return :meth:`preview` as PNG: what IPython shows."""
        buffer = io.BytesIO()
        self.preview().save(buffer, format="PNG")
        return buffer.getvalue()


def provenance_of(bundle: Bundle, device: str, prompt: str, settings: EditSettings) -> Provenance:
    """Return how an edit was made: by which engine, on which device, with which settings."""
    return Provenance(
        prompt=prompt,
        strength=settings.strength,
        guidance=settings.guidance,
        steps=settings.steps,
        seed=settings.seed,
        compose=settings.compose,
        engine_name=bundle.name,
        engine_hash=bundle.manifest_hash,
        software_version=__version__,
        device=device,
        speed=settings.speed.describe(),
    )
