"""The files of a scored study: what other commands and programs read, and a page that shows it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roentmod_fast.errors import OutputError
from roentmod_fast.study.labels import READ, Labels, read_rates
from roentmod_fast.study.readers.imrmc import imrmc_files
from roentmod_fast.study.readers.rates import cooccurrence, realism_scores
from roentmod_fast.study.readers.results import PAGE, Score, ScoreOptions, score_study, write_score
from roentmod_fast.study.readers.score import Reads, read_study
from tests.study.readers.panel import STUDY, Reader, answers, key_of, write_panel

HOSTILE = "=cmd|'/c calc'!A1 <script>"
PANEL = (Reader({}, 0.1, 0.1, names_extra=0.3), Reader({}, 0.2, 0.1, detects=0.8))


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Reads:
    """Five patients, a prompt of the paper's and one that asks for nothing known, two readers."""
    key = key_of(5, ("edema", "nodule", HOSTILE), 4, 2, overlap=0.4, repeat=0.2)
    rows = [replace(row, notes=HOSTILE) for row in answers(key, PANEL)]
    return read_study(*write_panel(tmp_path_factory.mktemp("panel"), key, rows))


@pytest.fixture(scope="module")
def score(reads: Reads) -> Score:
    return score_study(reads, ScoreOptions(resamples=200))


@pytest.fixture(scope="module")
def folder(score: Score, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("result") / "deep"
    write_score(score, folder)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_shares_are_read_by_cohort_table(folder: Path, reads: Reads) -> None:
    rates = read_rates(folder / "cooccurrence.csv")
    expected = cooccurrence(reads)
    assert set(rates) == {"edema", "nodule"} == set(expected)
    for asked, row in rates.items():
        assert row == {name: pytest.approx(value, abs=1e-6) for name, value in expected[asked].items()}
    labels = Labels("cooccurrence", "diagonal", rates).of_edit("edema", {}, "0" * 16)
    assert labels["edema"] == rates["edema"]["edema"] and labels["mass"] == rates["edema"]["mass"]


def test_files_of_a_score(folder: Path, score: Score, reads: Reads) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("index.html", "rates.csv", "reads.csv", "agreement.csv", "summary.json", "cooccurrence.csv"),
        *("cooccurrence.svg", "cooccurrence.png", "imrmc.txt", "imrmc-edema.txt", "imrmc-nodule.txt"),
    }
    rows = table(folder / "rates.csv")
    assert len(rows) == len(score.rates) == (3 + 2) * 3 * 3 * (len(READ) + 3)
    assert {row["reader"] for row in rows} == {"all", "1", "2"}
    assert len(table(folder / "agreement.csv")) == len(score.agreement)
    long = table(folder / "reads.csv")
    assert len(long) == len(reads.reads) and {row["study"] for row in long} == {STUDY}
    assert {row["patient"] for row in long} == {f"P{number}" for number in range(5)}
    with Image.open(folder / "cooccurrence.png") as opened:
        assert np.asarray(opened).std() > 5


def test_free_text_is_no_formula_and_no_markup(folder: Path) -> None:
    long = table(folder / "reads.csv")
    assert {row["notes"] for row in long} == {f"'{HOSTILE}"}
    assert {row["prompt"] for row in long if row["prompt"] not in ("edema", "nodule", "")} == {f"'{HOSTILE}"}
    page = (folder / PAGE).read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "default-src 'none'" in page and "http://" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_a_study_of_realism_alone_is_scored(reads: Reads, tmp_path: Path) -> None:
    blank = [replace(read, row=replace(read.row, findings=dict.fromkeys(read.row.findings))) for read in reads.reads]
    paths = write_score(score_study(replace(reads, reads=blank), ScoreOptions(resamples=100)), tmp_path / "out")
    assert {path.name for path in paths} >= {PAGE, "rates.csv", "cooccurrence.png"}
    rows = [row for row in table(tmp_path / "out" / "rates.csv") if row["measure"] == "realism" and row["rate"]]
    assert rows and all(row["images"] != "0" for row in rows)


def test_the_page_shows_all_results(folder: Path) -> None:
    page = (folder / PAGE).read_text()
    for text in (
        *("Adherence, realism", "counted as absent", "counted as excluded", "counted as half", "Real or synthetic"),
        *("By reader", "Agreement between readers", "Agreement within readers", "AC1", "<svg", STUDY),
    ):
        assert text in page, text


def test_a_summary_has_hashes_and_no_number_that_json_has_not(folder: Path, reads: Reads) -> None:
    text = (folder / "summary.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    facts = json.loads(text)
    assert facts["study"] == STUDY and facts["key_sha256"] == reads.key_sha256
    assert [len(each["sha256"]) for each in facts["sheets"]] == [64, 64]
    assert facts["reads"] == facts["planned"] == len(reads.reads)
    assert set(facts["adherence"]["edema"]) == {"images", "absent", "excluded", "half"}
    assert facts["real_or_synthetic"][0]["reader"] == "all"


def test_results_are_replaced_only_where_that_is_asked_for(score: Score, tmp_path: Path) -> None:
    write_score(score, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="already exists"):
        write_score(score, tmp_path)
    (tmp_path / "imrmc-hernia.txt").write_text("of other sheets")
    (tmp_path / "notes.txt").write_text("mine")
    write_score(score, tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {**before, "notes.txt": b"mine"}


def test_data_of_imrmc_has_the_truth_once_and_a_score_a_reader_and_case(reads: Reads) -> None:
    for name, text in imrmc_files(reads).items():
        front, _, data = text.partition("BEGIN DATA:\n")
        counts = dict(line.split(": ") for line in front.splitlines()[2:])
        rows = [line.split(",") for line in data.splitlines()]
        assert all(len(row) == 4 and " " not in "".join(row) for row in rows), name
        truth = {case: value for reader, case, modality, value in rows if reader == "truth" and modality == "truth"}
        own = [row for row in rows if row[0] != "truth"]
        assert len(truth) + len(own) == len(rows)
        assert {case for _, case, _, _ in own} == set(truth)
        assert len({(reader, case) for reader, case, _, _ in own}) == len(own)
        assert counts == {
            "N0": str(sum(value == "0" for value in truth.values())),
            "N1": str(sum(value == "1" for value in truth.values())),
            "NR": str(len({row[0] for row in own})),
            "NM": "1",
        }
        assert {row[2] for row in own} == {name[6:-4] or "realism"}
        assert {float(row[3]) for row in own} <= {0.0, 0.5, 1.0}
    realism = imrmc_files(reads)["imrmc.txt"]
    real = {str(read.image.case) for read in reads.reads if read.image.real}
    assert {line.split(",")[1] for line in realism.splitlines() if line.endswith("truth,0")} == real


def test_realism_is_graded_where_each_read_has_a_confidence(reads: Reads) -> None:
    own = [
        replace(read, row=replace(read.row, confidence=5, realism=value))
        for value in (1, 0, 2)
        for read in reads.reads[:1]
    ]
    assert realism_scores(own).tolist() == [1.0, 0.0, 0.5]
    own[0] = replace(own[0], row=replace(own[0].row, confidence=1))
    assert realism_scores(own).tolist() == [pytest.approx(0.6), 0.0, 0.5]
    own[1] = replace(own[1], row=replace(own[1].row, confidence=None))
    assert realism_scores(own).tolist() == [1.0, 0.0, 0.5]
