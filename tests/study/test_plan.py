"""The plan: ids and noise of source, prompt and repeat alone; it never changes."""

from __future__ import annotations

import json
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.presets import Measurements
from roentmod_fast.settings import EditConfig
from roentmod_fast.study import planning
from roentmod_fast.study.labels import Labels
from roentmod_fast.study.page.cohort import CohortPages
from roentmod_fast.study.plan import PLAN, SOURCES, Cohort, Origin, Output, check_plan, edit_of, write_plan
from roentmod_fast.study.rows import Row, RowWriter, read_rows
from roentmod_fast.study.sources import SourceRow, check_splits, name_key, read_sources, render_sources, split_of
from roentmod_fast.study.table import write_tables
from tests.study.conftest import TINY, MakeCohort, run


def test_ids_and_seeds_never_change() -> None:
    """A cohort that grows, or is planned again in years, has the same noise."""
    edit = edit_of("ab" * 32, "edema", 0, "edit")
    assert (edit.id, edit.seed) == ("2df2053a11e8647d", 3103627155)
    others = [edit_of("ac" * 32, "edema", 0, "edit"), edit_of("ab" * 32, "Edema", 0, "edit")]
    others.append(edit_of("ab" * 32, "edema", 1, "edit"))
    assert len({edit.id, *(other.id for other in others)}) == 4
    assert len({edit.seed, *(other.seed for other in others)}) == 4
    assert all(0 <= other.seed < 2**32 for other in others)


def test_noise_of_the_source_is_shared_by_prompts_and_not_by_repeats() -> None:
    key = "ab" * 32
    edits = [edit_of(key, prompt, repeat, "source") for repeat in (0, 1) for prompt in ("edema", "hernia")]
    assert edits[0].seed == edits[1].seed != edits[2].seed == edits[3].seed
    assert edits[0].id == edit_of(key, "edema", 0, "edit").id, "ids are the same"


def test_a_plan_reads_back_and_its_folder_takes_no_other(cohort_of: MakeCohort) -> None:
    cohort = cohort_of()
    again = Cohort.open(cohort.folder)
    assert again == cohort
    assert len(again.sources()) == again.plan.origin.count == 4
    assert again.plan.edits == 8
    assert cohort_of() == cohort, "the same plan is there already"
    before = (cohort.folder / PLAN).read_bytes()
    for other in ({"prompts": ("edema",)}, {"repeats": 2}, {"noise": "source"}, {"output": Output("dicom")}):
        with pytest.raises(SettingError, match="holds another plan: choose another folder"):
            cohort_of(**other)
    assert (cohort.folder / PLAN).read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / PLAN).unlink(), "no cohort: make its plan first"),
        (lambda folder: (folder / PLAN).write_text("{}"), "damaged"),
        (lambda folder: (folder / PLAN).write_text("[1"), "damaged"),
        (lambda folder: (folder / PLAN).write_text('{"format": 9}'), "a plan of another version"),
        (lambda folder: (folder / SOURCES).unlink(), "a plan without its sources"),
        (lambda folder: (folder / SOURCES).write_text("key\n"), "changed since the plan was made"),
    ],
)
def test_a_damaged_cohort_is_one_line(cohort_of: MakeCohort, damage: object, message: str) -> None:
    folder = cohort_of().folder
    damage(folder)  # type: ignore[operator]
    with pytest.raises(SettingError, match=message) as caught:
        Cohort.open(folder).sources()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompts": ()}, "no prompt"),
        ({"prompts": ("edema", " ")}, "a prompt is empty"),
        ({"prompts": ("\udcf6dema",)}, "not UTF-8"),
        ({"prompts": ("edema", "edema")}, "a prompt comes twice"),
        ({"repeats": 0}, "start at 1"),
        ({"noise": "none"}, "noise 'none': expected one of edit, source"),
        ({"output": Output("jpeg")}, "format 'jpeg'"),
        ({"output": Output("dicom", size=64)}, "are for PNG"),
        ({"output": Output("png", png_bits=12)}, "png-bits 12"),
    ],
)
def test_what_makes_no_cohort_is_refused(cohort_of: MakeCohort, fields: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        cohort_of(**fields)


def test_sources_of_one_content_are_planned_once_and_of_one_name_apart(
    cohort_of: MakeCohort, sources: Path, logged: list[str]
) -> None:
    (sources / "p0" / "copy.png").write_bytes((sources / "p0" / "chest0.png").read_bytes())
    cohort = cohort_of()
    rows = cohort.sources()
    assert len(rows) == 4
    assert any("1 files have the content of others" in message for message in logged)
    names = [Path(row.path).stem for row in rows]
    assert len(set(names)) < len(names), "two sources have one name"
    paths = {path for row in rows for edit in cohort.edits_of(row) for path in cohort.paths(edit.id).values()}
    assert len(paths) == 8


def test_names_that_tell_the_patient_stay_out_of_messages_and_tables(cohort_of: MakeCohort, tmp_path: Path) -> None:
    folder = tmp_path / "export" / "Quixworth Zebediah"
    folder.mkdir(parents=True)
    dataset = pydicom.dcmread(tmp_path / "sources" / "p0" / "chest1.dcm")
    dataset.PatientName, dataset.PatientID = "Quixworth^Zebediah", "77123455"
    dataset.save_as(folder / "IM1.dcm")
    other = tmp_path / "export" / "ward 3"
    other.mkdir()
    dataset.PatientName, dataset.PatientID, dataset.SOPInstanceUID = "Vole^Anna", "88123466", "1.2.3"
    dataset.save_as(other / "IM2.dcm")
    first, second = cohort_of(paths=[tmp_path / "export"]).sources()
    assert first.path == "Quixworth Zebediah/IM1.dcm" and first.name == f"source {first.key[:16]}"
    assert second.name == second.path == "ward 3/IM2.dcm"
    assert first.patient.startswith("SYN-") and first.patient != second.patient
    kept = cohort_of("kept", paths=[tmp_path / "export"], output=Output("png", deidentify="none")).sources()[0]
    assert kept.patient == "77123455" and kept.name == "Quixworth Zebediah/IM1.dcm"


def test_sources_csv_reads_back_whatever_stands_in_it() -> None:
    rows = [
        SourceRow("k1", "", 'a "b", c/ü\n.png', "m.png", "n", "p;1", "nih", "PA", "40", "F", "train", ("1", "")),
        SourceRow("k2", "s", "x", labels=("0", "1")),
        *(
            SourceRow(f"k3{end!r}", "s", f"a{end}b", name=end, labels=("0", "1"))
            for end in ("\r", "\r\n", "\n", "\r\r\n")
        ),
    ]
    assert read_sources(render_sources(rows, ("edema", "mass"))) == rows


def test_splits_go_by_patient_and_stay_when_others_are_added() -> None:
    splits = {"train": 0.8, "validate": 0.1, "test": 0.1}
    drawn = [split_of(f"nih\0{number}", splits) for number in range(5000)]
    assert drawn == [split_of(f"nih\0{number}", splits) for number in range(5000)]
    assert 0.77 < drawn.count("train") / 5000 < 0.83
    assert 0.08 < drawn.count("test") / 5000 < 0.12
    rows = [SourceRow(str(n), "", "", patient=str(n // 3), dataset="d") for n in range(300)]
    assert {row.split for row in planning.with_splits(rows, splits)} == set(splits)
    mixed = [SourceRow("a", "", "", patient="7", split="train"), SourceRow("b", "", "", patient="7", split="test")]
    with pytest.raises(SettingError, match="1 patients are in two splits"):
        check_splits(mixed)
    with pytest.raises(SettingError, match="two splits"):
        planning.with_splits(mixed, None)
    check_splits([SourceRow("a", "", "", split="train"), SourceRow("b", "", "", split="test")])


@pytest.mark.parametrize("text", ["", "80", "80/30", "a/b", "50/40/20", "-10/110", "25/25/25/25", "80/10"])
def test_shares_that_are_not_100_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="expected shares"):
        planning.parse_splits(text)


def test_shares_are_read() -> None:
    assert planning.parse_splits("70/20/10") == {"train": 0.7, "validate": 0.2, "test": 0.1}
    assert planning.parse_splits("100") == {"train": 1.0}
    assert planning.parse_splits("dataset") is None


def test_a_limit_draws_the_same_sources_each_time_and_more_where_more_are_allowed() -> None:
    rows = [SourceRow(name_key("nih", f"{n}.png"), "", "") for n in range(100)]
    few, more = planning.limited(rows, 10), planning.limited(rows, 20)
    assert len(few) == 10 and set(few) < set(more) < set(rows)
    assert few == [row for row in rows if row in set(few)], "in the order of all"
    assert few != rows[:10]
    assert planning.limited(rows, None) == planning.limited(rows, 100) == rows


def test_a_plan_keeps_a_place_for_jobs_without_a_source(cohort_of: MakeCohort) -> None:
    """A later kind of origin is read by the same format."""
    cohort = cohort_of()
    raw = json.loads((cohort.folder / PLAN).read_text())
    raw["origin"]["kind"] = "generate"
    (cohort.folder / PLAN).write_text(json.dumps(raw))
    assert Cohort.open(cohort.folder).plan.origin.kind == "generate"
    check_plan(Cohort.open(cohort.folder).plan)


@pytest.mark.slow
def test_a_plan_of_170000_rows_takes_less_than_30_seconds_and_500_mb(tmp_path: Path) -> None:
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine = planning.Engine.choose(str(TINY), "cpu", "exact", None, EditConfig())
    paths = [f"images/{n:08d}_000.png" for n in range(170_000)]
    rows = [SourceRow(name_key("nih", path), "", path, "", path, str(n // 3)) for n, path in enumerate(paths)]
    rows = planning.with_splits([replace(row, labels=("0",) * 15) for row in rows], {"train": 0.8, "test": 0.2})
    names = [f"finding_{n}" for n in range(15)]
    plan = planning.plan_of(engine, Origin("dataset", str(tmp_path), "name"), ["edema"], Output("png"))
    cohort = write_plan(tmp_path / "c", plan, rows, names)
    assert sum(len(unit.pending) for unit in Cohort.open(cohort.folder).units()) == 170_000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert time.process_time() - started < 30
    assert grown < 500


def test_names_that_are_not_utf8_are_planned_run_and_listed(
    cohort_of: MakeCohort, sources: Path, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9") / os.fsdecode(b"th\xf6rax\xff.png")
    try:
        odd.parent.mkdir()
        odd.write_bytes((sources / "p0" / "chest0.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes names of UTF-8 alone")
    cohort = cohort_of(paths=[odd])
    [row] = Cohort.open(cohort.folder).sources()
    assert row.path == odd.name and row.source(odd.parent).path == odd
    assert row.name == "th\ufffdrax\ufffd.png" and cohort.plan.origin.root == str(odd.parent)
    assert {state for outcome in run(cohort) for state in outcome.states} == {"done"}
    write_tables(cohort, Labels())
    assert "th\ufffdrax" in (cohort.folder / "manifest.csv").read_text(encoding="utf-8")
    assert [outcome.state for outcome in CohortPages(cohort, tmp_path / "look").make()] == ["written"]
    assert name_key("", row.path) != name_key("", row.name)


def test_a_row_keeps_text_that_is_not_utf8(tmp_path: Path) -> None:
    writer = RowWriter(tmp_path)
    writer.append(Row("ab", "failed", "th\udcf6rax.png: cut off"))
    writer.close()
    rows = read_rows(tmp_path)
    assert rows.by_id["ab"].error == "th\udcf6rax.png: cut off" and not rows.torn


def test_patients_of_headers_that_are_kept_stay_apart_as_their_edits_do(cohort_of: MakeCohort, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(tmp_path / "sources" / "p0" / "chest1.dcm")
    (tmp_path / "export").mkdir()
    people = [("7", "A", "Vole^Anna"), ("7", "B", "Vole^Anna"), ("7", "", "x"), ("0", "", "Vole^Anna")]
    people += [("0", "", "Quixworth^Z"), ("", "", "Vole^Anna")]
    for number, (identifier, issuer, name) in enumerate(people):
        dataset.PatientID, dataset.IssuerOfPatientID, dataset.PatientName = identifier, issuer, name
        dataset.SOPInstanceUID = f"1.2.{number}"
        dataset.save_as(tmp_path / "export" / f"{number}.dcm")
    rows = cohort_of(paths=[tmp_path / "export"], output=Output("png", deidentify="none")).sources()
    patients = [row.patient for row in rows]
    assert patients[:3] == ["7^^^A", "7^^^B", "7"]
    assert patients[3] == patients[5] != patients[4] and all(each.startswith("name-") for each in patients[3:])
    assert not any("Vole" in each for each in patients)


def test_a_time_is_measured_by_tune_in_the_precision_of_the_preset_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "read_measurements", lambda *_: Measurements({}, 12.5))
    engine = planning.Engine.choose(str(TINY), "cpu", "exact", None, EditConfig())
    assert engine.seconds(EditConfig()) == (12.5, "measured by tune")
    other = replace(engine, precision="int8" if engine.precision != "int8" else "fp32")
    monkeypatch.setattr(planning.backends.get("cpu").__class__, "missing", lambda self: "away", raising=False)
    assert other.seconds(EditConfig()) == (None, "device cpu is not here: tune it there")
