"""PNG and JPEG in, PNG out."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.errors import OutputError, RefusedError, SourceError
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.write import synthetic_dataset, write_dicom
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.png import with_chunks
from roentmod_fast.radiograph.raster import read_raster, write_png
from roentmod_fast.radiograph.read import read_radiograph

from .conftest import make_dataset, notes_of, to_bytes

GREY = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 109


def encoded(opened: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    opened.save(buffer, kind, **options)
    return buffer.getvalue()


def test_8_bit_png() -> None:
    values = (GREY >> 8).astype(np.uint8)
    radiograph = read_raster(encoded(Image.fromarray(values)), "x.png")
    np.testing.assert_allclose(radiograph.image, values / 255, atol=1e-7)
    assert radiograph.layout is not None and radiograph.layout.bits_stored == 8
    assert radiograph.dataset is None and all("a thumbnail" in note for note in notes_of(radiograph))


def test_16_bit_png() -> None:
    radiograph = read_raster(encoded(Image.fromarray(GREY)), "x.png")
    np.testing.assert_allclose(radiograph.image, GREY / 65535, atol=1e-7)
    assert radiograph.layout is not None and radiograph.layout.bits_stored == 16


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_equal_channels_are_grey(mode: str) -> None:
    values = (GREY >> 8).astype(np.uint8)
    opened = (
        Image.fromarray(values).convert("RGB").convert(mode) if mode != "P" else Image.fromarray(values).convert("P")
    )
    radiograph = read_raster(encoded(opened), "x.png")
    np.testing.assert_array_equal(radiograph.stored, values)


def test_jpeg_in_grey_and_in_colour() -> None:
    values = (GREY >> 8).astype(np.uint8)
    for mode in ("L", "RGB"):
        radiograph = read_raster(encoded(Image.fromarray(values).convert(mode), "JPEG", quality=95), "x.jpg")
        assert radiograph.stored is not None
        assert np.abs(radiograph.stored - values.astype(int)).max() < 16


def test_exif_orientation_is_followed() -> None:
    opened = Image.fromarray((GREY >> 8).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    radiograph = read_raster(encoded(opened, "JPEG", exif=exif), "x.jpg")
    assert radiograph.shape == (30, 20)
    assert any("EXIF" in note for note in notes_of(radiograph))


def colour() -> Image.Image:
    values = np.zeros((20, 30, 3), dtype=np.uint8)
    values[..., 0] = 200
    return Image.fromarray(values)


def transparent() -> Image.Image:
    return Image.fromarray(np.full((20, 30, 2), 100, dtype=np.uint8), mode=None).convert("LA")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(colour()), "a colour image"),
        (encoded(colour(), "JPEG"), "a colour image"),
        (encoded(Image.new("CMYK", (30, 20)), "JPEG"), r"a colour image \(CMYK\)"),
        (encoded(Image.new("1", (30, 20))), "1 bit"),
        (encoded(Image.new("RGBA", (30, 20), (9, 9, 9, 100))), "transparent"),
        (encoded(Image.fromarray(GREY))[:100], "truncated, its end is missing: fetch it again"),
        (encoded(Image.fromarray(GREY))[:20], "not an image|damaged|truncated"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged|truncated"),
        (b"\xff\xd8\xff" + bytes(100), "not an image|damaged|truncated"),
    ],
)
def test_what_cannot_be_read(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_raster(data, "x.png")
    assert str(caught.value).startswith("x.png: ") and "\n" not in str(caught.value)


def test_a_header_that_claims_gigapixels() -> None:
    data = bytearray(encoded(Image.fromarray(GREY)))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(SourceError, match=r"60000 x 60000 pixels|not an image"):
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
    with Image.open(path) as opened:
        opened.load()
        assert opened.text["Description"] == "SYNTHETIC - not for diagnosis"  # type: ignore[attr-defined]
        made = json.loads(opened.text["roentmod-fast"])  # type: ignore[attr-defined]
    assert made["prompt"] == "pulmonary edema" and made["seed"] == 7
    with pytest.raises(RefusedError, match="already synthetic"):
        read_radiograph(path)
    with pytest.raises(OutputError, match="already exists"):
        write_png(path, radiograph, radiograph.image, provenance)
    write_png(path, radiograph, radiograph.image, provenance, overwrite=True)


@pytest.mark.parametrize(("bits", "depth"), [(12, 16), (8, 8)])
def test_a_dicom_source_gives_the_displayed_image(
    tmp_path: Path, provenance: Provenance, bits: int, depth: int
) -> None:
    dataset = make_dataset(np.arange(600).reshape(20, 30) % (1 << bits), BitsStored=bits, BitsAllocated=16)
    radiograph = read_dicom(to_bytes(dataset), "x.dcm")
    path = tmp_path / "out.png"
    write_png(path, radiograph, radiograph.image, provenance)
    back = read_radiograph(path, force=True)
    assert back.layout is not None and back.layout.bits_stored == depth
    np.testing.assert_allclose(back.image, radiograph.image, atol=0.51 / (2**depth - 1))


# --- 16 bits a sample in several channels -----------------------------------------------------------------------------

WIDE = np.random.default_rng(4).integers(0, 65536, (37, 41)).astype(np.uint16)
OPAQUE = np.full_like(WIDE, 65535)
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def filtered(samples: NDArray[np.uint16], kind: int) -> bytes:
    """Return the filtered rows of an image (PNG 9.2); ``kind`` 5 takes each filter in turn."""
    size = 2 * samples.shape[2]
    rows = np.frombuffer(samples.astype(">u2").tobytes(), np.uint8).reshape(len(samples), -1).astype(int)
    out = []
    for y, row in enumerate(rows):
        up = rows[y - 1] if y else np.zeros_like(row)
        left, corner = (np.concatenate([np.zeros(size, int), line[:-size]]) for line in (row, up))
        near = [np.abs(left + up - corner - each) for each in (left, up, corner)]
        paeth = np.select([(near[0] <= near[1]) & (near[0] <= near[2]), near[1] <= near[2]], [left, up], corner)
        used = y % 5 if kind == 5 else kind
        out.append(bytes([used]) + ((row - (0, left, up, (left + up) // 2, paeth)[used]) % 256).astype("u1").tobytes())
    return b"".join(out)


def png16(*channels: NDArray[np.uint16], filters: int = 0, interlaced: bool = False, **chunks: bytes) -> bytes:
    """Return a PNG of 16 bits a sample, which Pillow cannot write but for grey."""
    samples = np.stack(channels, axis=2)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[len(channels)]
    passes = [samples[y::down, x::across] for y, x, down, across in ADAM7] if interlaced else [samples]
    data = b"".join(filtered(part, filters) for part in passes if part.size)
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, colour, 0, 0, int(interlaced))
    parts = {b"IHDR": head, **{k.encode(): v for k, v in chunks.items()}, b"IDAT": zlib.compress(data), b"IEND": b""}
    chunk = (struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in parts.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("filters", range(6))
@pytest.mark.parametrize(
    "channels", [(WIDE,), (WIDE, OPAQUE), (WIDE,) * 3, (WIDE, WIDE, WIDE, OPAQUE)], ids=["L", "LA", "RGB", "RGBA"]
)
def test_all_16_bits_of_equal_channels(
    channels: tuple[NDArray[np.uint16], ...], filters: int, interlaced: bool
) -> None:
    radiograph = read_raster(png16(*channels, filters=filters, interlaced=interlaced), "x.png")
    np.testing.assert_array_equal(radiograph.stored, WIDE)
    assert radiograph.layout is not None and radiograph.layout.bits_stored == 16 and notes_of(radiograph) == ()


def test_a_16_bit_colour_png_of_grey_goes_out_bit_for_bit(tmp_path: Path, provenance: Provenance) -> None:
    radiograph = read_raster(png16(WIDE, WIDE, WIDE), "x.png")
    write_png(tmp_path / "out.png", radiograph, radiograph.image, provenance)
    np.testing.assert_array_equal(read_radiograph(tmp_path / "out.png", force=True).stored, WIDE)


@pytest.mark.parametrize(
    ("channels", "chunks", "message"),
    [
        ((WIDE, WIDE, WIDE // 2), {}, "a colour image"),
        ((WIDE, WIDE[::-1], WIDE, OPAQUE), {}, "a colour image"),
        ((WIDE, WIDE, np.where(WIDE < 60000, WIDE + 256, WIDE)), {}, "a colour image"),
        ((WIDE, WIDE, WIDE, OPAQUE - 1), {}, "transparent"),
        ((WIDE, np.where(np.arange(41) == 3, 65534, OPAQUE)), {}, "transparent"),
        ((WIDE, WIDE, WIDE), {"tRNS": struct.pack(">3H", *[int(WIDE[5, 5])] * 3)}, "transparent"),
    ],
)
def test_16_bit_colour_and_transparency_are_refused(
    channels: tuple[NDArray[Any], ...], chunks: dict[str, bytes], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read_raster(png16(*(each.astype(np.uint16) for each in channels), **chunks), "x.png")


def test_less_than_a_level_of_8_bit_between_channels_is_noted() -> None:
    values = np.clip(WIDE, 300, 65000)
    radiograph = read_raster(png16(values, values + 3, values), "x.png")
    assert radiograph.stored is not None and np.abs(radiograph.stored - values.astype(int)).max() <= 3
    assert any("differ by up to 3 levels of 65535" in note for note in notes_of(radiograph))


def test_a_16_bit_colour_png_is_turned_as_its_exif_data_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    radiograph = read_raster(png16(WIDE, WIDE, WIDE, eXIf=exif.tobytes()[6:]), "x.png")
    np.testing.assert_array_equal(radiograph.stored, np.rot90(WIDE, -1))


# --- fewer bits in cells of 16 ----------------------------------------------------------------------------------------


def chest(bits: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(bits)
    values = rng.integers(0, 1 << bits, (40, 50))
    values[0, 0] = (1 << bits) - 1
    return values.astype(np.uint16)


@pytest.mark.parametrize("bits", [10, 12, 14, 15])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_values_of_fewer_bits_are_shown_as_in_dicom(bits: int, channels: int) -> None:
    values = chest(bits)
    opaque = np.full_like(values, 65535)
    grey = [values] if channels < 3 else [values] * 3
    data = png16(*grey, *([opaque] if channels in (2, 4) else []))
    radiograph = read_raster(data, "x.png")
    window = {"WindowCenter": None, "WindowWidth": None}
    same = [read_dicom(to_bytes(make_dataset(values, BitsStored=n, **window)), "x.dcm") for n in (bits, 16)]
    for dicom in same:
        np.testing.assert_array_equal(radiograph.image, dicom.image)
    np.testing.assert_array_equal(radiograph.stored, values)
    assert radiograph.layout is not None and radiograph.layout.bits_stored == bits
    assert any(f"values have {bits} bits" in note for note in notes_of(radiograph))
    assert any("percentiles" in note for note in notes_of(radiograph))
    assert radiograph.image.mean() > 0.3


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15])
def test_an_edit_stays_among_the_values_of_the_source(tmp_path: Path, provenance: Provenance, bits: int) -> None:
    values = chest(bits)
    radiograph = read_raster(encoded(Image.fromarray(values)), "x.png")
    path = tmp_path / "same.png"
    write_png(path, radiograph, radiograph.image, provenance)
    with Image.open(path) as same:
        assert same.mode.startswith("I") and "sBIT" not in path.read_bytes()[:100].decode("latin-1")
        np.testing.assert_array_equal(np.asarray(same), values)
    edited = radiograph.image.copy()
    edited[10:20, 10:20], edited[20:30, 10:20] = 1, 0
    stored = synthetic_dataset(radiograph, edited, provenance)
    assert (stored.BitsAllocated, stored.BitsStored, stored.HighBit) == (16, bits, bits - 1)
    write_png(tmp_path / "edit.png", radiograph, edited, provenance)
    with Image.open(tmp_path / "edit.png") as edit:
        written = np.asarray(edit).astype(int)
    untouched = edited == radiograph.image
    np.testing.assert_array_equal(written[untouched], values[untouched])
    assert written.max() < 1 << bits


@pytest.mark.parametrize(
    ("highest", "significant", "bits"),
    [
        (4095, None, 12),
        (3000, 12, 12),
        (900, 12, 12),
        (2000, 11, 11),
        (4095, 16, 16),
        (60000, 12, 16),
        (5000, 12, 16),
        (4095, 0, 12),
        (4095, 99, 12),
        (200, None, 8),
        (32767, None, 15),
        (32768, None, 16),
        (0, None, 8),
    ],
)
def test_significant_bits(highest: int, significant: int | None, bits: int) -> None:
    values = np.linspace(0, highest, 600).reshape(20, 30).astype(np.uint16)
    chunks = {} if significant is None else {"sBIT": bytes([significant])}
    radiograph = read_raster(png16(values, **chunks), "x.png", force="content")
    assert radiograph.layout is not None and radiograph.layout.bits_stored == bits
    assert (notes_of(radiograph) == ()) == (bits == 16)
    np.testing.assert_array_equal(radiograph.stored, values)


def test_8_bit_pngs_of_few_levels_are_left_alone() -> None:
    values = (np.arange(600).reshape(20, 30) % 16).astype(np.uint8)
    radiograph = read_raster(encoded(Image.fromarray(values)), "x.png")
    np.testing.assert_allclose(radiograph.image, values / 255, atol=1e-7)
    assert notes_of(radiograph) == ()


def test_a_dark_radiograph_comes_back_as_dark(tmp_path: Path, provenance: Provenance) -> None:
    """A 16 bit output holds what is shown, however dark: it says that all its bits are significant."""
    dataset = make_dataset(np.arange(600).reshape(20, 30), WindowCenter=8192, WindowWidth=16384)
    radiograph = read_dicom(to_bytes(dataset), "x.dcm")
    assert radiograph.image.max() < 0.1
    write_png(tmp_path / "out.png", radiograph, radiograph.image, provenance)
    back = read_radiograph(tmp_path / "out.png", force=True)
    np.testing.assert_allclose(back.image, radiograph.image, atol=1e-4)
    assert [note.partition(":")[0] for note in notes_of(back)] == ["forced"]


# --- shape and size of pixels -----------------------------------------------------------------------------------------

SMALL = (GREY >> 8).astype(np.uint8)


def with_physical(png: bytes, across: int, down: int, unit: int) -> bytes:
    return with_chunks(png, {b"pHYs": struct.pack(">IIB", across, down, unit)})


def with_density(across: int, down: int, unit: int) -> bytes:
    data = bytearray(encoded(Image.fromarray(SMALL), "JPEG", quality=95))
    assert data[6:11] == b"JFIF\0"
    data[13:18] = struct.pack(">BHH", unit, across, down)
    return bytes(data)


@pytest.mark.parametrize(
    ("across", "down", "unit", "aspect", "spacing"),
    [
        (2, 1, 0, 2.0, None),
        (3, 4, 0, 0.75, None),
        (7194, 7194, 1, 1.0, (0.139, 0.139)),
        (10000, 5000, 1, 2.0, (0.2, 0.1)),
        (2834, 2835, 1, 1.0, (0.35273, 0.35286)),
    ],
)
def test_the_pixels_of_a_png(
    across: int, down: int, unit: int, aspect: float, spacing: tuple[float, float] | None
) -> None:
    for data in (encoded(Image.fromarray(SMALL)), encoded(Image.fromarray(GREY)), png16(GREY, GREY, GREY)):
        radiograph = read_raster(with_physical(data, across, down, unit), "x.png")
        assert radiograph.aspect == pytest.approx(aspect, rel=1e-6)
        assert radiograph.spacing == (None if spacing is None else pytest.approx(spacing, rel=1e-3))
        assert any("times as high as wide" in note for note in notes_of(radiograph)) == (aspect != 1)


@pytest.mark.parametrize(
    ("across", "down", "unit", "aspect", "spacing"),
    [
        (1, 1, 0, 1.0, None),
        (2, 1, 0, 2.0, None),
        (300, 150, 1, 2.0, (0.16933, 0.08467)),
        (50, 100, 2, 0.5, (0.1, 0.2)),
    ],
)
def test_the_pixels_of_a_jpeg(
    across: int, down: int, unit: int, aspect: float, spacing: tuple[float, float] | None
) -> None:
    radiograph = read_raster(with_density(across, down, unit), "x.jpg")
    assert radiograph.aspect == pytest.approx(aspect)
    assert radiograph.spacing == (None if spacing is None else pytest.approx(spacing, rel=1e-3))


@pytest.mark.parametrize(("across", "down"), [(0, 1), (1, 0), (0, 0), (1000, 1), (1, 60000)])
@pytest.mark.parametrize("unit", [0, 1])
def test_absurd_densities_are_ignored_with_a_note(across: int, down: int, unit: int) -> None:
    png = with_physical(encoded(Image.fromarray(SMALL)), across, down, unit)
    for data in (png, with_density(across, down, unit)):
        radiograph = read_raster(data, "x")
        assert radiograph.aspect == 1.0 and radiograph.spacing is None
        assert any("pixels taken as square" in note for note in notes_of(radiograph))


def test_pixels_that_are_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    data = with_physical(encoded(Image.fromarray(SMALL), exif=exif), 10000, 5000, 1)
    radiograph = read_raster(data, "x.png")
    assert radiograph.shape == (30, 20) and radiograph.aspect == 0.5
    assert radiograph.spacing == pytest.approx((0.1, 0.2))


def physical(path: Path) -> tuple[int, ...] | None:
    data = path.read_bytes()
    at = data.find(b"pHYs")
    assert at < data.index(b"IDAT")
    return None if at < 0 else struct.unpack_from(">IIB", data, at + 4)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, None),
        ({"PixelAspectRatio": [2, 1]}, (200000, 100000, 0)),
        ({"PixelAspectRatio": [1, 1]}, None),
        ({"ImagerPixelSpacing": [0.139, 0.139]}, (7194, 7194, 1)),
        ({"PixelSpacing": [0.2, 0.1]}, (10000, 5000, 1)),
        ({"PixelSpacing": [0.2, 0.1], "PatientOrientation": ["F", "R"]}, (5000, 10000, 1)),
        ({"PixelSpacing": [3000, 1500]}, (200000, 100000, 0)),
        ({"PixelSpacing": [0.139, 0.139], "ImagerPixelSpacing": [0.2, 0.2]}, (7194, 7194, 1)),
        ({"PixelAspectRatio": [1, 2], "ImagerPixelSpacing": [0.2, 0.2]}, (50000, 100000, 0)),
        ({"PixelSpacing": [9.0, 0.1]}, None),
    ],
)
def test_a_png_says_how_high_and_wide_its_pixels_are(
    tmp_path: Path, provenance: Provenance, attributes: dict[str, Any], expected: tuple[int, ...] | None
) -> None:
    radiograph = read_dicom(to_bytes(make_dataset(np.arange(600).reshape(20, 30), **attributes)), "x.dcm")
    path = tmp_path / "out.png"
    write_png(path, radiograph, radiograph.image, provenance)
    assert physical(path) == expected
    with Image.open(path) as opened:
        assert opened.size == radiograph.shape[::-1], "the matrix is the source's"
        opened.load()
    assert read_radiograph(path, force=True).aspect == pytest.approx(radiograph.aspect, rel=1e-3)


@pytest.mark.parametrize("unit", [0, 1])
def test_the_pixels_of_a_source_image_are_kept(tmp_path: Path, provenance: Provenance, unit: int) -> None:
    radiograph = read_raster(with_physical(encoded(Image.fromarray(SMALL)), 9000, 4500, unit), "x.png")
    write_png(tmp_path / "out.png", radiograph, radiograph.image, provenance)
    across, down, written = physical(tmp_path / "out.png") or (0, 1, 9)
    assert across / down == 2 and written == unit
    assert synthetic_dataset(radiograph, radiograph.image, provenance).PixelAspectRatio == [2, 1]
    write_dicom(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)
    assert read_radiograph(tmp_path / "out.dcm", force=True).aspect == 2.0


def test_pixels_of_a_png_on_its_side_keep_their_shape(tmp_path: Path, provenance: Provenance) -> None:
    source = with_physical(encoded(Image.fromarray(SMALL)), 9000, 4500, 1)
    radiograph = read_raster(source, "x.png", orientation="F/R")
    assert radiograph.shape == SMALL.shape[::-1] and radiograph.aspect == 0.5
    write_png(tmp_path / "out.png", radiograph, radiograph.image, provenance)
    across, down, _ = physical(tmp_path / "out.png") or (0, 1, 9)
    assert (across, down) == (9000, 4500), "the matrix is written as it was stored"
    write_dicom(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)
    assert synthetic_dataset(radiograph, radiograph.image, provenance).PixelAspectRatio == [2, 1]
    assert read_radiograph(tmp_path / "out.dcm", force=True).aspect == 0.5


# --- files cut short --------------------------------------------------------------------------------------------------


def test_a_jpeg_that_was_not_written_to_its_end() -> None:
    rng = np.random.default_rng(8)
    whole = encoded(Image.fromarray(rng.integers(0, 256, (200, 200)).astype(np.uint8)), "JPEG", quality=95)
    for written in (1000, len(whole) // 2, len(whole) - 300):
        with pytest.raises(SourceError, match=r"the image is truncated: its last \d+ bytes are zeros: fetch it again"):
            read_raster(whole[:written] + bytes(len(whole) - written + 5000), "x.jpg")
        with pytest.raises(SourceError, match="the image is truncated, its end is missing: fetch it again"):
            read_raster(whole[:written], "x.jpg")
    assert notes_of(read_raster(whole + bytes(5000), "x.jpg")) == ()


def test_a_png_that_was_not_written_to_its_end_and_a_damaged_one() -> None:
    whole = encoded(Image.fromarray(WIDE))
    with pytest.raises(SourceError, match="truncated, its end is missing: fetch it again"):
        read_raster(whole[:1500] + bytes(1 << 20), "x.png")
    damaged = whole[:1500] + b"\x55" + whole[1501:]
    with pytest.raises(SourceError, match="damaged") as caught:
        read_raster(damaged, "x.png")
    assert "fetch" not in str(caught.value)
