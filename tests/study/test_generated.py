"""Cohorts of images that are generated from a text alone: seeds, identities, bytes, labels, splits, the table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from roentmod_fast.editor import Editor
from roentmod_fast.errors import SettingError
from roentmod_fast.findings import NORMAL_PROMPT
from roentmod_fast.generate import generate
from roentmod_fast.radiograph.model import GENERATED
from roentmod_fast.radiograph.raster import is_marked_synthetic
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.settings import EditConfig
from roentmod_fast.study import planning
from roentmod_fast.study.generated import LABELS, SEEDS, generated_rows, identity_code
from roentmod_fast.study.labels import READ, Labels, read_rates
from roentmod_fast.study.plan import Cohort, Origin, Output, write_plan
from roentmod_fast.study.rows import DONE, FAILED, RowWriter, read_rows
from roentmod_fast.study.run import pending_units
from roentmod_fast.study.status import status, verify
from roentmod_fast.study.table import write_tables
from tests.study.conftest import QUICK, SPLITS, TINY, files_of, run
from tests.study.test_run import copy_of

Make = Callable[..., Cohort]
TEXTS = (NORMAL_PROMPT, "edema")


@pytest.fixture
def images_of(tmp_path: Path) -> Make:
    """Plan a cohort of generated images."""

    def make(
        name: str = "generated",
        texts: tuple[str, ...] = TEXTS,
        count: int = 5,
        first: int = 0,
        output: Output = Output("both"),  # noqa: B008
        batch: int = 1,
        config: EditConfig = QUICK,
    ) -> Cohort:
        engine = planning.Engine.choose(str(TINY), "cpu", "exact", None, planning.generating(config))
        written = planning.generated_output(output)
        plan = planning.plan_of(engine, Origin(GENERATED, "", "name"), texts, written, batch=batch, splits=SPLITS)
        rows = planning.with_splits(generated_rows(engine.bundle.manifest_hash, count, first), SPLITS)
        return write_plan(tmp_path / name, plan, rows, LABELS)

    return make


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_images_are_those_of_generate_and_each_has_its_patient(images_of: Make) -> None:
    cohort = images_of(count=3, first=7)
    assert [outcome.states for outcome in run(cohort)] == [(DONE, DONE)] * 3
    check = verify(cohort)
    assert check.clean and check.checked == 12
    editor = Editor.load(TINY, device="cpu")
    expected = {
        (made.prompt, made.seed): made.image for made in generate(editor, TEXTS, EditConfig(steps=3, seed=7), count=3)
    }
    patients, instances = set(), set()
    for source in cohort.sources():
        for edit in cohort.edits_of(source):
            paths = cohort.paths(edit.id)
            dataset = pydicom.dcmread(cohort.folder / paths["dicom"])
            image = read_radiograph(cohort.folder / paths["dicom"], force="synthetic").image
            assert np.abs(image - expected[edit.prompt, edit.seed]).max() < 1 / 4000
            assert dataset.PatientID == source.patient and "SourceImageSequence" not in dataset
            assert f"seed {edit.seed}" in dataset.DerivationDescription and dataset.SyntheticData == "YES"
            assert is_marked_synthetic((cohort.folder / paths["png"]).read_bytes())
            patients.add(dataset.PatientID)
            instances.add(dataset.SOPInstanceUID)
    assert len(patients) == 3 and len(instances) == 6


def test_the_same_bytes_by_shards_workers_batches_of_a_plan_and_after_a_stop(images_of: Make) -> None:
    cohort = images_of()
    sharded, parted, again = (copy_of(cohort, name) for name in ("sharded", "parted", "again"))
    run(cohort)
    expected = files_of(cohort)
    assert len(expected) == 20
    for shard in ((2, 2), (1, 2)):
        run(sharded, shard=shard)
    assert files_of(sharded) == expected
    run(parted, workers=2)
    assert files_of(parted) == expected and verify(parted).clean
    first = pending_units(again)[0]
    [log] = (cohort.folder / "rows").iterdir()
    lines = [line for line in log.read_bytes().splitlines(keepends=True) if first.edits[0].id.encode() in line]
    (again.folder / "rows").mkdir()
    (again.folder / "rows" / "before.jsonl").write_bytes(b"".join(lines))
    run(again)
    assert len(files_of(again)) == 18
    assert all(expected[name] == data for name, data in files_of(again).items())


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_batches_run_over_several_seeds_with_the_same_pixels(images_of: Make, batch: int) -> None:
    alone, together = images_of("alone", output=Output("png")), images_of("b", output=Output("png"), batch=batch)
    run(alone)
    units = list(together.units())
    assert len(units) == -(-5 // batch) and sum(len(unit.edits) for unit in units) == 10
    run(together)
    assert files_of(together) == files_of(alone)
    rows = read_rows(together.folder)
    assert len(rows.by_id) == 10 and set(rows.counts()) == {DONE} and status(together).pending == 0


def test_a_batch_of_which_a_part_is_there_writes_the_rest(images_of: Make) -> None:
    whole = images_of(texts=("edema",), count=4, batch=4)
    part = copy_of(whole, "part")
    run(whole)
    kept = next(part.units()).edits[2].id
    writer = RowWriter(part.folder)
    writer.append(read_rows(whole.folder).by_id[kept])
    writer.close()
    run(part)
    assert len(files_of(part)) == 6 and files_of(part).items() < files_of(whole).items()


def test_seeds_identities_and_splits_stay_when_more_are_planned(images_of: Make) -> None:
    few, many = images_of("few", count=40).sources(), images_of("many", count=80).sources()
    assert many[:40] == few and len({row.patient for row in many}) == 80
    assert {row.split for row in many} == set(SPLITS)
    assert images_of("later", count=40, first=40).sources() == many[40:]
    assert identity_code("a", 1) != identity_code("b", 1)
    ids = {edit.id for unit in images_of("ids", count=80).units() for edit in unit.edits}
    assert len(ids) == 160


@pytest.mark.parametrize(("count", "first"), [(0, 0), (1, -1), (2, SEEDS - 1), (SEEDS + 1, 0)])
def test_counts_and_seeds_that_cannot_be_are_refused(count: int, first: int) -> None:
    with pytest.raises(SettingError, match="seed"):
        generated_rows("engine", count, first)
    assert len(generated_rows("engine", 1, SEEDS - 1)) == 1


def test_the_table_has_a_row_an_image_with_the_labels_of_its_text(images_of: Make) -> None:
    cohort = images_of(texts=(*TEXTS, "rib fracture"), count=4, output=Output("png"))
    run(cohort)
    paths, count = write_tables(cohort, Labels())
    rows = rows_of(paths[0])
    assert len(rows) == count == 12 and {row["kind"] for row in rows} == {"generated"}
    assert {(row["source"], row["source_key"], row["source_sha256"]) for row in rows} == {("", "", "")}
    for row in rows:
        values = {name: row[f"y_{name}"] for name in READ}
        if row["prompt"] == NORMAL_PROMPT:
            assert set(values.values()) == {"0.0"} and row["y_no_finding"] == "1.0"
            assert row["finding"] == "no_finding"
        elif row["prompt"] == "edema":
            assert values == {name: "1.0" if name == "edema" else "0.0" for name in READ}
            assert row["y_no_finding"] == "0.0"
        else:
            assert set(values.values()) == {""} and row["y_no_finding"] == ""
        assert row["patient"].startswith("SYN-GEN-") and row["split"] in SPLITS
        assert (row["compose"], row["strength"], row["status"]) == ("generate", "1.0", "done")
        assert (cohort.folder / row["output"]).is_file() and float(row["seconds"]) > 0
    splits = {(row["patient"], row["split"]) for row in rows}
    assert len(splits) == 4, "all texts of an identity are in one split"
    assert {row["seed"] for row in rows} == {"0", "1", "2", "3"}


@pytest.mark.parametrize("policy", ["absent", "ignore", "cooccurrence"])
def test_labels_of_the_normal_text_are_absent_by_each_policy(policy: str) -> None:
    labels = Labels(policy, rates=read_rates())
    normal = labels.of_image(" No acute cardiopulmonary process.", LABELS, "id")
    assert normal == {**dict.fromkeys(READ, 0.0), "no_finding": 1.0}
    edema = labels.of_image("edema", LABELS, "id")
    assert edema["edema"] == 1.0 and edema["no_finding"] == 0.0
    assert edema["cardiomegaly"] == {"absent": 0.0, "ignore": None, "cooccurrence": 0.92}[policy]


def test_an_image_that_cannot_be_made_is_a_row_and_others_are_made(
    images_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roentmod_fast.errors import NotFiniteError

    cohort, real, calls = images_of(texts=("edema",), count=3), Editor.run, []

    def fails_once(self: Editor, *args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise NotFiniteError("the UNet gives no number")
        return real(self, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Editor, "run", fails_once)
        assert sorted(state for outcome in run(cohort) for state in outcome.states) == [DONE, DONE, FAILED]
    assert [outcome.states for outcome in run(cohort, retry_failed=True)] == [(DONE,)]
    assert verify(cohort).clean


def test_what_has_no_meaning_without_a_source_is_refused(images_of: Make, tmp_path: Path) -> None:
    cohort = images_of()
    with pytest.raises(SettingError, match="they have no sources"):
        run(cohort, root=tmp_path)
    plan = json.loads((cohort.folder / "plan.json").read_text())
    assert plan["output"]["deidentify"] == "none" and plan["pseudonym_key"] == "", "nobody to de-identify, no key"
    with pytest.raises(SettingError, match="holds another plan"):
        images_of(count=6)
    assert images_of() == cohort
