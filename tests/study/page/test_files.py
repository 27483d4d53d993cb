"""Pages of edits on the disk, in the source's own values or as they are displayed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.letterbox import Letterbox, resample
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import as_radiograph, read_radiograph
from roentmod_fast.study.page.files import EditFile, page_of_files
from roentmod_fast.study.page.pixels import ZERO, decode
from tests.study.page.conftest import result_of, write_source


def shown(page: object, number: int = 0) -> np.ndarray:
    """Return the values of an edit as the page decodes them."""
    source, blob = page.content.source, page.content.edits[number].blob  # type: ignore[attr-defined]
    values = decode(blob, source.shape)
    return values + source.values - np.uint16(ZERO) if blob.difference else values


def edit_file(path: Path, prompt: str = "edema") -> EditFile:
    return EditFile(path, path.name, prompt, [("Seed", "0")])


@pytest.mark.parametrize("deidentify", ["pseudonymize", "none", "anonymize"])
def test_dicom_edits_are_shown_in_native_depth(tmp_path: Path, radiograph: Radiograph, deidentify: str) -> None:
    results = [result_of(radiograph), result_of(radiograph, "hernia", -0.2)]
    for number, result in enumerate(results):
        result.save(tmp_path / f"{number}.dcm", deidentify=deidentify)
    page = page_of_files(radiograph, [edit_file(tmp_path / f"{n}.dcm") for n in range(2)], "title")
    assert page.content.source.bits == 12
    for number, result in enumerate(results):
        assert np.array_equal(shown(page, number), radiograph.to_stored(result.image))
    assert page.content.edits[0].changed == pytest.approx(results[0].change.share_changed, abs=1e-3)
    assert b"SYNTHETIC" in page.render()


def test_png_edits_of_a_png_keep_its_values(tmp_path: Path) -> None:
    Image.fromarray(np.add.outer(np.arange(120), np.arange(100)).astype(np.uint8)).save(tmp_path / "s.png")
    source = read_radiograph(tmp_path / "s.png", force=True)
    result = result_of(source)
    result.save(tmp_path / "e.png")
    page = page_of_files(source, [edit_file(tmp_path / "e.png")], "title")
    assert page.content.source.bits == 8
    assert np.array_equal(shown(page), source.to_stored(result.image))


@pytest.mark.parametrize(
    "prompt", ["lateral rib fracture", "vertebral fracture", "dog", "lumbar spine mass", "hand in front of the chest"]
)
def test_an_edit_is_taken_whatever_its_prompt_says(tmp_path: Path, radiograph: Radiograph, prompt: str) -> None:
    result_of(radiograph, prompt).save(tmp_path / "e.dcm")
    page = page_of_files(radiograph, [edit_file(tmp_path / "e.dcm", prompt)], "title")
    assert [edit.prompt for edit in page.content.edits] == [prompt]


def test_an_edit_of_a_forced_source_is_taken(tmp_path: Path) -> None:
    def lateral(dataset: Dataset) -> None:
        dataset.ViewPosition = "LL"

    with pytest.raises(SourceError):
        write_source(tmp_path / "s.dcm", lateral)
    source = read_radiograph(tmp_path / "s.dcm", force="view")
    result_of(source).save(tmp_path / "e.dcm")
    assert len(page_of_files(source, [edit_file(tmp_path / "e.dcm")], "title").content.edits) == 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("size", [(160, 100), (80, 50), (96, 96)])
def test_edits_of_another_size_or_depth_are_shown_as_displayed(
    tmp_path: Path, bits: int, size: tuple[int, int]
) -> None:
    full = write_source(tmp_path / "s.dcm").image[:, 30:130]
    source = as_radiograph(full)
    square = size[0] == size[1]
    small = Letterbox.fit(full.shape, 96).apply(full) if square else resample(full, size, Image.Resampling.BICUBIC)
    small = np.clip(small, 0, 1)
    kind = np.uint8 if bits == 8 else np.uint16
    Image.fromarray(np.rint(small * np.iinfo(kind).max).astype(kind)).save(tmp_path / "e.png")
    page = page_of_files(source, [edit_file(tmp_path / "e.png")], "title")
    assert page.content.source.shape == size
    difference = shown(page).astype(int) - page.content.source.values
    assert np.abs(difference).max() <= (10 if bits == 8 else 2), "the same image but for its depth"


def test_what_does_not_belong_together_is_refused(tmp_path: Path, radiograph: Radiograph) -> None:
    result_of(radiograph).save(tmp_path / "a.dcm")
    result_of(radiograph).save(tmp_path / "b.png")
    Image.fromarray(np.tile(np.arange(60, dtype=np.uint8) * 4, (90, 1))).save(tmp_path / "c.png")
    (tmp_path / "d.dcm").write_bytes(b"nothing")
    with pytest.raises(SettingError, match=r"b\.png: other stored values"):
        page_of_files(radiograph, [edit_file(tmp_path / "a.dcm"), edit_file(tmp_path / "b.png")], "t")
    with pytest.raises(SettingError, match=r"c\.png: 60 x 90 pixels"):
        page_of_files(radiograph, [edit_file(tmp_path / "c.png")], "t")
    with pytest.raises(SettingError, match=r"c\.png: another size"):
        page_of_files(radiograph, [edit_file(tmp_path / "b.png"), edit_file(tmp_path / "c.png")], "t")
    with pytest.raises(SourceError, match=r"d\.dcm"):
        page_of_files(radiograph, [edit_file(tmp_path / "d.dcm")], "t")
    with pytest.raises(SettingError, match="without an edit"):
        page_of_files(radiograph, [], "t")
