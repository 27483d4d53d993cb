"""A radiograph as the rest of the package sees it, and how an edit of it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.radiograph.dicom.grayscale import GrayscalePipeline
from roentmod_fast.radiograph.dicom.orientation import UPRIGHT, Orientation

if TYPE_CHECKING:
    import pydicom

Array = NDArray[np.float32]

GENERATED = "generate"
"""In place of a way to compose: an image that was made from noise and a text, without a source."""


@dataclass(frozen=True)
class PixelLayout:
    """How a stored value lies in its cell (PS3.5 8.1.1).

    ``unused_bits``: the bits of each cell that are not the value's (older overlays are stored there), uint16 (H, W) as
    stored, or None where all are zero.
    """

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    unused_bits: NDArray[np.uint16] | None = None

    @property
    def lowest(self) -> int:
        """The lowest value that can be stored."""
        return -(1 << (self.bits_stored - 1)) if self.signed else 0


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A radiograph read from a file, with all that is needed to write an edit of it.

    ``image``: float32 (H, W) in [0, 1], bright = dense, upright, as a viewer shows it. ``source``: a name for messages.
    ``dataset``: header and pixels of a DICOM source, else None; never change it. ``grayscale``: the grayscale pipeline
    and its inverse. ``stored``: int32 (h, w), stored values before the pipeline, as they lie in the file (not turned).
    ``notes``: irregularities found while reading, free of the patient's data. ``decoder``: name and version of what
    decompressed the pixels, None where they were not compressed. ``layout``: how stored values lie in the file.
    ``orientation``: how the image was turned upright. ``aspect``: height of a pixel over its width, upright.
    ``spacing``: millimetres between pixels, down and across, upright, as the file says; None where it does not.
    ``patient_orientation``: directions of rows and columns that the user gave in place of the header's, which an edit
    is written with. ``jpeg_bytes``: length of the JPEG file of a source without a header, 0 where it is not known; None
    for any other source.
    """

    image: Array
    source: str
    dataset: pydicom.Dataset | None = None
    grayscale: GrayscalePipeline | None = None
    stored: NDArray[np.int32] | None = None
    notes: tuple[str, ...] = ()
    decoder: str | None = None
    layout: PixelLayout | None = None
    orientation: Orientation = UPRIGHT
    aspect: float = 1.0
    spacing: tuple[float, float] | None = None
    patient_orientation: tuple[str, str] | None = None
    jpeg_bytes: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the upright image in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def stored_shape_of_pixels(self) -> tuple[float, tuple[float, float] | None]:
        """``aspect`` and ``spacing`` of the matrix as it is stored, which may lie on its side."""
        if not self.orientation.transpose:
            return self.aspect, self.spacing
        return 1 / self.aspect, self.spacing and self.spacing[::-1]

    def to_stored(self, image: Array, over_padding: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
        """Bring an edited image back to stored values.

        ``image``: float32 (H, W) in [0, 1], upright, the shape of :attr:`image`. Returns int32 in the file's own
        orientation; where ``image`` shows what the source shows, the source's stored value. Pixel padding stays, but
        where ``over_padding``, bool (H, W), is true.
        """
        if self.grayscale is None or self.stored is None:
            raise ValueError(f"{self.source}: no stored values to go back to")
        if image.shape != self.image.shape:
            raise ValueError(f"{self.source}: edit of shape {image.shape}, expected {self.image.shape}")
        over = None if over_padding is None else self.orientation.back(over_padding)
        return self.grayscale.invert(self.orientation.back(image), self.stored, over)


@dataclass(frozen=True)
class Provenance:
    """How an edit was made.

    ``strength`` in [0, 1], ``guidance`` and ``steps`` as requested; ``compose``: ``delta``, ``contrast``, ``replace``
    or :data:`GENERATED`; ``engine_hash``: SHA-256 of the engine's manifest in hex; ``software_version``: of this
    package; ``speed``: the speed settings in words, at least the precision of the networks.
    """

    prompt: str
    strength: float
    guidance: float
    steps: int
    seed: int
    compose: str
    engine_name: str
    engine_hash: str
    software_version: str
    device: str
    speed: str = "fp32"
