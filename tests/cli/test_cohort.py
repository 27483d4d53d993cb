"""``roentmod-fast cohort`` as a user types it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from tests.cli.conftest import Ran
from tests.study import metadata
from tests.study.conftest import TINY, make_sources

Run = Callable[..., Ran]


@pytest.fixture
def cohort(roentmod: Run, tmp_path: Path) -> Path:
    """A cohort of three sources that is planned."""
    make_sources(tmp_path / "sources", 3)
    arguments = ("--engine", TINY, "--device", "cpu", "--steps", 3, "--no-estimate", "--force", "content,synthetic")
    ran = roentmod("cohort", "plan", tmp_path / "sources", "-p", "edema", "-o", tmp_path / "c", *arguments)
    assert ran.code == 0, ran.err
    assert ran.out == f"{tmp_path / 'c'}\n" and "3 sources x 1 prompts x 1 repeats: 3 edits" in ran.err
    return tmp_path / "c"


def test_from_a_plan_to_a_table(roentmod: Run, cohort: Path) -> None:
    assert "3 edits planned: 3 pending" in roentmod("cohort", "status", cohort).out
    ran = roentmod("cohort", "run", cohort)
    assert ran.code == 0 and "3 edits to make" in ran.err and "3 done" in ran.err
    assert roentmod("cohort", "status", cohort).out.startswith("3 edits planned: 3 done, 0 pending\n")
    assert json.loads(roentmod("cohort", "status", cohort, "--json").out)["counts"] == {"done": 3}
    ran = roentmod("cohort", "verify", cohort)
    assert (ran.code, ran.out) == (0, "3 files checked: clean\n")
    ran = roentmod("cohort", "table", cohort, "--labels", "cooccurrence", "--asked", "diagonal")
    assert ran.code == 0 and ran.out.splitlines()[0] == str(cohort / "manifest.csv")
    with (cohort / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["y_edema"] for row in rows if row["kind"] == "edit"] == ["0.97"] * 3
    ran = roentmod("cohort", "run", cohort)
    assert ran.code == 0 and "nothing to make" in ran.err


def test_what_verify_finds_and_removes(roentmod: Run, cohort: Path) -> None:
    roentmod("cohort", "run", cohort)
    first, second, third = sorted((cohort / "edits").rglob("*.dcm"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    data = bytearray(third.read_bytes())
    data[-1] ^= 1
    third.write_bytes(bytes(data))
    (cohort / "edits" / "stray.dcm").write_bytes(b"x")
    ran = roentmod("cohort", "verify", cohort)
    assert ran.code == 3 and ran.out == "3 files checked: not clean\n"
    for text in ("the file is missing", "bytes and not", "its content is not what was written", "belongs to no row"):
        assert text in ran.err
    ran = roentmod("cohort", "verify", cohort, "--quick", "--remove-stray")
    assert "its content" not in ran.err and "removed 1 stray files" in ran.err
    assert not (cohort / "edits" / "stray.dcm").exists()


def test_a_failure_is_counted_and_gives_status_3(roentmod: Run, cohort: Path) -> None:
    broken = next((cohort.parent / "sources").rglob("*.png"))
    whole = broken.read_bytes()
    broken.unlink()
    ran = roentmod("cohort", "run", cohort)
    assert ran.code == 3 and "1 failed" in ran.err.splitlines()[-1] and "no such file" in ran.err
    assert "1 times: " in roentmod("cohort", "status", cohort).out
    assert "--retry-failed" in roentmod("cohort", "verify", cohort).err
    broken.write_bytes(whole)
    assert roentmod("cohort", "run", cohort).code == 0, "nothing to make"
    ran = roentmod("cohort", "run", cohort, "--retry-failed")
    assert ran.code == 0 and "1 done" in ran.err


def test_a_run_in_which_all_were_refused_has_done_nothing(roentmod: Run, tmp_path: Path) -> None:
    cohort = tmp_path / "c"
    write_sample(tmp_path / "lateral.dcm", draw(96, 1).image, seed=1, findings=())
    dataset = pydicom.dcmread(tmp_path / "lateral.dcm")
    dataset.ViewPosition = "LL"
    dataset.save_as(tmp_path / "lateral.dcm")
    arguments = ("--engine", TINY, "--device", "cpu", "--steps", 3, "--no-estimate", "--force", "content,synthetic")
    ran = roentmod("cohort", "plan", tmp_path / "lateral.dcm", "-p", "edema", "-p", "no mass", "-o", cohort, *arguments)
    assert ran.code == 0 and "prompt 'no mass' gives no label" in ran.err, ran.err
    ran = roentmod("cohort", "run", cohort)
    assert ran.code == 1 and "2 refused" in ran.err
    ran = roentmod("cohort", "run", cohort)
    assert ran.code == 0 and "nothing to make" in ran.err


def test_a_data_set_is_counted_beside_the_paper(roentmod: Run, tmp_path: Path) -> None:
    metadata.nih(tmp_path / "nih")
    arguments = ("--engine", TINY, "--device", "cpu", "--no-estimate", "--prompts", "paper", "-o", tmp_path / "c")
    ran = roentmod("cohort", "plan", "--dataset", "nih", "--root", tmp_path / "nih", *arguments, "--limit", 2)
    assert ran.code == 0, ran.err
    assert "2 sources x 6 prompts x 1 repeats: 12 edits" in ran.err
    assert any(line.split() == ["patients", "5", "27713"] for line in ran.err.splitlines())
    plan = json.loads((tmp_path / "c" / "plan.json").read_text())
    assert plan["origin"]["root"] == str(tmp_path / "nih") and plan["origin"]["hash"] == "name"


def test_the_time_is_printed_before_anything_is_made(roentmod: Run, tmp_path: Path) -> None:
    make_sources(tmp_path / "sources", 1)
    common = (tmp_path / "sources", "-p", "edema", "-o", tmp_path / "c", "--force", "content,synthetic")
    ran = roentmod("cohort", "plan", *common, "--engine", TINY, "--device", "cpu", "--steps", 3)
    assert ran.code == 0 and "by one worker" in ran.err and "measured now" in ran.err
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"plan.json", "sources.csv"}


WRONG = [
    (("plan", "-p", "edema", "-o", "c"), 2, "name either files and folders, or --dataset"),
    (("plan", "x.dcm", "--dataset", "nih", "-p", "edema", "-o", "c"), 2, "name either"),
    (("plan", "--dataset", "nih", "-p", "edema", "-o", "c"), 2, "--dataset nih needs --root DIR"),
    (("plan", "--dataset", "table", "--root", ".", "-p", "edema", "-o", "c"), 2, "needs --metadata FILE"),
    (("plan", "absent/", "-p", "edema", "-o", "c"), 1, "absent: no such file or folder"),
    (("plan", "absent/", "-o", "c"), 2, "no prompt: give --prompt TEXT or --prompts paper"),
    (("plan", "absent/", "-p", " ", "-o", "c"), 2, "a prompt is empty"),
    (("plan", "absent/", "-p", "edema\r", "-o", "c"), 2, "with a control character"),
    (("plan", "absent/", "-p", "edema", "--split", "80", "-o", "c"), 2, "expected shares"),
    (("plan", "absent/", "-p", "edema", "--size", "64", "-o", "c"), 2, "--size and --png-bits are for PNG"),
    (("plan", "absent/", "-p", "edema", "--strength", "2", "-o", "c"), 2, "strength"),
    (("plan", "absent/", "-p", "edema", "--engine", "nothing", "-o", "c"), 1, "no engine named 'nothing'"),
    (("run", "c"), 2, "c: no cohort: make its plan first"),
    (("status", "c"), 2, "no cohort"),
    (("verify", "c"), 2, "no cohort"),
    (("table", "c"), 2, "no cohort"),
    (("table", "c", "--cooccurrence", "f"), 2, "--cooccurrence is for"),
    (("run", "c", "--shard", "0/4"), 2, "expected i/n"),
    (("run", "c", "--dask", "tcp://x", "--workers", "2"), 2, "contradict each other"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_wrong_usage_is_one_line(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = roentmod("cohort", *arguments, *(() if arguments[0] != "plan" else ("--no-estimate",)))
    assert ran.code == code and ran.err.splitlines()[-1].startswith("Error: ") and message in ran.err
    assert not (tmp_path / "c").exists()


def test_another_plan_and_another_engine_are_refused(roentmod: Run, cohort: Path) -> None:
    sources = cohort.parent / "sources"
    common = ("--device", "cpu", "--steps", 3, "--no-estimate", "--force", "content,synthetic", "-o", cohort)
    ran = roentmod("cohort", "plan", sources, "-p", "edema", "--engine", TINY, *common)
    assert ran.code == 0, "the same plan"
    for other in (("-p", "hernia", "--engine", TINY), ("-p", "edema", "--engine", "phantom")):
        ran = roentmod("cohort", "plan", sources, *other, *common)
        assert ran.code == 2 and "holds another plan" in ran.err


NORMAL = "no acute cardiopulmonary process"
BASELINES = ("plan", "--generate", NORMAL, "--count", 4, "--engine", TINY, "--device", "cpu", "--steps", 3)


def test_baselines_without_a_source_from_a_plan_to_a_table(roentmod: Run, tmp_path: Path) -> None:
    cohort = tmp_path / "normals"
    ran = roentmod("cohort", *BASELINES, "--format", "both", "--size", 48, "--batch", 3, "-o", cohort)
    assert ran.code == 0 and ran.out == f"{cohort}\n", ran.err
    assert "4 seeds x 1 texts: 4 images" in ran.err and "one image on this machine" in ran.err
    ran = roentmod("cohort", "run", cohort)
    assert ran.code == 0 and "4 done" in ran.err
    assert roentmod("cohort", "verify", cohort).out == "8 files checked: clean\n"
    ran = roentmod("cohort", "table", cohort, "--labels", "cooccurrence")
    assert ran.code == 0 and "shares are of RoentGen's edits" in ran.err
    with (cohort / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["seed"], row["y_edema"]) for row in rows] == [
        ("generated", str(seed), "0.0") for seed in range(4)
    ]


GENERATE_WRONG = [
    (("--generate", "x", "-o", "c"), "--generate needs --count N"),
    (("--count", "3", "-p", "edema", "-o", "c"), "--count and --seed are for --generate"),
    (("--seed", "3", "f.dcm", "-p", "edema", "-o", "c"), "--count and --seed are for --generate"),
    (("f.dcm", "--generate", "x", "--count", "3", "-o", "c"), "a source is for edits of sources"),
    (("--generate", " ", "--count", "3", "-o", "c"), "a prompt is empty"),
    (("--generate", "x", "--generate", "x", "--count", "3", "-o", "c"), "a prompt comes twice"),
    (("--generate", "x", "--count", "3", "--split", "dataset", "-o", "c"), "of no data set"),
    (("--generate", "x", "--count", "3", "--seed", str(2**32 - 2), "-o", "c"), "seeds end at"),
    *(
        (("--generate", "x", "--count", "3", *more, "-o", "c"), f"{more[0]} is for edits of sources")
        for more in (
            ("--dataset", "nih"),
            ("--root", "."),
            ("--strength", "0.5"),
            ("--compose", "replace"),
            ("--repeats", "1"),
            ("--limit", "2"),
            ("--noise", "edit"),
            ("--no-protect-markers",),
            ("--deidentify", "none"),
            ("--sop-class", "source"),
            ("--force",),
            ("--prompts", "paper"),
        )
    ),
]


@pytest.mark.parametrize(("arguments", "message"), GENERATE_WRONG)
def test_what_contradicts_generate_is_one_line(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = roentmod("cohort", "plan", "--engine", TINY, "--device", "cpu", "--no-estimate", *arguments)
    assert ran.code == 2 and message in ran.err.splitlines()[-1], ran.err
    assert not (tmp_path / "c").exists()


def test_prompt_names_no_image_of_a_text_alone(roentmod: Run, tmp_path: Path) -> None:
    ran = roentmod("cohort", *BASELINES, "-p", "edema", "-o", tmp_path / "c")
    assert ran.code == 2 and "-p is for edits of sources" in ran.err


def test_pages_of_a_cohort(roentmod: Run, cohort: Path, tmp_path: Path) -> None:
    assert "no edit is made yet" in roentmod("cohort", "page", cohort).err
    roentmod("cohort", "run", cohort)
    ran = roentmod("cohort", "page", cohort)
    assert (ran.code, ran.out) == (0, f"{cohort / 'page' / 'index.html'}\n")
    assert "pages: 3 written" in ran.err and "3 edits listed" in ran.err
    assert "pages: 3 kept" in roentmod("cohort", "page", cohort).err
    assert roentmod("cohort", "verify", cohort).out == "3 files checked: clean\n"
    ran = roentmod("cohort", "page", cohort, "-o", tmp_path / "look.html", "--limit", 1, "--finding", "edema")
    assert ran.out == f"{tmp_path / 'look.html'}\n" and len(list((tmp_path / "look.pages").iterdir())) == 1
    next((cohort.parent / "sources").rglob("*.png")).unlink()
    ran = roentmod("cohort", "page", cohort, "--overwrite")
    assert ran.code == 3 and "1 failed" in ran.err and "no such file" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-change", "5", "--max-change", "2"), "--min-change 5 is above --max-change 2"),
        (("--min-change", "100"), "widen --min-change"),
        (("--finding", "hernia"), "none of 3 edits"),
        (("--finding", "hernias"), "is not one of"),
        (("--min-change", "101"), "is not in the range"),
        (("--root", "absent"), "no such folder"),
    ],
)
def test_pages_that_nobody_can_make(roentmod: Run, cohort: Path, arguments: tuple[str, ...], message: str) -> None:
    roentmod("cohort", "run", cohort)
    ran = roentmod("cohort", "page", cohort, *arguments)
    assert ran.code == 2 and message in ran.err
    assert not (cohort / "page" / "index.html").exists()
