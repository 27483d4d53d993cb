"""Write an image that was generated from a text, as DICOM: a new identity, and no source to refer to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from roentmod_fast.atomic import check_output, write_atomically
from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.dicom.encode import SYNTAXES, encode
from roentmod_fast.radiograph.dicom.iod import SECONDARY_CAPTURE, add_required_attributes
from roentmod_fast.radiograph.dicom.stamp import Stamp
from roentmod_fast.radiograph.dicom.write import mark
from roentmod_fast.radiograph.model import Provenance

Array = NDArray[np.float32]

BITS = 12

PATIENT_PREFIX = "SYN-GEN-"
"""What the Patient ID of a generated image begins with; the rest is its code."""


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
    target = Path(path)
    check_output(target, overwrite=overwrite)
    data, instance = generated_bytes(
        image, provenance, transfer_syntax=transfer_syntax, labelled=labelled, name=str(target)
    )
    write_atomically(target, data, overwrite=overwrite)
    return instance


def generated_bytes(
    image: Array,
    provenance: Provenance,
    *,
    transfer_syntax: str = "explicit",
    labelled: bool = False,
    patient: str | None = None,
    stamp: Stamp | None = None,
    name: str = "the image",
) -> tuple[bytes, str]:
    """Return the content of a DICOM file and its SOP Instance UID; arguments as for :func:`write_generated_dicom`.

    ``patient`` and ``stamp`` as for :func:`generated_dataset`. ``name``: for messages. Raises SettingError.
    """
    if transfer_syntax not in SYNTAXES:
        raise SettingError(f"transfer_syntax {transfer_syntax!r}: expected one of {', '.join(SYNTAXES)}")
    dataset = generated_dataset(image, provenance, labelled=labelled, patient=patient, stamp=stamp)
    return encode(dataset, SYNTAXES[transfer_syntax], name), str(dataset.SOPInstanceUID)


def generated_dataset(
    image: Array,
    provenance: Provenance,
    *,
    labelled: bool = False,
    patient: str | None = None,
    stamp: Stamp | None = None,
) -> Dataset:
    """Build the DICOM object in memory, uncompressed; arguments as for :func:`write_generated_dicom`.

    The patient is made up. ``patient``: its code, as :func:`patient_code` returns one; None for that of the provenance,
    so the same image has the same one. Birth date, sex and age stay empty. ``stamp``: time and UIDs of the instance;
    with a given one, bytes are the same each time. There is no Source Image Sequence.
    """
    stamp = Stamp() if stamp is None else stamp
    now = stamp.time
    top = (1 << BITS) - 1
    result = Dataset()
    result.SOPClassUID = UID(SECONDARY_CAPTURE)
    result.SOPInstanceUID, result.SeriesInstanceUID = stamp.uid("instance"), stamp.uid("series")
    result.StudyInstanceUID = stamp.uid("study")
    result.SpecificCharacterSet = "ISO_IR 192"
    result.Modality, result.ConversionType = "OT", "SYN"
    code = patient_code(repr(provenance)) if patient is None else patient
    result.PatientName, result.PatientID = f"SYNTHETIC^{code}", f"{PATIENT_PREFIX}{code}"
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


def patient_code(identity: str) -> str:
    """Return the code of a made-up patient: 12 hexadecimal digits that follow from ``identity``."""
    return hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()[:12].upper()
