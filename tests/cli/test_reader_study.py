"""``roentmod-fast reader-study``: from a cohort to sheets and from sheets to results."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from roentmod_fast.cli import cli
from roentmod_fast.errors import SettingError
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.readers.sheet import read_sheet
from tests.study.readers.conftest import drawn_cohort


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return drawn_cohort(tmp_path_factory.mktemp("drawn"), 4)


def fill(path: Path) -> None:
    """Fill in a sheet as a spreadsheet of a German desktop saves it."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row |= {"edema": str(number % 2), "mass": "0", "realism": str(number % 3), "status": "read", "seconds": "7,5"}
    with path.open("w", encoding="cp1252", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


def test_a_study_is_made_and_scored(cohort: Cohort, tmp_path: Path) -> None:
    study, result = tmp_path / "study", tmp_path / "result"
    args = ["make", str(cohort.folder), "--readers", "2", "--size", "64", "--findings", "edema, mass", "-o", str(study)]
    made = CliRunner().invoke(cli, ["reader-study", *args], catch_exceptions=False)
    assert made.exit_code == 0 and made.stdout == f"{study}\n"
    assert "8 edits and 2 controls (20 %)" in made.stderr and "key.json tells what each image is" in made.stderr
    sheets = [study / f"reader-{number}" / "sheet.csv" for number in (1, 2)]
    assert all(read_sheet(path).findings == ("edema", "mass") for path in sheets)
    for path in sheets:
        fill(path)
    args = ["score", str(study / "key.json"), *map(str, sheets), "--resamples", "100", "-o", str(result)]
    scored = CliRunner().invoke(cli, ["reader-study", *args], catch_exceptions=False)
    assert scored.exit_code == 0 and scored.stdout.splitlines()[0] == str(result / "index.html")
    assert (
        json.loads((result / "summary.json").read_text())["images_compared"] == 14
    )  # 2 of 10 read by both, 1 a reader twice
    assert (result / "cooccurrence.csv").read_text().startswith("asked,edema,mass\nedema,")


def test_wrong_usage_is_one_line(cohort: Cohort, tmp_path: Path) -> None:
    for args, match in (
        (["--controls-root", str(tmp_path)], "--controls-root is for --controls-from"),
        (["--findings", "edema,,mass"], "--findings ''"),
        (["--prompt", "mass"], "not in the plan"),
    ):
        with pytest.raises(SettingError, match=match):
            CliRunner().invoke(
                cli,
                ["reader-study", "make", str(cohort.folder), "-o", str(tmp_path / "s"), *args],
                catch_exceptions=False,
            )
    for args in (["make", str(cohort.folder)], ["score", str(tmp_path / "key.json"), "-o", str(tmp_path / "r")]):
        assert CliRunner().invoke(cli, ["reader-study", *args]).exit_code == 2
