"""Made headers over the space that real ones span: the displayed image is known, the way back is exact.

The shares are those counted in 7,469 chest radiographs (MONOCHROME1 48 %, a VOI LUT 41 %, 12 bits 79 %, and so on);
what is rare or odd (signed values, overlays, padding, sideways images, numbers run together in one string) is drawn
often enough to be met many times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import uid

from roentmod_fast.radiograph.dicom.encode import SYNTAXES, encode
from roentmod_fast.radiograph.dicom.orientation import UPRIGHT, Orientation, orientation_of
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.write import synthetic_dataset
from roentmod_fast.radiograph.model import Provenance
from tests.radiograph.conftest import KEY, lut_item, make_dataset, to_bytes

Values = NDArray[Any]
View = Callable[[Values], Values]

HOW = Provenance("edema", 0.4, 4.0, 50, 0, "delta", "phantom", "0" * 64, "0.1.0", "cpu")
MET: Counter[str] = Counter()
"""What the drawn cases had in them."""

LOSSLESS = {
    "explicit": uid.ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "big": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "j2k": uid.JPEG2000Lossless,
}


def shares(**weights: int) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name, weight in weights.items() for _ in range(weight)])


@dataclass(frozen=True)
class Case:
    """A file, its stored values and what a viewer shows, by the standard's formulas written down once more.

    ``displayed`` is upright; ``exact``: the grayscale pipeline does not depend on the pixels, so an edit is shown as it
    was made.
    """

    header: dict[str, Any]
    voi: int
    data: bytes = field(repr=False)
    values: Values = field(repr=False)
    displayed: Values = field(repr=False)
    padded: Values = field(repr=False)
    orientation: Orientation
    aspect: float
    exact: bool


def window(centre: float, width: float, function: str) -> View:
    def view(shown: Values) -> Values:
        if function == "SIGMOID":
            return 1 / (1 + np.exp(-4 * (shown - centre) / width))
        if function == "LINEAR_EXACT":
            return np.clip((shown - centre) / width + 0.5, 0, 1)
        return np.clip((shown - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)

    return view


def lut(first: int, table: Values, bits: int) -> View:
    return lambda shown: table[np.clip(shown - first, 0, len(table) - 1).astype(int)] / ((1 << bits) - 1)


@st.composite
def modalities(draw: st.DrawFn, lowest: int, span: int) -> tuple[dict[str, Any], View, float, float, bool]:
    """Draw rescale or Modality LUT: attributes, function, its range, and whether it gives whole numbers."""
    kind = draw(shares(none=6, rescale=3, lut=1))
    top = lowest + span - 1
    if kind == "rescale":
        slope = draw(st.sampled_from([1, 2, 0.5, 0.25, -1]))
        intercept = draw(st.sampled_from([0, -1024, 100]))
        ends = sorted((lowest * slope + intercept, top * slope + intercept))
        attributes = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        return attributes, lambda v: v * slope + intercept, ends[0], ends[1], float(slope).is_integer()
    if kind == "lut":
        curve = (np.linspace(0, 1, span) ** 0.7 * 65535).astype(int)
        item = lut_item(lowest, curve.tolist(), 16)
        return {"ModalityLUTSequence": [item]}, lambda v: curve[v - lowest], 0, 65535, True
    return {}, lambda v: v, lowest, top, True


@st.composite
def lookups(draw: st.DrawFn, low: int, top: int) -> tuple[Any, View]:
    """Draw a VOI LUT over a range of values, or over its middle half: its first and last entry hold beyond."""
    bits = draw(st.sampled_from([8, 10, 12, 16]))
    margin = (top - low) // 4 if draw(st.booleans()) else 0
    entries = top - low + 1 - 2 * margin
    table = (np.linspace(0, 1, entries) ** draw(st.sampled_from([0.5, 1, 2])) * ((1 << bits) - 1)).astype(int)
    return lut_item(low + margin, table.tolist(), bits), lut(low + margin, table, bits)


@st.composite
def views(draw: st.DrawFn, low: int, top: int, lookup: bool) -> tuple[dict[str, Any], list[View]]:
    """Draw VOI LUTs and windows: attributes, and the functions in the order in which a viewer offers them."""
    attributes: dict[str, Any] = {}
    found: list[View] = []
    kind = draw(shares(lut=4, window=6, both=2))
    if lookup and kind != "window":
        drawn = [draw(lookups(low, top)) for _ in range(draw(st.sampled_from([1, 1, 1, 2])))]
        attributes["VOILUTSequence"] = [item for item, _ in drawn]
        found += [view for _, view in drawn]
        if kind == "lut":
            return attributes, found
    function = draw(shares(LINEAR=7, LINEAR_EXACT=1, SIGMOID=2))
    centres, widths = [], []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        width = draw(st.integers(max(2, int((top - low) * 0.4)), max(3, int((top - low) * 1.2))))
        centre = round(low + (top - low) * draw(st.floats(0.35, 0.65)))
        centres.append(centre)
        widths.append(width)
        found.append(window(centre, width, function))
    if draw(st.integers(0, 9)) == 0:
        # A width of 0 is no window (C.11.2.1.2); the others count on.
        MET["window width 0"] += 1
        at = draw(st.integers(0, len(centres)))
        centres.insert(at, 100)
        widths.insert(at, 0)
    attributes |= {"WindowCenter": centres, "WindowWidth": widths}
    if function != "LINEAR" or draw(st.booleans()):
        attributes["VOILUTFunction"] = function
    MET[f"window {function}"] += 1
    return attributes, found


def percentiles(shown: Values, counted: Values) -> Values:
    """Show values between the percentiles 0.5 and 99.5 of those counted."""
    low, high = np.percentile(shown[counted], [0.5, 99.5], method="inverted_cdf")
    return np.clip((shown - low) / (high - low), 0, 1)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    bits = int(draw(shares(**{"12": 7, "15": 2, "10": 1, "14": 1, "8": 2, "16": 1, "9": 1, "11": 1, "13": 1})))
    signed = draw(st.integers(0, 5)) == 0
    allocated = 8 if bits == 8 and draw(st.booleans()) else 16
    lowest, span = -(1 << (bits - 1)) if signed else 0, 1 << bits
    high = draw(st.sampled_from([bits - 1] * 8 + [allocated - 1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = rng.integers(lowest, lowest + span, (33, 37))
    header: dict[str, Any] = {
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": high,
        "PixelRepresentation": int(signed),
        "WindowCenter": None,
        "WindowWidth": None,
    }

    padded = np.zeros(values.shape, dtype=bool)
    if draw(st.integers(0, 7)) == 0:
        MET["pixel padding"] += 1
        first = draw(st.sampled_from([lowest, lowest + span - 1, lowest + span // 3]))
        last = min(first + draw(st.sampled_from([0, 0, 7])), lowest + span - 1)
        values[:, :4] = first
        header["PixelPaddingValue"] = first
        if last != first:
            header["PixelPaddingRangeLimit"] = last
        padded = (values >= first) & (values <= last)

    attributes, modality, low, top, whole = draw(modalities(lowest, span))
    header |= attributes
    shown = modality(values)
    exact, voi = True, 0
    if draw(st.integers(0, 19)) == 0:
        MET["neither window nor LUT"] += 1
        exact = False
        displayed = (shown - low) / (top - low) if bits == 8 else percentiles(shown, ~padded)
    else:
        lookup = whole and top - low < 65536 and low >= -32768 and (low < 0 or top < 65536)
        attributes, found = draw(views(int(low), int(top), lookup))
        header |= attributes
        voi = draw(st.integers(0, len(found) - 1))
        MET["another view than the first"] += voi > 0
        displayed = found[voi](shown)

    polarity = draw(shares(mono2=50, mono1=40, inverse=8, shape=2))
    if polarity in ("mono1", "inverse"):
        header["PhotometricInterpretation"] = "MONOCHROME1"
    if polarity in ("inverse", "shape"):
        header["PresentationLUTShape"] = "INVERSE"
    if polarity != "mono2":
        displayed = 1 - displayed
    displayed = np.where(padded, 0, displayed)

    for keyword, weight in (("ViewPosition", 35), ("BodyPartExamined", 34)):
        if draw(st.integers(0, 99)) < weight:
            header[keyword] = None
    orientation = UPRIGHT
    if draw(st.integers(0, 4)) == 0:
        directions = [draw(st.sampled_from("LR")), draw(st.sampled_from("FH"))]
        directions = directions if draw(st.booleans()) else directions[::-1]
        header["PatientOrientation"] = directions
        orientation = orientation_of(*directions) or UPRIGHT
        MET["turned"] += orientation != UPRIGHT
    aspect = 1.0
    if draw(st.integers(0, 9)) == 0:
        MET["pixel aspect ratio"] += 1
        header["PixelAspectRatio"] = [2, 1]
        aspect = 0.5 if orientation.transpose else 2.0

    # J2K codes stored bits only, so cells that hold more are written in it by nobody.
    syntax = draw(shares(explicit=4, implicit=3, big=1, deflated=1, rle=1, j2k=3 * (high == bits - 1)))
    cells = values << (high + 1 - bits)
    if allocated == 16 and high == bits - 1 < 15 and syntax != "j2k" and draw(st.integers(0, 7)) == 0:
        MET["overlay in unused bits"] += 1
        cells = cells & ((1 << bits) - 1) | rng.integers(0, 2, values.shape) << 15
    for name, met in (("signed", signed), ("High Bit", high != bits - 1), (f"{bits} bits", True), (syntax, True)):
        MET[name] += met
    for name in ("ModalityLUTSequence", "RescaleSlope", "VOILUTSequence"):
        MET[name] += name in header
    MET[polarity] += 1
    overlay = draw(st.integers(0, 9)) == 0
    run_together = "WindowCenter" in attributes and draw(st.integers(0, 7)) == 0
    mismatch = signed and syntax == "j2k" and draw(st.integers(0, 3)) > 0
    MET["overlay group"] += overlay
    MET["numbers in one string"] += run_together
    MET["J2K of another sign"] += mismatch
    data = written(cells, header, syntax, overlay=overlay, run_together=run_together, mismatch=mismatch)
    attributes = {keyword: value for keyword, value in header.items() if not keyword.endswith("Sequence")}
    turned = [orientation.upright(array) for array in (displayed, padded)]
    return Case(attributes | {"syntax": syntax}, voi, data, values, turned[0], turned[1], orientation, aspect, exact)


def written(
    cells: Values,
    header: dict[str, Any],
    syntax: str,
    *,
    overlay: bool = False,
    run_together: bool = False,
    mismatch: bool = False,
) -> bytes:
    """Return a file of a transfer syntax; see :class:`Case` for what may be odd in it."""
    dataset = make_dataset(cells, **header)
    if run_together:
        for keyword in ("WindowCenter", "WindowWidth"):
            del dataset[keyword]
            dataset.add_new(keyword, "LO", ", ".join(str(number) for number in header[keyword]))
    if overlay:
        dataset.add_new(0x60000010, "US", cells.shape[0])
        dataset.add_new(0x60000011, "US", cells.shape[1])
        dataset.add_new(0x60003000, "OW", bytes(2 * (cells.size // 16 + 1)))
    allocated, stored, high = (header[key] for key in ("BitsAllocated", "BitsStored", "HighBit"))
    if syntax == "rle":
        # Whole cells: pydicom 3.0 encodes cells of 16 bits that store 8 wrongly.
        dataset.BitsStored, dataset.HighBit = allocated, allocated - 1
        dataset.compress(LOSSLESS[syntax], encoding_plugin="pydicom", generate_instance_uid=False)
        dataset.BitsStored, dataset.HighBit = stored, high
    elif syntax == "j2k":
        if mismatch:
            # The codestream says unsigned, the header signed (PS3.5 A.4.4).
            dataset.PixelRepresentation = 0
            unsigned = cells & ((1 << stored) - 1)
            dataset.PixelData = unsigned.astype(f"<u{allocated // 8}").tobytes() + bytes(
                unsigned.size * allocated // 8 % 2
            )
        dataset.compress(LOSSLESS[syntax], encoding_plugin="pylibjpeg", generate_instance_uid=False)
        dataset.PixelRepresentation = header["PixelRepresentation"]
    elif syntax == "big":
        if allocated == 16:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
        for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
            for item in dataset.get(keyword, []):
                item.LUTData = np.frombuffer(item.LUTData, "<u2").byteswap().tobytes()
    return to_bytes(dataset, LOSSLESS[syntax])


# Cases that fail are not made smaller: that takes minutes, and they are small.
@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate],
)
@given(
    cases(), st.sampled_from(["explicit", "rle", "jpeg2000"]), st.sampled_from(["pseudonymize", "none", "anonymize"])
)
def read_right_and_back_bit_for_bit(case: Case, syntax: str, deidentify: str) -> None:
    MET["cases"] += 1
    radiograph = read_dicom(case.data, "case.dcm", voi=case.voi)
    grayscale = radiograph.grayscale
    assert grayscale is not None
    np.testing.assert_array_equal(radiograph.stored, case.values)
    assert radiograph.orientation == case.orientation and radiograph.aspect == case.aspect
    assert np.abs(radiograph.image - case.displayed).max() < 1 / 255
    assert np.abs(radiograph.image - case.displayed).max() < 1e-5, "far better than the one grey level that is asked"

    # Nothing edited: bit for bit. Something edited: the rest bit for bit, the edit as near as the values go.
    image = radiograph.image.copy()
    image[3:9, 2:10] = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    for edit in (radiograph.image, image):
        dataset = synthetic_dataset(radiograph, edit, HOW, deidentify=deidentify, key=KEY)
        back = read_dicom(encode(dataset, SYNTAXES[syntax], "out.dcm"), "out.dcm", voi=case.voi, force=True)
        assert back.stored is not None
        same = case.orientation.back((edit == radiograph.image) | case.padded)
        np.testing.assert_array_equal(back.stored[same], case.values[same])
        assert back.orientation == case.orientation and back.aspect == case.aspect
        if case.exact:
            changed = (edit != radiograph.image) & ~case.padded
            numbers = np.arange(len(grayscale.table)) + grayscale.lowest
            levels = grayscale.table
            if grayscale.padding is not None:
                levels = levels[(numbers < grayscale.padding[0]) | (numbers > grayscale.padding[1])]
            nearest = np.abs(np.unique(levels)[None] - edit[changed][:, None]).min(axis=1)
            np.testing.assert_allclose(np.abs(back.image - edit)[changed], nearest, atol=1e-6)


@pytest.mark.slow
def test_read_right_and_back_bit_for_bit() -> None:
    MET.clear()
    read_right_and_back_bit_for_bit()
    assert MET["cases"] >= 500
    wanted = [
        *("window LINEAR", "window LINEAR_EXACT", "window SIGMOID", "window width 0", "another view than the first"),
        *("VOILUTSequence", "ModalityLUTSequence", "RescaleSlope", "neither window nor LUT", "numbers in one string"),
        *("mono2", "mono1", "inverse", "shape", "signed", "High Bit", "pixel padding", "pixel aspect ratio", "turned"),
        *("overlay in unused bits", "overlay group", "J2K of another sign", *LOSSLESS),
        *(f"{bits} bits" for bits in range(8, 17)),
    ]
    assert [name for name in wanted if not MET[name]] == [], "each of the header's oddities is met"


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_an_edit_of_nothing_for_every_syntax_depth_sign_and_polarity(syntax: str, signed: bool) -> None:
    for bits in range(8, 17):
        lowest = -(1 << (bits - 1)) if signed else 0
        values = np.random.default_rng(bits).integers(lowest, lowest + (1 << bits), (33, 37))
        for allocated in {8 if bits == 8 else 16, 16}:
            for photometric in ("MONOCHROME1", "MONOCHROME2"):
                header = {
                    "BitsAllocated": allocated,
                    "BitsStored": bits,
                    "HighBit": bits - 1,
                    "PixelRepresentation": int(signed),
                    "PhotometricInterpretation": photometric,
                    "WindowCenter": lowest + (1 << (bits - 1)),
                    "WindowWidth": 1 << (bits - 1),
                }
                radiograph = read_dicom(written(values, header, syntax), "case.dcm")
                np.testing.assert_array_equal(radiograph.stored, values)
                for target in SYNTAXES.values():
                    dataset = synthetic_dataset(radiograph, radiograph.image, HOW, key=KEY)
                    back = read_dicom(encode(dataset, target, "out.dcm"), "out.dcm", force=True)
                    np.testing.assert_array_equal(back.stored, values)
                    np.testing.assert_array_equal(back.image, radiograph.image)
