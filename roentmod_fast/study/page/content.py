"""What stands in a page, as data: a source, its edits, and words on each.

Names, prompts and settings are those that an edit's file carries; nothing of a source's header goes into a page but its
grayscale transformations.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.findings import find_findings
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.grayscale import full_range
from roentmod_fast.radiograph.dicom.marks import MANUFACTURER
from roentmod_fast.radiograph.label import burn_label, label_mask
from roentmod_fast.radiograph.letterbox import resample
from roentmod_fast.radiograph.metrics import ChangeStatistics
from roentmod_fast.radiograph.model import PixelLayout, Provenance, Radiograph
from roentmod_fast.study.page.pixels import Blob, Values, encode, encode_edit

Array = NDArray[np.float32]
Facts = Sequence[tuple[str, str]]

FIRST_SIDE = 900
"""Longest side of each half of the image that is shown until the pixels are decoded, or without JavaScript."""

_PERCENTILES = {"percentiles 0.5 to 99.5": (0.5, 99.5), "lungs (dark half)": (0.5, 60), "dense half": (40, 99.9)}
"""Windows that suit most radiographs, by percentiles of the displayed brightness."""


@dataclass(frozen=True)
class PageSource:
    """A source as a page shows it.

    ``values``: stored values less ``lowest``, uint16 (H, W), upright. ``table``: what is shown for each, uint8
    (2**bits,). ``slope`` and ``intercept``: from stored values to those that windows are about. ``windows``: centre and
    width of the presets, by name; the first is the file's own, or the nearest one where that is no window, and then
    ``by_table`` is true. ``padding``: the first and last of the values that stand for no image, shown black.
    """

    name: str
    values: Values
    bits: int
    lowest: int
    slope: float
    intercept: float
    table: NDArray[np.uint8]
    inverted: bool
    windows: Mapping[str, tuple[float, float]]
    by_table: bool
    padding: tuple[int, int] | None
    aspect: float
    facts: Facts = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.values.shape[0], self.values.shape[1]

    def shown(self, values: Values) -> Array:
        """Return what the file's own view shows of values: float32 in [0, 1]."""
        return self.table[values].astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class PageEdit:
    """An edit as a page holds it. ``row`` and ``column``: its cell, where edits form a grid."""

    name: str
    prompt: str
    blob: Blob
    facts: Facts
    changed: float | None = None
    findings: tuple[str, ...] = ()
    label: str = ""
    row: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Grid:
    """Names of two axes and of their values, where edits form a grid."""

    row_axis: str
    column_axis: str
    rows: Sequence[str]
    columns: Sequence[str]


@dataclass
class PageContent:
    """All of one page: a source, its edits in order, and the pages beside it, by relative address."""

    source: PageSource
    title: str
    edits: list[PageEdit] = field(default_factory=list)
    first: bytes = b""
    grid: Grid | None = None
    note: str = ""
    index: str = ""
    previous: str = ""
    following: str = ""

    def data(self) -> dict[str, Any]:
        """Return everything but the pixels as JSON knows it."""
        source = self.source
        return {
            "title": self.title,
            "note": self.note,
            "rows": source.shape[0],
            "columns": source.shape[1],
            "aspect": source.aspect,
            "bits": source.bits,
            "lowest": source.lowest,
            "slope": source.slope,
            "intercept": source.intercept,
            "inverted": source.inverted,
            "byTable": source.by_table,
            "padding": source.padding,
            "table": base64.b64encode(zlib.compress(source.table.tobytes(), 9)).decode("ascii"),
            "windows": [[name, *window] for name, window in source.windows.items()],
            "source": {"name": source.name, "facts": [list(fact) for fact in source.facts]},
            "grid": None if self.grid is None else asdict(self.grid),
            "links": {"index": self.index, "previous": self.previous, "next": self.following},
            "edits": [
                {
                    "name": edit.name,
                    "prompt": edit.prompt,
                    "label": edit.label or edit.prompt,
                    "findings": list(edit.findings),
                    "predictor": edit.blob.predictor,
                    "difference": edit.blob.difference,
                    "changed": edit.changed,
                    "facts": [list(fact) for fact in edit.facts],
                    "row": edit.row,
                    "column": edit.column,
                }
                for edit in self.edits
            ],
        }


def source_of(radiograph: Radiograph, name: str) -> PageSource:
    """Return a radiograph as a page shows it, in its own stored values.

    ``name``: what the page calls it, which must name no patient. Raises ValueError for a radiograph without stored
    values.
    """
    if radiograph.grayscale is None or radiograph.stored is None or radiograph.layout is None:
        raise ValueError(f"{radiograph.source}: no stored values to show")
    pipeline = radiograph.grayscale
    table = np.array(pipeline.table)
    slope, intercept = _rescale(radiograph)
    inverted = bool(table[-1] < table[0]) != (slope < 0)
    units = slope * (np.arange(len(table), dtype=np.float64) + pipeline.lowest) + intercept
    own = _window_of(units, 1 - table if inverted else table)
    values = upright_values(radiograph, radiograph.stored)
    windows = {
        "as the file": own or _around(units, table),
        **_presets(units, values, brighter=not table[-1] < table[0]),
    }
    padding = None
    if pipeline.padding is not None:
        first, last = (min(max(end - pipeline.lowest, 0), len(table) - 1) for end in pipeline.padding)
        padding = first, last
        table[first : last + 1] = 0
    matrix = f"{values.shape[1]} x {values.shape[0]} pixels, {radiograph.layout.bits_stored} bits"
    return PageSource(
        name=name,
        values=values,
        bits=(len(table) - 1).bit_length(),
        lowest=pipeline.lowest,
        slope=slope,
        intercept=intercept,
        table=np.rint(table * np.float32(255)).astype(np.uint8),
        inverted=inverted,
        windows=windows,
        by_table=own is None,
        padding=padding,
        aspect=radiograph.aspect,
        facts=[("Source", name), ("Matrix", matrix), ("Shown by", pipeline.description or "the whole range")],
    )


def displayed(image: Array, name: str) -> Radiograph:
    """Return what is shown of a radiograph, float32 (H, W) in [0, 1], as a radiograph of its own, of 12 bits."""
    bits = 12
    stored = np.rint(np.clip(image, 0, 1) * np.float32((1 << bits) - 1)).astype(np.int32)
    pipeline = full_range(bits)
    layout = PixelLayout(16, bits, bits - 1, signed=False)
    return Radiograph(pipeline.apply(stored), name, None, pipeline, stored, layout=layout)


def upright_values(radiograph: Radiograph, stored: NDArray[np.int32]) -> Values:
    """Return stored values as they lie in the file, upright and less the lowest one: uint16 (H, W)."""
    lowest = 0 if radiograph.grayscale is None else radiograph.grayscale.lowest
    return np.ascontiguousarray(radiograph.orientation.upright(stored - lowest).astype(np.uint16))


def edit_of(
    source: PageSource,
    radiograph: Radiograph,
    image: Array,
    provenance: Provenance,
    name: str,
    *,
    change: ChangeStatistics | None = None,
    truncated: str = "",
    labelled: bool = False,
    quick: bool = False,
) -> PageEdit:
    """Return an edit of ``radiograph`` as a page holds it; ``image`` and the rest as of an ``EditResult``.

    ``name``: of its file. ``labelled``: the word SYNTHETIC is burned into the file, so into the page's pixels too.
    ``quick``: as for :func:`~.pixels.encode`.
    """
    over_padding = label_mask(radiograph.shape) if labelled else None
    stored = radiograph.to_stored(burn_label(image) if labelled else image, over_padding)
    facts = [("Edit", name), *provenance_facts(provenance)]
    if truncated:
        facts.append(("Left out of the prompt", truncated))
    if change is not None:
        facts.append(("Changed", f"{100 * change.share_changed:.1f} % of the pixels, SSIM {change.ssim:.3f}"))
    return PageEdit(
        name=name,
        prompt=provenance.prompt,
        blob=encode_edit(upright_values(radiograph, stored), source.values, quick=quick),
        facts=facts,
        changed=None if change is None else change.share_changed,
        findings=find_findings(provenance.prompt),
    )


def provenance_facts(how: Provenance) -> list[tuple[str, str]]:
    """Return settings and provenance in words, as pairs of a name and a value."""
    return [
        ("Prompt", how.prompt),
        ("Strength", f"{how.strength:g} of the noise schedule"),
        ("Guidance", f"{how.guidance:g}" + (" (none)" if how.guidance <= 1 else "")),
        ("Steps", f"{how.steps} of the full schedule"),
        ("Seed", str(how.seed)),
        ("Composed by", how.compose),
        ("Speed", how.speed),
        ("Engine", f"{how.engine_name} {how.engine_hash[:16]}"),
        ("Made by", f"{MANUFACTURER} {how.software_version} on {how.device}"),
    ]


def first_image(source: PageSource, edited: Array) -> bytes:
    """Return a JPEG of the source and an edit side by side, the edit marked: what a page shows before all else.

    ``edited``: float32 (H, W) in [0, 1].
    """
    height, width = source.shape[0] * source.aspect, source.shape[1]
    scale = min(1.0, FIRST_SIDE / max(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    halves = [
        resample(source.shown(source.values), shape, Image.Resampling.BOX),
        burn_label(resample(np.asarray(edited, np.float32), shape, Image.Resampling.BOX)),
    ]
    both = np.rint(np.clip(np.concatenate(halves, axis=1), 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(both).save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()


def encode_source(source: PageSource, *, quick: bool = False) -> Blob:
    """Encode a source's pixels; ``quick`` as for :func:`~.pixels.encode`."""
    return encode(source.values, quick=quick)


def _rescale(radiograph: Radiograph) -> tuple[float, float]:
    """Return slope and intercept of a header's rescale (PS3.3 C.11.1), 1 and 0 where there is none."""
    dataset = radiograph.dataset
    if dataset is None or header.items(dataset, "ModalityLUTSequence"):
        return 1.0, 0.0
    slope, intercept = header.number(dataset, "RescaleSlope", 1.0), header.number(dataset, "RescaleIntercept", 0.0)
    return slope or 1.0, intercept or 0.0


def _window_of(units: NDArray[np.float64], shown: Array) -> tuple[float, float] | None:
    """Return centre and width of the window (PS3.3 C.11.2.1.2.1) that a table is, or None where it is none."""
    if units[-1] < units[0]:
        units, shown = units[::-1], shown[::-1]
    inside = np.flatnonzero((shown > 0) & (shown < 1))
    if len(inside) < 2:
        return None
    a, b = inside[0], inside[-1]
    rise = float(shown[b]) - float(shown[a])
    if rise <= 0:
        return None
    width = (units[b] - units[a]) / rise
    middle = units[a] + (0.5 - float(shown[a])) * width
    window = float(middle + 0.5), float(width + 1)
    if np.abs(np.clip((units - middle) / width + 0.5, 0, 1) - shown).max() > 0.25 / 255:
        return None
    return tuple(round(value, 4) for value in window)  # type: ignore[return-value]


def _around(units: NDArray[np.float64], table: Array) -> tuple[float, float]:
    """Return the window between the first and last value of a table that are neither black nor white."""
    between = units[(table > 0.01) & (table < 0.99)]
    low, high = (float(between.min()), float(between.max())) if len(between) else (float(units[0]), float(units[-1]))
    low, high = min(low, high), max(low, high)
    return (low + high + 1) / 2, max(high - low + 1, 2.0)


def _presets(units: NDArray[np.float64], values: Values, *, brighter: bool) -> dict[str, tuple[float, float]]:
    """Return windows for an image by its own values, and that of all values that could be stored.

    ``brighter``: higher stored values are shown brighter.
    """
    order = np.arange(len(units))[:: 1 if brighter else -1]
    total = np.cumsum(np.bincount(values.ravel(), minlength=len(units))[order])
    limits = {"whole range": (float(units[0]), float(units[-1]))}
    for name, shares in _PERCENTILES.items():
        ends = [float(units[order[int(np.searchsorted(total, total[-1] * share / 100))]]) for share in shares]
        limits[name] = ends[0], ends[1]
    return {name: ((a + b + 1) / 2, max(abs(b - a) + 1, 2.0)) for name, (a, b) in limits.items()}
