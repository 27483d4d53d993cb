"""PNG and JPEG in, PNG out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roentmod_fast.errors import OutputError, RefusedError, SourceError
from roentmod_fast.radiograph.dicom_read import read_dicom
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.raster import read_raster, write_png
from roentmod_fast.radiograph.read import read_radiograph

from .conftest import make_dataset, to_bytes

GREY = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 109


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_8_bit_png() -> None:
    values = (GREY >> 8).astype(np.uint8)
    radiograph = read_raster(encoded(Image.fromarray(values)), "x.png")
    np.testing.assert_allclose(radiograph.image, values / 255, atol=1e-7)
    assert radiograph.layout is not None and radiograph.layout.bits_stored == 8
    assert radiograph.dataset is None and all("a thumbnail" in note for note in radiograph.notes)


def test_16_bit_png() -> None:
    radiograph = read_raster(encoded(Image.fromarray(GREY)), "x.png")
    np.testing.assert_allclose(radiograph.image, GREY / 65535, atol=1e-7)
    assert radiograph.layout is not None and radiograph.layout.bits_stored == 16


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_equal_channels_are_grey(mode: str) -> None:
    values = (GREY >> 8).astype(np.uint8)
    picture = (
        Image.fromarray(values).convert("RGB").convert(mode) if mode != "P" else Image.fromarray(values).convert("P")
    )
    radiograph = read_raster(encoded(picture), "x.png")
    np.testing.assert_array_equal(radiograph.stored, values)


def test_jpeg_in_grey_and_in_colour() -> None:
    values = (GREY >> 8).astype(np.uint8)
    for mode in ("L", "RGB"):
        radiograph = read_raster(encoded(Image.fromarray(values).convert(mode), "JPEG", quality=95), "x.jpg")
        assert radiograph.stored is not None
        assert np.abs(radiograph.stored - values.astype(int)).max() < 16


def test_exif_orientation_is_followed() -> None:
    picture = Image.fromarray((GREY >> 8).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    radiograph = read_raster(encoded(picture, "JPEG", exif=exif), "x.jpg")
    assert radiograph.shape == (30, 20)
    assert any("EXIF" in note for note in radiograph.notes)


def colour() -> Image.Image:
    values = np.zeros((20, 30, 3), dtype=np.uint8)
    values[..., 0] = 200
    return Image.fromarray(values)


def transparent() -> Image.Image:
    return Image.fromarray(np.full((20, 30, 2), 100, dtype=np.uint8), mode=None).convert("LA")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(colour()), "a colour picture"),
        (encoded(colour(), "JPEG"), "a colour picture"),
        (encoded(Image.new("CMYK", (30, 20)), "JPEG"), r"a colour picture \(CMYK\)"),
        (encoded(Image.new("1", (30, 20))), "1 bit"),
        (encoded(Image.new("RGBA", (30, 20), (9, 9, 9, 100))), "transparent"),
        (encoded(Image.fromarray(GREY))[:100], "damaged or truncated"),
        (encoded(Image.fromarray(GREY))[:20], "not a picture|damaged"),
        (b"\x89PNG\r\n\x1a\n", "not a picture|damaged"),
        (b"\xff\xd8\xff" + bytes(100), "not a picture|damaged"),
    ],
)
def test_what_cannot_be_read(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_raster(data, "x.png")
    assert str(caught.value).startswith("x.png: ") and "\n" not in str(caught.value)


def test_a_header_that_claims_gigapixels() -> None:
    data = bytearray(encoded(Image.fromarray(GREY)))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(SourceError, match=r"60000 x 60000 pixels|not a picture"):
        read_raster(bytes(data), "x.png")


def test_an_animation_is_refused() -> None:
    frames = [Image.new("L", (30, 20), level) for level in (0, 100)]
    with pytest.raises(SourceError, match="an animation"):
        read_raster(encoded(frames[0], save_all=True, append_images=frames[1:]), "x.png")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_goes_out_at_its_own_depth_with_untouched_pixels_bit_for_bit(
    tmp_path: Path, provenance: Provenance, bits: int
) -> None:
    values = GREY if bits == 16 else (GREY >> 8).astype(np.uint8)
    radiograph = read_raster(encoded(Image.fromarray(values)), "x.png")
    edited = radiograph.image.copy()
    edited[5:10, 5:10] = 0.5
    path = tmp_path / "out.png"
    write_png(path, radiograph, edited, provenance)
    back = read_radiograph(path, force=True)
    assert back.layout is not None and back.layout.bits_stored == bits and back.stored is not None
    untouched = edited == radiograph.image
    np.testing.assert_array_equal(back.stored[untouched], values[untouched])
    assert np.abs(back.image - edited).max() <= 0.5 / (2**bits - 1) + 1e-6


def test_the_png_says_what_it_is(tmp_path: Path, provenance: Provenance) -> None:
    radiograph = read_raster(encoded(Image.fromarray(GREY)), "x.png")
    path = tmp_path / "out.png"
    write_png(path, radiograph, radiograph.image, provenance)
    with Image.open(path) as picture:
        picture.load()
        assert picture.text["Description"] == "SYNTHETIC - not for diagnosis"  # type: ignore[attr-defined]
        made = json.loads(picture.text["roentmod-fast"])  # type: ignore[attr-defined]
    assert made["prompt"] == "pulmonary edema" and made["seed"] == 7
    with pytest.raises(RefusedError, match="already synthetic"):
        read_radiograph(path)
    with pytest.raises(OutputError, match="already exists"):
        write_png(path, radiograph, radiograph.image, provenance)
    write_png(path, radiograph, radiograph.image, provenance, overwrite=True)


@pytest.mark.parametrize(("bits", "depth"), [(12, 16), (8, 8)])
def test_a_dicom_source_gives_the_displayed_picture(
    tmp_path: Path, provenance: Provenance, bits: int, depth: int
) -> None:
    dataset = make_dataset(np.arange(600).reshape(20, 30) % (1 << bits), BitsStored=bits, BitsAllocated=16)
    radiograph = read_dicom(to_bytes(dataset), "x.dcm")
    path = tmp_path / "out.png"
    write_png(path, radiograph, radiograph.image, provenance)
    back = read_radiograph(path, force=True)
    assert back.layout is not None and back.layout.bits_stored == depth
    np.testing.assert_allclose(back.image, radiograph.image, atol=0.51 / (2**depth - 1))
