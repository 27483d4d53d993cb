"""The marks that say of a file that it is synthetic, and how to see them.

Written into every output, and read so that a synthetic picture is not edited again by mistake: an edit of an edit has
lost its patient. A phantom is synthetic too, but drawn to be edited: it carries the phantom's model name instead.
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
    """Tell whether a header says that its picture is synthetic and no phantom drawn to be edited."""
    for item in header.items(dataset, "ContributingEquipmentSequence"):
        for purpose in header.items(item, "PurposeOfReferenceCodeSequence"):
            if header.text(purpose, "CodeValue") == SYNTHESIZING_EQUIPMENT.value:
                return True
    marked = header.code(dataset, "SyntheticData") == "YES"
    return marked and header.text(dataset, "ManufacturerModelName") != PHANTOM_MODEL
