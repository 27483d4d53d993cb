"""Write an image that was generated from a text, as DICOM: a new identity, and no source to refer to."""

from __future__ import annotations

import datetime
import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from roentmod_fast.atomic import check_output, write_atomically
from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.dicom.encode import SYNTAXES, encode
from roentmod_fast.radiograph.dicom.iod import SECONDARY_CAPTURE, add_required_attributes
from roentmod_fast.radiograph.dicom.write import mark
from roentmod_fast.radiograph.model import Provenance

Array = NDArray[np.float32]

BITS = 12


def write_generated_dicom(
    path: str | os.PathLike[str],
    image: Array,
    provenance: Provenance,
    *,
    transfer_syntax: str = "explicit",
    labelled: bool = False,
    overwrite: bool = False,
) -> str:
    """Write a generated image as a Secondary Capture of 12 bits; return its SOP Instance UID.

    ``image``: float32 (H, W) in [0, 1], bright = dense. ``labelled``: SYNTHETIC is burned into it. Raises OutputError
    and SettingError.
    """
    if transfer_syntax not in SYNTAXES:
        raise SettingError(f"transfer_syntax {transfer_syntax!r}: expected one of {', '.join(SYNTAXES)}")
    target = Path(path)
    check_output(target, overwrite=overwrite)
    dataset = generated_dataset(image, provenance, labelled=labelled)
    write_atomically(target, encode(dataset, SYNTAXES[transfer_syntax], str(target)), overwrite=overwrite)
    return str(dataset.SOPInstanceUID)


def generated_dataset(image: Array, provenance: Provenance, *, labelled: bool = False) -> Dataset:
    """Build the DICOM object in memory, uncompressed; arguments as for :func:`write_generated_dicom`.

    The patient is made up: the identifier follows from how the image was made, so the same image has the same one;
    birth date, sex and age stay empty. There is no Source Image Sequence.
    """
    now = datetime.datetime.now()
    top = (1 << BITS) - 1
    result = Dataset()
    result.SOPClassUID = UID(SECONDARY_CAPTURE)
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(result, keyword, generate_uid(None))
    result.SpecificCharacterSet = "ISO_IR 192"
    result.Modality, result.ConversionType = "OT", "SYN"
    code = hashlib.sha256(repr(provenance).encode("utf-8", "backslashreplace")).hexdigest()[:12].upper()
    result.PatientName, result.PatientID = f"SYNTHETIC^{code}", f"SYN-GEN-{code}"
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = "generated: there is no patient"
    result.StudyDate, result.StudyTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    result.BodyPartExamined, result.PatientOrientation = "CHEST", ["L", "F"]
    result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.Rows, result.Columns = image.shape
    result.BitsAllocated, result.BitsStored, result.HighBit, result.PixelRepresentation = 16, BITS, BITS - 1, 0
    result.WindowCenter, result.WindowWidth = (top + 1) // 2, top + 1
    result.PixelData = np.rint(np.clip(image, 0, 1) * np.float32(top)).astype("<u2").tobytes()
    result["PixelData"].VR = "OW"
    mark(result, None, now, provenance)
    if labelled:
        result.BurnedInAnnotation = "YES"
    add_required_attributes(result)
    return result
