"""What a classifier is trained on: labels, splits and patients, read from manifests and tables."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from roentmod_fast.errors import SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.deidentify import pseudonym_key
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.radiograph.model import GENERATED
from roentmod_fast.study import planning
from roentmod_fast.study.generated import LABELS, generated_rows
from roentmod_fast.study.labels import Labels
from roentmod_fast.study.make import key_fingerprint
from roentmod_fast.study.plan import Cohort, Origin, Output, Plan, render_plan, write_plan
from roentmod_fast.study.rows import DONE, Row, RowWriter
from roentmod_fast.study.samples import REAL, SYNTHETIC, TRAIN, check_trainable, read_samples
from roentmod_fast.study.table import write_tables
from tests.study.drawn_cohort import CREATED, SETTINGS, drawn_cohort

SPLITS = ("train", "validate", "test")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    cohort = drawn_cohort(
        tmp_path_factory.mktemp("samples") / "cohort",
        ("hernia", "edema"),
        patients=6,
        size=32,
        split=lambda number: SPLITS[number % 3],
        labels=lambda number: {"hernia": "1" if number > 2 else "0"},
    )
    write_tables(cohort, Labels("ignore"))
    return cohort


def test_a_cohort_gives_sources_and_edits_with_their_labels(cohort: Cohort) -> None:
    data = read_samples([cohort.folder], findings=["hernia", "edema"])
    assert len(data.of(TRAIN, REAL)) == 2 and len(data.of(TRAIN, SYNTHETIC)) == 4
    by_name = {each.name: each for each in data.samples}
    for source in cohort.sources():
        for edit in cohort.edits_of(source):
            sample = by_name[edit.id]
            assert (sample.patient, sample.split, sample.source) == (source.patient, source.split, source.key)
            hernia, edema = sample.labels
            assert (edema if edit.prompt == "edema" else hernia) == 1
            assert sample.file.read() == (cohort.folder / cohort.paths(edit.id)["png"]).read_bytes()
    first = by_name[cohort.sources()[0].key]
    assert first.kind == REAL and first.labels[0] == 0 and np.isnan(first.labels[1])


def test_no_finding_is_a_label_of_each(tmp_path: Path) -> None:
    def change(rows: list[list[str]]) -> None:
        more = (["y_edema", "y_no_finding"], ["1", ""], ["", "1"], ["", "0"], ["", "1"])
        for row, values in zip(rows, more, strict=True):
            row += values
        rows[2][3] = rows[4][3] = ""
        rows[3][3] = "1"

    data = read_samples([], [write_table(tmp_path, change)])
    assert data.findings == ("hernia", "edema")
    assert np.nan_to_num(data.labels(), nan=9).tolist() == [[0, 1], [0, 0], [1, 9], [0, 0]]


def test_a_patient_is_found_behind_a_pseudonym(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roentmod_fast.radiograph.dicom.deidentify import Pseudonyms, pseudonym_key
    from roentmod_fast.study.sources import table_patient

    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", "11" * 32)
    called = table_patient("p2", Pseudonyms(pseudonym_key()))
    cohort = drawn_cohort(
        tmp_path / "cohort",
        ("hernia",),
        patients=1,
        size=32,
        split=lambda number: "train",
        patient=lambda number: called,
    )
    write_tables(cohort, Labels("absent"))
    with pytest.raises(SettingError, match="1 patients are in two splits"):
        read_samples([cohort.folder], [write_table(tmp_path)])


def test_a_patient_is_found_behind_the_pseudonym_of_another_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roentmod_fast.radiograph.dicom.deidentify import Pseudonyms, pseudonym_key
    from roentmod_fast.study.sources import table_patient

    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", "11" * 32)
    called = table_patient("p2", Pseudonyms(pseudonym_key()))

    def made(name: str, patient: str, split: str) -> Path:
        cohort = drawn_cohort(
            tmp_path / name,
            ("hernia",),
            patients=1,
            size=32,
            split=lambda number: split,
            patient=lambda number: patient,
        )
        write_tables(cohort, Labels("absent"))
        return cohort.folder

    with pytest.raises(SettingError, match="1 patients are in two splits"):
        read_samples([made("one", "p2", "train"), made("two", called, "test")])


@pytest.mark.parametrize("force", [(), ("synthetic",)])
def test_a_source_is_no_edit_unless_the_plan_forces_it(tmp_path: Path, force: tuple[str, ...]) -> None:
    cohort = Cohort.open(sized_cohort(tmp_path / "c", None))
    (cohort.folder / "plan.json").write_bytes(render_plan(replace(cohort.plan, force=force)))
    write_tables(Cohort.open(cohort.folder), Labels("absent"))
    data = read_samples([cohort.folder], [write_table(tmp_path)])
    settled = {each.source: each.settled for each in data.samples if each.kind == REAL}
    assert ("synthetic" in settled[cohort.sources()[0].key]) == bool(force)  # type: ignore[operator]


def test_patients_of_a_table_are_read_without_spaces(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="1 patients are in two splits"):
        read_samples([], [write_table(tmp_path, lambda rows: rows[4].__setitem__(1, "p0 "))])


def write_synthetic(path: Path) -> None:
    """Write a PNG with the mark of our edits."""
    from PIL.PngImagePlugin import PngInfo

    from roentmod_fast.radiograph.dicom.marks import WARNING

    mark = PngInfo()
    mark.add_text("Description", WARNING)
    mark.add_text("roentmod-fast", "{}")
    Image.fromarray(np.full((40, 40), 90, np.uint8)).save(path, pnginfo=mark)


def test_another_label_is_another_digest(cohort: Cohort, tmp_path: Path) -> None:
    data = read_samples([cohort.folder])
    assert data.digest == read_samples([cohort.folder]).digest
    assert data.digest != read_samples([cohort.folder], findings=["hernia"]).digest


def test_another_image_is_another_digest(tmp_path: Path) -> None:
    def digest(folder: str) -> str:
        return read_samples([], [tmp_path / folder / "real.csv"]).digest

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name)
        for image in (tmp_path / name).glob("*.png"):
            os.utime(image, ns=(0, 0))  # as of an archive that sets all times
    before = digest("one")
    assert before == digest("one") != digest("two")
    image = tmp_path / "one" / "2.png"
    content = image.read_bytes()
    image.write_bytes(content[:-1] + b"\0")
    os.utime(image, ns=(0, 10**9))
    assert digest("one") != before, "the same size"
    image.write_bytes(content + b"\0")
    os.utime(image, ns=(0, 0))
    assert digest("one") != before, "the same time"
    image.write_bytes(content)
    os.utime(image, ns=(0, 0))
    assert digest("one") == before
    data = read_samples([], [tmp_path / "one" / "real.csv"])
    framed = replace(data, samples=tuple(replace(each, frame=24) for each in data.samples))
    assert framed.digest != before


def write_table(folder: Path, change: Callable[[list[list[str]]], object] = lambda rows: None) -> Path:
    rows = [["source", "patient", "split", "y_hernia"]]
    for at, split in enumerate(("train", "train", "validate", "validate")):
        Image.fromarray(np.full((40, 40), 90, np.uint8)).save(folder / f"{at}.png")
        rows.append([f"{at}.png", f"p{at}", split, str(at % 2)])
    change(rows)
    path = folder / "real.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_table_gives_real_radiographs(tmp_path: Path) -> None:
    data = read_samples([], [write_table(tmp_path)])
    assert data.findings == ("hernia",) and [each.kind for each in data.samples] == [REAL] * 4
    check_trainable(data, synthetic=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[4].__setitem__(1, "p0"), "1 patients are in two splits"),
        (lambda rows: rows[1].__setitem__(3, "1.5"), "row 2, column y_hernia: '1.5' is no label"),
        (lambda rows: rows[1].__setitem__(3, "-1"), "'-1' is no label"),
        (lambda rows: rows[1].__setitem__(3, "yes"), "'yes' is no label"),
        (lambda rows: rows[1].__setitem__(0, "gone.png"), "row 2: gone.png: no such file"),
        (lambda rows: rows[1].__setitem__(2, "training"), "split 'training'"),
        (lambda rows: rows[1].__setitem__(1, " "), "row 2: no patient"),
        (lambda rows: rows[1].pop(), "row 2 has not as many cells"),
        (lambda rows: rows[0].__setitem__(1, "person"), "no column patient"),
        (lambda rows: rows[0].__setitem__(3, "hernia"), "no image with a finding"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, change: Callable[[list[list[str]]], object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        read_samples([], [write_table(tmp_path, change)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[2].__setitem__(3, "0"), "no positive of hernia among the real images of the split train"),
        (lambda rows: rows[3].__setitem__(3, "1"), "no negative of hernia among the real images of the split validate"),
        (lambda rows: [row.__setitem__(2, "train") for row in rows[1:]], "no real images in the split validate"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, change: Callable[[list[list[str]]], object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        check_trainable(read_samples([], [write_table(tmp_path, change)]), synthetic=False)


def test_a_cohort_without_a_manifest_names_the_command(tmp_path: Path) -> None:
    bare = drawn_cohort(tmp_path / "bare", ("hernia",), patients=1, size=32)
    with pytest.raises(SettingError, match="no manifest: type roentmod-fast cohort table"):
        read_samples([bare.folder])
    write_tables(bare, Labels("absent"))
    with pytest.raises(SettingError, match="no image with a finding and a split"):
        read_samples([bare.folder])


def test_an_unknown_finding_is_named(cohort: Cohort) -> None:
    with pytest.raises(SettingError, match="finding 'fracture': no label of it"):
        read_samples([cohort.folder], findings=["fracture"])


def test_real_radiographs_take_the_size_of_the_edits_beside_them(tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "c", ("hernia",), patients=2, size=32, split=lambda number: "train", frame=24)
    write_tables(cohort, Labels("absent"))
    data = read_samples([cohort.folder], [write_table(tmp_path)])
    assert {(each.kind, each.frame) for each in data.samples} == {(REAL, 24), (SYNTHETIC, None)}
    assert {each.frame for each in read_samples([], [write_table(tmp_path)]).samples} == {None}


def generated_cohort(folder: Path, size: int | None) -> Path:
    """Write a cohort of two generated images and its manifest."""
    (folder / "edits").mkdir(parents=True)
    plan = Plan(
        created=CREATED,
        version="0",
        engine="drawn",
        engine_place="drawn",
        engine_sha256="0" * 64,
        device="cpu",
        preset="exact",
        precision="fp32",
        settings=SETTINGS,
        prompts=("hernia",),
        repeats=1,
        origin=Origin(GENERATED, "", "name"),
        output=Output("png", deidentify="none", sop_class="secondary-capture", png_bits=8, size=size),
    )
    rows = [replace(row, split="train") for row in generated_rows(plan.engine_sha256, 2)]
    cohort = write_plan(folder, plan, rows, list(LABELS))
    writer = RowWriter(folder)
    for edit in (edit for row in cohort.sources() for edit in cohort.edits_of(row)):
        path = folder / cohort.paths(edit.id)["png"]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synthetic(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {"png": (cohort.paths(edit.id)["png"], digest, path.stat().st_size)}
        writer.append(Row(edit.id, DONE, files=facts, finished=CREATED))
    writer.close()
    write_tables(cohort, Labels("absent"))
    return folder


def test_real_radiographs_take_the_size_of_generated_images(tmp_path: Path) -> None:
    data = read_samples([generated_cohort(tmp_path / "g", 24)], [write_table(tmp_path)])
    assert {(each.kind, each.frame) for each in data.samples} == {(REAL, 24), (SYNTHETIC, None)}
    assert not [note for note in data.notes if "--size" in note]


def sized_cohort(folder: Path, size: int | None) -> Path:
    cohort = drawn_cohort(
        folder,
        ("hernia",),
        patients=1,
        size=32,
        split=lambda number: "train",
        frame=size,
        patient=lambda number: folder.name,
        labels=lambda number: {"hernia": "0"},
    )
    write_tables(cohort, Labels("absent"))
    return folder


@pytest.mark.parametrize(("sizes", "named"), [((24, 16), "16, 24"), ((24, None), "24, none"), ((24, 24), "")])
def test_several_sizes_of_edits_are_noted(tmp_path: Path, sizes: tuple[int | None, int | None], named: str) -> None:
    cohorts = [sized_cohort(tmp_path / f"c{at}", size) for at, size in enumerate(sizes)]
    data = read_samples(cohorts, [write_table(tmp_path)])
    notes = [note for note in data.notes if "--size" in note]
    assert len(notes) == bool(named) and all(f"cohorts of --size {named}: sharpness" in note for note in notes)
    own = {each.patient: each.frame for each in data.samples if each.kind == REAL}
    assert (own["c0"], own["c1"], own["p0"]) == (*sizes, None if named else 24)
    alone = read_samples(cohorts)
    assert not [note for note in alone.notes if "--size" in note], "each source is beside edits of its own"
    mixed = read_samples([*cohorts[:1], generated_cohort(tmp_path / "g", sizes[1])])
    assert len([note for note in mixed.notes if "--size" in note]) == bool(named)


def dicom_cohort(folder: Path, patient: tuple[str, str], split: str, deidentify: str = "pseudonymize") -> Path:
    """Write a cohort of one DICOM source without an edit. ``patient``: Patient ID and issuer."""
    files = folder / "films"
    files.mkdir(parents=True)
    write_sample(files / "a.dcm", draw(32, 1).image, seed=1, findings=())
    dataset = pydicom.dcmread(files / "a.dcm")
    dataset.PatientID, dataset.IssuerOfPatientID = patient
    dataset.save_as(files / "a.dcm")
    rows, root = planning.file_rows([files], "content", deidentify, frozenset())[:2]
    rows = [replace(row, split=split, labels=("1",)) for row in rows]
    bare = drawn_cohort(folder / "drawn", ("hernia",), patients=1, size=32).plan
    origin, output = Origin("files", str(root), "content"), Output("png", deidentify=deidentify, png_bits=8)
    mark = key_fingerprint(pseudonym_key()) if deidentify == "pseudonymize" else ""
    cohort = write_plan(folder, replace(bare, origin=origin, output=output, pseudonym_key=mark), rows, ["hernia"])
    write_tables(cohort, Labels("absent"))
    return folder


@pytest.mark.parametrize("deidentify", ["pseudonymize", "none"])
@pytest.mark.parametrize(
    ("issuer", "named", "same"),
    [
        ("HOSP", "P7^^^HOSP", True),
        ("HOSP", " P7^^^HOSP ", True),
        ("HOSP", "P7", True),
        ("HOSP", "P7^^^", True),
        ("HOSP", "P7^^^CLINIC", False),
        ("HOSP", "P8^^^HOSP", False),
        ("", "P7", True),
        ("", "P7^^^HOSP", True),
        ("", "P8", False),
    ],
)
def test_a_patient_is_found_with_and_without_an_issuer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deidentify: str, issuer: str, named: str, same: bool
) -> None:
    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", "11" * 32)
    cohort = dicom_cohort(tmp_path / "c", ("P7", issuer), "test", deidentify)
    table = write_table(tmp_path, lambda rows: rows[1].__setitem__(1, named))
    if same:
        with pytest.raises(SettingError, match="1 patients are in two splits"):
            read_samples([cohort], [table])
    else:
        assert not [note for note in read_samples([cohort], [table]).notes if "issuer" in note]


def test_sources_whose_issuer_cannot_be_seen_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", "11" * 32)
    cohort = dicom_cohort(tmp_path / "c", ("P7", "HOSP"), "test")
    (tmp_path / "c" / "films" / "a.dcm").unlink()
    notes = read_samples([cohort], [write_table(tmp_path)]).notes
    assert [note.startswith("1 sources are not there: a Patient ID") for note in notes if "issuer" in note] == [True]


def test_cohorts_are_compared_behind_pseudonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", "11" * 32)
    one = dicom_cohort(tmp_path / "one", ("P7", "HOSP"), "train", "none")
    for name, issuer in (("two", "HOSP"), ("three", "")):
        with pytest.raises(SettingError, match="1 patients are in two splits"):
            read_samples([one, dicom_cohort(tmp_path / name, ("P7", issuer), "test")])
    other = dicom_cohort(tmp_path / "other", ("P7", "HOSP"), "test", "anonymize")
    with pytest.raises(SettingError, match="whether a table or another cohort has the same ones"):
        read_samples([one, other])
    assert len(read_samples([other, generated_cohort(tmp_path / "g", None)]).samples) == 3
    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", "22" * 32)
    with pytest.raises(SettingError, match="the key of the pseudonyms is not the plan's"):
        read_samples([one, tmp_path / "two"])
