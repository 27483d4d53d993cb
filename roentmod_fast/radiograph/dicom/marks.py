"""Attributes that mark a file as synthetic, and the check for them.

Written into every output, and read so that a synthetic image is not edited again by mistake: an edit of an edit has
lost its patient. A phantom is synthetic too, but made to be edited: it has the phantom's model name instead.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from roentmod_fast.radiograph.dicom import header
from roentmod_fast.radiograph.dicom.codes import SYNTHESIZING_EQUIPMENT

WARNING = "SYNTHETIC - not for diagnosis"
"""Series description, and the text that PNG files carry."""

MANUFACTURER = "roentmod-fast"
PHANTOM_MODEL = "roentmod-fast phantom"


def is_synthetic(dataset: Dataset) -> bool:
    """Tell whether a header marks its image as synthetic and not as a phantom, which is made to be edited."""
    for item in header.items(dataset, "ContributingEquipmentSequence"):
        for purpose in header.items(item, "PurposeOfReferenceCodeSequence"):
            if header.text(purpose, "CodeValue") == SYNTHESIZING_EQUIPMENT.value:
                return True
    marked = header.code(dataset, "SyntheticData") == "YES"
    return marked and header.text(dataset, "ManufacturerModelName") != PHANTOM_MODEL
