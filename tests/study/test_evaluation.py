"""AUC of tables of predictions on labelled radiographs: what is compared with what."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from roentmod_fast.cli import cli
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.study.evaluation import Evaluation, write_evaluation
from roentmod_fast.study.samples import REAL, Sample, SampleSet, read_samples
from roentmod_fast.study.stress.scorers import FunctionScorer


def write(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve radiographs in two folders with the same file names, half of them with each finding."""
    rows: list[list[object]] = []
    for at in range(12):
        name = f"{'ab'[at % 2]}/{at // 2}.png"
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40), at, np.uint8)).save(tmp_path / "films" / name)
        rows.append([name, f"p{at}", "test", at % 2, at // 2 % 2])
    return write(tmp_path / "films" / "nih.csv", ["source", "patient", "split", "y_edema", "y_hernia"], rows)


def predictions(path: Path, table: Path, findings: list[str], seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    sources = [row["source"] for row in csv.DictReader(table.read_text().splitlines())]
    return write(path, ["image_id", *findings], [[name, *rng.random(len(findings))] for name in sources])


def evaluate(folder: Path, *arguments: Path | str) -> tuple[int, str]:
    result = CliRunner().invoke(
        cli, ["train", "evaluate", *map(str, arguments), "-o", str(folder), "--resamples", "100"]
    )
    return result.exit_code, f"{result.stderr}{result.exception}"


def test_a_table_of_predictions_names_radiographs_as_the_table_does(table: Path, tmp_path: Path) -> None:
    model = predictions(tmp_path / "vendor.csv", table, ["edema"])
    status, text = evaluate(tmp_path / "out", model, "--table", table)
    assert status == 0, text
    [row] = csv.DictReader((tmp_path / "out" / "auc.csv").read_text().splitlines())
    assert row["n_images"] == "12"
    scores = [float(each["edema"]) for each in csv.DictReader(model.read_text().splitlines())]
    wins = [a > b for a in scores[1::2] for b in scores[::2]]
    assert float(row["auc"]) == pytest.approx(np.mean(wins))


def test_each_finding_is_compared_with_the_first_model_that_has_it(table: Path, tmp_path: Path) -> None:
    models = [
        predictions(tmp_path / f"{name}.csv", table, findings, seed)
        for seed, (name, findings) in enumerate(
            {"one": ["edema"], "two": ["edema", "hernia"], "three": ["hernia"]}.items()
        )
    ]
    status, text = evaluate(tmp_path / "out", *models, "--table", table)
    assert status == 0, text
    rows = csv.DictReader((tmp_path / "out" / "auc.csv").read_text().splitlines())
    found = {(row["model"], row["finding"]): row["against"] for row in rows}
    assert found == {
        ("one", "edema"): "",
        ("two", "edema"): "one",
        ("two", "hernia"): "",
        ("three", "hernia"): "two",
    }
    assert "Against one" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_what_is_left_out_is_said(table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A row without a label, and an edit among the radiographs."""
    from tests.study.test_samples import write_synthetic

    rows = [row.split(",") for row in table.read_text().splitlines()]
    rows[1][3] = rows[1][4] = ""
    write_synthetic(table.parent / rows[2][0])
    write(table, rows[0], [list(row) for row in rows[1:]])
    scorer = Looks()
    evaluation = Evaluation([scorer], {"nih": read_samples([], [table])}, "test", 100)
    for _ in evaluation.run():
        pass
    assert evaluation.left_out["marked as synthetic, not a real radiograph"] == 1 and scorer.seen == 10
    write_evaluation(evaluation, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "result.json").read_text())
    assert facts["notes"] == {"nih": ["1 left out: without a label of these findings"]}
    assert "1 left out: without a label" in (tmp_path / "out" / "index.html").read_text()
    status, _ = evaluate(tmp_path / "again", predictions(tmp_path / "v.csv", table, ["edema"]), "--table", table)
    assert status == 0 and "nih: 1 left out: without a label" in caplog.text


class Looks:
    """A model that looks at images and gives their mean."""

    name, findings, looks, sha256 = "mean", ("edema",), True, "0" * 64

    def __init__(self) -> None:
        self.seen = 0

    def score(self, image: np.ndarray | None, names: Sequence[str]) -> np.ndarray:
        assert image is not None
        self.seen += 1
        return np.array([image.mean()])


def test_two_tables_of_one_name_are_refused(table: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "mimic" / "nih.csv", ["source", "patient", "split", "y_edema"], [])
    model = predictions(tmp_path / "vendor.csv", table, ["edema"])
    status, text = evaluate(tmp_path / "out", model, "--table", table, "--table", other)
    assert status != 0 and "two are called nih" in text


def test_radiographs_are_shown_in_the_size_in_which_training_shows_them(tmp_path: Path) -> None:
    shapes = list[tuple[int, ...]]()
    scorer = FunctionScorer(lambda image: [shapes.append(image.shape) or 0.5], ("edema",), "one")  # type: ignore[func-returns-value]
    samples = []
    for at, frame in enumerate((None, None, 32, 32)):
        Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(60, 20)).save(tmp_path / f"{at}.png")
        file = Source.of(tmp_path / f"{at}.png")
        samples.append(Sample(f"{at}", REAL, "test", f"p{at}", f"{at}", (float(at % 2),), file, frame=frame))
    evaluation = Evaluation([scorer], {"films": SampleSet(("edema",), tuple(samples))}, count=100)
    assert list(evaluation.run()) == [1, 2, 3, 4] and not evaluation.left_out
    assert shapes == [(60, 20), (60, 20), (32, 32), (32, 32)]
