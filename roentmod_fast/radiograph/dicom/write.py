"""Write an edit as a derived DICOM object that no system can mistake for a patient's examination.

SOP class, matrix, bits, polarity and grayscale transformations are the source's, so a viewer
shows it exactly as it shows the source. It is marked in the file: Synthetic Data YES (PS3.3 C.7.6.1), Image Type
DERIVED, the series description, how it was derived and by what.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
import unicodedata
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset

from roentmod_fast.atomic import check_output, write_atomically
from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import SOURCE_IMAGE, SYNTHESIZING_EQUIPMENT, code_item
from roentmod_fast.radiograph.dicom.deidentify import (
    ANONYMIZE,
    NONE,
    PSEUDONYMIZE,
    Pseudonyms,
    copy_deidentified,
    deidentification,
)
from roentmod_fast.radiograph.dicom.encode import SYNTAXES, encode
from roentmod_fast.radiograph.dicom.iod import KNOWN, SECONDARY_CAPTURE, add_required_attributes
from roentmod_fast.radiograph.dicom.marks import MANUFACTURER, WARNING
from roentmod_fast.radiograph.dicom.pixels import LOSSY, compressed_frame
from roentmod_fast.radiograph.dicom.sample import write_sample
from roentmod_fast.radiograph.dicom.stamp import Stamp
from roentmod_fast.radiograph.label import label_mask
from roentmod_fast.radiograph.model import GENERATED, PixelLayout, Provenance, Radiograph

__all__ = ["dicom_bytes", "synthetic_dataset", "write_dicom", "write_sample"]

Array = NDArray[np.float32]
SOP_CLASSES = ("source", "secondary-capture")
"""Values of ``sop_class``: the source's own SOP class, or Secondary Capture Image Storage."""

_DESCRIPTION_LENGTH = 1024
_NAME_LENGTH = 64
_SERIES_NUMBERS = ((1 << 31) - 1) // 100_000


def write_dicom(
    path: str | os.PathLike[str],
    radiograph: Radiograph,
    image: Array,
    provenance: Provenance,
    *,
    deidentify: str = PSEUDONYMIZE,
    overwrite: bool = False,
    sop_class: str = "source",
    transfer_syntax: str = "explicit",
    labelled: bool = False,
    key: bytes | None = None,
) -> str:
    """Write an edited radiograph; return its new SOP Instance UID.

    ``image``: float32 (H, W) in [0, 1], upright, as edited; pixels that are shown as in the source keep their stored
    values. ``deidentify``: one of :data:`~.deidentify.METHODS`; the former values ``pseudonym``, ``keep`` and ``strip``
    are accepted. ``sop_class``: the ``source``'s or ``secondary-capture``. ``transfer_syntax``: one of
    :data:`~.encode.SYNTAXES`. ``labelled``: the word SYNTHETIC is burned into the image. ``key``: the secret of the
    pseudonyms, None for the user's own. A PNG or JPEG source is written as a Secondary Capture. Raises OutputError and
    SettingError.
    """
    target = Path(path)
    check_output(target, overwrite=overwrite)
    data, instance = dicom_bytes(
        radiograph,
        image,
        provenance,
        deidentify=deidentify,
        sop_class=sop_class,
        transfer_syntax=transfer_syntax,
        labelled=labelled,
        key=key,
        name=str(target),
    )
    write_atomically(target, data, overwrite=overwrite)
    return instance


def dicom_bytes(
    radiograph: Radiograph,
    image: Array,
    provenance: Provenance,
    *,
    deidentify: str = PSEUDONYMIZE,
    sop_class: str = "source",
    transfer_syntax: str = "explicit",
    labelled: bool = False,
    key: bytes | None = None,
    stamp: Stamp | None = None,
    name: str = "the edit",
) -> tuple[bytes, str]:
    """Return the content of a DICOM file and its SOP Instance UID; arguments as for :func:`write_dicom`.

    ``stamp``: time and UIDs of the instance; of a given one, bytes are the same each time. ``name``: for messages.
    """
    method = deidentification(deidentify)
    for what, value, known in (
        ("transfer_syntax", transfer_syntax, SYNTAXES),
        ("sop_class", sop_class, SOP_CLASSES),
    ):
        if value not in known:
            raise SettingError(f"{what} {value!r}: expected one of {', '.join(known)}")
    # Values of the source that break the standard's rules are kept as they are.
    with header.unvalidated():
        dataset = synthetic_dataset(
            radiograph,
            image,
            provenance,
            deidentify=method,
            sop_class=sop_class,
            labelled=labelled,
            key=key,
            stamp=stamp,
        )
        return encode(dataset, SYNTAXES[transfer_syntax], name), str(dataset.SOPInstanceUID)


def synthetic_dataset(
    radiograph: Radiograph,
    image: Array,
    provenance: Provenance,
    *,
    deidentify: str = PSEUDONYMIZE,
    sop_class: str = "source",
    labelled: bool = False,
    key: bytes | None = None,
    stamp: Stamp | None = None,
) -> Dataset:
    """Build the derived object in memory, uncompressed; arguments as for :func:`dicom_bytes`."""
    layout = radiograph.layout
    if layout is None:
        raise ValueError(f"{radiograph.source}: no pixel layout to write with")
    method = deidentification(deidentify)
    stamp = Stamp() if stamp is None else stamp
    now = stamp.time
    result = Dataset()
    source = radiograph.dataset
    if source is None:
        _describe_headerless(result, now)
        aspect, _ = radiograph.stored_shape_of_pixels
        if aspect != 1:
            ratio = Fraction(aspect).limit_denominator(1000)
            result.PixelAspectRatio = [ratio.numerator, ratio.denominator]
        pseudonyms = None
        source_class: str = SECONDARY_CAPTURE
    else:
        pseudonyms = copy_deidentified(source, result, method, key, stamp)
        source_class = header.text(source, "SOPClassUID") or SECONDARY_CAPTURE
    same_class = sop_class == "source" and source_class in KNOWN
    result.SOPClassUID = uid.UID(source_class if same_class else SECONDARY_CAPTURE)
    if result.SOPClassUID == SECONDARY_CAPTURE:
        # "SYN", Synthetic Image, is a defined term of Conversion Type (C.8.6.1).
        result.ConversionType = "SYN"
    if radiograph.patient_orientation is not None:
        result.PatientOrientation = list(radiograph.patient_orientation)
    result.SOPInstanceUID = stamp.uid("instance")
    result.SeriesInstanceUID = stamp.uid("series")
    if not header.text(result, "StudyInstanceUID"):
        result.StudyInstanceUID = stamp.uid("study")

    if method != NONE and layout.unused_bits is not None:
        # The unused bits may hold text of older overlays.
        layout = dataclasses.replace(layout, unused_bits=None)
    # The label is in a corner, where padding often is.
    over_padding = label_mask(radiograph.shape) if labelled else None
    _put_pixels(result, radiograph.to_stored(image, over_padding), layout)
    mark(result, source, now, provenance)
    if labelled:
        result.BurnedInAnnotation = "YES"
    if source is None:
        if radiograph.jpeg_bytes is not None:
            _record_lossy(result, uid.JPEGBaseline8Bit, radiograph.jpeg_bytes)
    else:
        _keep_lossy_history(result, source)
        if method != ANONYMIZE:
            _refer_to_source(result, source, pseudonyms)
        if source.original_encoding[1] is False:
            _swap_words(result)
    add_required_attributes(result)
    return result


def _put_pixels(result: Dataset, stored: NDArray[np.int32], layout: PixelLayout) -> None:
    """Store values in the source's own cells (PS3.5 8.1.1)."""
    cell = np.uint16 if layout.bits_allocated == 16 else np.uint8
    shift = layout.high_bit + 1 - layout.bits_stored
    values = stored << shift
    if layout.unused_bits is not None:
        values = values & (((1 << layout.bits_stored) - 1) << shift) | layout.unused_bits
    result.SamplesPerPixel = 1
    if "PhotometricInterpretation" not in result:
        result.PhotometricInterpretation = "MONOCHROME2"
    result.Rows, result.Columns = stored.shape
    result.BitsAllocated, result.BitsStored, result.HighBit = layout.bits_allocated, layout.bits_stored, layout.high_bit
    result.PixelRepresentation = int(layout.signed)
    data = values.astype(cell).astype(cell(0).dtype.newbyteorder("<")).tobytes()
    result.PixelData = data + b"\0" * (len(data) % 2)
    result["PixelData"].VR = "OB" if layout.bits_allocated == 8 else "OW"
    for keyword in ("NumberOfFrames", "FrameIncrementPointer", "PlanarConfiguration"):
        if keyword in result:
            del result[keyword]


def mark(result: Dataset, source: Dataset | None, now: datetime.datetime, how: Provenance) -> None:
    """Mark the object as synthetic and record its provenance."""
    before = header.texts(result, "ImageType")
    second = before[1] if len(before) > 1 and before[1] in ("PRIMARY", "SECONDARY") else None
    if second is None:
        second = "SECONDARY" if result.SOPClassUID == SECONDARY_CAPTURE else "PRIMARY"
    result.ImageType = ["DERIVED", second, *before[2:]]
    result.SyntheticData = "YES"
    result.ContentQualification = "RESEARCH"
    result.SeriesDescription = _series_description(result, how.prompt)
    result.ImageComments = WARNING
    if header.code(result, "PatientIdentityRemoved") == "YES" and header.text(result, "PatientName").startswith(
        "SYNTH"
    ):
        result.StudyDescription = WARNING
    result.SeriesNumber = _series_number(source, how)
    result.InstanceNumber = 1
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    result.InstanceCreationDate = result.ContentDate = result.SeriesDate = date
    result.InstanceCreationTime = result.ContentTime = result.SeriesTime = time
    _derive(result, how)
    _contribute(result, now, how)


def _series_description(result: Dataset, prompt: str) -> str:
    """Return the mark and the prompt in 64 characters, the length of an LO (PS3.5 6.2)."""
    # A backslash would separate two values.
    text = _encodable(f"{WARNING}: {prompt}", result, escape=False).replace("\\", "/")
    text = " ".join(text.split()).removesuffix(":")
    return text if len(text) <= _NAME_LENGTH else text[: _NAME_LENGTH - 3].rstrip() + "..."


def _series_number(source: Dataset | None, how: Provenance) -> int:
    """Return 100,000 times the source's series number, plus 10,000 to 99,999 by prompt and settings.

    So all edits of a series are listed together and after the study's own series, an edit that is made again has the
    same number, and two different edits seldom have the same one.
    """
    number = (header.integer(source, "SeriesNumber", 0) or 0) if source is not None else 0
    settings = (how.prompt, how.strength, how.guidance, how.steps, how.seed, how.compose, how.engine_hash)
    digest = hashlib.sha256(repr(settings).encode("utf-8", "backslashreplace")).digest()
    # An IS holds up to 2**31 - 1 (PS3.5 6.2).
    return number % _SERIES_NUMBERS * 100_000 + 10_000 + int.from_bytes(digest[:8], "big") % 90_000


def _derive(result: Dataset, how: Provenance) -> None:
    """Derivation Description (C.7.6.1.1.3): our step first, then the source's own where there is room."""
    generated = how.compose == GENERATED
    begun = "from noise" if generated else f"strength {how.strength:g}"
    facts = (
        f"; {begun}, guidance {how.guidance:g}, {how.steps} steps, seed {how.seed},"
        f" compose {how.compose}, engine {how.engine_name} {how.engine_hash},"
        f" {MANUFACTURER} {how.software_version} on {how.device}, {how.speed}"
    )
    head = f"{WARNING}. {'Generated from' if generated else 'Edited by'} text: "
    room = _DESCRIPTION_LENGTH - len(head) - len(facts) - 2
    prompt = how.prompt if len(how.prompt) <= room else how.prompt[: max(room - 3, 0)] + "..."
    before = header.text(result, "DerivationDescription")
    text = f'{head}"{prompt}"{facts}'
    if before and len(text) + len(before) + 10 <= _DESCRIPTION_LENGTH:
        text += f"; before: {before}"
    result.DerivationDescription = _encodable(text, result)[:_DESCRIPTION_LENGTH]


def _encodable(text: str, dataset: Dataset, *, escape: bool = True) -> str:
    """Return text that the data set's own character set can hold.

    What it cannot hold is written as \\u escapes, or else without accents, or as question marks.
    """
    sets = header.texts(dataset, "SpecificCharacterSet")
    # pydicom takes the default repertoire, ISO 646, for Latin-1.
    encodings = ["ascii" if name in ("", "ISO_IR 6", "ISO 2022 IR 6") else python_encoding.get(name) for name in sets]

    def fits(character: str, encoding: str | None) -> bool:
        try:
            return encoding is not None and bool(character.encode(encoding))
        except (UnicodeError, LookupError):
            return False

    def replaced(character: str) -> str:
        if escape:
            return f"\\u{ord(character):04x}"
        return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"

    text = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", text))
    return "".join(c if c.isascii() or any(fits(c, encoding) for encoding in encodings) else replaced(c) for c in text)


def _contribute(result: Dataset, now: datetime.datetime, how: Provenance) -> None:
    """Add ourselves to Contributing Equipment Sequence (C.12.1)."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(SYNTHESIZING_EQUIPMENT)]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = f"{MANUFACTURER} engine {how.engine_name}"[:64]
    item.SoftwareVersions = [how.software_version, how.engine_hash[:64]]
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = WARNING
    earlier = list(header.items(result, "ContributingEquipmentSequence"))
    result.ContributingEquipmentSequence = [*earlier, item]


def _keep_lossy_history(result: Dataset, source: Dataset) -> None:
    """Lossy compression that once took place is never undone (C.7.6.1.1.5)."""
    syntax = source.file_meta.TransferSyntaxUID
    if header.text(source, "LossyImageCompression") == "01" or syntax not in LOSSY:
        return
    length, claimed = compressed_frame(source)
    if claimed is not None and claimed.lossy is False:
        return
    _record_lossy(result, syntax, length)


def _record_lossy(result: Dataset, syntax: uid.UID, length: int) -> None:
    """Record a lossy compression by its transfer syntax and its bytes, 0 where their number is not known."""
    whole = result.Rows * result.Columns * result.BitsAllocated // 8
    result.LossyImageCompression = "01"
    result.LossyImageCompressionMethod = LOSSY[syntax]
    if length:
        result.LossyImageCompressionRatio = f"{whole / length:.2f}"


def _refer_to_source(result: Dataset, source: Dataset, pseudonyms: Pseudonyms | None) -> None:
    """Source Image Sequence (C.12.4.1): the instance this one was made from, by its pseudonym where it has one."""
    instance, sop_class = header.text(source, "SOPInstanceUID"), header.text(source, "SOPClassUID")
    if not instance or not sop_class:
        return
    if pseudonyms is not None and uid.UID(sop_class).type != "SOP Class":
        # A private one may lead back to its maker, and need not even be a UID.
        return
    item = Dataset()
    item.ReferencedSOPClassUID = uid.UID(sop_class)
    item.ReferencedSOPInstanceUID = pseudonyms.uid(instance) if pseudonyms else uid.UID(instance)
    item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    result.SourceImageSequence = [item]


def _describe_headerless(result: Dataset, now: datetime.datetime) -> None:
    """Describe a PNG or JPEG source, of which little is known (Secondary Capture, A.8.1)."""
    result.Modality = "OT"
    result.PatientName = "SYNTHETIC"
    result.PatientID = "SYNTHETIC"
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = "made from a picture file without a header"
    result.StudyDate, result.StudyTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    result.BodyPartExamined = "CHEST"


def _swap_words(dataset: Dataset) -> None:
    """Bring words of a big endian source to little endian: to pydicom they are bytes."""
    for element in dataset:
        if element.VR == "SQ":
            for item in cast("list[Dataset]", element.value):
                _swap_words(item)
        elif element.VR == "OW" and element.keyword != "PixelData" and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value[: len(element.value) // 2 * 2], "<u2").byteswap().tobytes()
