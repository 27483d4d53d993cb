"""Loaders take what the paper took, from metadata in the exact format of each data set."""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.deidentify import Pseudonyms, patient_key, pseudonym_key
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.study import datasets
from roentmod_fast.study.datasets import NAMES, PAPER, Filters, describe, read_label_map, rows_of
from roentmod_fast.study.planning import dataset_rows, filters_of
from roentmod_fast.study.sources import SourceRow
from tests.study import metadata


def labels_of(row: SourceRow, names: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(names, row.labels, strict=True))


def test_nih_adults_pa_without_a_finding(tmp_path: Path) -> None:
    metadata.nih(tmp_path)
    rows, names, selection = dataset_rows("nih", tmp_path, PAPER)
    assert [row.path for row in rows] == [
        "images_001/images/00000001_000.png",
        "images_001/images/00000002_000.png",
        "images_002/images/00000004_000.png",
    ]
    assert [(row.patient, row.age, row.sex, row.view) for row in rows] == [
        ("1", "58", "M", "PA"),
        ("2", "81", "F", "PA"),
        ("4", "18", "F", "PA"),
    ]
    assert labels_of(rows[0], names)["no_finding"] == "1" and labels_of(rows[0], names)["mass"] == "0"
    counts = selection.counts
    assert (counts["scans"], counts["patients"], counts["no_finding"]) == (6, 5, 4)
    assert (counts["effusion"], counts["mass"], counts["nodule"], counts["pleural_thickening"]) == (1, 1, 1, 1)
    assert dict(selection.left_out) == {
        "of another view": 1,
        "younger than 18": 1,
        "with a finding": 2,
        "not below the root folder": 1,
    }
    text = "\n".join(describe("nih", selection))
    assert "64628" in text and "27713" in text and "mean age" in text
    everything, _, _ = dataset_rows("nih", tmp_path, Filters())
    assert len(everything) == 7


def test_nih_of_the_first_release_and_in_one_folder_gives_the_same_keys(tmp_path: Path) -> None:
    metadata.nih(tmp_path / "a")
    metadata.nih(tmp_path / "b")
    (tmp_path / "b" / "Data_Entry_2017_v2020.csv").rename(tmp_path / "b" / "Data_Entry_2017.csv")
    (tmp_path / "b" / "images").mkdir()
    for path in list((tmp_path / "b").rglob("*.png")):
        path.rename(tmp_path / "b" / "images" / path.name)
    first, _, _ = dataset_rows("nih", tmp_path / "a", PAPER)
    second, _, _ = dataset_rows("nih", tmp_path / "b", PAPER)
    assert [row.key for row in first] == [row.key for row in second]
    assert second[0].path == "images/00000001_000.png"


def test_chexpert_pa_adults_of_both_files_uncertain_is_negative(tmp_path: Path) -> None:
    metadata.chexpert(tmp_path)
    rows, names, selection = dataset_rows("chexpert", tmp_path, Filters(frozenset({"PA"}), 18, "any"))
    assert [(row.patient, row.split, row.sex) for row in rows] == [
        ("patient00001", "train", "F"),
        ("patient00001", "train", "F"),
        ("patient64541", "validate", "M"),
    ]
    second = labels_of(rows[1], names)
    assert (second["effusion"], second["edema"], second["pneumonia"], second["mass"]) == ("1", "0", "0", "0")
    assert selection.counts["effusion"] == selection.counts["edema"] == selection.counts["no_finding"] == 1
    assert len(dataset_rows("chexpert", tmp_path, PAPER)[0]) == 1
    frontal = dataset_rows("chexpert", tmp_path, filters_of("chexpert", "frontal", None, None))[0]
    assert {row.patient for row in frontal} == {"patient00001", "patient00004"}
    assert next(row.sex for row in frontal if row.patient == "patient00004") == ""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "train").rename(outside / "train")
    (outside / "CheXpert-v1.0-small").symlink_to(outside)
    assert dataset_rows("chexpert", outside, PAPER, metadata=tmp_path / "train.csv")[0], "the metadata elsewhere"


def test_padchest_pa_adults_by_year_of_the_study_and_whole_labels(tmp_path: Path) -> None:
    metadata.padchest(tmp_path)
    rows, names, selection = dataset_rows("padchest", tmp_path, Filters(frozenset({"PA"}), 18, "any"))
    assert [(row.patient, row.age) for row in rows] == [("p0", "64"), ("p1", "18"), ("p3", "74"), ("p4", "74")]
    assert rows[0].path == "1.png" and rows[1].path == "1/2.png"
    blunted, other = labels_of(rows[2], names), labels_of(rows[3], names)
    assert (blunted["pneumonia"], blunted["effusion"], blunted["hernia"]) == ("1", "1", "1")
    assert set(other.values()) == {"0"}, "pericardial effusion, pseudonodule and mediastinal mass are none of ours"
    assert selection.left_out["of unknown age"] == 1 and selection.left_out["younger than 18"] == 1
    assert [row.patient for row in dataset_rows("padchest", tmp_path, PAPER)[0]] == ["p0", "p1"]


def test_mimic_ages_are_those_of_mimic_iv(tmp_path: Path) -> None:
    people = metadata.mimic(tmp_path)
    rows, names, selection = dataset_rows("mimic", tmp_path, Filters(frozenset({"PA"}), 18, "any"), patients=people)
    assert [(row.patient, row.age, row.sex, row.split) for row in rows] == [
        ("10000001", "52", "F", "train"),
        ("10000001", "51", "F", "train"),
    ]
    assert rows[0].path == "files/p10/p10000001/s50000001/aaa.jpg"
    assert labels_of(rows[1], names)["edema"] == "1" and labels_of(rows[1], names)["pneumonia"] == "0"
    assert selection.left_out == {"of another view": 2, "younger than 18": 1}
    with pytest.raises(SettingError, match=r"--patients FILE, or take all with --min-age 0"):
        dataset_rows("mimic", tmp_path, PAPER)
    everyone = dataset_rows("mimic", tmp_path, Filters(frozenset({"PA"}), 0, "any"))[0]
    assert len(everyone) == 3 and everyone[0].age == ""


def test_a_table_has_labels_of_its_own_and_unknown_ones(tmp_path: Path) -> None:
    metadata.touch(tmp_path / "a.png", 1)
    metadata.touch(tmp_path / "b.png", 2)
    table = tmp_path / "cases.csv"
    table.write_text("source,patient,age,sex,split,y_edema,y_rare\na.png,1,40,female,train,1,\nb.png,2,,M,test,0,1.0\n")
    rows, names, _ = dataset_rows("table", tmp_path, Filters(), metadata=table)
    assert names == ("edema", "rare")
    assert [(row.labels, row.sex, row.split, row.age) for row in rows] == [
        (("1", ""), "F", "train", "40"),
        (("0", "1"), "M", "test", ""),
    ]
    hashed, _, _ = dataset_rows("table", tmp_path, Filters(), metadata=table, hash_by="content")
    assert hashed[0].key == hashed[0].sha256 != rows[0].key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\nx\n", "lacks the column source"),
        ("source,y_edema\na.png,2\n", "row 2: y_edema is neither 0 nor 1 nor empty"),
        ("source\na.png\n \n", "row 3 has no source"),
        ("patient,source\n1,a.png\n2\n", "row 3 ends before the column source"),
        ("", "lacks the column source"),
    ],
)
def test_a_table_that_is_wrong_names_column_and_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    metadata.touch(tmp_path / "a.png")
    with pytest.raises(SettingError, match=message):
        dataset_rows("table", tmp_path, Filters(), metadata=tmp_path / "t.csv")


COLUMNS = {
    "nih": ("Data_Entry_2017_v2020.csv", "Finding Labels"),
    "chexpert": ("train.csv", "AP/PA"),
    "padchest": ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", "PatientBirth"),
    "mimic": ("mimic-cxr-2.0.0-metadata.csv.gz", "ViewPosition"),
}


@pytest.mark.parametrize("dataset", COLUMNS)
def test_a_missing_column_and_a_missing_file_are_named(tmp_path: Path, dataset: str) -> None:
    name, column = COLUMNS[dataset]
    getattr(metadata, dataset)(tmp_path)
    patients = tmp_path / "patients.csv" if dataset == "mimic" else None
    kept = [dict(row) for row in rows_of(tmp_path / name, ())]
    columns = [each for each in kept[0] if each != column]
    metadata.write_csv(tmp_path / name, columns, [{each: row[each] for each in columns} for row in kept])
    with pytest.raises(SettingError, match=f"{name}: lacks the column {column}: is it the file of this data set"):
        dataset_rows(dataset, tmp_path, PAPER, patients=patients)
    (tmp_path / name).unlink()
    with pytest.raises(SettingError, match=r"no .*csv in it: give its place with --metadata FILE"):
        dataset_rows(dataset, tmp_path, PAPER, patients=patients)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", b"\x1f\x8b garbage"])
def test_a_file_that_is_no_csv_is_one_line(tmp_path: Path, content: bytes) -> None:
    for name in ("Data_Entry_2017_v2020.csv", "x.csv.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SettingError, match="cannot be read: ") as caught:
            dataset_rows("nih", tmp_path, PAPER, metadata=tmp_path / name)
        assert "\n" not in str(caught.value)


def test_the_label_map_can_be_replaced(tmp_path: Path) -> None:
    metadata.padchest(tmp_path)
    own = tmp_path / "map.csv"
    own.write_text("dataset,finding,label\npadchest,effusion,pericardial effusion\npadchest,no_finding,normal\n")
    rows, names, _ = dataset_rows("padchest", tmp_path, Filters(frozenset({"PA"}), 18, "any"), label_map=own)
    assert names == ("effusion", "no_finding")
    assert [row.labels[0] for row in rows] == ["0", "0", "0", "1"]
    own.write_text("dataset,finding\nnih,x\n")
    with pytest.raises(SettingError, match="lacks the column label"):
        read_label_map(own, "padchest")
    own.write_text("dataset,finding,label\nnih,effusion,Effusion\n")
    with pytest.raises(SettingError, match="no label of padchest"):
        read_label_map(own, "padchest")
    own.write_text("dataset,finding,label\npadchest,Pleural Effusion,x\n")
    with pytest.raises(SettingError, match="expected lower case"):
        read_label_map(own, "padchest")


def test_the_shipped_files_agree() -> None:
    paper = list(rows_of(datasets.DATA / "paper_counts.csv", ("finding", *NAMES[:4])))
    findings = {row["finding"] for row in paper}
    for name in NAMES[:4]:
        labels = read_label_map(None, name)
        assert labels.keys() <= findings and "no_finding" in labels
    numbers = {row["finding"]: row for row in paper}
    assert numbers["scans"]["chexpert"] == "29453" and numbers["patients"]["padchest"] == "59085"
    assert read_label_map(None, "padchest")["effusion"][0] == "pleural effusion"


SHORT = {
    "nih": "Data_Entry_2017_v2020.csv",
    "chexpert": "train.csv",
    "padchest": "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
}


@pytest.mark.parametrize("dataset", SHORT)
def test_a_row_that_is_cut_off_is_named(tmp_path: Path, dataset: str) -> None:
    getattr(metadata, dataset)(tmp_path)
    path = tmp_path / SHORT[dataset]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3].partition(",")[0]]) + "\n")
    with pytest.raises(SettingError, match=r"csv: row 4 ends before the column \w+"):
        dataset_rows(dataset, tmp_path, Filters())


def test_a_label_map_that_is_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("dataset,finding,label\nnih,edema,Edema\nnih\n")
    with pytest.raises(SettingError, match=r"map\.csv: row 3 ends before the column finding"):
        read_label_map(tmp_path / "map.csv", "nih")


@pytest.mark.parametrize("hash_by", ["name", "content"])
def test_a_table_keeps_patients_out_of_what_is_written(tmp_path: Path, hash_by: str) -> None:
    places = ("77123455/a.png", "ward/Quixworth_Zebediah.png", "ward/b.png", "ward/c.png", "ward/d.png")
    for number, place in enumerate(places):
        metadata.touch(tmp_path / place, number)
    (tmp_path / "Vole Anna").mkdir()
    write_sample(tmp_path / "Vole Anna" / "e.dcm", draw(64, 1).image, seed=1, findings=())
    dataset = pydicom.dcmread(tmp_path / "Vole Anna" / "e.dcm")
    dataset.PatientName, dataset.PatientID = "Vole^Anna", "88123466"
    dataset.save_as(tmp_path / "Vole Anna" / "e.dcm")
    table = tmp_path / "cases.csv"
    people = ("77123455", "Quixworth^Zebediah", "77123455", "", "9" * 80, "88123466")
    lines = [f"{place},{person}" for place, person in zip((*places, "Vole Anna/e.dcm"), people, strict=True)]
    table.write_text("source,patient\n" + "\n".join(lines) + "\n")
    options = {"metadata": table, "hash_by": hash_by}
    rows, _, _ = dataset_rows("table", tmp_path, Filters(), **options)
    by_key = [f"source {row.key[:16]}" for row in rows]
    assert [row.name for row in rows] == [*by_key[:2], "ward/b.png", "ward/c.png", "ward/d.png", by_key[5]]
    assert [row.path for row in rows] == [*places, "Vole Anna/e.dcm"]
    assert rows[0].patient == rows[2].patient != rows[1].patient and rows[3].patient == ""
    assert all(re.fullmatch(r"SYN-[A-Z2-7]{12}", row.patient) for row in rows if row.path != "ward/c.png")
    assert rows[5].patient == f"SYN-{Pseudonyms(pseudonym_key()).code('patient', patient_key(dataset))}", "as its edits"
    again, _, _ = dataset_rows("table", tmp_path, Filters(), **options)
    assert again == rows
    anonymous, _, _ = dataset_rows("table", tmp_path, Filters(), **options, deidentify="anonymize")
    assert anonymous[0].patient == anonymous[2].patient != rows[0].patient and anonymous[0].name == by_key[0]
    kept, _, _ = dataset_rows("table", tmp_path, Filters(), **options, deidentify="none")
    assert [row.patient for row in kept] == list(people) and kept[0].name == places[0]
