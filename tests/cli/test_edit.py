"""``roentmod-fast edit``, from the command line to the files."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pydicom
import pytest
from PIL import Image

from roentmod_fast.bundle.bundle import SEARCH_VARIABLE, built_in_folder
from roentmod_fast.bundle.manifest import PRECISIONS
from roentmod_fast.cli.edit import command
from roentmod_fast.radiograph.read import read_radiograph
from tests.cli.conftest import Ran, run_process

Run = Callable[..., Ran]

TINY = ("--engine", Path(__file__).parent.parent / "goldens" / "tiny_bundle")
"""Where any engine shows the same: an edit with the built-in one takes a second."""


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_edit_beside_the_source(roentmod: Run, chest: Path) -> None:
    ran = roentmod("edit", chest, "--prompt", "edema", "--quick")
    assert ran.code == 0, ran.err
    written = chest.with_name("chest.edema.dcm")
    assert ran.out == f"{written}\n"
    assert "not for diagnosis" in ran.err
    assert "drawn" in ran.err
    assert "not RoentGen" in ran.err
    dataset = pydicom.dcmread(written)
    source = pydicom.dcmread(chest)
    assert (dataset.Rows, dataset.Columns) == (160, 160)
    assert dataset.SOPInstanceUID != source.SOPInstanceUID
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert dataset.ImageType[0] == "DERIVED"
    assert dataset[0x0008, 0x001C].value == "YES"
    assert dataset.SeriesDescription == "SYNTHETIC - not for diagnosis: edema"
    assert not np.array_equal(dataset.pixel_array, source.pixel_array)
    assert listing(chest.parent) == {"chest.dcm", "chest.edema.dcm"}


def test_several_prompts_preview_and_report(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "edits", tmp_path / "report.json"
    ran = roentmod(
        "edit",
        chest,
        "-p",
        "edema",
        "-p",
        "left upper lobe mass",
        "-o",
        out,
        "--preview",
        "--report",
        report,
        "--quick",
        "--device",
        "cpu",
    )
    assert ran.code == 0, ran.err
    stems = ("chest.edema", "chest.left-upper-lobe-mass")
    assert listing(out) == {f"{stem}{end}" for stem in stems for end in (".dcm", ".preview.png")}
    assert ran.out.splitlines() == [str(out / f"{stem}.dcm") for stem in stems]
    with Image.open(out / "chest.edema.preview.png") as preview:
        assert preview.width > 2 * preview.height
    values = json.loads(report.read_text())
    assert values["engine"]["name"] == "cxr-mini"
    assert values["device"] == "cpu"
    assert values["providers"] == ["CPUExecutionProvider"]
    first, second = values["outputs"]
    assert first["prompt"] == "edema"
    assert first["sop_instance_uid"] == pydicom.dcmread(out / "chest.edema.dcm").SOPInstanceUID
    asked = {"strength": 0.4, "guidance": 4.0, "steps": 10, "seed": 0, "compose": "contrast"}
    assert first["settings"] == {**asked, "speed": {"precision": "fp32", "solver": "ddim", "calls": None}}
    # Four steps for the text and four for the edit without text, which the second prompt shares.
    assert (first["unet_calls"], second["unet_calls"]) == (8, 4)
    assert first["seconds"]["unet"] > 0
    assert "vae_encoder" in first["seconds"]
    assert "vae_encoder" not in second["seconds"]
    assert 15 < first["change"]["psnr_db"] < 60
    assert set(values["failures"]) == set()


def test_png_in_and_out(roentmod: Run, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 120 * 90).reshape(120, 90).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "in.png")
    ran = roentmod("edit", tmp_path / "in.png", "-p", "edema", "-o", tmp_path / "out.png", "--quick", *TINY, "--force")
    assert ran.code == 0, ran.err
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (90, 120)
        assert any("SYNTHETIC" in str(value) for value in image.info.values())
    ran = roentmod("edit", tmp_path / "in.png", "-p", "edema", "--quick", *TINY, "--force")
    assert ran.code == 0, ran.err
    assert pydicom.dcmread(tmp_path / "in.edema.dcm").SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage


def test_folder_and_zip(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (chest.parent / name).mkdir()
        shutil.copy(chest, chest.parent / name / "IM0001")
    chest.unlink()
    (chest.parent / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    ran = roentmod("edit", chest.parent, "-p", "edema", "-o", out, "--quick", *TINY)
    assert ran.code == 0, ran.err
    assert "skipped 1 file" in ran.err
    assert {str(path.relative_to(out)) for path in out.rglob("*.dcm")} == {"a/IM0001.edema.dcm", "b/IM0001.edema.dcm"}

    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(chest.parent / "a" / "IM0001", "IM0001")
    ran = roentmod("edit", tmp_path / "study.zip", "-p", "edema", "--quick", *TINY)
    assert ran.code == 0, ran.err
    assert (tmp_path / "IM0001.edema.dcm").is_file()


def test_some_sources_fail(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    (chest.parent / "broken.dcm").write_bytes(chest.read_bytes()[:3000])
    report = tmp_path / "report.json"
    ran = roentmod("edit", chest.parent, "-p", "edema", "--quick", *TINY, "--report", report)
    assert ran.code == 3
    assert ran.out == f"{chest.with_name('chest.edema.dcm')}\n"
    [failure] = json.loads(report.read_text())["failures"]
    assert "broken.dcm" in failure["source"]
    assert listing(chest.parent) == {"chest.dcm", "broken.dcm", "chest.edema.dcm"}


def test_same_seed_same_pixels(roentmod: Run, chest: Path, tmp_path: Path) -> None:
    pixels = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ran = roentmod("edit", chest, "-p", "edema", "-o", tmp_path / f"{name}.dcm", "--quick", *TINY, "--seed", seed)
        assert ran.code == 0, ran.err
        pixels.append(pydicom.dcmread(tmp_path / f"{name}.dcm").pixel_array)
    assert np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])


def test_an_output_that_exists_stays(roentmod: Run, chest: Path) -> None:
    target = chest.with_name("chest.edema.dcm")
    target.write_text("precious")
    ran = roentmod("edit", chest, "-p", "edema", "--quick", *TINY)
    assert ran.code == 1
    assert ran.err.startswith("Error: ")
    assert "--overwrite" in ran.err
    assert target.read_text() == "precious"
    assert roentmod("edit", chest, "-p", "edema", "--quick", *TINY, "--overwrite").code == 0
    assert pydicom.dcmread(target).Rows == 160


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-p", "edema", "--strength", "1.5"], 2, "strength"),
        (["-p", "edema", "--strength", "-0.1"], 2, "strength"),
        (["-p", "edema", "--strength", "nan"], 2, "strength"),
        (["-p", "edema", "--strength", "0.001"], 2, "strength"),
        (["-p", "edema", "--guidance", "nan"], 2, "guidance"),
        (["-p", "edema", "--steps", "0"], 2, "steps"),
        (["-p", "edema", "--seed", "-1"], 2, "seed"),
        (["-p", "edema", "--steps", "5", "--quick"], 2, "--quick"),
        (["-p", ""], 2, "prompt is empty"),
        (["-p", "edema", "-p", "Edema"], 2, "would be written"),
        (["-p", "edema", "-p", "mass", "-o", "x.dcm"], 2, "folder"),
        (["-p", "edema", "-o", "x.jpg"], 2, ".dcm or .png"),
        (["-p", "edema", "-o", "x.dcm", "--format", "png"], 2, "agree"),
        (["-p", "edema", "--engine", "absent"], 1, "no engine named 'absent'"),
        (["-p", "edema", "--device", "tensorrt"], 1, "device 'tensorrt'"),
    ],
)
def test_bad_options_are_one_line(roentmod: Run, chest: Path, arguments: list[str], code: int, says: str) -> None:
    ran = roentmod("edit", chest, *arguments)
    assert ran.code == code
    lines = [line for line in ran.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert listing(chest.parent) == {"chest.dcm"}


def test_no_prompt_is_a_usage_error(roentmod: Run, chest: Path) -> None:
    ran = roentmod("edit", chest)
    assert ran.code == 2
    assert "--prompt" in ran.err


def make_bad(kind: str, chest: Path) -> Path:
    """Turn the fixture into a source that cannot be edited."""
    bad = chest.with_name("bad.dcm")
    dataset = pydicom.dcmread(chest)
    chest.unlink()
    if kind == "absent":
        return bad
    if kind == "text":
        bad.write_text("this is no radiograph, whatever its name says. " * 40)
        return bad
    if kind == "folder":
        bad = chest.with_name("bad")
        bad.mkdir()
        (bad / "notes.txt").write_text("no image")
        return bad
    if kind == "no pixels":
        del dataset.PixelData
    elif kind == "truncated":
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
    elif kind == "multi-frame":
        dataset.NumberOfFrames = 2
        dataset.PixelData = dataset.PixelData * 2
    elif kind == "colour":
        dataset.SamplesPerPixel = 3
        dataset.PhotometricInterpretation = "RGB"
        dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.PixelData = bytes(160 * 160 * 3)
    dataset.save_as(bad)
    return bad


@pytest.mark.parametrize("kind", ["absent", "text", "folder", "no pixels", "truncated", "multi-frame", "colour"])
@pytest.mark.filterwarnings("ignore:The pixel data length:UserWarning")
def test_bad_sources_are_one_line(roentmod: Run, chest: Path, kind: str) -> None:
    bad = make_bad(kind, chest)
    before = sorted(chest.parent.rglob("*"))
    ran = roentmod("edit", bad, "-p", "edema", "--quick")
    assert ran.code == 1
    assert ran.out == ""
    [line] = [line for line in ran.err.splitlines() if line.startswith("Error: ")]
    assert bad.name in line
    assert sorted(chest.parent.rglob("*")) == before


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_damaged_engine_is_refused(
    roentmod: Run, chest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    shutil.copytree(built_in_folder() / "phantom", tmp_path / "engines" / "mine")
    monkeypatch.setenv(SEARCH_VARIABLE, str(tmp_path / "engines"))
    network = tmp_path / "engines" / "mine" / "unet.onnx"
    if damage == "missing":
        network.unlink()
    else:
        data = bytearray(network.read_bytes())
        data[len(data) // 2] ^= 1
        network.write_bytes(data)
    ran = roentmod("edit", chest, "-p", "edema", "--engine", "mine")
    assert ran.code == 1
    assert f"unet.onnx: {damage}" in ran.err
    assert listing(chest.parent) == {"chest.dcm"}


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit to set")
def test_a_disk_that_fills_up_leaves_nothing(chest: Path) -> None:
    """A limit on the size of files stands in for the full disk: the write fails in the middle."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        "from roentmod_fast.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "edit", str(chest), "-p", "edema", "--quick", *map(str, TINY)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1, result.stderr
    [line] = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "chest.edema.dcm" in line
    assert listing(chest.parent) == {"chest.dcm"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("batch", [1, 4])
def test_a_killed_run_leaves_no_partial_file(chest: Path, tmp_path: Path, batch: int) -> None:
    """Whenever it is interrupted, what stands under a final name is whole."""
    out = tmp_path / "out"
    prompts = [argument for index in range(12) for argument in ("-p", f"edema {index}")]
    # Where the tests run in a shell's background, Ctrl-C is ignored and children inherit that.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from roentmod_fast.cli import main; main()"
    command = [sys.executable, "-c", code, "edit", str(chest), *prompts, "-o", str(out), "--batch", str(batch)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(2400):
        if out.is_dir() and list(out.glob("*.dcm")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"Traceback" not in said
    written = listing(out)
    assert written
    assert all(name.endswith(".dcm") for name in written)
    assert all(read_radiograph(out / name, force=True).image.shape == (160, 160) for name in written)


def test_every_precision_can_be_asked_for() -> None:
    [choices] = [option.type for option in command.params if option.name == "precision"]
    assert isinstance(choices, click.Choice)
    assert list(choices.choices) == list(PRECISIONS)


@pytest.mark.skipif(sys.platform == "win32", reason="no CPU time of children")
def test_help_is_quick_and_has_examples() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = run_process("edit", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert ran.code == 0
        assert "Examples:" in ran.out
    # CPU time of the best of three: other programs on the machine must not fail this test.
    assert min(seconds) < 0.3


@pytest.mark.parametrize("stage", ["place", "encode", "finish"])
def test_a_bug_keeps_its_traceback(chest: Path, stage: str) -> None:
    """In the reading thread, on the device and behind it."""
    code = (
        f"import roentmod_fast.editor as e; e.Editor.{stage} = lambda *a, **k: 1 / 0; "
        "from roentmod_fast.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "edit", str(chest), "-p", "edema", "--quick", *map(str, TINY)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))
    assert "ZeroDivisionError" in result.stderr
    assert "Traceback" in result.stderr
