"""Grayscale transformations of DICOM: stored values to displayed values, and back.

The order is the standard's (PS3.4 N.2): Modality LUT Sequence or rescale (PS3.3 C.11.1), then VOI LUT Sequence or
window (C.11.2), then polarity, once, for MONOCHROME1 (C.7.6.3.1.2) and Presentation LUT Shape INVERSE (C.11.6) alike.

A stored value has at most 16 bits, so the whole pipeline is one table of at most 65536 entries, and its inverse a
search in that table. Nothing in here looks at pixels, only at their histogram.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.dicom import header

Array = NDArray[np.float32]
Values = NDArray[np.float64]
Voi = Callable[[Values], Values]

PERCENTILES = (0.5, 99.5)
"""Percentiles of the image that become black and white where there is no window or LUT."""

_FINE = 2.0**24
"""The table holds multiples of 1/2**24: an image and its negative, 1 - image, are then both exact in float32."""


_CELLS, _FAR = 1 << 16, 4
"""Parts of [0, 1] in a search, and how many entries of one part are gone through one by one."""


@dataclass(frozen=True, eq=False)
class GrayscalePipeline:
    """The grayscale transformations of one radiograph, as one table.

    ``table``: float32 (2**bits,) in [0, 1], what is shown for each stored value, the lowest possible value first.
    ``lowest``: that value. ``padding``: lowest and highest stored value that stands for "no image here" (PS3.3
    C.7.5.1.1.2): shown black, never changed. ``description``: the transformations in words, for reports.
    """

    table: Array
    lowest: int
    padding: tuple[int, int] | None = None
    description: str = ""

    def apply(self, stored: NDArray[np.integer]) -> Array:
        """Return what a viewer shows for stored values: float32 in [0, 1], of the same shape, bright = dense."""
        index = stored.astype(np.intp) - self.lowest
        image = self.table[index]
        outside = self._padded(stored)
        if outside is not None:
            image[outside] = 0
        return image

    def invert(
        self, image: Array, stored: NDArray[np.int32], over_padding: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int32]:
        """Return stored values that show ``image``, as near as the table goes.

        ``image``: float32 in [0, 1]; ``stored``: the source's stored values, int32 of the same shape. A pixel that
        shows what its stored value shows keeps it, also outside the window, where many values show the same. Another
        pixel takes, among the values that show its brightness best, the one nearest to its old value. Padding stays
        padding, but where ``over_padding`` (bool, of the same shape) is true an image may be put over it.
        """
        if not np.isfinite(image).all():
            raise ValueError("the edited image holds values that are no numbers")
        result = np.array(stored, dtype=np.int32)
        changed = image != self.apply(stored)
        outside = self._padded(stored)
        if outside is not None:
            changed &= ~outside if over_padding is None else ~outside | over_padding
        if not changed.any():
            return result
        old = result[changed].astype(np.int64) - self.lowest
        values = np.arange(len(self.table))
        if self.padding is not None:
            real = (values + self.lowest < self.padding[0]) | (values + self.lowest > self.padding[1])
            values = values[real] if real.any() else values
        levels, level_of = np.unique(self.table[values], return_inverse=True)
        low = np.full(len(levels), len(self.table), dtype=np.int64)
        high = np.full(len(levels), -1, dtype=np.int64)
        np.minimum.at(low, level_of, values)
        np.maximum.at(high, level_of, values)
        middles = (levels[1:].astype(np.float64) + levels[:-1]) / 2
        nearest = _search(middles, image[changed].astype(np.float64))
        new = np.clip(old, low[nearest], high[nearest])
        # In a LUT that turns back, a value between two of the same brightness may show another one.
        new = np.where(self.table[new] == levels[nearest], new, low[nearest])
        result[changed] = new + self.lowest
        return result

    def _padded(self, stored: NDArray[np.integer]) -> NDArray[np.bool_] | None:
        if self.padding is None:
            return None
        return np.asarray((stored >= self.padding[0]) & (stored <= self.padding[1]))


def _search(ordered: Values, values: Values) -> NDArray[np.int64]:
    """Return ``np.searchsorted(ordered, values)`` for values mostly in [0, 1], several times as quick.

    A table holds where to begin for each of :data:`_CELLS` parts of [0, 1]; few values have far to go from there. Where
    ``ordered`` is crowded, as a sigmoid's ends are, it is left to numpy.
    """
    begin = np.searchsorted(ordered, np.arange(_CELLS + 1) / _CELLS)
    if np.diff(begin).max() > _FAR:
        return np.searchsorted(ordered, values)
    found = begin[np.clip(values * _CELLS, 0, _CELLS).astype(np.int32)]
    bounded = np.append(ordered, np.inf)
    while (more := bounded[found] < values).any():
        found += more
    return found


def full_range(bits: int) -> GrayscalePipeline:
    """Return the pipeline of an image file without a header: 0 is black, 2**bits - 1 white."""
    table = np.round(np.linspace(0, 1, 1 << bits) * _FINE) / _FINE
    return GrayscalePipeline(table.astype(np.float32), 0, None, f"{bits} bit grey")


def grayscale_of(
    dataset: Dataset, histogram: NDArray[np.int64], lowest: int, voi: int = 0
) -> tuple[GrayscalePipeline, tuple[str, ...]]:
    """Build the grayscale pipeline of a DICOM header.

    ``histogram``: how often each stored value occurs, the value ``lowest`` first, 2**BitsStored entries. ``voi``: which
    of several VOI LUTs and windows to take, counted from 0, LUTs first. Returns the pipeline and notes on irregular
    attributes. Raises SourceError where ``voi`` names none.
    """
    notes: list[str] = []
    stored = np.arange(lowest, lowest + len(histogram), dtype=np.float64)
    padding = _padding(dataset, lowest, len(histogram))
    counts = histogram.copy()
    if padding is not None:
        counts[max(padding[0] - lowest, 0) : max(padding[1] - lowest + 1, 0)] = 0
        if not counts.any():
            notes.append("every pixel is padding: Pixel Padding Value ignored")
            counts, padding = histogram, None
        elif histogram.sum() != counts.sum():
            notes.append("pixels of Pixel Padding Value are shown black and kept")

    modality, modality_text = _modality(dataset, stored, notes)
    shown, voi_text = _shown(dataset, modality, counts, voi, notes)
    inverted = _inverted(dataset, notes)
    table = np.round(np.clip(shown, 0, 1) * _FINE) / _FINE
    if inverted:
        table = 1 - table
    words = [part for part in (modality_text, voi_text, "inverted" if inverted else "") if part]
    return GrayscalePipeline(table.astype(np.float32), lowest, padding, ", ".join(words)), tuple(notes)


# --- Modality LUT -----------------------------------------------------------------------------------------------------


def _modality(dataset: Dataset, stored: Values, notes: list[str]) -> tuple[Values, str]:
    """Apply Modality LUT Sequence or rescale (PS3.3 C.11.1)."""
    for item in header.items(dataset, "ModalityLUTSequence")[:1]:
        lut = _lut(item, dataset, stored, notes)
        if lut is not None:
            first, data, _ = lut
            return _look_up(stored, first, data), "Modality LUT"
        notes.append("Modality LUT Sequence cannot be read: ignored")
    slope = header.number(dataset, "RescaleSlope", 1.0)
    intercept = header.number(dataset, "RescaleIntercept", 0.0)
    if not slope:
        notes.append("Rescale Slope is 0: ignored")
        slope = 1.0
    if slope == 1.0 and not intercept:
        return stored, ""
    return stored * slope + (intercept or 0.0), f"rescale {slope:g}, {intercept:g}"


def _lut(item: Dataset, dataset: Dataset, inputs: Values, notes: list[str]) -> tuple[float, Values, int] | None:
    """Return first mapped value, entries and bits of a LUT item, or None where it cannot be read (C.11.1.1.1)."""
    descriptor = header.numbers(item, "LUTDescriptor")
    if len(descriptor) < 3:
        return None
    entries, first, bits = int(descriptor[0]) % 65536 or 65536, descriptor[1], int(descriptor[2])
    value = header.value_of(item, "LUTData")
    little = dataset.original_encoding[1] is not False
    if isinstance(value, (bytes, bytearray)):
        # 8 bit entries come packed, two to a word, or one to a word.
        packed = bits <= 8 and len(value) in (entries, entries + entries % 2)
        kind = "u1" if packed else "<u2" if little else ">u2"
        count = min(len(value) // np.dtype(kind).itemsize, entries)
        data = np.frombuffer(value, kind, count).astype(np.float64)
    elif value is not None:
        data = np.atleast_1d(np.asarray(header.numbers(item, "LUTData"), dtype=np.float64)) % 65536
        if bits <= 8 and len(data) * 2 in (entries, entries + 1) and len(data) < entries:
            data = data.astype("<u2").view("u1").astype(np.float64)
    else:
        return None
    if len(data) < 2:
        return None
    if len(data) < entries:
        notes.append(f"LUT of {entries} entries holds {len(data)}")
    data = data[:entries]
    top = int(data.max())
    if not 8 <= bits <= 16 or top >= 1 << bits or (bits > 8 and top < 1 << (bits - 1)):
        fitting = max(8, top.bit_length())
        notes.append(f"LUT of {bits} bits holds values of {fitting}")
        bits = fitting
    # The first mapped value is signed where the values before the LUT are; its VR may be the other one.
    if first > inputs.max() and inputs.min() < 0:
        first -= 65536
    elif first < 0 <= inputs.min() and first + 65536 <= inputs.max():
        first += 65536
    return first, data, bits


def _look_up(inputs: Values, first: float, data: Values) -> Values:
    """Look values up in a LUT; below and above it the first and last entry apply (C.11.2.1.1)."""
    index = np.clip(np.rint(inputs - first), 0, len(data) - 1).astype(np.intp)
    return data[index]


# --- VOI LUT and window -----------------------------------------------------------------------------------------------


def _shown(
    dataset: Dataset, modality: Values, counts: NDArray[np.int64], voi: int, notes: list[str]
) -> tuple[Values, str]:
    """Apply the chosen VOI LUT or window, or percentiles where there is none that fits."""
    views = _views(dataset, modality, notes)
    if views and not 0 <= voi < len(views):
        raise SourceError(f"no VOI LUT or window {voi}: the header has {len(views)}, counted from 0")
    if not views and voi:
        raise SourceError(f"no VOI LUT or window {voi}: the header has none")
    usual = _percentiles(modality, counts)
    if views:
        view, words = views[voi]
        shown = view(modality)
        dark, bright = _percentiles(shown, counts)
        if bright - dark > 0.02 or usual[0] == usual[1]:
            return shown, words
        notes.append(f"{words} misses the image: shown between percentiles {PERCENTILES[0]} and {PERCENTILES[1]}")
    elif len(counts) == 256 and np.ptp(np.flatnonzero(counts)) >= 128:
        # 8 bit without a window is an image ready for display, as a PNG is.
        notes.append("neither window nor VOI LUT: the whole 8 bit range is shown")
        return (modality - modality.min()) / max(float(np.ptp(modality)), 1e-9), "whole range"
    else:
        notes.append(f"neither window nor VOI LUT: shown between percentiles {PERCENTILES[0]} and {PERCENTILES[1]}")
    low, high = usual
    if high <= low:
        low, high = float(modality.min()), float(modality.max())
    return (modality - low) / max(high - low, 1e-9), f"percentiles {low:g} to {high:g}"


def _views(dataset: Dataset, modality: Values, notes: list[str]) -> list[tuple[Voi, str]]:
    """Return all views of a header as functions from modality values to [0, 1]: VOI LUTs, then windows."""
    views: list[tuple[Voi, str]] = []
    for index, item in enumerate(header.items(dataset, "VOILUTSequence")):
        lut = _lut(item, dataset, np.array([modality.min(), modality.max()]), notes)
        if lut is None:
            notes.append(f"VOI LUT {index} cannot be read: ignored")
            continue
        first, data, bits = lut
        views.append((partial(_look_up, first=first, data=data / ((1 << bits) - 1)), f"VOI LUT {index}"))
    function = header.code(dataset, "VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        notes.append("VOI LUT Function is none of LINEAR, LINEAR_EXACT, SIGMOID: taken as LINEAR")
        function = "LINEAR"
    centres, widths = header.numbers(dataset, "WindowCenter"), header.numbers(dataset, "WindowWidth")
    if len(centres) != len(widths):
        notes.append(f"{len(centres)} Window Center for {len(widths)} Window Width: the unpaired are ignored")
    for centre, width in zip(centres, widths, strict=False):
        if width < 1 if function == "LINEAR" else width <= 0:
            notes.append(f"Window Width {width:g}: ignored")
            continue
        views.append((_window_view(centre, width, function), f"window {centre:g}/{width:g} {function}"))
    return views


def _window_view(centre: float, width: float, function: str) -> Voi:
    """Return a window as a function (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1, C.11.2.1.3.2)."""
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return lambda values: (values > centre).astype(np.float64)
    return lambda values: np.clip((values - centre) / width + 0.5, 0, 1)


def _percentiles(values: Values, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return both percentiles of values that occur ``counts`` times each."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(counts[order])
    found = [values[order[int(np.searchsorted(total, total[-1] * share / 100))]] for share in PERCENTILES]
    return float(found[0]), float(found[1])


# --- polarity and padding ---------------------------------------------------------------------------------------------


def _inverted(dataset: Dataset, notes: list[str]) -> bool:
    """Tell whether low values are bright, by photometric interpretation or Presentation LUT Shape, inverted once."""
    monochrome1 = header.code(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    shape = header.code(dataset, "PresentationLUTShape")
    if monochrome1 and shape == "IDENTITY":
        notes.append("MONOCHROME1 with Presentation LUT Shape IDENTITY: shown inverted")
    if not monochrome1 and shape == "INVERSE":
        notes.append("MONOCHROME2 with Presentation LUT Shape INVERSE: shown inverted")
    return monochrome1 or shape == "INVERSE"


def _padding(dataset: Dataset, lowest: int, size: int) -> tuple[int, int] | None:
    """Return the range of stored values that is padding (PS3.3 C.7.5.1.1.2)."""
    value = header.integer(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = header.integer(dataset, "PixelPaddingRangeLimit", value)
    ends = []
    for end in (value, value if limit is None else limit):
        # The VR may not fit the sign of the pixels.
        if end >= lowest + size and lowest < 0:
            end -= 65536
        elif end < 0 <= lowest:
            end += 65536
        ends.append(end)
    if max(ends) < lowest or min(ends) >= lowest + size:
        return None
    return min(ends), max(ends)
