"""Encode a data set as a DICOM file (PS3.10), in a lossless transfer syntax."""

from __future__ import annotations

import io

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag

from roentmod_fast._version import __version__
from roentmod_fast.errors import OutputError
from roentmod_fast.radiograph.dicom import header

SYNTAXES: dict[str, uid.UID] = {
    "explicit": uid.ExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg2000": uid.JPEG2000Lossless,
}
"""Transfer syntaxes that can be written, all lossless."""

IMPLEMENTATION = uid.UID("2.25.176906216937427640316316943273527093517")
"""Implementation Class UID (PS3.7 D.3.3.2): identifies the software that wrote the file."""

_ENCODERS = {uid.RLELossless: "pydicom", uid.JPEG2000Lossless: "pylibjpeg"}


def encode(dataset: Dataset, syntax: uid.UID, name: str) -> bytes:
    """Return an uncompressed data set as the bytes of a file in a transfer syntax of :data:`SYNTAXES`.

    ``dataset`` is given its file meta information, and compressed pixel data where the syntax requires it. ``name``:
    for messages. Raises OutputError where the pixels cannot be compressed.
    """
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION
    dataset.file_meta.ImplementationVersionName = f"ROENTMOD {__version__}"[:16]
    if syntax != uid.ExplicitVRLittleEndian:
        bits = dataset.BitsStored, dataset.HighBit
        if syntax == uid.RLELossless or _cells_hold_more(dataset):
            # Compress whole cells. RLE does so by definition (PS3.5 G.2), but pydicom 3.0 takes cells of 16 bits that
            # store 8 for single bytes; JPEG 2000 would lose what lies beside the stored bits.
            dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
        try:
            dataset.compress(syntax, encoding_plugin=_ENCODERS[syntax], generate_instance_uid=False)
        except Exception as error:  # each plugin raises what its library raises
            reason = f"cannot be compressed as {syntax.name}: choose --transfer-syntax explicit"
            raise OutputError(f"{name}: {reason}") from error
        dataset.BitsStored, dataset.HighBit = bits
    _correct_lut_descriptors(dataset)
    try:
        return _file(dataset)
    except Exception:  # whatever a value of a damaged source makes the writer stumble on
        for tag in sorted(dataset.keys()):
            if not _can_be_written(dataset, tag):
                del dataset[tag]
    try:
        return _file(dataset)
    except Exception as error:
        raise OutputError(f"{name}: the source's header cannot be written: choose --deidentify pseudonymize") from error


def _file(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _can_be_written(dataset: Dataset, tag: BaseTag) -> bool:
    alone = Dataset()
    if "SpecificCharacterSet" in dataset:
        alone.SpecificCharacterSet = dataset.SpecificCharacterSet
    try:
        alone[tag] = dataset[tag]
        alone.save_as(io.BytesIO(), implicit_vr=False, little_endian=True)
    except Exception:
        return False
    return True


def _correct_lut_descriptors(dataset: Dataset) -> None:
    """Give LUT descriptors values that can be written: the first is unsigned whatever their VR (PS3.3 C.11.1.1)."""
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in header.items(dataset, keyword):
            descriptor = header.numbers(item, "LUTDescriptor")
            if len(descriptor) == 3:
                entries, first, bits = (int(value) for value in descriptor)
                vr = "SS" if first < 0 else "US"
                item.add_new("LUTDescriptor", vr, [entries % 65536, first, bits])


def _cells_hold_more(dataset: Dataset) -> bool:
    """Tell whether cells use bits that are not stored bits at their lower end, sign extension apart."""
    if dataset.HighBit != dataset.BitsStored - 1:
        return True
    kind = f"<{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}"
    cells = np.frombuffer(dataset.PixelData, kind, count=dataset.Rows * dataset.Columns)
    limit = 1 << (dataset.BitsStored - dataset.PixelRepresentation)
    return bool(cells.max() >= limit or cells.min() < (-limit if dataset.PixelRepresentation else 0))
