"""Attributes that an instance must have (type 1) or must at least hold empty (type 2), by SOP class (PS3.3 Annex A).

A derived instance has what its source has. What the source lacks and the standard requires is added here: Type 2
empty, Type 1 with the most neutral value. What nobody can know afterwards (Imager Pixel Spacing, Radiation Setting)
stays missing, as in the source.
"""

from __future__ import annotations

from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset

from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import CHEST, code_item

DX = uid.DigitalXRayImageStorageForPresentation
DX_PROCESSING = uid.DigitalXRayImageStorageForProcessing
CR = uid.ComputedRadiographyImageStorage
RF = uid.XRayRadiofluoroscopicImageStorage
SECONDARY_CAPTURE = uid.SecondaryCaptureImageStorage

KNOWN = (CR, DX, DX_PROCESSING, RF, SECONDARY_CAPTURE)
"""SOP classes that can be completed. An edit of any other one (a CT slice, by force) becomes a Secondary Capture."""

_MODALITIES = {CR: "CR", DX: "DX", DX_PROCESSING: "DX", RF: "RF", SECONDARY_CAPTURE: "OT"}

_EVERYWHERE = [
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),  # Patient, C.7.1.1
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),  # General Study, C.7.2.1
    *("SeriesNumber", "Manufacturer"),  # General Series, C.7.3.1, and General Equipment, C.7.5.1
    "InstanceNumber",  # General Image, C.7.6.1
]
_TYPE_2_DX = ["PositionerType", "DetectorType", "AcquisitionContextSequence", "AnatomicRegionSequence"]
_TYPE_2: dict[str, list[str]] = {
    CR: ["BodyPartExamined", "ViewPosition"],
    DX: _TYPE_2_DX,
    RF: ["KVP", "ExposureTime", "XRayTubeCurrent", "Exposure"],
    DX_PROCESSING: _TYPE_2_DX,
}
_CALIBRATIONS = {
    "GEOMETRY": "corrected for geometric magnification",
    "FIDUCIAL": "calibrated by an object of known size",
}
_SEQUENCES = {"AcquisitionContextSequence", "AnatomicRegionSequence"}


def add_required_attributes(dataset: Dataset) -> None:
    """Add to ``dataset`` the Type 1 and 2 attributes that its SOP class requires and it lacks."""
    sop_class = str(dataset.SOPClassUID)
    wanted = [*_EVERYWHERE, *_TYPE_2.get(sop_class, [])]
    is_dx = sop_class in (DX, DX_PROCESSING)
    if not is_dx and "ImageLaterality" in dataset and not header.text(dataset, "ImageLaterality"):
        # Type 1 in DX, but elsewhere of a value or absent, and then Laterality is.
        del dataset.ImageLaterality
    if not is_dx and not header.text(dataset, "BodyPartExamined") and "ImageLaterality" not in dataset:
        # Type 2C: for a paired body part, which an unknown one may be (C.7.3.1).
        wanted.append("Laterality")
    if not is_dx:
        # Type 2C in General Image; in DX Image it is type 1C and so never empty (C.8.11.3).
        wanted.append("PatientOrientation")
    for keyword in wanted:
        if keyword not in dataset:
            setattr(dataset, keyword, [] if keyword in _SEQUENCES else None if keyword.endswith("Number") else "")
    region = dataset.get("AnatomicRegionSequence")
    if not is_dx and region is not None and not region:
        # Type 2 in DX, but elsewhere of one item or absent (General Anatomy macros, C.7.6.1).
        del dataset.AnatomicRegionSequence
        region = None
    if header.code(dataset, "BodyPartExamined") == "CHEST" and region is not None and not region:
        # Empty is for an unknown region only (C.8.11.2), and this one is known.
        dataset.AnatomicRegionSequence = [code_item(CHEST)]
    if is_dx:
        _add_dx(dataset)
    calibration = _CALIBRATIONS.get(header.code(dataset, "PixelSpacingCalibrationType"))
    if calibration and not header.text(dataset, "PixelSpacingCalibrationDescription"):
        # Type 1C (10.7): a free text, which no pseudonym retains, is described by its type.
        dataset.PixelSpacingCalibrationDescription = calibration
    _add_modality_lut(dataset)
    if not header.text(dataset, "Modality"):
        dataset.Modality = _MODALITIES[uid.UID(sop_class)]
    if header.text(dataset, "FrameOfReferenceUID"):
        if "PositionReferenceIndicator" not in dataset:  # Type 2, C.7.4.1
            dataset.PositionReferenceIndicator = ""
    elif "FrameOfReferenceUID" in dataset:
        # Type 1 of a module that is optional here.
        del dataset.FrameOfReferenceUID
    if sop_class == RF and not header.text(dataset, "PixelIntensityRelationship"):
        # Processed for display, in no known way (C.8.7.1.1.2).
        dataset.PixelIntensityRelationship = "DISP"
    if sop_class == RF and len(dataset.get("ImageType", ())) == 2:
        # The third value distinguishes single from biplane acquisitions (C.8.7.1.1.1); only single frames are read.
        dataset.ImageType = [*dataset.ImageType, "SINGLE PLANE"]


def _add_modality_lut(dataset: Dataset) -> None:
    """Fill in Modality LUT (C.11.1): types of what has none, "US" for unspecified, and the other half of a rescale."""
    for item in header.items(dataset, "ModalityLUTSequence"):
        if not header.text(item, "ModalityLUTType"):
            item.ModalityLUTType = "US"
    if header.numbers(dataset, "RescaleSlope") or header.numbers(dataset, "RescaleIntercept"):
        for keyword, value in (("RescaleIntercept", 0), ("RescaleSlope", 1), ("RescaleType", "US")):
            if not header.texts(dataset, keyword):
                setattr(dataset, keyword, value)
    else:
        for keyword in ("RescaleIntercept", "RescaleSlope", "RescaleType"):
            if keyword in dataset and not header.texts(dataset, keyword):
                del dataset[keyword]


def _add_dx(dataset: Dataset) -> None:
    """Fill in type 1 of DX Series, DX Anatomy Imaged, DX Image and DX Detector (C.8.11.1 to C.8.11.4)."""
    inverted = header.code(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    defaults: dict[str, Any] = {
        "PresentationIntentType": "FOR PRESENTATION" if dataset.SOPClassUID == DX else "FOR PROCESSING",
        "ImageLaterality": "U",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1 if not inverted else 1,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "PresentationLUTShape": "INVERSE" if inverted else "IDENTITY",
    }
    if "ModalityLUTSequence" in dataset:
        for keyword in ("RescaleIntercept", "RescaleSlope", "RescaleType"):
            del defaults[keyword]
    if header.code(dataset, "ViewPosition") in ("AP", "PA"):
        # Without Patient Orientation a frontal image was read as upright: written as such (C.8.11.3).
        defaults["PatientOrientation"] = ["L", "F"]
    for keyword, value in defaults.items():
        if not header.texts(dataset, keyword):
            setattr(dataset, keyword, value)
