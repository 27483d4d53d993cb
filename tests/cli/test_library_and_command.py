"""The command and the README's lines of Python give equal stored values, whatever kind of file it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw

from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.sample import sample_dataset
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
README = Path(__file__).parents[2] / "README.md"


def with_a_marker(image: np.ndarray) -> np.ndarray:
    """Burn a bright L into the upper corner on the patient's left side."""
    shown = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    pen = ImageDraw.Draw(shown)
    size = image.shape[0]
    x, y, long = int(size * 0.9), int(size * 0.06), int(size * 0.06)
    pen.line([(x, y), (x, y + long), (x + long // 2, y + long)], fill=255, width=max(3, size // 120))
    return np.asarray(shown, dtype=np.float32) / 255


def make(kind: str, path: Path) -> None:
    """Write a source: square pixels, pixels twice as high as wide, burned-in markers, or lying on its side."""
    image = draw(320, 5).image
    if kind == "markers":
        image = with_a_marker(image)
    elif kind == "aspect":
        image = image[::2]
    elif kind == "on its side":
        image = np.ascontiguousarray(image.T[::-1])  # rows run towards the head, columns towards the left
    dataset = sample_dataset(image, seed=5)
    if kind == "aspect":
        del dataset.PixelSpacing, dataset.ImagerPixelSpacing
        dataset.PixelAspectRatio = [2, 1]
    elif kind == "on its side":
        dataset.PatientOrientation = ["F", "L"]
        dataset.PixelData = np.rint(np.ascontiguousarray(draw(320, 5).image.T) * 4095).astype("<u2").tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


def readme_lines() -> str:
    """Return the README's Python, which edits chest.dcm into edema.dcm."""
    [block] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert "chest.dcm" in block
    return str(block)


@pytest.mark.slow
@pytest.mark.parametrize("compose", ["contrast", "replace"])
@pytest.mark.parametrize("kind", ["square", "aspect", "markers", "on its side"])
def test_the_command_and_the_readme_give_equal_pixels(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, compose: str
) -> None:
    make(kind, tmp_path / "chest.dcm")
    ran = roentmod(
        "edit", tmp_path / "chest.dcm", "-p", "edema", "-o", tmp_path / "by-command.dcm", "--compose", compose
    )
    assert ran.code == 0, ran.err
    monkeypatch.chdir(tmp_path)
    block = readme_lines()
    if compose != "contrast":
        block = block.replace('"edema"', f'"edema", compose="{compose}"')
        assert compose in block
    exec(compile(block, str(README), "exec"), {})
    command, library = (pydicom.dcmread(tmp_path / name) for name in ("by-command.dcm", "edema.dcm"))
    source = pydicom.dcmread(tmp_path / "chest.dcm").pixel_array
    assert np.array_equal(command.pixel_array, library.pixel_array)
    assert command.pixel_array.shape == source.shape
    assert not np.array_equal(command.pixel_array, source)
    if kind == "markers":
        corner = (slice(19, 38), slice(287, 290))
        assert np.array_equal(library.pixel_array[corner], source[corner]), "the marker is kept"
