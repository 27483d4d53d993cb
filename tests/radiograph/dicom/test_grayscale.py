"""The grayscale chain against the standard's own formulas, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from roentmod_fast.errors import SourceError
from roentmod_fast.radiograph.dicom.grayscale import GrayscalePipeline, _search, full_range, grayscale_of
from tests.radiograph.conftest import lut_item, make_dataset

VALUES = np.arange(4096)


def build(
    lowest: int = 0, bits: int = 12, voi: int = 0, **attributes: Any
) -> tuple[GrayscalePipeline, tuple[str, ...]]:
    attributes = {"WindowCenter": None, "WindowWidth": None, **attributes}
    return grayscale_of(make_dataset(**attributes), np.ones(1 << bits, dtype=np.int64), lowest, voi)


def test_linear_window_as_in_c_11_2_1_2_1() -> None:
    grayscale, notes = build(WindowCenter=2000, WindowWidth=1001)
    # "if (x <= c - 0.5 - (w-1)/2), then y = ymin; if (x > c - 0.5 + (w-1)/2), then y = ymax"
    expected = np.clip((VALUES - 1999.5) / 1000 + 0.5, 0, 1)
    np.testing.assert_allclose(grayscale.table, expected, atol=1e-7)
    assert grayscale.table[1499] == 0 and grayscale.table[1500] > 0
    assert grayscale.table[2500] == 1 and grayscale.table[2499] < 1
    assert notes == ()


def test_linear_exact_window() -> None:
    grayscale, _ = build(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(grayscale.table, np.clip((VALUES - 2000) / 1000 + 0.5, 0, 1), atol=1e-7)


def test_sigmoid_window() -> None:
    grayscale, _ = build(WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(grayscale.table, 1 / (1 + np.exp(-4 * (VALUES - 2000) / 1000)), atol=1e-7)


def test_window_of_width_one_is_a_threshold() -> None:
    grayscale, _ = build(WindowCenter=2000, WindowWidth=1)
    assert set(np.unique(grayscale.table)) == {0.0, 1.0}
    assert grayscale.table[1999] == 0 and grayscale.table[2000] == 1


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_of_width_zero_falls_back_to_percentiles(function: str) -> None:
    grayscale, notes = build(WindowCenter=2000, WindowWidth=0, VOILUTFunction=function)
    assert any("Window Width 0" in note for note in notes) and any("percentiles" in note for note in notes)
    assert grayscale.table[0] == 0 and grayscale.table[-1] == 1 and 0.4 < grayscale.table[2048] < 0.6


def test_rescale_comes_before_the_window() -> None:
    grayscale, _ = build(RescaleSlope=0.5, RescaleIntercept=-100, WindowCenter=900, WindowWidth=2000)
    np.testing.assert_allclose(grayscale.table, np.clip((VALUES * 0.5 - 100 - 899.5) / 1999 + 0.5, 0, 1), atol=1e-7)


def test_rescale_slope_of_zero_is_ignored_with_a_note() -> None:
    grayscale, notes = build(RescaleSlope=0, RescaleIntercept=0, WindowCenter=2048, WindowWidth=4096)
    assert any("Rescale Slope" in note for note in notes)
    assert grayscale.table[4095] == 1


def test_modality_lut_comes_before_the_voi_lut() -> None:
    reverse = lut_item(0, list(range(4095, -1, -1)), 12)
    square = lut_item(0, [v * v >> 12 for v in range(4096)], 12)
    grayscale, _ = build(ModalityLUTSequence=[reverse], VOILUTSequence=[square])
    backwards = VALUES[::-1]
    np.testing.assert_allclose(grayscale.table, (backwards * backwards >> 12) / 4095, atol=1e-7)


def test_lut_holds_its_first_and_last_entry_beyond_its_ends() -> None:
    grayscale, _ = build(VOILUTSequence=[lut_item(1000, [0, 100, 200, 255], 8)])
    assert grayscale.table[0] == grayscale.table[1000] == 0
    assert grayscale.table[1002] == pytest.approx(200 / 255)
    assert grayscale.table[1003] == grayscale.table[4095] == 1


def test_lut_of_65536_entries_is_described_as_zero() -> None:
    item = lut_item(0, list(range(65536)), 16)
    assert item.LUTDescriptor[0] == 0
    grayscale, _ = build(bits=16, VOILUTSequence=[item], BitsStored=16)
    np.testing.assert_allclose(grayscale.table, np.arange(65536) / 65535, atol=1e-7)


def test_lut_of_8_bit_packed_in_words() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 8])
    item.add_new("LUTData", "OW", bytes(range(256)))
    grayscale, _ = build(bits=8, BitsStored=8, BitsAllocated=8, VOILUTSequence=[item])
    np.testing.assert_allclose(grayscale.table, np.arange(256) / 255, atol=1e-7)


def test_lut_data_as_us() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "US", list(range(4096)))
    grayscale, _ = build(VOILUTSequence=[item])
    np.testing.assert_allclose(grayscale.table, VALUES / 4095, atol=1e-7)


def test_lut_with_wrong_number_of_bits_is_noted() -> None:
    grayscale, notes = build(VOILUTSequence=[lut_item(0, list(range(4096)), 16)])
    assert any("LUT of 16 bits holds values of 12" in note for note in notes)
    assert grayscale.table[-1] == 1


def test_lut_shorter_than_described_is_noted() -> None:
    item = lut_item(0, list(range(2048)), 11)
    item.LUTDescriptor = [4096, 0, 11]
    grayscale, notes = build(VOILUTSequence=[item])
    assert any("LUT of 4096 entries holds 2048" in note for note in notes)
    assert grayscale.table[-1] == 1


def test_signed_lut_start_written_as_unsigned() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 65536 - 2048, 12])
    item.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    grayscale, _ = build(lowest=-2048, PixelRepresentation=1, VOILUTSequence=[item])
    np.testing.assert_allclose(grayscale.table, VALUES / 4095, atol=1e-7)


def test_several_views_are_counted_luts_first() -> None:
    header = {
        "VOILUTSequence": [lut_item(0, list(range(4096)), 12)],
        "WindowCenter": [1000, 3000],
        "WindowWidth": [1001, 2001],
    }
    lut, _ = build(**header)
    first, _ = build(voi=1, **header)
    second, _ = build(voi=2, **header)
    np.testing.assert_allclose(lut.table, VALUES / 4095, atol=1e-7)
    np.testing.assert_allclose(first.table, np.clip((VALUES - 999.5) / 1000 + 0.5, 0, 1), atol=1e-7)
    np.testing.assert_allclose(second.table, np.clip((VALUES - 2999.5) / 2000 + 0.5, 0, 1), atol=1e-7)
    with pytest.raises(SourceError, match="no VOI LUT or window 3: the header has 3"):
        build(voi=3, **header)


def test_a_view_asked_for_where_there_is_none() -> None:
    with pytest.raises(SourceError, match="the header has none"):
        build(voi=1)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_polarity_is_turned_once(photometric: str, shape: str | None, inverted: bool) -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    grayscale, _ = build(PhotometricInterpretation=photometric, PresentationLUTShape=shape, **window)
    upright, _ = build(**window)
    np.testing.assert_array_equal(grayscale.table, 1 - upright.table if inverted else upright.table)


def test_negatives_are_exact_in_both_directions() -> None:
    a, _ = build(WindowCenter=1777.3, WindowWidth=3333.7)
    b, _ = build(WindowCenter=1777.3, WindowWidth=3333.7, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(b.table, np.float32(1) - a.table)
    np.testing.assert_array_equal(a.table, np.float32(1) - b.table)


def test_a_window_that_misses_the_data_gives_percentiles() -> None:
    histogram = np.zeros(4096, dtype=np.int64)
    histogram[1000:1100] = 10
    header = make_dataset(WindowCenter=40, WindowWidth=80)
    grayscale, notes = grayscale_of(header, histogram, 0)
    assert any("misses the image" in note for note in notes)
    assert grayscale.table[1000] == 0 and grayscale.table[1099] == 1 and 0.4 < grayscale.table[1050] < 0.6


def test_neither_window_nor_lut_gives_percentiles_and_a_note() -> None:
    histogram = np.zeros(4096, dtype=np.int64)
    histogram[500:1501] = 10
    header = make_dataset(WindowCenter=None, WindowWidth=None)
    grayscale, notes = grayscale_of(header, histogram, 0)
    assert any("neither window nor VOI LUT" in note for note in notes)
    assert grayscale.table[500] == 0 and grayscale.table[1500] == 1
    assert grayscale.table[1000] == pytest.approx(0.5, abs=0.01)


def test_8_bit_without_a_window_is_shown_as_it_stands() -> None:
    grayscale, notes = build(bits=8, BitsAllocated=8, BitsStored=8)
    np.testing.assert_allclose(grayscale.table, np.arange(256) / 255, atol=1e-7)
    assert any("whole 8 bit range" in note for note in notes)


def test_a_blank_image_has_a_display() -> None:
    histogram = np.zeros(4096, dtype=np.int64)
    histogram[7] = 100
    for window in ({"WindowCenter": 2048, "WindowWidth": 4096}, {"WindowCenter": None, "WindowWidth": None}):
        grayscale, _ = grayscale_of(make_dataset(**window), histogram, 0)
        assert np.isfinite(grayscale.table).all()


def test_several_numbers_in_one_string() -> None:
    header = make_dataset(WindowCenter=None, WindowWidth=None)
    header.add_new("WindowCenter", "LO", "2000, 1000")
    header.add_new("WindowWidth", "LO", "1001, 501")
    grayscale, _ = grayscale_of(header, np.ones(4096, dtype=np.int64), 0)
    np.testing.assert_allclose(grayscale.table, np.clip((VALUES - 1999.5) / 1000 + 0.5, 0, 1), atol=1e-7)


def test_padding_is_black_and_stays() -> None:
    stored = np.array([[0, 0, 100, 4000]], dtype=np.int32)
    header = make_dataset(PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
    grayscale, notes = grayscale_of(header, np.bincount(stored.ravel(), minlength=4096), 0)
    shown = grayscale.apply(stored)
    assert shown[0, 0] == 0 and shown[0, 2] > 0.9
    assert any("Pixel Padding Value" in note for note in notes)
    back = grayscale.invert(np.ones((1, 4), dtype=np.float32), stored)
    assert back[0, :2].tolist() == [0, 0]
    assert 0 not in back[0, 2:], "an edited pixel must not become padding"


def test_padding_range_and_sign() -> None:
    header = make_dataset(PixelRepresentation=1)
    header.add_new("PixelPaddingValue", "US", 65536 - 2000)
    header.add_new("PixelPaddingRangeLimit", "US", 65536 - 1900)
    grayscale, _ = grayscale_of(header, np.ones(4096, dtype=np.int64), -2048)
    assert grayscale.padding == (-2000, -1900)


def test_pixels_that_show_the_same_keep_their_value_also_outside_the_window() -> None:
    grayscale, _ = build(WindowCenter=2000, WindowWidth=1001)
    stored = np.arange(4096, dtype=np.int32).reshape(64, 64)
    np.testing.assert_array_equal(grayscale.invert(grayscale.apply(stored), stored), stored)


def test_an_edited_pixel_takes_the_nearest_value_of_its_brightness() -> None:
    grayscale, _ = build(WindowCenter=2000, WindowWidth=1001)
    stored = np.array([[100, 2000, 3500]], dtype=np.int32)
    # Black from below stays where it is; black from inside stops at the edge of the window; so does white.
    assert grayscale.invert(np.zeros((1, 3), dtype=np.float32), stored).tolist() == [[100, 1499, 1499]]
    assert grayscale.invert(np.ones((1, 3), dtype=np.float32), stored).tolist() == [[2500, 2500, 3500]]


def test_inverse_is_within_half_a_step_of_what_was_asked() -> None:
    grayscale, _ = build(WindowCenter=2000, WindowWidth=3001, PhotometricInterpretation="MONOCHROME1")
    rng = np.random.default_rng(0)
    wanted = rng.random((50, 50), dtype=np.float32)
    stored = rng.integers(0, 4096, (50, 50), dtype=np.int32)
    shown = grayscale.apply(grayscale.invert(wanted, stored))
    assert np.abs(shown - wanted).max() <= 0.5 / 3000 + 1e-6


def test_a_lut_that_turns_back_still_inverts() -> None:
    hill = [*range(0, 4096, 2), *range(4095, 0, -2)]
    grayscale, _ = build(VOILUTSequence=[lut_item(0, hill, 12)])
    stored = np.arange(4096, dtype=np.int32)[None]
    np.testing.assert_array_equal(grayscale.invert(grayscale.apply(stored), stored), stored)
    wanted = np.full((1, 4096), 0.25, dtype=np.float32)
    assert np.abs(grayscale.apply(grayscale.invert(wanted, stored)) - 0.25).max() < 1e-3


def test_invert_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="no numbers"):
        full_range(8).invert(np.array([[np.nan]], dtype=np.float32), np.array([[1]], dtype=np.int32))


def test_a_sequence_without_usable_luts_is_noted() -> None:
    _, notes = build(VOILUTSequence=Sequence([Dataset()]), WindowCenter=2048, WindowWidth=4096)
    assert any("VOI LUT 0 cannot be read" in note for note in notes)


@pytest.mark.parametrize("count", [0, 1, 7, 255, 4095, 65535, 400_000])
@pytest.mark.parametrize("crowded", [False, True])
def test_the_search_is_numpys(count: int, crowded: bool) -> None:
    draws = np.random.default_rng(count)
    ordered = np.sort(draws.random(count)) ** (9 if crowded else 1)
    values = np.concatenate([draws.random(5000), ordered[:: max(count // 1000, 1)], [0, 1, 0.5, -0.1, 1.1, 2**-16]])
    np.testing.assert_array_equal(_search(ordered, values), np.searchsorted(ordered, values))
