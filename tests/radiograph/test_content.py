"""Images that hold no radiograph: a few pixels, blank ones, thumbnails; the same as PNG and as DICOM."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.errors import RefusedError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.content import content_of
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.raster import read_raster

from .conftest import make_dataset, to_bytes

CHEST = np.rint(draw(128, 3).image * 255).astype(int)
KINDS = ("png", "dicom", "dicom without a window")


def read(pixels: NDArray[Any], kind: str, **options: Any) -> Radiograph:
    if kind == "png":
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
        return read_raster(buffer.getvalue(), "x.png", **options)
    window = (
        {"WindowCenter": 128, "WindowWidth": 256} if kind == "dicom" else dict.fromkeys(["WindowCenter", "WindowWidth"])
    )
    return read_dicom(to_bytes(make_dataset(pixels, BitsAllocated=8, **window)), "x.dcm", **options)


def with_marker(background: int) -> NDArray[Any]:
    pixels = np.full((200, 200), background)
    pixels[10:40, 10:35] = 255
    return pixels


def noise(low: int, high: int) -> NDArray[Any]:
    return np.random.default_rng(0).integers(low, high, (100, 100))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((1, 1), 100), "1 x 1 pixels: too few"),
        (CHEST[:1], "1 x 128 pixels: too few"),
        (CHEST[:, :15], "128 x 15 pixels: too few"),
        (np.zeros((100, 100)), "blank"),
        (np.full((100, 100), 255), "blank"),
        (np.full((100, 100), 77), "blank"),
        (with_marker(0), "blank"),
        (with_marker(128), "blank"),
        (noise(100, 102), "blank"),
    ],
)
def test_refused(pixels: NDArray[Any], words: str, kind: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        read(pixels, kind)
    assert caught.value.doubts == ("content",) and str(caught.value).endswith("(--force content goes on)")
    with pytest.raises(RefusedError, match=words):
        read(pixels, kind, force=["view", "body-part"])
    forced = read(pixels, kind, force="content")
    assert forced.shape == pixels.shape and any(f"forced: {words}" in note for note in forced.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_read(kind: str) -> None:
    framed = np.zeros((512, 512), dtype=int)
    framed[100:228, 100:228] = CHEST  # 94 % black around it
    dark = CHEST // 10
    for pixels in (CHEST, framed, dark, 255 - dark, CHEST[:64], noise(0, 256)):
        notes = read(pixels, kind).notes
        assert not any("pixels: a thumbnail" in note or "blank" in note for note in notes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thumbnail_is_noted(kind: str) -> None:
    for pixels, noted in ((CHEST[:63], True), (CHEST[::4, ::4], True), (CHEST[::2, ::2], False)):
        assert any("a thumbnail" in note for note in read(pixels, kind).notes) == noted


@pytest.mark.parametrize("kind", KINDS)
def test_a_negative_is_noted(kind: str) -> None:
    for seed in range(5):
        chest = np.rint(draw(128, seed, ("cardiomegaly",) if seed % 2 else ()).image * 255).astype(int)
        for pixels in (chest, np.pad(chest, ((20, 20), (0, 0))), np.pad(chest, ((0, 0), (30, 30)))):
            assert not any("negative" in note for note in read(pixels, kind).notes)
            assert any("looks like a negative" in note for note in read(255 - pixels, kind).notes)


def test_padding_is_no_content() -> None:
    pixels = np.full((100, 100), 100)
    pixels[:, :50] = 0
    dataset = make_dataset(pixels, BitsAllocated=8, WindowCenter=128, WindowWidth=256)
    assert read_dicom(to_bytes(dataset), "x.dcm").shape == (100, 100)
    dataset.PixelPaddingValue = 0
    with pytest.raises(RefusedError, match="blank"):
        read_dicom(to_bytes(dataset), "x.dcm")


def test_negative_stored_values() -> None:
    image = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    stored = np.arange(-5000, 5000).reshape(100, 100)
    assert content_of(image, stored) == ([], [])
    [doubt], _ = content_of(image, np.full((100, 100), -3))
    assert doubt.name == "content"
