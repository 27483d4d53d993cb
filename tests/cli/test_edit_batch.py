"""``roentmod-fast edit --batch N``: the same files, messages and exit status as one edit at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from tests.cli.conftest import Ran

Run = Callable[..., Ran]

ENGINE = Path(__file__).parent.parent / "goldens" / "tiny_bundle"
PROMPTS = ("-p", "edema", "-p", "hernia")
NAMES = [f"{stem}.{prompt}.dcm" for stem in ("a", "b", "c") for prompt in ("edema", "hernia")]
SIZES = {"a": 96, "b": 64, "c": 80}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three phantoms, each of its own size."""
    folder = tmp_path / "study"
    folder.mkdir()
    for seed, (stem, size) in enumerate(SIZES.items()):
        write_sample(folder / f"{stem}.dcm", draw(size, seed).image, seed=seed, findings=())
    return folder


def edit(roentmod: Run, *arguments: object) -> Ran:
    return roentmod("edit", *arguments, "--engine", ENGINE, "--steps", 5)


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: pydicom.dcmread(path).pixel_array for path in folder.glob("*.dcm")}


def without_time(report: Path) -> dict[str, Any]:
    """Return a report's values less what differs from run to run."""
    values: dict[str, Any] = json.loads(report.read_text())
    for output in values["outputs"]:
        output["path"] = Path(output["path"]).name
        output["preview"] = Path(output["preview"]).name
        output["seconds"] = sorted(output["seconds"])
        del output["sop_instance_uid"]
    del values["batch"]
    return values


@pytest.mark.slow
def test_any_batch_writes_what_one_at_a_time_writes(roentmod: Run, study: Path, tmp_path: Path) -> None:
    found = {}
    for batch in (1, 2, 3, 5, 100):
        out, report = tmp_path / f"out{batch}", tmp_path / f"{batch}.json"
        ran = edit(roentmod, study, *PROMPTS, "-o", out, "--batch", batch, "--report", report, "--preview")
        assert ran.code == 0, ran.err
        assert ran.out.splitlines() == [str(out / name) for name in NAMES]
        assert {path.name for path in out.glob("*.png")} == {name.replace(".dcm", ".preview.png") for name in NAMES}
        assert json.loads(report.read_text())["batch"] == batch
        found[batch] = pixels(out), without_time(report)
    first_pixels, first_report = found[1]
    assert [output["path"] for output in first_report["outputs"]] == NAMES
    assert not np.array_equal(first_pixels["a.edema.dcm"], first_pixels["a.hernia.dcm"])
    for some_pixels, report_values in found.values():
        assert report_values == first_report
        for name in NAMES:
            assert np.array_equal(some_pixels[name], first_pixels[name]), name


def test_the_order_of_sources_does_not_show_in_their_pixels(roentmod: Run, study: Path, tmp_path: Path) -> None:
    found = []
    for order in ("abc", "cab"):
        sources = [study / f"{stem}.dcm" for stem in order]
        ran = edit(roentmod, *sources, *PROMPTS, "-o", tmp_path / order, "--batch", 3)
        assert ran.code == 0, ran.err
        names = [f"{stem}.{prompt}.dcm" for stem in order for prompt in ("edema", "hernia")]
        assert ran.out.splitlines() == [str(tmp_path / order / name) for name in names]
        found.append(pixels(tmp_path / order))
    for name in NAMES:
        assert np.array_equal(found[0][name], found[1][name])


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_source_that_fails_in_a_batch_fails_alone(roentmod: Run, study: Path, tmp_path: Path, batch: int) -> None:
    """``b`` is damaged, and the mask fits all but ``c``."""
    (study / "b.dcm").write_bytes((study / "b.dcm").read_bytes()[:3000])
    write_sample(study / "d.dcm", draw(96, 4).image, seed=4, findings=())
    mask, report, out = tmp_path / "mask.png", tmp_path / "report.json", tmp_path / "out"
    Image.fromarray(np.full((96, 96), 255, np.uint8)).save(mask)
    ran = edit(roentmod, study, *PROMPTS, "-o", out, "--mask", mask, "--batch", batch, "--report", report)
    assert ran.code == 3
    names = [name for name in NAMES if name.startswith("a")] + ["d.edema.dcm", "d.hernia.dcm"]
    assert ran.out.splitlines() == [str(out / name) for name in names]
    values = json.loads(report.read_text())
    assert [Path(output["path"]).name for output in values["outputs"]] == names
    assert [Path(failure["source"]).name for failure in values["failures"]] == ["b.dcm", "c.dcm"]
    errors = [line for line in ran.err.splitlines() if line.startswith("Error: ")]
    assert errors == [f"Error: {failure['reason']}" for failure in values["failures"]]
    assert "a mask of 96 x 96 pixels, the radiograph has 80 x 80" in errors[1]


def test_where_all_sources_fail_nothing_is_done(roentmod: Run, study: Path) -> None:
    for path in study.iterdir():
        path.write_bytes(path.read_bytes()[:3000])
    ran = edit(roentmod, study, *PROMPTS, "--batch", 2)
    assert (ran.code, ran.out) == (1, "")
    assert len([line for line in ran.err.splitlines() if line.startswith("Error: ")]) == 3


@pytest.mark.parametrize("batch", [1, 2, 3, 9])
def test_an_output_that_cannot_be_written_fails_alone(roentmod: Run, study: Path, tmp_path: Path, batch: int) -> None:
    """A file stands where the second source's folder should be made."""
    for stem in SIZES:
        (study / stem).mkdir()
        (study / f"{stem}.dcm").rename(study / stem / "IM1.dcm")
    out, report = tmp_path / "out", tmp_path / "report.json"
    out.mkdir()
    (out / "b").write_text("in the way")
    ran = edit(roentmod, study, *PROMPTS, "-o", out, "--batch", batch, "--report", report)
    assert ran.code == 3
    written = [out / stem / f"IM1.{prompt}.dcm" for stem in ("a", "c") for prompt in ("edema", "hernia")]
    assert sorted(out.rglob("*.dcm")) == written
    assert ran.out.splitlines() == [str(path) for path in written]
    failures = json.loads(report.read_text())["failures"]
    assert [(failure["source"], failure["prompts"]) for failure in failures] == [
        (str(study / "b" / "IM1.dcm"), [prompt]) for prompt in ("edema", "hernia")
    ]
    assert f"Error: {out / 'b'}: cannot be made" in ran.err
    assert ran.err.splitlines()[-1] == "4 written, 2 failed"


def test_an_output_that_exists_is_known_before_any_work_and_stays(roentmod: Run, study: Path) -> None:
    (study / "c.hernia.dcm").write_text("precious")
    ran = edit(roentmod, study, *PROMPTS, "--batch", 2)
    assert ran.code == 3
    error = ran.err.index("c.hernia.dcm: already exists (--overwrite replaces it, --skip-existing leaves it)")
    assert error < ran.err.index("a: edema")
    assert len(list(study.glob("*.edema.dcm"))) == 3
    assert (study / "c.hernia.dcm").read_text() == "precious"
    assert ran.err.splitlines()[-1] == "5 written, 1 failed, 1 skipped"


def test_progress_names_the_batch(roentmod: Run, study: Path) -> None:
    ran = edit(roentmod, study, *PROMPTS, "--batch", 4)
    assert "a: edema and 3 more" in ran.err
    assert "c: edema and 1 more" in ran.err


def test_a_batch_of_none_is_a_usage_error(roentmod: Run, study: Path) -> None:
    ran = edit(roentmod, study, *PROMPTS, "--batch", 0)
    assert ran.code == 2
    assert "--batch" in ran.err
