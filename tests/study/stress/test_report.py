"""The files of a stress test, and its command."""

from __future__ import annotations

import csv
import io
import json
import math
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from roentmod_fast.cli import cli
from roentmod_fast.findings import NORMAL_PROMPT
from roentmod_fast.radiograph.sources import find_sources
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.stress.report import COLUMNS
from tests.study.drawn_cohort import drawn_cohort
from tests.study.stress.test_stress import CLEAN, SHORTCUT, FunctionScorer

PROMPTS = ("cardiomegaly", 'hernia, "large" <b>', NORMAL_PROMPT)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return drawn_cohort(tmp_path_factory.mktemp("report") / "cohort", PROMPTS, patients=12, films=2)


def clean(image: object) -> object:
    return CLEAN.function(image)  # type: ignore[arg-type]


def shortcut(image: object) -> object:
    return SHORTCUT.function(image)  # type: ignore[arg-type]


clean.findings = CLEAN.findings  # type: ignore[attr-defined]
shortcut.findings = SHORTCUT.findings  # type: ignore[attr-defined]


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def stress(cohort: Cohort, *arguments: str) -> tuple[int, str, str]:
    here = "tests.study.stress.test_report"
    models = ["--model", f"{here}:clean", "--model", f"{here}:shortcut"]
    options = ["--resamples", "200", "--no-round-trip"]
    result = CliRunner().invoke(cli, ["stress", str(cohort.folder), *models, *options, *arguments])
    return result.exit_code, result.stdout, result.stderr + str(result.exception or "")


@pytest.fixture(scope="module")
def folder(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rates = tmp_path_factory.mktemp("rates") / "rates.csv"
    rates.write_text("asked,cardiomegaly,hernia\ncardiomegaly,0.9,0.25\n")
    target = tmp_path_factory.mktemp("results")
    status, out, errors = stress(cohort, "-o", str(target), "--cooccurrence", str(rates))
    assert (status, out.strip()) == (0, str(target / "index.html")), errors
    return target


def test_files_of_a_reference_that_are_left_out_are_named(cohort: Cohort, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    for path in sorted(Path(cohort.plan.origin.root).iterdir())[:5]:
        (more / path.name).write_bytes(path.read_bytes())
    (more / "notes.txt").write_text("no radiograph")
    films = tmp_path / "films.zip"
    with zipfile.ZipFile(films, "w") as archive:
        archive.writestr("film.png", b"of the archive")
    films.write_bytes(films.read_bytes().replace(b"of the archive", b"of the ARCHIVE"))
    found = find_sources([more, films])
    assert found.skipped and found.unreadable and len(found.sources) == 5
    status, _, errors = stress(cohort, "-o", str(tmp_path / "out"), "--reference", str(more), "--reference", str(films))
    for name, reason in found.unreadable.items():
        assert f"{name}: {reason}" in errors
    for reason in found.skipped:
        assert f"skipped 1 file: {reason}" in errors
    assert status == 0


def test_the_long_table_has_a_row_for_each_cell(folder: Path) -> None:
    rows = table(folder / "shifts.csv")
    assert tuple(rows[0]) == COLUMNS and len(rows) == 2 * 3 * 2
    [cell] = [r for r in rows if (r["model"], r["prompt"], r["finding"]) == ("shortcut", "cardiomegaly", "hernia")]
    assert (cell["role"], cell["n_pairs"], cell["n_patients"], cell["null"]) == ("off-target", "24", "12", "normal")
    assert float(cell["lo"]) <= float(cell["shift"]) <= float(cell["hi"])
    assert float(cell["cooccurrence"]) == 0.25 and cell["conclusion"] == "shifts"
    controls = [row for row in rows if row["role"] == "control"]
    assert len(controls) == 4 and {row["p_holm"] for row in controls} == {""}


def test_the_matrix_is_the_figure(folder: Path) -> None:
    rows = list(csv.reader((folder / "matrix-shortcut.csv").read_text().splitlines()))
    assert rows[0] == ["added", "cardiomegaly", "hernia"]
    assert [row[0] for row in rows[1:]] == [PROMPTS[0], PROMPTS[1], "control: normal"]
    svg = (folder / "shifts.svg").read_text()
    text = "".join(ElementTree.fromstring(svg).itertext())
    assert all(name in text for name in (*PROMPTS[:2], "clean", "shortcut", "percentile points"))
    assert min(Image.open(io.BytesIO((folder / "shifts.png").read_bytes())).size) > 300


def test_the_page_names_what_shifts_and_holds_no_markup_of_prompts(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    assert "Outputs that shift unasked" in page and "<b>" not in page and "&lt;b&gt;" in page
    assert "<script" not in page and "src=" not in page


def test_the_json_says_what_it_was_made_of(folder: Path, cohort: Cohort) -> None:
    facts = json.loads((folder / "result.json").read_text())
    assert facts["cohort"]["sha256"] == cohort.digest.hex()
    assert [model["reference"]["count"] for model in facts["models"]] == [24, 24]
    assert len(facts["cells"]) == 12 and facts["cells"][0]["shift"]["level"] == 0.95
    assert facts["version"] and facts["machine"]["python"]


def test_models_are_compared(folder: Path) -> None:
    rows = table(folder / "differences.csv")
    found = {(row["prompt"], row["finding"]): row for row in rows}
    planted = found["cardiomegaly", "hernia"]
    assert (planted["first"], planted["second"]) == ("clean", "shortcut") and float(planted["hi"]) < 0
    assert not math.isnan(float(planted["p_holm"]))


def test_the_command_goes_on_with_what_is_kept(folder: Path, cohort: Cohort) -> None:
    before = (folder / "scores-clean.csv").read_bytes()
    status, _, errors = stress(cohort, "-o", str(folder), "--findings", "hernia")
    assert status == 0, errors
    assert (folder / "scores-clean.csv").read_bytes() == before
    assert {row["finding"] for row in table(folder / "shifts.csv")} == {"hernia"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--findings", "mass"], "no model has it"),
        (["--reference", "a.json"], "1 files for 2 models"),
        (["--reference", "a.json", "--reference", "films"], "not both"),
        (["--null", "autoencoder"], "control autoencoder: not in this cohort"),
    ],
)
def test_wrong_usage_is_one_line(cohort: Cohort, tmp_path: Path, arguments: list[str], message: str) -> None:
    status, _, errors = stress(cohort, "-o", str(tmp_path / "out"), *arguments)
    assert status != 0 and message in errors


def test_edits_that_are_composed_need_no_round_trip(tmp_path: Path) -> None:
    from roentmod_fast.errors import SettingError
    from roentmod_fast.study.stress.run import StressTest

    cohort = drawn_cohort(tmp_path / "cohort", ("hernia",), patients=2, compose="contrast")
    flat = FunctionScorer(lambda image: [0.5, 0.5], CLEAN.findings, "flat")
    assert list(StressTest(cohort, [flat], tmp_path / "out").score()) == [1, 2]
    with pytest.raises(SettingError, match="no trace of the autoencoder"):
        list(StressTest(cohort, [flat], tmp_path / "other", round_trip=True).score())
