"""What a program holds goes in, and a result can be looked at and saved: the library does what the command does."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

import roentmod_fast
from roentmod_fast import EditConfig, Editor, read_radiograph
from roentmod_fast.errors import OutputError, SettingError, SourceError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.marks import is_synthetic
from roentmod_fast.radiograph.dicom.sample import write_sample

BUNDLE = Path(__file__).parent / "goldens" / "tiny_bundle"
FAST = EditConfig(steps=5)


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.load(BUNDLE, device="cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return draw(96, 1).image


@pytest.fixture
def chest(tmp_path: Path, image: np.ndarray) -> Path:
    write_sample(tmp_path / "chest.dcm", image, seed=1)
    return tmp_path / "chest.dcm"


def test_public_names_are_listed_before_they_are_imported() -> None:
    assert set(dir(roentmod_fast)) >= {
        "Editor",
        "EditConfig",
        "EditResult",
        "Radiograph",
        "read_radiograph",
        "write_dicom",
    }
    assert all(getattr(roentmod_fast, name) is not None for name in dir(roentmod_fast))


def test_a_path_a_radiograph_and_their_pixels_give_one_edit(editor: Editor, chest: Path) -> None:
    radiograph = read_radiograph(chest)
    results = [editor.edit(held, "edema", FAST) for held in (chest, str(chest), radiograph, radiograph.image)]
    for result in results[1:]:
        assert np.array_equal(result.image, results[0].image)
    assert results[2].radiograph is radiograph


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_whole_numbers_have_their_whole_range(editor: Editor, image: np.ndarray, kind: type) -> None:
    top = np.iinfo(kind).max
    whole = np.rint(image * top).astype(kind)
    result = editor.edit(whole, "edema", FAST)
    by_pillow = editor.edit(Image.fromarray(whole), "edema", FAST)
    assert np.abs(result.radiograph.image - whole / top).max() < 1e-6
    assert np.array_equal(result.image, by_pillow.image)


def test_floats_of_any_width_are_taken(editor: Editor, image: np.ndarray) -> None:
    results = [editor.edit(image.astype(kind), "edema", FAST).image for kind in (np.float32, np.float64)]
    assert np.array_equal(*results)
    assert results[0].dtype == np.float32


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.full((8, 8), 255.0), r"float64 in \[255, 255\]: expected \[0, 1\]"),
        (np.full((8, 8), -0.5, np.float32), r"\[-0\.5, -0\.5\]"),
        (np.arange(64, dtype=np.int32).reshape(8, 8) - 1024, r"int32 in \[-1024, -961\]: expected uint8, uint16"),
        (np.zeros((8, 8), bool), "image of bool: expected"),
        (np.zeros((8, 8, 3), np.uint8), r"shape \(8, 8, 3\): expected grey, \(H, W\)"),
        (np.zeros((0, 8), np.uint8), "shape"),
        (np.array([["a", "b"]]), "expected uint8"),
    ],
)
def test_an_array_that_does_not_fit_is_named_with_its_range(editor: Editor, bad: np.ndarray, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        editor.edit(bad, "edema", FAST)


def test_a_colour_image_of_pillow_is_refused(editor: Editor) -> None:
    colour = np.zeros((64, 64, 3), np.uint8)
    colour[..., 0] = 200
    with pytest.raises(SourceError, match="colour"):
        editor.edit(Image.fromarray(colour), "edema", FAST)


def test_keywords_replace_what_a_config_says(editor: Editor, image: np.ndarray) -> None:
    result = editor.edit(image, "edema", EditConfig(steps=5, seed=3, strength=0.6), strength=0.4, guidance=2, seed=0)
    settings = result.settings
    assert (settings.strength, settings.guidance, settings.steps, settings.seed) == (0.4, 2.0, 5, 0)
    same = editor.edit(image, "edema", EditConfig(strength=0.4, guidance=2.0, steps=5, seed=0))
    assert np.array_equal(result.image, same.image)


def test_several_prompts_give_an_iterator(editor: Editor, image: np.ndarray) -> None:
    results = editor.edit(image, ["edema", "hernia"], FAST)
    assert [result.prompt for result in results] == ["edema", "hernia"]
    assert list(editor.edit(image, [], FAST)) == []


@pytest.mark.parametrize("prompt", ["", "  ", ["edema", ""]])
def test_an_empty_prompt_is_refused(editor: Editor, image: np.ndarray, prompt: str) -> None:
    with pytest.raises(SettingError, match="prompt is empty"):
        editor.edit(image, prompt, FAST)


def test_a_box_and_a_mask_file_are_regions(editor: Editor, chest: Path, tmp_path: Path) -> None:
    source = read_radiograph(chest).image
    mask = np.zeros((96, 96), np.uint8)
    mask[20:60, 10:50] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    by_box = editor.edit(chest, "edema", FAST, region=(10, 20, 50, 60))
    by_file = editor.edit(chest, "edema", FAST, region=tmp_path / "mask.png")
    assert np.array_equal(by_box.image, by_file.image)
    outside = mask == 0
    assert np.array_equal(by_box.image[outside], source[outside])
    assert not np.array_equal(by_box.image, source)
    with pytest.raises(SettingError, match="region"):
        editor.edit(chest, "edema", FAST, region=np.ones((3, 3), np.float32))
    with pytest.raises(SettingError, match="box of four"):
        editor.edit(chest, "edema", FAST, region=(1, 2, 3))


def test_a_result_saves_itself_by_its_name(editor: Editor, chest: Path, tmp_path: Path) -> None:
    result = editor.edit(chest, "edema", FAST)
    uid = result.save(tmp_path / "edit.dcm")
    written = pydicom.dcmread(tmp_path / "edit.dcm")
    assert written.SOPInstanceUID == uid
    assert is_synthetic(written)
    assert result.save(tmp_path / "edit.png") is None
    with Image.open(tmp_path / "edit.png") as png:
        assert png.size == (96, 96)
        assert "SYNTHETIC" in png.info["Description"]
    with pytest.raises(OutputError, match="already exists"):
        result.save(tmp_path / "edit.dcm")
    result.save(tmp_path / "edit.dcm", overwrite=True, deidentify="anonymize", label=True)
    assert pydicom.dcmread(tmp_path / "edit.dcm").BurnedInAnnotation == "YES"
    with pytest.raises(SettingError, match=r"\.dcm or \.png"):
        result.save(tmp_path / "edit.jpg")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_an_edit_of_an_array_can_be_saved(editor: Editor, image: np.ndarray, tmp_path: Path, kind: type) -> None:
    held = image if kind is np.float32 else np.rint(image * np.iinfo(kind).max).astype(kind)
    result = editor.edit(held, "edema", FAST)
    result.save(tmp_path / "edit.dcm")
    written = pydicom.dcmread(tmp_path / "edit.dcm")
    assert is_synthetic(written)
    top = (1 << written.BitsStored) - 1
    assert np.abs(written.pixel_array / top - result.image).max() <= 0.51 / top


def test_a_result_shows_itself(editor: Editor, chest: Path) -> None:
    result = editor.edit(chest, "edema", FAST)
    shown = result.preview()
    assert shown.mode == "RGB"
    assert shown.width > 2 * shown.height
    with Image.open(io.BytesIO(result._repr_png_())) as png:
        assert png.size == shown.size


def test_change_is_computed_when_it_is_asked_for(editor: Editor, chest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = roentmod_fast.result.change_statistics

    def counted(before: np.ndarray, after: np.ndarray) -> object:
        calls.append(1)
        return real(before, after)

    monkeypatch.setattr(roentmod_fast.result, "change_statistics", counted)
    result = editor.edit(chest, "edema", FAST)
    assert calls == []
    assert result.change is result.change
    assert calls == [1]


def test_the_engines_notice_and_fallbacks_are_warnings(caplog: pytest.LogCaptureFixture) -> None:
    Editor.load("phantom", device="cpu")
    [record] = [record for record in caplog.records if "demonstration engine" in record.getMessage()]
    assert (record.name.partition(".")[0], record.levelname) == ("roentmod_fast", "WARNING")
