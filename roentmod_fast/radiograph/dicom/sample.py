"""Write a digital phantom as a DICOM radiograph: a valid Digital X-Ray image that is marked as a phantom."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from roentmod_fast._version import __version__
from roentmod_fast.atomic import write_atomically
from roentmod_fast.radiograph.dicom.codes import CHEST, POSTERO_ANTERIOR, code_item
from roentmod_fast.radiograph.dicom.encode import SYNTAXES, encode
from roentmod_fast.radiograph.dicom.iod import DX, add_required_attributes
from roentmod_fast.radiograph.dicom.marks import MANUFACTURER, PHANTOM_MODEL, WARNING
from roentmod_fast.radiograph.dicom.stamp import new_uid

Array = NDArray[np.float32]

BITS = 12
_PIXEL_MM = "0.2"
"""A chest detector is about 43 cm wide; the spacing is that of the usual 2,000 pixels."""


def write_sample(
    path: str | os.PathLike[str],
    image: Array,
    *,
    seed: int,
    findings: Sequence[str] = (),
    overwrite: bool = False,
) -> str:
    """Write a phantom as a DX image for presentation, 12 bit MONOCHROME2; return its SOP Instance UID.

    ``image``: float32 (H, W) in [0, 1], bright = dense. ``seed`` and ``findings``: of the phantom, recorded in the
    header. The file is marked as synthetic data, and by its model name as a phantom, which may be edited. Raises
    OutputError.
    """
    dataset = sample_dataset(image, seed=seed, findings=findings)
    write_atomically(Path(path), encode(dataset, SYNTAXES["explicit"], str(path)), overwrite=overwrite)
    return str(dataset.SOPInstanceUID)


def sample_dataset(image: Array, *, seed: int, findings: Sequence[str] = ()) -> Dataset:
    """Build a phantom's DICOM object in memory; arguments as for :func:`write_sample`."""
    now = datetime.datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    top = (1 << BITS) - 1
    result = Dataset()
    result.SOPClassUID = DX
    result.SOPInstanceUID, result.StudyInstanceUID, result.SeriesInstanceUID = new_uid(), new_uid(), new_uid()
    result.SpecificCharacterSet = "ISO_IR 100"
    result.ImageType = ["DERIVED", "PRIMARY", ""]
    result.SyntheticData = "YES"
    result.ContentQualification = "RESEARCH"
    result.InstanceCreationDate = result.StudyDate = result.SeriesDate = result.ContentDate = date
    result.InstanceCreationTime = result.StudyTime = result.SeriesTime = result.ContentTime = time
    result.AcquisitionDate, result.AcquisitionTime = date, time
    result.Modality = "DX"
    result.PresentationIntentType = "FOR PRESENTATION"
    result.Manufacturer, result.ManufacturerModelName = MANUFACTURER, PHANTOM_MODEL
    result.SoftwareVersions = __version__
    result.StudyDescription = "Drawn phantom"
    result.SeriesDescription = WARNING
    named = ", ".join(findings) if findings else "no finding"
    result.DerivationDescription = f"Drawn phantom, seed {seed}, {named}. {WARNING}."
    result.PatientName, result.PatientID = f"PHANTOM^SEED {seed}", f"PHANTOM-{seed}"
    result.PatientBirthDate = result.PatientSex = ""
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = "drawn: there is no patient"
    result.SeriesNumber, result.InstanceNumber = 1, 1

    result.BodyPartExamined, result.ViewPosition, result.PatientOrientation = "CHEST", "PA", ["L", "F"]
    result.AnatomicRegionSequence = [code_item(CHEST)]
    result.ViewCodeSequence = [code_item(POSTERO_ANTERIOR)]
    result.ViewCodeSequence[0].ViewModifierCodeSequence = []
    result.PixelSpacing = result.ImagerPixelSpacing = [_PIXEL_MM, _PIXEL_MM]
    result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
    result.Rows, result.Columns = image.shape
    result.BitsAllocated, result.BitsStored, result.HighBit, result.PixelRepresentation = 16, BITS, BITS - 1, 0
    result.WindowCenter, result.WindowWidth = (top + 1) // 2, top + 1
    add_required_attributes(result)
    result.PixelData = np.rint(np.clip(image, 0, 1) * np.float32(top)).astype("<u2").tobytes()
    result["PixelData"].VR = "OW"
    return result
