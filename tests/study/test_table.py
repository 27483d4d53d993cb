"""Labels of edits by the paper's policies, and the manifest that a training script reads."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.findings import NORMAL_PROMPT
from roentmod_fast.study import planning
from roentmod_fast.study.labels import READ, Labels, asked_findings, label_hint, read_rates
from roentmod_fast.study.plan import Cohort, Origin, Output, write_plan
from roentmod_fast.study.rows import Row, RowWriter
from roentmod_fast.study.sources import SourceRow, name_key
from roentmod_fast.study.table import COLUMNS, write_tables
from tests.study.conftest import QUICK, TINY, MakeCohort, run

RATES = read_rates()
NORMAL = {"edema": "0", "mass": "0", "fracture": "0", "no_finding": "1"}


def test_the_shipped_rates_are_those_of_the_papers_text_and_no_more() -> None:
    given = {(asked, seen): rate for asked, row in RATES.items() for seen, rate in row.items()}
    diagonal = {"cardiomegaly": 0.92, "edema": 0.97, "effusion": 0.93, "pneumonia": 0.89, "hernia": 0.99, "mass": 0.99}
    diagonal |= {"emphysema": 0.76, "nodule": 0.7}
    others = {("edema", "cardiomegaly"): 0.92, ("cardiomegaly", "edema"): 0.46}
    others |= {("emphysema", "edema"): 0.33, ("nodule", "edema"): 0.5}
    assert given == {**{(name, name): rate for name, rate in diagonal.items()}, **others}


@pytest.mark.parametrize(
    ("prompt", "findings"),
    [
        ("right pleural effusion", ("effusion",)),
        ("Cardiomegaly", ("cardiomegaly",)),
        ("multiple pulmonary nodules", ("nodule",)),
        ("emphysema", ("emphysema",)),
        ("edema and large left upper lobe mass", ("edema", "mass")),
        (NORMAL_PROMPT, ("no_finding",)),
        ("rib fracture", ()),
    ],
)
def test_prompts_ask_for_findings(prompt: str, findings: tuple[str, ...]) -> None:
    assert asked_findings(prompt) == findings


def test_absent_ignore_and_cooccurrence() -> None:
    absent = Labels("absent").of_edit("edema", NORMAL, "id")
    assert absent == {**dict.fromkeys((*READ, "fracture", "no_finding"), 0.0), "edema": 1.0}
    ignore = Labels("ignore").of_edit("edema", NORMAL, "id")
    assert ignore["edema"] == 1.0 and ignore["no_finding"] == 0.0
    assert all(ignore[name] is None for name in (*READ, "fracture") if name != "edema")
    soft = Labels("cooccurrence", rates=RATES).of_edit("edema", NORMAL, "id")
    assert soft["edema"] == 1.0 and soft["cardiomegaly"] == 0.92 and soft["hernia"] is None
    diagonal = Labels("cooccurrence", "diagonal", RATES).of_edit("hernia", NORMAL, "id")
    assert diagonal["hernia"] == 0.99
    both = Labels("cooccurrence", rates=RATES).of_edit("edema and cardiomegaly", NORMAL, "id")
    assert both["edema"] == both["cardiomegaly"] == 1.0 and both["mass"] is None


@pytest.mark.parametrize("policy", ["absent", "ignore", "cooccurrence"])
def test_a_finding_of_the_source_stays_and_an_unknown_prompt_labels_nothing(policy: str) -> None:
    labels = Labels(policy, rates=RATES)
    sick = {"mass": "1", "edema": "", "no_finding": "0"}
    assert labels.of_edit("edema", sick, "id")["mass"] == 1.0
    unknown = labels.of_edit("rib fracture", sick, "id")
    assert unknown["mass"] == 1.0 and unknown["edema"] is None and unknown["no_finding"] is None


def test_the_normal_prompt_makes_no_claim_on_what_it_takes_away() -> None:
    labels = Labels("absent")
    assert labels.of_edit(NORMAL_PROMPT, NORMAL, "id")["no_finding"] == 1.0
    sick = labels.of_edit(NORMAL_PROMPT, {"mass": "1", "no_finding": "0"}, "id")
    assert sick["mass"] is None and sick["edema"] == 0.0 and sick["no_finding"] is None
    assert Labels("ignore").of_edit(NORMAL_PROMPT, NORMAL, "id")["edema"] is None


def test_drawn_labels_have_the_rate_and_are_the_same_each_time() -> None:
    labels = Labels("cooccurrence", rates=RATES, draw=5)
    drawn = [labels.of_edit("cardiomegaly", NORMAL, f"{n:016x}")["edema"] for n in range(4000)]
    assert set(drawn) == {0.0, 1.0}
    assert 0.43 < sum(value or 0 for value in drawn) / 4000 < 0.49
    assert drawn == [labels.of_edit("cardiomegaly", NORMAL, f"{n:016x}")["edema"] for n in range(4000)]
    other = Labels("cooccurrence", rates=RATES, draw=6)
    assert drawn != [other.of_edit("cardiomegaly", NORMAL, f"{n:016x}")["edema"] for n in range(4000)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asked,edema\npneumothorax,0.5\n", "unknown finding 'pneumothorax': expected one of cardiomegaly"),
        ("asked,oedema\nedema,0.5\n", "unknown finding 'oedema'"),
        ("asked,edema\nedema,50\n", "column edema: '50' is no share"),
        ("asked,edema\nedema,x\n", "'x' is no share"),
        ("finding,edema\nedema,0.5\n", "lacks the column asked"),
        ("asked,edema\n", "no rows"),
    ],
)
def test_a_label_file_that_is_wrong_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "co.csv").write_text(text)
    with pytest.raises(SettingError, match=message):
        read_rates(tmp_path / "co.csv")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_manifest_has_a_row_for_each_source_and_each_edit(cohort_of: MakeCohort) -> None:
    cohort = cohort_of(output=Output("both"))
    paths, count = write_tables(cohort, Labels())
    assert count == 12 and paths[0] == cohort.folder / "manifest.csv"
    assert {row["status"] for row in read(paths[0])} == {"", "pending"}
    run(cohort)
    write_tables(cohort, Labels())
    rows = read(paths[0])
    edits = [row for row in rows if row["kind"] == "edit"]
    assert len(rows) == 12 and len(edits) == 8
    assert [*rows[0]] == [*COLUMNS, *(f"y_{name}" for name in READ)]
    first = edits[0]
    assert first["status"] == "done" and first["prompt"] == first["finding"] == "edema"
    assert (first["steps"], first["strength"], first["solver"], first["precision"]) == ("3", "0.4", "ddim", "fp32")
    assert first["engine_sha256"] == cohort.plan.engine_sha256 and len(first["source_sha256"]) == 64
    assert (cohort.folder / first["output"]).is_file() and first["png"].endswith(".png")
    assert first["y_edema"] == "1.0" and first["y_hernia"] == "0.0" and float(first["seconds"]) > 0
    assert len({row["edit_id"] for row in edits}) == 8
    for row in edits:
        source = next(each for each in rows if each["kind"] == "source" and each["source_key"] == row["source_key"])
        assert (source["split"], source["patient"]) == (row["split"], row["patient"]) and row["split"]


def test_parquet_holds_the_same(cohort_of: MakeCohort) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: the extra study")
    cohort = cohort_of(prompts=["edema", "rib fracture"])
    run(cohort)
    paths, count = write_tables(cohort, Labels("cooccurrence", rates=RATES))
    table = parquet.read_table(paths[1])
    assert table.num_rows == count == 12
    rows, columns = read(paths[0]), table.to_pydict()
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            assert ("" if value is None else str(value)) == row[name], name


def test_a_patient_in_two_splits_is_found(cohort_of: MakeCohort, tmp_path: Path) -> None:
    rows = [SourceRow(name_key("d", "a"), "", "a", patient="7", dataset="d", split="train")]
    rows.append(SourceRow(name_key("d", "b"), "", "b", patient="7", dataset="d", split="test"))
    engine = planning.Engine.choose(str(TINY), "cpu", "exact", None, QUICK)
    plan = planning.plan_of(engine, Origin("table", str(tmp_path), "name"), ["edema"], Output("png"))
    cohort = write_plan(tmp_path / "mixed", plan, rows, ())
    with pytest.raises(SettingError, match="1 patients are in two splits"):
        write_tables(cohort, Labels())
    assert not (cohort.folder / "manifest.csv").exists()


def test_a_failure_stands_in_the_table_with_its_reason(tmp_path: Path) -> None:
    engine = planning.Engine.choose(str(TINY), "cpu", "exact", None, QUICK)
    plan = planning.plan_of(engine, Origin("table", str(tmp_path), "name"), ["edema"], Output("png"))
    source = SourceRow(name_key("d", "a"), "", "a", name='a "x", y', labels=("0", ""))
    cohort = Cohort.open(write_plan(tmp_path / "c", plan, [source], ("edema", "rare")).folder)
    writer = RowWriter(cohort.folder)
    [edit] = cohort.edits_of(source)
    writer.append(Row(edit.id, "failed", 'a "x", y: cut off'))
    writer.close()
    write_tables(cohort, Labels())
    own, failed = read(cohort.folder / "manifest.csv")
    assert (own["y_edema"], own["y_rare"], own["y_hernia"]) == ("0.0", "", "")
    assert (failed["status"], failed["error"], failed["output"]) == ("failed", 'a "x", y: cut off', "")
    assert failed["y_rare"] == "0.0"


@pytest.mark.parametrize(
    ("prompt", "column"),
    [
        ("large left pneumothorax", "pneumothorax"),
        ("bilateral pneumothoraces", "pneumothorax"),
        ("bibasilar atelectases", "atelectasis"),
        ("rib fractures", "fracture"),
        ("patchy lung opacities", "lung_opacity"),
        ("support devices", "support_devices"),
    ],
)
def test_a_label_column_is_a_finding_that_prompts_ask_for(prompt: str, column: str) -> None:
    source = {column: "0", "no_finding": "1"}
    values = Labels("absent").of_edit(prompt, source, "id")
    assert values[column] == 1.0 and values["edema"] == 0.0 and values["no_finding"] == 0.0
    assert asked_findings(prompt, source) == (column,) and asked_findings(prompt) == ()
    assert label_hint(prompt, source) is None
    assert "gives no label" in str(label_hint(prompt))


@pytest.mark.parametrize("policy", ["absent", "ignore", "cooccurrence"])
def test_what_a_prompt_negates_has_no_label(policy: str) -> None:
    labels = Labels(policy, rates=RATES)
    source = {"edema": "1", "fracture": "0", "no_finding": "0"}
    values = labels.of_edit("no edema or fracture", source, "id")
    assert values["edema"] is values["fracture"] is values["no_finding"] is None
    values = labels.of_edit("cardiomegaly without edema", source, "id")
    assert values["cardiomegaly"] == 1.0 and values["edema"] is None
    assert "negates edema" in str(label_hint("cardiomegaly without edema"))
    assert "gives no label" in str(label_hint("no edema"))
    assert label_hint(NORMAL_PROMPT) is None


def test_the_hash_of_a_source_is_of_an_edit_that_was_made(cohort_of: MakeCohort, sources: Path) -> None:
    cohort = cohort_of()
    first = cohort.sources()[0]
    assert first.sha256
    named = replace(first, sha256="")
    cohort = write_plan(cohort.folder.with_name("named"), cohort.plan, [named], ())
    edits = cohort.edits_of(named)
    writer = RowWriter(cohort.folder)
    writer.append(Row(edits[0].id, "failed", "cut off"))
    writer.append(Row(edits[1].id, "done", source_sha256="ab" * 32))
    writer.close()
    write_tables(cohort, Labels())
    assert read(cohort.folder / "manifest.csv")[0]["source_sha256"] == "ab" * 32
