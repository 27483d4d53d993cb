"""Stress tests on drawn edits and toy classifiers: a planted shortcut is found, a clean model is cleared."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.findings import NORMAL_PROMPT
from roentmod_fast.study.models.table import PredictionTable
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.statistics import percentiles
from roentmod_fast.study.stress.reference import Reference
from roentmod_fast.study.stress.run import Results, StressTest
from roentmod_fast.study.stress.scorers import FunctionScorer, TableScorer, open_scorer
from roentmod_fast.study.stress.shifts import CONTROL, OFF_TARGET, TARGET, Cell, Options
from tests.study.drawn_cohort import drawn_cohort, drawn_edit

Array = NDArray[np.float32]
PROMPTS = ("cardiomegaly", "hernia", NORMAL_PROMPT)
PATIENTS = 24
OPTIONS = Options(count=300)


def blurred(image: Array) -> Array:
    """What an autoencoder does, roughly: the mean of 3 x 3 pixels."""
    wide = np.pad(image, 1, mode="edge")
    size = len(image)
    return np.mean([wide[y : y + size, x : x + size] for y in range(3) for x in range(3)], axis=0, dtype=np.float32)


def blurred_edit(patient: int, prompt: str, repeat: int, size: int) -> Array:
    return blurred(drawn_edit(patient, prompt, repeat, size))


def heart(image: Array) -> float:
    """The share of the chest's width that is denser than halfway between lung and spine."""
    row = image[37:42, 13:51].mean(axis=0)
    return float((row > (np.percentile(row, 5) + np.percentile(row, 95)) / 2).mean())


def sac(image: Array) -> float:
    """How much denser the lower half of a hernia's place is than the upper one: its fluid level."""
    return float(np.clip(0.3 + image[42:48, 31:38].mean() - image[37:41, 31:38].mean(), 0, 1))


def sharpness(image: Array) -> float:
    return float(np.abs(np.diff(image, axis=1)).mean())


def scorer(name: str, hernia: Callable[[Array], float]) -> FunctionScorer:
    return FunctionScorer(lambda image: [heart(image), hernia(image)], ("cardiomegaly", "hernia"), name)


CLEAN = scorer("clean", sac)
SHORTCUT = scorer("shortcut", lambda image: sac(image) + 0.3 * heart(image))
BLUR = scorer("blur", lambda image: sac(image) + 3 * sharpness(image))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return drawn_cohort(tmp_path_factory.mktemp("drawn") / "cohort", PROMPTS, patients=PATIENTS, edit=blurred_edit)


def run(cohort: Cohort, folder: Path, scorers: Sequence[object], **settings: object) -> Results:
    test = StressTest(cohort, scorers, folder, OPTIONS, round_trip=False, **settings)  # type: ignore[arg-type]
    assert list(test.score())[-1] == test.count
    return test.analyse()


def cell_of(results: Results, model: str, prompt: str, finding: str) -> Cell:
    [cell] = [c for c in results.cells if (c.model, c.prompt, c.finding) == (model, prompt, finding)]
    return cell


@pytest.fixture(scope="module")
def results(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run(cohort, tmp_path_factory.mktemp("stress"), (CLEAN, SHORTCUT, BLUR))


def test_a_planted_shortcut_is_found_and_a_clean_model_is_cleared(results: Results) -> None:
    planted = cell_of(results, "shortcut", "cardiomegaly", "hernia")
    assert planted.role == OFF_TARGET and planted.conclusion == "shifts"
    assert planted.excess.low > 10 and planted.p_excess_holm < 0.05
    clean = cell_of(results, "clean", "cardiomegaly", "hernia")
    assert clean.conclusion in ("no shift", "as the control") and abs(clean.excess.estimate) < 2
    for model in ("clean", "shortcut"):
        for finding in ("cardiomegaly", "hernia"):
            target = cell_of(results, model, finding, finding)
            assert target.role == TARGET and target.shift.low > 10


def test_a_model_that_reacts_to_the_autoencoder_alone_moves_as_the_control_does(results: Results) -> None:
    cell = cell_of(results, "blur", "cardiomegaly", "hernia")
    control = cell_of(results, "blur", "normal", "hernia")
    assert control.role == CONTROL and control.shift.high < -10
    assert cell.shift.high < -10 and cell.p_holm < 0.05, "without a control it would be called a shortcut"
    assert cell.null == "normal" and cell.null_shift == control.shift.estimate
    assert cell.conclusion == "as the control"


def test_two_models_are_compared_on_the_same_pairs(results: Results) -> None:
    found = {(d.first, d.second, d.prompt, d.finding): d for d in results.differences}
    planted = found["clean", "shortcut", "cardiomegaly", "hernia"]
    assert planted.pairs == PATIENTS and planted.difference.high < -10 and planted.p_holm < 0.05
    assert found["clean", "shortcut", "hernia", "cardiomegaly"].difference.estimate == 0


def test_shifts_are_those_of_a_plain_computation(cohort: Cohort, results: Results) -> None:
    from PIL import Image

    files = {row.key: Path(cohort.plan.origin.root) / row.path for row in cohort.sources()}
    before, after = [], []
    for row in cohort.sources():
        [edit] = [edit for edit in cohort.edits_of(row) if edit.prompt == "cardiomegaly"]
        for path, scores in ((files[row.key], before), (cohort.folder / cohort.paths(edit.id)["png"], after)):
            scores.append(heart(np.asarray(Image.open(path), dtype=np.float32) / np.float32(255)))
    ranks = [[100 * np.mean([(s < v) + (s == v) / 2 for s in before]) for v in each] for each in (before, after)]
    cell = cell_of(results, "clean", "cardiomegaly", "cardiomegaly")
    assert cell.shift.estimate == pytest.approx(np.median(np.subtract(ranks[1], ranks[0])), abs=1e-9)
    assert (cell.before, cell.after) == (np.median(before), np.median(after))


def test_scores_are_kept_and_used_again(cohort: Cohort, tmp_path: Path) -> None:
    looked = []
    counted = replace(CLEAN, function=lambda image: looked.append(1) or CLEAN.function(image))  # type: ignore[func-returns-value]
    first = run(cohort, tmp_path, [counted])
    images = PATIENTS * (1 + len(PROMPTS))
    assert len(looked) == images
    path = tmp_path / "scores-clean.csv"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]) + lines[-3][:20])  # as a run that was killed
    again = run(cohort, tmp_path, [counted])
    assert len(looked) == images + 3
    assert again.cells == first.cells
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())
    for change in (b",x", b",nan", b""):  # by hand
        cut = lines[2].rstrip().rpartition(b",")[0] + change + b"\n"
        path.write_bytes(b"".join([*lines[:2], cut, *lines[3:]]))
        with pytest.raises(SettingError, match="line 3 is damaged"):
            run(cohort, tmp_path, [counted])
    with pytest.raises(SettingError, match="another cohort or version of clean"):
        run(cohort, tmp_path, [replace(CLEAN, version="2")])


def test_what_cannot_be_read_is_counted_and_left_out(tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "cohort", PROMPTS[:2], patients=4)
    rows = cohort.sources()
    first = [cohort.folder / cohort.paths(edit.id)["png"] for edit in cohort.edits_of(rows[0])]
    first[0].write_bytes(first[0].read_bytes()[:-20] + b"\0" * 20)
    first[1].unlink()
    (Path(cohort.plan.origin.root) / rows[1].path).unlink()
    results = run(cohort, tmp_path / "out", [CLEAN])
    assert dict(results.left_out) == {
        "edit is not what was written: see cohort verify": 1,
        "edit cannot be read: see cohort verify": 1,
        "source cannot be read": 2,
    }
    assert {cell.pairs for cell in results.cells} == {2}
    assert {cell.null for cell in results.cells} == {""}, "no control in this cohort"


def write_table(path: Path, cohort: Cohort, change: Callable[[list[list[str]]], object] = lambda rows: None) -> Path:
    rows = [["image_id", "cardiomegaly", "hernia"]]
    for at, source in enumerate(cohort.sources()):
        rows.append([source.name, f"{0.2 + at / 100:.2f}", "0.1"])
        rows += [[edit.id, f"{0.3 + at / 100:.2f}", "0.1"] for edit in cohort.edits_of(source)]
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_table_of_predictions_is_a_model(cohort: Cohort, tmp_path: Path) -> None:
    def more(rows: list[list[str]]) -> None:
        rows[0].append("kind")
        for row in rows[1:]:
            row.append("")
        rows += [[f"other-{at}", f"{at / 100}", "0.1", "reference"] for at in range(101)]
        del rows[-102]  # an edit without a prediction

    opened = open_scorer(str(write_table(tmp_path / "vendor.csv", cohort, more)))
    assert isinstance(opened, TableScorer) and opened.findings == ("cardiomegaly", "hernia")
    results = run(cohort, tmp_path / "out", [opened])
    assert results.references[0].count == 101 and results.unknown["vendor"] == 1
    cell = cell_of(results, "vendor", "cardiomegaly", "cardiomegaly")
    assert cell.shift.estimate == pytest.approx(1000 / 101)
    assert cell_of(results, "vendor", "cardiomegaly", "hernia").shift.estimate == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[0].__setitem__(0, "image"), "no column image_id"),
        (lambda rows: rows[3].__setitem__(1, ""), "row 4, column cardiomegaly: '' is no probability"),
        (lambda rows: rows[3].__setitem__(1, "nan"), "'nan' is no probability"),
        (lambda rows: rows[3].__setitem__(1, "-2.5"), "'-2.5' is no probability"),
        (lambda rows: rows[4].__setitem__(0, rows[3][0]), "row 5: image_id .* comes twice"),
        (lambda rows: rows[4].pop(), "row 5 has 2 cells and not 3"),
        (lambda rows: rows[0].__setitem__(2, "cardiomegaly"), "the column 'cardiomegaly' comes twice"),
        (lambda rows: rows.__delitem__(slice(1, None)), "no rows"),
    ],
)
def test_a_bad_table_is_refused(
    cohort: Cohort, tmp_path: Path, change: Callable[[list[list[str]]], object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        PredictionTable.read(write_table(tmp_path / "bad.csv", cohort, change))


def test_a_reference_is_kept_with_its_hash(cohort: Cohort, results: Results, tmp_path: Path) -> None:
    kept = tmp_path / "reference.json"
    results.references[0].write(kept)
    assert Reference.read(kept, CLEAN.sha256, ("hernia",)).sha256 == results.references[0].sha256
    again = run(cohort, tmp_path / "out", [CLEAN], kept=[kept])
    assert again.cells == [cell for cell in results.cells if cell.model == "clean"]
    with pytest.raises(SettingError, match="of another model"):
        Reference.read(kept, SHORTCUT.sha256, ("hernia",))
    raw = json.loads(kept.read_text())
    raw["scores"]["hernia"][0] /= 2
    kept.write_text(json.dumps(raw))
    with pytest.raises(SettingError, match="damaged"):
        Reference.read(kept, CLEAN.sha256, ("hernia",))


def test_further_radiographs_make_the_reference(cohort: Cohort, results: Results, tmp_path: Path) -> None:
    from roentmod_fast.radiograph.sources import find_sources

    (tmp_path / "more").mkdir()
    for path in sorted(Path(cohort.plan.origin.root).iterdir())[:5]:
        (tmp_path / "more" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "more" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    sources = find_sources([tmp_path / "more"]).sources
    found = run(cohort, tmp_path / "out", [CLEAN], radiographs=sources)
    assert found.references[0].count == 5
    assert found.left_out["radiograph of the reference cannot be read"] == 1
    whole = results.references[0].scores["hernia"]
    own = found.references[0].scores["hernia"]
    assert set(own) <= set(whole) and percentiles(own, own[:1])[0] == pytest.approx(10)


def test_a_reference_that_is_none_is_not_replaced_by_another(cohort: Cohort, tmp_path: Path) -> None:
    from roentmod_fast.radiograph.sources import Source

    (tmp_path / "bad.png").write_bytes(b"no image")
    bad = [Source.of(tmp_path / "bad.png")]
    with pytest.raises(SettingError, match="none of 1 radiographs can be read"):
        run(cohort, tmp_path / "out", [CLEAN], radiographs=bad)
    table = TableScorer(PredictionTable("vendor", ("hernia",), "0", {}))
    with pytest.raises(SettingError, match="model vendor: a table of predictions scores no radiographs"):
        run(cohort, tmp_path / "out", [table], radiographs=bad)


def test_another_seed_is_a_control(tmp_path: Path) -> None:
    def noisy(patient: int, prompt: str, repeat: int, size: int) -> Array:
        return np.clip(drawn_edit(patient, prompt, repeat, size) + np.float32(0.02 * repeat), 0, 1)

    cohort = drawn_cohort(tmp_path / "cohort", ("cardiomegaly",), patients=6, repeats=2, edit=noisy)
    bright = FunctionScorer(lambda image: [float(image.mean())], ("cardiomegaly",), "bright")
    results = run(cohort, tmp_path / "out", [bright])
    cell = cell_of(results, "bright", "seed", "cardiomegaly")
    assert cell.role == CONTROL and cell.pairs == 6 and cell.after > cell.before
    assert cell_of(results, "bright", "cardiomegaly", "cardiomegaly").pairs == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"findings": ["mass"]}, "finding 'mass': no model has it: expected some of cardiomegaly, hernia"),
        ({"scorers": [FunctionScorer(lambda image: [0.5], ("fracture",), "other")]}, "no model knows a finding"),
        ({"scorers": [FunctionScorer(lambda image: [0.5], ("hernia",), "m"), CLEAN, CLEAN]}, "two models are called"),
        ({"scorers": []}, "no model"),
        ({"findings": []}, "no finding: name some of cardiomegaly, hernia"),
        (
            {"scorers": [CLEAN, FunctionScorer(lambda image: [0.5], ("fracture",), "other")]},
            "model other: has no output of cardiomegaly, hernia",
        ),
        (
            {"scorers": [CLEAN, FunctionScorer(lambda image: [0.5], ("hernia",), "m")], "findings": ["cardiomegaly"]},
            "model m: has no output of cardiomegaly: leave it out; its outputs are hernia",
        ),
    ],
)
def test_what_fits_no_cohort_is_refused(
    cohort: Cohort, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    arguments = {"scorers": [CLEAN], **settings}
    with pytest.raises(SettingError, match=message):
        StressTest(cohort, folder=tmp_path, **arguments)  # type: ignore[arg-type]


def test_a_model_without_a_finding_leaves_its_cells_empty(cohort: Cohort, tmp_path: Path) -> None:
    half = FunctionScorer(lambda image: [heart(image)], ("cardiomegaly",), "half")
    results = run(cohort, tmp_path, [CLEAN, half])
    assert results.notes[0] == "half has no output of hernia: these cells stay empty"
    assert [note for note in results.notes if "--reference" in note] == list(results.notes[1:]) and len(
        results.notes
    ) == 3
    assert {cell.finding for cell in results.cells if cell.model == "half"} == {"cardiomegaly"}


@pytest.mark.parametrize("values", [[0.5, float("nan")], [0.5, 1.5], [0.5]])
def test_scores_that_are_none_stop_the_run(cohort: Cohort, tmp_path: Path, values: list[float]) -> None:
    with pytest.raises(SettingError, match="model bad: gave"):
        run(cohort, tmp_path, [FunctionScorer(lambda image: values, ("cardiomegaly", "hernia"), "bad")])


def test_one_patient_has_no_interval(tmp_path: Path) -> None:
    cohort = drawn_cohort(tmp_path / "cohort", ("hernia",), patients=1, films=2)
    with pytest.raises(SettingError, match="pairs of 1 patient"):
        run(cohort, tmp_path / "out", [CLEAN])


def test_a_control_that_is_not_there_is_named(cohort: Cohort, tmp_path: Path) -> None:
    test = StressTest(cohort, [CLEAN], tmp_path, replace(OPTIONS, null="autoencoder"), round_trip=False)
    list(test.score())
    with pytest.raises(SettingError, match="control autoencoder: not in this cohort for clean, which has normal"):
        test.analyse()


@pytest.mark.parametrize("text", ["model.txt", "no.such.module:f", "roentmod_fast.errors:SettingError", "x:y z"])
def test_a_model_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="model "):
        open_scorer(text)


def test_a_function_of_this_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_model.py").write_text("def score(image):\n    return [0.5]\n\n\nscore.findings = ('edema',)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])  # as the installed command has it
    assert open_scorer("my_own_model:score").findings == ("edema",)
