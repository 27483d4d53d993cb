"""``roentmod-fast generate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from tests.cli.conftest import Ran

Run = Callable[..., Ran]
QUICK = ("--steps", "5", "--device", "cpu")


def test_one_image_into_a_file(roentmod: Run, tmp_path: Path) -> None:
    ran = roentmod("generate", "-p", "edema", "-o", tmp_path / "a.dcm", *QUICK)
    assert ran.code == 0, ran.err
    assert ran.out == f"{tmp_path / 'a.dcm'}\n"
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    assert (dataset.Rows, dataset.Columns) == (256, 256) and "SourceImageSequence" not in dataset


def test_several_into_a_folder_and_on_from_there(roentmod: Run, tmp_path: Path) -> None:
    arguments = ("generate", "-p", "edema", "-p", "hernia", "-o", f"{tmp_path / 'out'}/", "--format", "png", *QUICK)
    ran = roentmod(*arguments, "--count", 2, "--seed", 3)
    assert ran.code == 0, ran.err
    names = [Path(line).name for line in ran.out.splitlines()]
    assert names == ["edema.00003.png", "edema.00004.png", "hernia.00003.png", "hernia.00004.png"]
    (tmp_path / "out" / names[1]).unlink()
    before = (tmp_path / "out" / names[0]).read_bytes()
    refused = roentmod(*arguments, "--count", 2, "--seed", 3)
    assert refused.code == 1 and "already exists" in refused.err and not (tmp_path / "out" / names[1]).exists()
    again = roentmod(*arguments, "--count", 3, "--seed", 3, "--skip-existing")
    assert again.code == 0 and "3 written, 3 existing" in again.err
    assert (tmp_path / "out" / names[0]).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "--prompt"),
        (("-p", " "), 2, "empty"),
        (("-p", "edema", "--count", "0"), 2, "--count"),
        (("-p", "edema", "--seed", "-1"), 2, "--seed"),
        (("-p", "edema", "-o", "a.txt"), 2, ".dcm or .png"),
        (("-p", "edema", "-o", "a.dcm", "--format", "png"), 2, "--format"),
        (("-p", "edema", "--count", "2", "-o", "a.dcm"), 2, "folder"),
        (("-p", "a b", "-p", "a-b"), 2, "two prompts"),
        (("-p", "edema", "--overwrite", "--skip-existing"), 2, "contradict"),
        (("-p", "edema", "--steps", "1000", "-o", "a.dcm"), 2, "steps 1000"),
        (("-p", "edema", "-o", "none.txt/a.dcm"), 1, "none.txt"),
    ],
)
def test_bad_options(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.txt").write_text("a file")
    ran = roentmod("generate", *arguments)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["none.txt"]
