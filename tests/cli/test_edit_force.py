"""``--force``: with and without a value, before a source, misspelt; and ``--orientation``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pydicom
import pytest

from roentmod_fast.cli.edit import command
from roentmod_fast.radiograph.doubts import DOUBTS
from roentmod_fast.radiograph.read import read_radiograph

from .conftest import Ran

Run = Callable[..., Ran]
ALL = frozenset(DOUBTS)


def parsed(*arguments: str) -> tuple[frozenset[str], list[str], tuple[str, ...]]:
    """Return what a command line forces, its sources and its prompts."""
    with command.make_context("edit", [*arguments]) as context:
        values = context.params
        return values["force"], [str(path) for path in values["sources"]], values["prompts"]


@pytest.mark.parametrize(
    ("arguments", "force"),
    [
        (["chest.dcm", "-p", "edema"], frozenset()),
        (["--force", "chest.dcm", "-p", "edema"], ALL),
        (["chest.dcm", "--force", "-p", "edema"], ALL),
        (["chest.dcm", "-p", "edema", "--force"], ALL),
        (["--force", "view", "chest.dcm", "-p", "edema"], {"view"}),
        (["--force=view", "chest.dcm", "-p", "edema"], {"view"}),
        (["--force", "view,body-part", "chest.dcm", "-p", "edema"], {"view", "body-part"}),
        (["--force", "VIEW", "--force", "species", "chest.dcm", "-p", "edema"], {"view", "species"}),
        (["--force", "all", "chest.dcm", "-p", "edema"], ALL),
        (["-p", "edema", "--force", "--", "chest.dcm"], ALL),
        (["-p", "edema", "chest.dcm", "--force", "--quick"], ALL),
    ],
)
def test_what_is_forced_and_what_is_a_source(arguments: list[str], force: set[str]) -> None:
    assert parsed(*arguments) == (force, ["chest.dcm"], ("edema",))


def test_force_as_the_value_of_another_option_or_behind_two_dashes() -> None:
    assert parsed("chest.dcm", "-p", "--force") == (frozenset(), ["chest.dcm"], ("--force",))
    assert parsed("-p", "edema", "--", "--force", "view") == (frozenset(), ["--force", "view"], ("edema",))


def test_a_misspelt_doubt_is_no_source_but_a_file_of_that_name_is(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = roentmod("edit", "--force", "veiw", "chest.dcm", "-p", "edema")
    assert ran.code == 2 and "'veiw'" in ran.err and "body-part" in ran.err
    ran = roentmod("edit", "--force=nonsense", "chest.dcm", "-p", "edema")
    assert ran.code == 2 and "'nonsense'" in ran.err
    (tmp_path / "veiw").touch()
    assert parsed("--force", "veiw", "-p", "edema") == (ALL, ["veiw"], ("edema",))


@pytest.fixture
def lateral_knee(chest: Path) -> Path:
    dataset = pydicom.dcmread(chest)
    dataset.ViewPosition, dataset.BodyPartExamined = "LL", "KNEE"
    dataset.save_as(chest)
    return chest


def test_one_doubt_forced_leaves_the_other(roentmod: Run, lateral_knee: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    ran = roentmod("edit", lateral_knee, "-p", "edema", "-o", out, "--quick", "--force", "view")
    assert ran.code == 1 and "body part KNEE" in ran.err and "view position" not in ran.err
    assert "(--force body-part goes on)" in ran.err and not out.exists()
    ran = roentmod("edit", "--force", "body-part,view", lateral_knee, "-p", "edema", "-o", out, "--quick")
    assert ran.code == 0 and ran.out == f"{out}\n", ran.err
    assert "body part KNEE" in ran.err and "view position LL" in ran.err


def test_only_the_doubt_synthetic_brings_back_outputs_of_a_folder(roentmod: Run, chest: Path) -> None:
    assert roentmod("edit", chest, "-p", "edema", "--quick").code == 0
    ran = roentmod("edit", chest.parent, "-p", "hernia", "--quick", "--force", "view")
    assert ran.code == 0 and "skipped 1 file: already synthetic" in ran.err and len(ran.out.splitlines()) == 1
    out = chest.parent.parent / "out"
    ran = roentmod("edit", chest.parent, "-p", "edema", "--quick", "-o", out, "--force", "synthetic")
    assert ran.code == 0 and len(ran.out.splitlines()) == 3


def test_orientation(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    upright = read_radiograph(chest).stored
    assert upright is not None
    dataset = pydicom.dcmread(chest)
    dataset.PixelData, dataset.PatientOrientation = np.fliplr(upright).astype("<u2").tobytes(), None
    dataset.save_as(chest)
    out = tmp_path / "out.dcm"
    ran = roentmod("edit", chest, "-p", "edema", "-o", out, "--quick", "--orientation", "R/F")
    assert ran.code == 0 and "Patient Orientation given as R\\F" in ran.err, ran.err
    assert list(pydicom.dcmread(out).PatientOrientation) == ["R", "F"]
    ran = roentmod("edit", chest, "-p", "edema", "-o", out, "--quick", "--orientation", "A/F")
    assert ran.code == 2 and "orientation 'A/F': expected" in ran.err


@pytest.mark.parametrize(
    ("former", "today"),
    [
        (["--identity", "strip"], ["--deidentify", "anonymize"]),
        (["--identity=keep"], ["--deidentify", "none"]),
        (["--as", "secondary-capture"], ["--sop-class", "secondary-capture"]),
        (["--calls", "4"], ["--sampling-steps", "4"]),
    ],
)
def test_former_names_keep_working_and_are_not_shown(former: list[str], today: list[str]) -> None:
    both = []
    for options in (former, today):
        context = command.make_context("edit", ["chest.dcm", "-p", "--as", *options])
        both.append({name: value for name, value in context.params.items() if name != "output"})
    assert both[0] == both[1]
    assert both[0]["prompts"] == ("--as",), "a prompt is taken as it is"
    assert former[0].partition("=")[0] not in command.get_help(click.Context(command)).split()
