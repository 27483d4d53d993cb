"""``roentmod-fast sample``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DigitalXRayImageStorageForPresentation

from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.read import read_radiograph
from tests.cli.conftest import Ran

Run = Callable[..., Ran]


def test_writes_a_dx_of_twelve_bits(roentmod: Run, tmp_path: Path) -> None:
    ran = roentmod("sample", tmp_path / "out.dcm", "--finding", "edema", "--seed", "3")
    assert ran.code == 0, ran.err
    assert ran.out == f"{tmp_path / 'out.dcm'}\n"
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    assert dataset.SOPClassUID == DigitalXRayImageStorageForPresentation
    assert (dataset.Rows, dataset.Columns, dataset.BitsStored) == (1024, 1024, 12)
    assert dataset[0x0008, 0x001C].value == "YES"
    # What is read back is what was drawn, to the 12 bits' half grey level and the window's rounding.
    image = read_radiograph(tmp_path / "out.dcm").image
    assert np.abs(image - draw(1024, 3, ("edema",)).image).max() < 1 / 4095


def test_the_same_seed_is_the_same_patient(roentmod: Run, tmp_path: Path) -> None:
    for name, extra in (("a", []), ("b", ["--finding", "left upper lobe mass"])):
        assert roentmod("sample", tmp_path / f"{name}.dcm", "--size", 256, "--seed", 5, *extra).code == 0
    a, b = (read_radiograph(tmp_path / f"{name}.dcm").image for name in "ab")
    changed = np.abs(a - b) > 0.05
    assert 0 < changed.mean() < 0.05


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--finding", "fracture"], 2, "cannot be drawn: name some of cardiomegaly"),
        (["--seed", "-1"], 2, "--seed"),
        (["--size", "10"], 2, "--size"),
    ],
)
def test_bad_options(roentmod: Run, tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    ran = roentmod("sample", tmp_path / "out.dcm", *arguments)
    assert ran.code == code
    assert says in ran.err
    assert not (tmp_path / "out.dcm").exists()


def test_does_not_overwrite(roentmod: Run, tmp_path: Path) -> None:
    (tmp_path / "out.dcm").write_text("precious")
    ran = roentmod("sample", tmp_path / "out.dcm", "--size", 128)
    assert ran.code == 1
    assert "--overwrite" in ran.err
    assert (tmp_path / "out.dcm").read_text() == "precious"
