"""Radiographs from a text alone: seeds, batches, the file's identity. Parity with diffusers is in tests/export."""

from __future__ import annotations

import datetime
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage

from roentmod_fast.diffusion.noise import TorchNoise
from roentmod_fast.editor import Editor
from roentmod_fast.errors import RefusedError, SettingError
from roentmod_fast.generate import GeneratedImage, generate
from roentmod_fast.radiograph.dicom.generated import generated_bytes
from roentmod_fast.radiograph.dicom.stamp import Stamp
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.settings import EditConfig

GOLDENS = Path(__file__).parent / "goldens"
QUICK = EditConfig(steps=5)


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.load(GOLDENS / "tiny_bundle", device="cpu")


@pytest.fixture(scope="module")
def image(editor: Editor) -> GeneratedImage:
    return next(generate(editor, "edema", EditConfig(steps=5, seed=3)))


def test_an_image_depends_on_its_seed_and_not_on_the_batch_or_the_count(editor: Editor) -> None:
    one = [made.image for made in generate(editor, ["edema", "hernia"], QUICK, count=3)]
    batched = Editor.load(GOLDENS / "tiny_bundle", device="cpu", batch=4)
    many = list(generate(batched, ["edema", "hernia"], QUICK, count=3))
    assert [(made.prompt, made.seed) for made in many] == [(p, s) for p in ("edema", "hernia") for s in range(3)]
    for alone, together in zip(one, many, strict=True):
        assert np.array_equal(alone, together.image)
    [third] = generate(editor, "edema", EditConfig(steps=5, seed=2))
    assert np.array_equal(third.image, one[2])
    assert not np.array_equal(one[0], one[1])


def test_the_loop_begins_with_the_noise_itself(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    predict = editor.networks.predict

    def watch(latents: np.ndarray, timestep: int, states: np.ndarray) -> np.ndarray:
        seen.append(latents)
        return predict(latents, timestep, states)

    monkeypatch.setattr(type(editor.networks), "predict", lambda self, *args: watch(*args))
    [made] = generate(editor, "edema", EditConfig(steps=5, seed=7))
    drawn = TorchNoise(7).normal((1, 4, 8, 8))
    assert np.abs(seen[0][:1] - drawn).max() < 1e-6
    assert len(seen) == made.unet_calls == 5
    [given] = generate(editor, "edema", QUICK, noise=drawn)
    assert np.array_equal(given.image, made.image)


@pytest.mark.parametrize(
    ("prompt", "config", "says"),
    [
        (" ", QUICK, "empty"),
        ("edema", EditConfig(steps=0), "steps 0"),
        ("edema", EditConfig(steps=1000), "steps 1000"),
        ("edema", EditConfig(guidance=float("nan")), "guidance"),
        ("edema", EditConfig(solver="euler"), "solver"),
    ],
)
def test_settings_are_checked_before_the_first_image(
    editor: Editor, prompt: str, config: EditConfig, says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        generate(editor, prompt, config)


def test_noise_of_another_shape_is_refused(editor: Editor) -> None:
    with pytest.raises(SettingError, match="noise of shape"):
        list(generate(editor, "edema", QUICK, noise=np.zeros((1, 4, 9, 9), np.float32)))


def test_the_dicom_has_an_identity_of_its_own_and_no_source(image: GeneratedImage, tmp_path: Path) -> None:
    uid = image.save(tmp_path / "a.dcm")
    image.save(tmp_path / "b.dcm", label=True, transfer_syntax="jpeg2000")
    a, b = (pydicom.dcmread(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert a.SOPInstanceUID == uid and a.SOPClassUID == SecondaryCaptureImageStorage
    assert a[0x0008, 0x001C].value == "YES" and a.ConversionType == "SYN"
    assert a.ImageType[0] == "DERIVED" and "not for diagnosis" in a.SeriesDescription
    assert "SourceImageSequence" not in a
    assert a.PatientID.startswith("SYN-GEN-") and a.PatientID == b.PatientID
    assert {a.PatientSex, a.PatientBirthDate} == {""} and "PatientAge" not in a
    assert len({a.SOPInstanceUID, b.SOPInstanceUID, a.StudyInstanceUID, b.StudyInstanceUID}) == 4
    assert 'Generated from text: "edema"; from noise, guidance 4' in a.DerivationDescription
    assert "strength" not in a.DerivationDescription
    assert (b.BurnedInAnnotation, a.get("BurnedInAnnotation")) == ("YES", None)
    read = read_radiograph(tmp_path / "a.dcm", force="synthetic").image
    assert np.abs(read - image.image).max() < 1 / 4000
    with pytest.raises(RefusedError, match="synthetic"):
        read_radiograph(tmp_path / "a.dcm")


def test_the_png_is_marked_and_has_sixteen_bits(image: GeneratedImage, tmp_path: Path) -> None:
    assert image.save(tmp_path / "a.png") is None
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.mode == "I;16" and opened.size == (64, 64)
        assert any("SYNTHETIC" in str(value) for value in opened.info.values())
        values = np.asarray(opened)
    assert np.abs(values / 65535 - image.image).max() < 1e-4
    assert image._repr_png_().startswith(b"\x89PNG")


def test_another_prompt_or_seed_is_another_patient(editor: Editor, tmp_path: Path) -> None:
    made = [*generate(editor, ["edema", "hernia"], QUICK), *generate(editor, "edema", EditConfig(steps=5, seed=1))]
    for number, each in enumerate(made):
        each.save(tmp_path / f"{number}.dcm")
    assert len({pydicom.dcmread(path).PatientID for path in tmp_path.glob("*.dcm")}) == 3


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_dciodvfy_finds_no_error(image: GeneratedImage, tmp_path: Path) -> None:
    image.save(tmp_path / "a.dcm", label=True)
    done = subprocess.run(["dciodvfy", str(tmp_path / "a.dcm")], check=False, capture_output=True, text=True)
    # dciodvfy of 2022 does not know Synthetic Data (0008,001C), which came later.
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error") and "0x0008,0x001c" not in line]
    assert "SCImage" in done.stderr
    assert errors == []


def test_a_stamp_gives_the_same_bytes_and_a_patient_is_taken_as_given(image: GeneratedImage) -> None:
    stamp = Stamp(datetime.datetime(2026, 3, 4, 12), b"seed")
    data, uid = generated_bytes(image.image, image.provenance, stamp=stamp, patient="0123456789AB")
    assert generated_bytes(image.image, image.provenance, stamp=stamp, patient="0123456789AB") == (data, uid)
    dataset = pydicom.dcmread(io.BytesIO(data))
    assert (dataset.PatientID, dataset.PatientName) == ("SYN-GEN-0123456789AB", "SYNTHETIC^0123456789AB")
    assert dataset.SOPInstanceUID == uid and dataset.InstanceCreationDate == dataset.StudyDate == "20260304"
    assert len({dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID}) == 3
    other = generated_bytes(image.image, image.provenance, stamp=Stamp(stamp.time, b"other"))
    assert other[1] != uid
    assert generated_bytes(image.image, image.provenance)[1] != generated_bytes(image.image, image.provenance)[1]


def test_a_format_that_is_none_is_refused(image: GeneratedImage, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="tiff"):
        image.save(tmp_path / "a.dcm", file_format="tiff")
    with pytest.raises(SettingError, match="jpeg"):
        image.save(tmp_path / "a.dcm", transfer_syntax="jpeg")
    assert list(tmp_path.iterdir()) == []
