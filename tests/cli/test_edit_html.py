"""``roentmod-fast edit --html``: the page of a run, with the names that the outputs have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
QUICK = ("--quick", "--device", "cpu")


def data_of(path: Path) -> dict[str, Any]:
    """Return the data of a page."""
    [data] = re.findall(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    return dict(json.loads(data))


def test_a_page_of_one_source_with_its_prompts(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    page = tmp_path / "edits.html"
    ran = roentmod("edit", chest, "-p", "edema", "-p", "hernia", "-o", tmp_path / "out", "--html", page, *QUICK)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [str(tmp_path / "out" / f"chest.{name}.dcm") for name in ("edema", "hernia")]
    assert f"page: {page}" in ran.err
    data = data_of(page)
    assert data["title"] == "chest"
    assert [edit["prompt"] for edit in data["edits"]] == ["edema", "hernia"]
    facts = dict(data["edits"][0]["facts"])
    assert facts["Edit"] == "chest.edema.dcm" and facts["Steps"] == "10 of the full schedule" and facts["Seed"] == "0"
    assert list(tmp_path.glob("*.pages")) == []
    again = roentmod("edit", chest, "-p", "edema", "-o", tmp_path / "b.dcm", "--html", page, *QUICK)
    assert again.code == 1 and "--overwrite" in again.err and not (tmp_path / "b.dcm").exists()


@pytest.mark.slow
def test_pages_of_several_sources_and_their_index(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    write_sample(chest.with_name("other.dcm"), draw(160, 5).image, seed=5)
    page = tmp_path / "edits.html"
    ran = roentmod(
        "edit",
        chest.parent,
        "-p",
        "edema",
        "-p",
        "pneumonia",
        "-o",
        tmp_path / "out",
        "--html",
        page,
        "--label",
        *QUICK,
    )
    assert ran.code == 0, ran.err
    entries = data_of(page)["entries"]
    assert [entry["page"] for entry in entries] == [
        f"./edits.pages/{name}" for name in ("0001.html", "0001.html#1", "0002.html", "0002.html#1")
    ]
    patients = {pydicom.dcmread(path).PatientID for path in (tmp_path / "out").glob("*.dcm")}
    assert {entry["patient"] for entry in entries} == patients and len(patients) == 2
    assert {tuple(entry["findings"]) for entry in entries} == {("edema",), ("pneumonia",)}
    first, second = (data_of(tmp_path / "edits.pages" / f"000{n}.html") for n in (1, 2))
    assert first["links"] == {"index": "./../edits.html", "previous": "", "next": "./0002.html"}
    assert second["links"] == {"index": "./../edits.html", "previous": "./0001.html", "next": ""}


@pytest.mark.parametrize("method", ["pseudonymize", "anonymize"])
def test_no_name_of_a_path_or_header_gets_into_a_page(roentmod: Run, chest: Path, tmp_path: Path, method: str) -> None:
    dataset = pydicom.dcmread(chest)
    dataset.PatientName, dataset.PatientID = "Muster^Erika", "PID-778899"
    folder = tmp_path / "MUSTER_ERIKA 778899"
    folder.mkdir()
    for name in ("muster_erika.dcm", "PID-778899.dcm"):
        dataset.save_as(folder / name)
    page = tmp_path / "p.html"
    ran = roentmod(
        "edit", folder, "-p", "edema", "-o", tmp_path / "out", "--html", page, "--deidentify", method, *QUICK
    )
    assert ran.code == 0, ran.err
    for written in (page, *(tmp_path / "p.pages").iterdir()):
        text = written.read_text(encoding="utf-8").lower()
        for secret in ("muster", "erika", "778899"):
            assert secret not in text, written.name


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("page.txt", 2, ".html"),
        ("study/chest.dcm", 2, "is one of the sources"),
        ("none.html/page.html", 1, "none.html"),  # a file, not a folder
    ],
)
def test_a_page_that_cannot_be(roentmod: Run, chest: Path, tmp_path: Path, name: str, code: int, says: str) -> None:
    (tmp_path / "none.html").write_text("a file")
    ran = roentmod("edit", chest, "-p", "edema", "-o", tmp_path / "o.dcm", "--html", tmp_path / name, *QUICK)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert not (tmp_path / "o.dcm").exists()
    assert pydicom.dcmread(chest).Rows == 160


def test_edits_stay_where_the_page_cannot_be_written(
    roentmod: Run, chest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roentmod_fast.errors import DiskFullError
    from roentmod_fast.study.page import edits

    def full(*args: object, **more: object) -> None:
        raise DiskFullError("p.html: no space left on the disk")

    monkeypatch.setattr(edits, "write_atomically", full)
    ran = roentmod("edit", chest, "-p", "edema", "-o", tmp_path / "o.dcm", "--html", tmp_path / "p.html", *QUICK)
    assert ran.code == 3, ran.err
    assert "the page: p.html: no space left" in ran.err
    assert (tmp_path / "o.dcm").is_file()
