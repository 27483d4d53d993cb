"""``roentmod-fast sweep``."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

Run = Callable[..., Ran]
SMALL = ("--strength", "0.2,0.4", "--guidance", "1,4", "--steps", "10", "--device", "cpu", "--workers", "1")


def test_a_sweep_into_a_folder(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "sweep", tmp_path / "sweep.html"
    ran = roentmod("sweep", chest, "-p", "edema", "-o", out, "--html", page, "--box", "20,20,80,90", *SMALL)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [str(out / "cells.csv"), str(out / "sheet.png"), str(page)]
    # 2 steps, then 4; the first step has two texts, each later one 1 + 2 evaluations.
    assert "4 cells, 4 runs, 16 UNet evaluations (each by itself 18); at most about" in ran.err
    rows = list(csv.DictReader((out / "cells.csv").read_text().splitlines()))
    assert len(rows) == 4 and all(float(row["mean_change_inside"]) >= 0 for row in rows)
    again = roentmod("sweep", chest, "-p", "edema", "-o", out, "--html", page, "--box", "20,20,80,90", *SMALL)
    assert again.code == 0 and "4 runs are there" in again.err and "at most" not in again.err
    other = roentmod("sweep", chest, "-p", "hernia", "-o", out, *SMALL)
    assert other.code == 2 and "another sweep" in other.err


def test_a_dry_run_makes_nothing(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    ran = roentmod("sweep", chest, "-p", "edema", "-o", tmp_path / "s", "--dry-run", "--steps", "50", "--device", "cpu")
    assert ran.code == 0, ran.err
    assert "100 cells, 100 runs, 5740 UNet evaluations (each by itself 5920)" in ran.err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "--prompt"),
        (("-p", " "), 2, "empty"),
        (("-p", "edema", "--strength", "0.2..1"), 2, "how many values"),
        (("-p", "edema", "--strength", "0.2..1.5:3"), 2, "strength 1.5"),
        (("-p", "edema", "--steps", "1.5"), 2, "whole numbers"),
        (("-p", "edema", "--seed", "-1"), 2, "seed -1"),
        (("-p", "edema", "--solver", "euler"), 2, "euler"),
        (("-p", "edema", "--compose", "mix"), 2, "mix"),
        (("-p", "edema", "--box", "1,2,3"), 2, "four whole numbers"),
        (("-p", "edema", "--box", "0,0,999,9"), 2, "box"),
        (("-p", "edema", "--box", "0,0,9,9", "--mask", "m.png"), 2, "contradict"),
        (("-p", "edema", "--html", "a.txt"), 2, ".html"),
        (("-p", "edema", "-o", "file.txt"), 1, "file.txt"),
    ],
)
def test_bad_options(
    roentmod: Run,
    chest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("a file")
    ran = roentmod("sweep", chest, *arguments)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "study"]
