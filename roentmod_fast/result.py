"""What passes between the stages of an edit, and what it gives: a radiograph that can be looked at and saved."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roentmod_fast._version import __version__
from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.diffusion.schedule import Timesteps
from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.metrics import ChangeStatistics, change_statistics
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.settings import EditSettings

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[np.float32]


@dataclass
class Stopwatch:
    """Seconds spent in each named stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the ``with`` block to ``stage``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - started)

    def add_share(self, seconds: Mapping[str, float], count: int) -> None:
        """Add to each stage one ``count``-th of its ``seconds``: what one of ``count`` equal parts of a batch took."""
        for stage, value in seconds.items():
            self._add(stage, value / count)

    def _add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass(eq=False)
class Placed:
    """A radiograph placed for the engine, before any network has seen it.

    ``square``: float32 (S, S) in [0, 1], in the engine's size. ``encoder_noise`` and ``noise``: the draw of the encoder
    and the noise that is added, (1, channels, s, s). ``region``: where to edit, float32 (H, W) in [0, 1], None for
    everywhere; ``latent_region``, float32 (1, 1, s, s), is 1 for the latents that it touches and 0 for those that are
    held to the source.
    """

    radiograph: Radiograph
    letterbox: Letterbox
    settings: EditSettings
    timesteps: Timesteps
    square: Array
    encoder_noise: Array
    noise: Array
    watch: Stopwatch
    region: Array | None
    latent_region: Array | None

    @property
    def latent_region_or_all(self) -> Array:
        """:attr:`latent_region`, or 1 everywhere."""
        shape = (1, 1, *self.noise.shape[2:])
        return np.ones(shape, dtype=np.float32) if self.latent_region is None else self.latent_region


@dataclass(eq=False)
class Prepared(Placed):
    """A radiograph made ready once for any number of prompts.

    ``x_0``: its scaled latents, (1, channels, s, s). ``reference``: what its edits are compared with when they are put
    back, decoded (S, S); made with the first edit, the same for all prompts.
    """

    x_0: Array
    reference: Array | None = None


@dataclass(frozen=True, eq=False)
class Decoded:
    """An edit as the engine made it, ``image`` (S, S) in [0, 1], not yet put into the source.

    The rest as in :class:`EditResult`, ``seconds`` up to here.
    """

    prepared: Prepared
    prompt: str
    image: Array
    seconds: dict[str, float]
    unet_calls: int
    truncated: str


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
        it is synthetic. ``label``: burn SYNTHETIC into a corner. ``deidentify``, ``sop_class`` and ``transfer_syntax``
        as for :func:`~.radiograph.dicom.write.write_dicom`; a PNG holds no identity. Raises OutputError and
        SettingError.
        """
        from roentmod_fast.radiograph.dicom.write import write_dicom
        from roentmod_fast.radiograph.label import burn_label
        from roentmod_fast.radiograph.raster import write_png
        from roentmod_fast.radiograph.write import SUFFIXES, format_of

        chosen = format_of(path) if file_format is None else file_format
        if chosen not in SUFFIXES:
            raise SettingError(f"format {chosen!r}: expected one of {', '.join(SUFFIXES)}")
        shown = burn_label(self.image) if label else self.image
        if chosen == "png":
            write_png(path, self.radiograph, shown, self.provenance, overwrite=overwrite)
            return None
        return write_dicom(
            path,
            self.radiograph,
            shown,
            self.provenance,
            deidentify=deidentify,
            overwrite=overwrite,
            sop_class=sop_class,
            transfer_syntax=transfer_syntax,
            labelled=label,
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
