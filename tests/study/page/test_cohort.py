"""The pages of a cohort and their index: what they hold, what they leave out, and how they go on after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.study import planning
from roentmod_fast.study.page.cohort import CohortPages, Selection
from roentmod_fast.study.page.html import read_data
from roentmod_fast.study.plan import Cohort, Origin, Output, write_plan
from roentmod_fast.study.rows import FAILED, REFUSED, Row, RowWriter
from roentmod_fast.study.run import pending_units
from roentmod_fast.study.sources import SourceRow, name_key
from tests.study.conftest import PROMPTS, QUICK, TINY, MakeCohort, run


def made(cohort: Cohort, target: Path, **options: Any) -> tuple[CohortPages, list[str]]:
    pages = CohortPages(cohort, target, **options)
    return pages, [outcome.state for outcome in pages.make()]


def entries(pages: CohortPages) -> list[dict[str, Any]]:
    data = read_data(pages.index)
    assert data is not None
    return list(data["entries"])


OUTPUTS = [Output("dicom"), Output("png"), Output("both"), Output("png", png_bits=8, size=48)]


@pytest.mark.parametrize("output", OUTPUTS, ids=["dicom", "png", "both", "png-48"])
def test_a_page_of_each_source_and_an_index_of_all_edits(cohort_of: MakeCohort, tmp_path: Path, output: Output) -> None:
    cohort = cohort_of(output=output)
    run(cohort)
    pages, states = made(cohort, tmp_path / "look")
    assert states == ["written"] * 4 and pages.index == tmp_path / "look" / "index.html" and not pages.not_shown
    rows = entries(pages)
    assert len(rows) == 8 and {row["prompt"] for row in rows} == set(PROMPTS)
    assert {tuple(row["findings"]) for row in rows} == {("edema",), ("hernia",)}
    assert all(0 <= row["changed"] <= 1 for row in rows)
    files = sorted(path.name for path in (tmp_path / "look" / "pages").iterdir())
    assert files == sorted(f"{source.key[:16]}.html" for source in cohort.sources())
    for row in rows:
        name, _, number = row["page"].partition("#")
        data = read_data(tmp_path / "look" / name)
        assert data is not None and data["edits"][int(number or 0)]["prompt"] == row["prompt"]
        assert data["links"]["index"] == "./../index.html"
        facts = dict(data["edits"][int(number or 0)]["facts"])
        assert facts["Steps"].startswith("3 ") and facts["Engine"].endswith(cohort.plan.engine_sha256[:16])
        assert (data["columns"] == 48) == (output.size == 48)
    assert b"SYNTHETIC" in pages.index.read_bytes()


def test_pages_lead_to_their_neighbours(cohort_of: MakeCohort, tmp_path: Path) -> None:
    cohort = cohort_of(prompts=["edema"])
    run(cohort)
    pages, _ = made(cohort, tmp_path / "look.html")
    assert pages.index == tmp_path / "look.html" and pages.folder == tmp_path / "look.pages"
    files = [f"./{source.key[:16]}.html" for source in cohort.sources()]
    for number, file in enumerate(files):
        data = read_data(pages.folder / file)
        assert data is not None
        expected = {"index": "./../look.html", "previous": "", "next": ""}
        expected |= {"previous": files[number - 1]} if number else {}
        expected |= {"next": files[number + 1]} if number + 1 < len(files) else {}
        assert data["links"] == expected


def test_pages_that_hold_all_edits_are_kept_and_others_made(cohort_of: MakeCohort, tmp_path: Path) -> None:
    cohort, target = cohort_of(prompts=["edema"]), tmp_path / "look"
    run(cohort, shard=(1, 2))
    pages, states = made(cohort, target)
    assert states == ["written"] * 2 and pages.not_shown == {"pending": 2}
    assert made(cohort, target)[1] == ["kept"] * 2
    run(cohort)
    assert pending_units(cohort) == []
    pages, states = made(cohort, target)
    assert "written" in states and len(states) == 4 and len(entries(pages)) == 4
    before = {path.name: path.read_bytes() for path in pages.folder.iterdir()}
    stamps = {path.name: path.stat().st_mtime_ns for path in pages.folder.iterdir()}
    pages, states = made(cohort, target)
    assert states == ["kept"] * 4 and len(entries(pages)) == 4
    assert {path.name: path.stat().st_mtime_ns for path in pages.folder.iterdir()} == stamps
    assert made(cohort, target, overwrite=True)[1] == ["written"] * 4
    assert {path.name: path.read_bytes() for path in pages.folder.iterdir()} == before


def test_a_stop_keeps_what_is_made_and_the_next_one_goes_on(cohort_of: MakeCohort, tmp_path: Path) -> None:
    cohort = cohort_of(prompts=["edema"])
    run(cohort)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    pages, states = made(cohort, tmp_path / "look", stop=stop)
    assert states == ["written"] * 3 and len(entries(pages)) == 3
    pages, states = made(cohort, tmp_path / "look")
    assert states.count("kept") == 2 and len(entries(pages)) == 4, "the third one has a neighbour now"


def test_what_failed_is_counted_and_not_shown(cohort_of: MakeCohort, tmp_path: Path) -> None:
    cohort = cohort_of()
    edits = [edit for source in cohort.sources() for edit in cohort.edits_of(source)]
    writer = RowWriter(cohort.folder)
    for edit, state in ((edits[0], FAILED), (edits[2], REFUSED), (edits[3], REFUSED)):
        writer.append(Row(edit.id, state, "<b>no</b>"))
    writer.close()
    run(cohort)
    pages, states = made(cohort, tmp_path / "look")
    assert states == ["written"] * 3 and pages.not_shown == {FAILED: 1, REFUSED: 2}
    assert len(entries(pages)) == 5 and b"<b>no" not in pages.index.read_bytes()


def test_selections_and_limits(cohort_of: MakeCohort, tmp_path: Path) -> None:
    cohort = cohort_of(prompts=["edema", "rib fracture"])
    run(cohort)
    everything = entries(made(cohort, tmp_path / "all")[0])
    pages, _ = made(cohort, tmp_path / "all", selection=Selection(findings=frozenset({"edema"})))
    assert [row["prompt"] for row in entries(pages)] == ["edema"] * 4
    pages, _ = made(cohort, tmp_path / "all", selection=Selection(findings=frozenset({"none"})))
    assert [row["prompt"] for row in entries(pages)] == ["rib fracture"] * 4
    [patient, *_] = sorted({row["patient"] for row in everything if row["patient"]})
    pages, states = made(cohort, tmp_path / "one", selection=Selection(patients=frozenset({patient.lower()})))
    assert {row["patient"] for row in entries(pages)} == {patient} and len(states) == len(entries(pages)) // 2
    middle = sorted(row["changed"] for row in everything)[4]
    pages, _ = made(cohort, tmp_path / "all", selection=Selection(least=middle))
    assert {row["name"] for row in entries(pages)} == {r["name"] for r in everything if r["changed"] >= middle}
    pages, states = made(cohort, tmp_path / "two", limit=2)
    assert len(states) == 2 and len(list(pages.folder.iterdir())) == 2
    for nothing in (Selection(findings=frozenset({"mass"})), Selection(patients=frozenset({"SYN-NOBODY"}))):
        with pytest.raises(SettingError, match="none of 8 edits"):
            CohortPages(cohort, tmp_path / "x", selection=nothing)


@pytest.mark.parametrize("damage", ["source changed", "source gone", "edit changed", "edit gone"])
def test_what_cannot_be_read_is_a_reason_and_the_rest_is_made(
    cohort_of: MakeCohort, sources: Path, tmp_path: Path, damage: str
) -> None:
    cohort = cohort_of(prompts=["edema"])
    run(cohort)
    row = cohort.sources()[1]
    [edit] = cohort.edits_of(row)
    path = sources / row.path if "source" in damage else cohort.folder / cohort.paths(edit.id)["png"]
    if "gone" in damage:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"\0")
    pages = CohortPages(cohort, tmp_path / "look")
    outcomes = list(pages.make())
    assert sorted(outcome.state for outcome in outcomes) == ["failed", *["written"] * 3]
    [error] = [outcome.error for outcome in outcomes if outcome.error]
    assert "\n" not in error and str(tmp_path) not in error
    assert len(entries(pages)) == 3
    for file in pages.folder.iterdir():
        data = read_data(file)
        assert data is not None
        for link in (data["links"]["previous"], data["links"]["next"]):
            assert not link or (pages.folder / link).is_file(), "no link to a page that is not there"


def test_files_of_others_are_not_replaced(cohort_of: MakeCohort, tmp_path: Path) -> None:
    cohort, other = cohort_of(prompts=["edema"]), cohort_of("other", prompts=["hernia"])
    run(cohort)
    run(other)
    made(cohort, tmp_path / "look")
    with pytest.raises(OutputError, match="no index of this cohort"):
        made(other, tmp_path / "look")
    (tmp_path / "look" / "index.html").unlink()
    with pytest.raises(OutputError, match="no page of this cohort"):
        made(other, tmp_path / "look")
    mine = tmp_path / "mine.html"
    for text in ("<!DOCTYPE html>my page", '<!DOCTYPE html><script type="application/json" id="data">[1</script>', ""):
        mine.write_text(text)
        with pytest.raises(OutputError, match="no index of this cohort"):
            made(cohort, mine)
        assert mine.read_text() == text
    assert made(cohort, mine, overwrite=True)[1] == ["written"] * 4
    made(other, tmp_path / "look", overwrite=True)


def test_no_page_names_a_patient(cohort_of: MakeCohort, sources: Path, tmp_path: Path) -> None:
    """Neither of a header that is kept as it is, nor of a path, nor of a user's own table."""
    folder = tmp_path / "export" / "Quixworth Zebediah"
    folder.mkdir(parents=True)
    dataset = pydicom.dcmread(sources / "p0" / "chest1.dcm")
    dataset.PatientName, dataset.PatientID = "Quixworth^Zebediah", "77123455"
    dataset.save_as(folder / "IM1.dcm")
    cohorts = [
        cohort_of(f"c-{method}", paths=[tmp_path / "export"], output=Output("dicom", deidentify=method))
        for method in ("pseudonymize", "none", "anonymize")
    ]
    path = "Quixworth Zebediah/IM1.dcm"
    row = SourceRow(name_key("table", path), "", path, "", path, "77123455", "table", split="train")
    engine = planning.Engine.choose(str(TINY), "cpu", "exact", None, QUICK)
    origin = Origin("table", str(tmp_path / "export"), "name")
    force = ("content", "synthetic")
    plan = planning.plan_of(engine, origin, ["edema"], Output("png"), force=force)
    cohorts.append(write_plan(tmp_path / "c-table", plan, [row], ()))
    for cohort in cohorts:
        run(cohort)
        pages, states = made(cohort, tmp_path / f"{cohort.folder.name}-look")
        assert states == ["written"]
        assert all(row["patient"].startswith("SYN-") for row in entries(pages))
        for file in (pages.index, *pages.folder.iterdir()):
            content = file.read_bytes()
            assert not any(word in content for word in (b"Quixworth", b"Zebediah", b"77123455"))


def test_what_has_no_pages_is_refused(cohort_of: MakeCohort, tmp_path: Path) -> None:
    cohort = cohort_of()
    with pytest.raises(SettingError, match="no edit is made yet"):
        CohortPages(cohort, tmp_path / "look")
    raw = json.loads((cohort.folder / "plan.json").read_text())
    raw["origin"]["kind"] = "generate"
    (cohort.folder / "plan.json").write_text(json.dumps(raw))
    with pytest.raises(SettingError, match="no source to compare with"):
        CohortPages(Cohort.open(cohort.folder), tmp_path / "look")
    assert not (tmp_path / "look").exists()


def test_the_data_of_a_page_are_read_without_its_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    head = b'<!DOCTYPE html><img src="' + rng.bytes(2_500_000).replace(b"<", b"") + b'">'
    data = json.dumps({"made": "roentmod-fast 1", "title": "\\u003c/script>"}).encode()
    page = head + b'<script type="application/json" id="data">' + data + b"</script>" + b"x" * 100
    (tmp_path / "a.html").write_bytes(page)
    assert read_data(tmp_path / "a.html") == json.loads(data)
    (tmp_path / "b.html").write_bytes(page.replace(b"roentmod-fast 1", b"another one 123"))
    (tmp_path / "c.html").write_bytes(page[: len(head) + 60])
    assert read_data(tmp_path / "b.html") is read_data(tmp_path / "c.html") is None
    with pytest.raises(OutputError, match="cannot be read"):
        read_data(tmp_path)
