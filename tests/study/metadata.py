"""Write small metadata files of public data sets, in their exact columns."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

NIH = (
    *("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position"),
    *("OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"),
)
CHEXPERT = (
    *("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly"),
    *("Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax"),
    *("Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"),
)
CHEXPERT_LABELS = CHEXPERT[5:]
PADCHEST = (
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "MethodLabel", "Labels", "labelCUIS"),
)
MIMIC = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns"),
    *("StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning"),
    "PatientOrientationCodeSequence_CodeMeaning",
)
PATIENTS = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> Path:
    """Write a CSV file, packed where its name says so; what a row lacks is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def touch(path: Path, number: int = 0) -> None:
    """Write a small image that differs from others by its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    pixels[0, 0] = number
    Image.fromarray(pixels).save(path)


def nih(root: Path) -> None:
    """Ten scans of seven patients; the images are in two folders, as they are distributed."""
    rows = [
        ("00000001_000.png", "No Finding", 0, 1, 58, "M", "PA"),
        ("00000001_001.png", "Effusion|Mass", 1, 1, 58, "M", "PA"),
        ("00000002_000.png", "No Finding", 0, 2, 81, "F", "PA"),
        ("00000003_000.png", "No Finding", 0, 3, 17, "F", "PA"),
        ("00000004_000.png", "No Finding", 0, 4, 18, "F", "PA"),
        ("00000005_000.png", "No Finding", 0, 5, 44, "M", "AP"),
        ("00000006_000.png", "Pleural_Thickening|Nodule", 0, 6, 70, "M", "PA"),
        ("00000007_000.png", "No Finding", 0, 7, 33, "F", "PA"),
    ]
    columns = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender")
    write_csv(
        root / "Data_Entry_2017_v2020.csv",
        NIH,
        [dict(zip((*columns, "View Position"), row, strict=True)) for row in rows],
    )
    for number, row in enumerate(rows[:-1]):  # the last one was not downloaded
        touch(root / ("images_001" if number < 4 else "images_002") / "images" / row[0], number)


def chexpert(root: Path) -> None:
    """Six scans; the paths begin with the name of the archive."""
    normal, effusion = {"No Finding": "1.0"}, {"Pleural Effusion": "1.0", "Edema": "-1.0", "Pneumonia": "0.0"}
    rows = [
        ("train/patient00001/study1/view1_frontal.jpg", "Female", 68, "Frontal", "PA", normal),
        ("train/patient00001/study2/view1_frontal.jpg", "Female", 69, "Frontal", "PA", effusion),
        ("train/patient00002/study1/view2_lateral.jpg", "Male", 40, "Lateral", "", normal),
        ("train/patient00003/study1/view1_frontal.jpg", "Male", 17, "Frontal", "PA", normal),
        ("train/patient00004/study1/view1_frontal.jpg", "Unknown", 90, "Frontal", "AP", normal),
    ]

    def row(values: tuple[str, str, int, str, str, dict[str, str]]) -> dict[str, object]:
        path, sex, age, side, view, labels = values
        facts = {"Path": f"CheXpert-v1.0-small/{path}", "Sex": sex, "Age": age, "Frontal/Lateral": side, "AP/PA": view}
        return {**facts, **labels}

    write_csv(root / "train.csv", CHEXPERT, [row(values) for values in rows])
    valid = ("valid/patient64541/study1/view1_frontal.jpg", "Male", 73, "Frontal", "PA", {"Edema": "1.0"})
    write_csv(root / "valid.csv", CHEXPERT, [row(valid)])
    for number, values in enumerate((*rows, valid)):
        touch(root / values[0], number)


def padchest(root: Path) -> None:
    """Seven scans; labels are a Python list as text, with stray blanks."""
    rows = [
        ("1.png", 2014, 1950, "F", "PA", "['normal']"),
        ("2.png", 2014, 1996, "M", "PA", "['normal']"),  # 18
        ("3.png", 2014, 1997, "M", "PA", "['normal']"),  # 17
        ("4.png", 2014, 1940, "M", "PA", "[' pneumonia', 'costophrenic angle blunting', 'hiatal hernia']"),
        ("5.png", 2014, 1940, "M", "PA", "['pericardial effusion', 'pseudonodule', 'mediastinal mass']"),
        ("6.png", 2014, 1940, "F", "L", "['normal']"),
        ("7.png", 2014, "", "F", "PA", "nan"),
    ]
    write_csv(
        root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        PADCHEST,
        [
            {
                **{"": number, "ImageID": name, "ImageDir": number % 2, "StudyDate_DICOM": f"{year}0512"},
                **{"PatientID": f"p{number}", "PatientBirth": f"{born}.0" if born else "", "PatientSex_DICOM": sex},
                **{"Projection": view, "Labels": labels},
            }
            for number, (name, year, born, sex, view, labels) in enumerate(rows)
        ],
    )
    for number, row in enumerate(rows):
        touch(root / str(number % 2) / row[0] if number else root / row[0], number)


def mimic(root: Path) -> Path:
    """Five scans of three people; ages are in MIMIC-IV's patients.csv, which is returned."""
    rows = [
        ("aaa", "10000001", "50000001", "PA", "21800506"),
        ("aab", "10000001", "50000001", "LATERAL", "21800506"),
        ("bbb", "10000001", "50000002", "PA", "21790101"),
        ("ccc", "10000002", "50000003", "AP", "21500101"),
        ("ddd", "10000003", "50000004", "PA", "21400101"),
    ]
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate")
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", MIMIC, [dict(zip(columns, row, strict=True)) for row in rows])
    labels = [
        {"subject_id": "10000001", "study_id": "50000001", "No Finding": "1.0"},
        {"subject_id": "10000001", "study_id": "50000002", "Edema": "1.0", "Pneumonia": "-1.0"},
        {"subject_id": "10000002", "study_id": "50000003", "No Finding": "1.0"},
    ]
    write_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz", ("subject_id", "study_id", *CHEXPERT_LABELS), labels)
    write_csv(
        root / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        [{"dicom_id": row[0], "split": "test" if row[1] == "10000003" else "train"} for row in rows],
    )
    for number, (image, subject, study, *_) in enumerate(rows):
        touch(root / f"files/p{subject[:2]}/p{subject}/s{study}/{image}.jpg", number)
    people = [
        {"subject_id": "10000001", "gender": "F", "anchor_age": 52, "anchor_year": 2180},
        {"subject_id": "10000002", "gender": "M", "anchor_age": 60, "anchor_year": 2150},
        {"subject_id": "10000003", "gender": "M", "anchor_age": 20, "anchor_year": 2143},
    ]
    return write_csv(root / "patients.csv", PATIENTS, people)
