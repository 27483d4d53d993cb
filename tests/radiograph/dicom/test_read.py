"""DICOM files read: pixels out of their cells, headers that are odd, files that are no radiographs."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from roentmod_fast.errors import RefusedError, SourceError
from roentmod_fast.radiograph.dicom.orientation import Orientation
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.read import read_radiograph
from tests.radiograph.conftest import make_dataset, to_bytes

RAMP = np.arange(48 * 64).reshape(48, 64) % 4096
SHOWN = np.clip((RAMP - 2047.5) / 4095 + 0.5, 0, 1)


def read(dataset: Dataset, **options: Any) -> Any:
    return read_dicom(to_bytes(dataset), "file.dcm", **options)


def test_a_plain_file() -> None:
    radiograph = read(make_dataset(RAMP))
    np.testing.assert_array_equal(radiograph.stored, RAMP)
    np.testing.assert_allclose(radiograph.image, SHOWN, atol=1e-6)
    assert radiograph.image.dtype == np.float32 and radiograph.shape == (48, 64)
    assert (
        all("a thumbnail" in note for note in radiograph.notes)
        and radiograph.decoder is None
        and radiograph.aspect == 1.0
    )
    assert not radiograph.image.flags.writeable and not radiograph.stored.flags.writeable


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
def test_uncompressed_syntaxes(syntax: uid.UID) -> None:
    radiograph = read_dicom(to_bytes(make_dataset(RAMP), syntax), "file.dcm")
    np.testing.assert_array_equal(radiograph.stored, RAMP)


def test_explicit_big_endian() -> None:
    dataset = make_dataset(RAMP)
    dataset.PixelData = RAMP.astype(">u2").tobytes()
    radiograph = read_dicom(to_bytes(dataset, uid.ExplicitVRBigEndian), "file.dcm")
    np.testing.assert_array_equal(radiograph.stored, RAMP)


@pytest.mark.parametrize(("bits", "allocated"), [(8, 8), (8, 16), (10, 16), (12, 16), (14, 16), (15, 16), (16, 16)])
@pytest.mark.parametrize("signed", [False, True])
def test_depths_and_signs(bits: int, allocated: int, signed: bool) -> None:
    lowest = -(1 << (bits - 1)) if signed else 0
    values = np.random.default_rng(bits).integers(lowest, lowest + (1 << bits), (20, 30))
    window = {"WindowCenter": lowest + (1 << (bits - 1)), "WindowWidth": 1 << bits}
    header = {"BitsAllocated": allocated, "BitsStored": bits, "PixelRepresentation": int(signed)}
    radiograph = read(make_dataset(values, **header, **window))
    np.testing.assert_array_equal(radiograph.stored, values)
    np.testing.assert_allclose(radiograph.image, (values - lowest) / ((1 << bits) - 1), atol=1e-6)
    assert radiograph.layout.unused_bits is None


def test_high_bit_above_the_stored_bits() -> None:
    radiograph = read(make_dataset(RAMP << 4, HighBit=15))
    np.testing.assert_array_equal(radiograph.stored, RAMP)
    assert any("High Bit 15" in note for note in radiograph.notes)


def test_unused_bits_are_not_shown_but_kept() -> None:
    overlay = (RAMP % 3 == 0).astype(np.int64) << 14
    radiograph = read(make_dataset(RAMP | overlay))
    np.testing.assert_array_equal(radiograph.stored, RAMP)
    np.testing.assert_array_equal(radiograph.layout.unused_bits, overlay)
    assert any("bits beside the stored ones" in note for note in radiograph.notes)


def test_signed_values_without_sign_extension() -> None:
    values = RAMP - 2048
    radiograph = read(make_dataset(values & 0xFFF, PixelRepresentation=1, WindowCenter=0))
    np.testing.assert_array_equal(radiograph.stored, values)


@pytest.mark.parametrize(("stored", "high"), [(0, None), (17, None), (12, 5), (12, 16)])
def test_bits_that_do_not_fit_are_noted(stored: int, high: int | None) -> None:
    radiograph = read(
        make_dataset(RAMP, BitsStored=stored, HighBit=high if high is not None else stored - 1 if stored else 15)
    )
    np.testing.assert_array_equal(radiograph.stored, RAMP)
    assert any("does not fit" in note for note in radiograph.notes)


def test_too_many_bytes_are_noted() -> None:
    dataset = make_dataset(RAMP)
    dataset.PixelData += b"\0" * 10
    radiograph = read(dataset)
    np.testing.assert_array_equal(radiograph.stored, RAMP)
    assert any("10 bytes too long" in note for note in radiograph.notes)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"NumberOfFrames": 3}, "3 frames: expected a single one"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "a colour image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "a colour image"),
        ({"Rows": 65535, "Columns": 65535}, "claims 65535 x 65535 pixels"),
        ({"Rows": 0}, "no image size"),
        ({"Rows": None}, "no image size"),
        ({"Rows": 49}, "pixel data has 6144 bytes, the header claims 6272"),
    ],
)
def test_what_cannot_be_read(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read(make_dataset(RAMP, **attributes))
    assert str(caught.value).startswith("file.dcm: ") and "\n" not in str(caught.value)


def test_without_pixels() -> None:
    dataset = make_dataset(RAMP)
    del dataset.PixelData
    with pytest.raises(SourceError, match=r"file\.dcm: a DICOM file without pixels"):
        read(dataset)


@pytest.mark.parametrize("allocated", [1, 32])
def test_other_allocations(allocated: int) -> None:
    dataset = make_dataset(RAMP)
    dataset.BitsAllocated = allocated
    with pytest.raises(SourceError, match=f"{allocated} bits allocated"):
        read(dataset)


def test_float_pixels() -> None:
    dataset = make_dataset(RAMP)
    del dataset.PixelData
    dataset.FloatPixelData = RAMP.astype("<f4").tobytes()
    with pytest.raises(SourceError, match="float pixel data"):
        read(dataset)


def test_a_file_cut_short_anywhere_is_an_error() -> None:
    data = to_bytes(make_dataset(RAMP))
    for length in [0, 1, 100, 131, 132, 200, 300, 500, len(data) - 3000, len(data) - 1]:
        with pytest.raises(SourceError):
            read_dicom(data[:length], "file.dcm")


def test_unknown_transfer_syntax() -> None:
    data = to_bytes(make_dataset(RAMP))
    mpeg = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.9\0")
    with pytest.raises(SourceError, match=r"unknown transfer syntax|not supported|damaged"):
        read_dicom(mpeg, "file.dcm")


def test_without_preamble(tmp_path: Path) -> None:
    data = to_bytes(make_dataset(RAMP))
    path = tmp_path / "no-preamble"
    path.write_bytes(data[132:])
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.stored, RAMP)
    assert "no DICOM preamble" in radiograph.notes


def test_without_file_meta() -> None:
    data = to_bytes(make_dataset(RAMP), uid.ImplicitVRLittleEndian)
    start = data.index(b"\x08\x00\x16\x00")
    radiograph = read_dicom(data[start:], "file.dcm")
    np.testing.assert_array_equal(radiograph.stored, RAMP)
    assert any("no transfer syntax" in note for note in radiograph.notes)


def test_a_deflated_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from roentmod_fast.radiograph.dicom import read as dicom_read

    monkeypatch.setattr(dicom_read, "MAX_BYTES", 1 << 20)
    data = to_bytes(make_dataset(RAMP), uid.DeflatedExplicitVRLittleEndian)
    dataset = make_dataset(np.zeros((1000, 1000)))
    bomb = to_bytes(dataset, uid.DeflatedExplicitVRLittleEndian)
    assert len(bomb) < 1 << 16
    with pytest.raises(SourceError, match="inflates to more than"):
        read_dicom(bomb, "file.dcm")
    assert read_dicom(data, "file.dcm").shape == (48, 64)
    assert zlib.crc32(bomb) != zlib.crc32(data)


def test_notes_and_logs_never_repeat_the_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with disable_value_validation():
        dataset = make_dataset(
            RAMP, AccessionNumber="SECRET-" * 8, PatientAge="SECRET", ViewPosition="SECRET^^NAME", Modality="CR"
        )
        data = to_bytes(dataset)
    radiograph = read_dicom(data, "file.dcm", force=True)
    assert radiograph.notes and not any("SECRET" in note for note in radiograph.notes)
    assert not any("SECRET" in record.getMessage() for record in caplog.records)


# --- geometry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directions", "orientation"),
    [
        (["L", "F"], Orientation()),
        (["R", "F"], Orientation(flip_columns=True)),
        (["L", "H"], Orientation(flip_rows=True)),
        (["R", "H"], Orientation(flip_rows=True, flip_columns=True)),
        (["F", "L"], Orientation(transpose=True)),
        (["H", "L"], Orientation(transpose=True, flip_rows=True)),
        (["F", "R"], Orientation(transpose=True, flip_columns=True)),
        (["H", "R"], Orientation(transpose=True, flip_rows=True, flip_columns=True)),
    ],
)
def test_turned_upright_by_patient_orientation(directions: list[str], orientation: Orientation) -> None:
    upright = read(make_dataset(RAMP)).image
    turned = orientation.back(RAMP)
    # A point near the patient's left shoulder: rows towards L, columns towards F.
    radiograph = read(make_dataset(turned, PatientOrientation=directions))
    assert radiograph.orientation == orientation
    np.testing.assert_array_equal(radiograph.image, upright)
    np.testing.assert_array_equal(radiograph.stored, turned)
    np.testing.assert_array_equal(radiograph.to_stored(radiograph.image), turned)
    assert any("turned upright" in note for note in radiograph.notes) == (orientation != Orientation())


def test_an_image_lying_on_its_side_comes_upright() -> None:
    # Rows run towards the feet, columns towards the right: the head is at the left edge, the patient's left on top.
    stored = np.zeros((40, 60), dtype=int)
    stored[0, 0] = 4095  # head, patient's left
    radiograph = read(make_dataset(stored, PatientOrientation=["F", "R"]), force="content")
    assert radiograph.shape == (60, 40)
    assert np.argwhere(radiograph.image == 1).tolist() == [[0, 39]]  # top, at the image's right


def test_pixels_that_are_not_square() -> None:
    assert read(make_dataset(RAMP, PixelAspectRatio=[2, 1])).aspect == 2.0
    assert read(make_dataset(RAMP, ImagerPixelSpacing=[0.1, 0.2])).aspect == 0.5
    assert read(make_dataset(RAMP, PixelSpacing=[0.0, 0.0], ImagerPixelSpacing=[0.2, 0.2])).aspect == 1.0
    lying = read(make_dataset(RAMP, PixelSpacing=[0.2, 0.1], PatientOrientation=["F", "R"]))
    assert lying.aspect == 0.5


# --- refusals ---------------------------------------------------------------------------------------------------------

SPECIES = Dataset()
SPECIES.CodeValue, SPECIES.CodingSchemeDesignator, SPECIES.CodeMeaning = "448771007", "SCT", "Canis lupus familiaris"
SKULL = Dataset()
SKULL.CodeValue, SKULL.CodingSchemeDesignator, SKULL.CodeMeaning = "89546000", "SCT", "Skull"
LATERAL = Dataset()
LATERAL.CodeValue, LATERAL.CodingSchemeDesignator, LATERAL.CodeMeaning = "399198007", "SCT", "right lateral"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"ViewPosition": "LL"}, "view position LL"),
        ({"ViewPosition": "LLD"}, "view position LLD"),
        ({"ViewPosition": None, "ViewCodeSequence": [LATERAL]}, "lateral view"),
        ({"ViewPosition": None, "PatientOrientation": ["A", "F"]}, "Patient Orientation"),
        ({"ViewPosition": None, "SeriesDescription": "Chest Lateral"}, "lateral"),
        ({"BodyPartExamined": "HAND"}, "body part HAND"),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": [SKULL]}, "names no chest"),
        ({"Modality": "CT"}, "modality CT is no radiograph"),
        ({"PatientSpeciesDescription": "Canine"}, "an animal"),
        ({"PatientSpeciesCodeSequence": [SPECIES]}, "an animal"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "For Processing"),
        ({"SOPClassUID": uid.DigitalXRayImageStorageForProcessing}, "For Processing"),
        ({"SyntheticData": "YES"}, "already synthetic"),
    ],
)
def test_refused_unless_forced(attributes: dict[str, Any], message: str) -> None:
    dataset = make_dataset(RAMP, **attributes)
    with pytest.raises(RefusedError, match=message) as caught:
        read(dataset)
    assert "--force" in str(caught.value) and "Jane" not in str(caught.value)
    assert any(message in note for note in read(dataset, force=True).notes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ViewPosition": "AP"},
        {"ViewPosition": None},
        {"ViewPosition": None, "SeriesDescription": "Chest PA and lateral"},
        {"BodyPartExamined": None},
        {"BodyPartExamined": "Thorax"},
        {"Modality": "DX"},
        {"Modality": "OT"},
        {"Modality": None},
        {"PatientSpeciesDescription": "Homo sapiens"},
        {"SOPClassUID": uid.SecondaryCaptureImageStorage},
    ],
)
def test_read_without_force(attributes: dict[str, Any]) -> None:
    with disable_value_validation():
        dataset = make_dataset(RAMP, **attributes)
    assert read(dataset).shape == (48, 64)


@pytest.mark.parametrize(
    ("keyword", "note"),
    [("ViewPosition", "no View Position"), ("BodyPartExamined", "no Body Part"), ("Modality", "no Modality")],
)
def test_a_mute_header_is_noted(keyword: str, note: str) -> None:
    assert any(note in text for text in read(make_dataset(RAMP, **{keyword: None})).notes)


@pytest.mark.parametrize(
    ("sop_class", "kind"),
    [
        (uid.BasicTextSRStorage, "a structured report"),
        (uid.GrayscaleSoftcopyPresentationStateStorage, "a presentation state"),
        (uid.KeyObjectSelectionDocumentStorage, "a key object selection"),
        (uid.MediaStorageDirectoryStorage, "a DICOMDIR"),
    ],
)
def test_objects_that_are_no_images(sop_class: uid.UID, kind: str) -> None:
    dataset = make_dataset(RAMP, SOPClassUID=sop_class)
    del dataset.PixelData
    with pytest.raises(SourceError, match=kind):
        read(dataset)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x7fELF" + bytes(500), bytes(2000)])
def test_not_a_radiograph_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.dcm"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"file\.dcm: "):
        read_radiograph(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_radiograph(tmp_path / "missing.dcm")
    with pytest.raises(SourceError, match="a folder"):
        read_radiograph(tmp_path)
