"""An edit written as a derived object: what it says of itself, and pixels bit for bit."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from roentmod_fast import phantom
from roentmod_fast.errors import OutputError, RefusedError, SettingError
from roentmod_fast.radiograph.dicom.codes import CHEST, SOURCE_IMAGE, SYNTHESIZING_EQUIPMENT, code_item, code_of
from roentmod_fast.radiograph.dicom.encode import encode
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.dicom.write import synthetic_dataset, write_dicom, write_sample
from roentmod_fast.radiograph.label import burn_label
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.radiograph.raster import read_raster
from roentmod_fast.radiograph.read import read_radiograph
from tests.radiograph.conftest import lut_item, make_dataset, to_bytes, words

RAMP = np.arange(48 * 64).reshape(48, 64) % 4096


def read(dataset: Dataset, **options: Any) -> Radiograph:
    return read_dicom(to_bytes(dataset), "file.dcm", **options)


def edited(radiograph: Radiograph) -> np.ndarray:
    image = radiograph.image.copy()
    image[10:20, 10:30] = np.clip(image[10:20, 10:30] + 0.3, 0, 1)
    return image


def write_and_read(
    path: Path, radiograph: Radiograph, image: np.ndarray, provenance: Provenance, **options: Any
) -> tuple[Dataset, Radiograph]:
    new = write_dicom(path, radiograph, image, provenance, **options)
    dataset = pydicom.dcmread(path)
    assert dataset.SOPInstanceUID == new == dataset.file_meta.MediaStorageSOPInstanceUID
    return dataset, read_radiograph(path, force=True)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"WindowCenter": 1000, "WindowWidth": 500},
        {"WindowCenter": 2000, "WindowWidth": 3000, "VOILUTFunction": "SIGMOID"},
        {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 4000, "WindowWidth": 8000},
        {"VOILUTSequence": [lut_item(0, [v * v >> 12 for v in range(4096)], 12)]},
        {"ModalityLUTSequence": [lut_item(0, list(range(4095, -1, -1)), 12)]},
        {"WindowCenter": None, "WindowWidth": None},
        {"PixelPaddingValue": 0},
        {"PatientOrientation": ["F", "R"]},
    ],
)
def test_the_twin_of_its_source(tmp_path: Path, provenance: Provenance, header: dict[str, Any]) -> None:
    source = make_dataset(RAMP, **header)
    radiograph = read(source)
    image = edited(radiograph)
    dataset, back = write_and_read(tmp_path / "out.dcm", radiograph, image, provenance)
    assert radiograph.stored is not None and back.stored is not None
    for keyword in [
        "SOPClassUID",
        "Modality",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PhotometricInterpretation",
        "WindowCenter",
        "WindowWidth",
        "VOILUTFunction",
        "PresentationLUTShape",
        "BodyPartExamined",
    ]:
        assert dataset.get(keyword) == source.get(keyword), keyword
    untouched = radiograph.orientation.back(image == radiograph.image)
    np.testing.assert_array_equal(back.stored[untouched], radiograph.stored[untouched])
    assert (back.stored != radiograph.stored).any()
    if header.get("WindowCenter", 0) is not None:  # percentiles of the edit are not those of the source
        steps = np.diff(np.unique(radiograph.grayscale.table)).max()  # type: ignore[union-attr]
        padded = radiograph.image == 0 if "PixelPaddingValue" in header else np.zeros_like(image, dtype=bool)
        assert np.abs(back.image - image)[~padded].max() <= steps / 2 + 1e-6


@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpeg2000"])
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (12, True), (16, False), (16, True)])
def test_an_edit_of_nothing_is_the_source_bit_for_bit(
    tmp_path: Path, provenance: Provenance, syntax: str, bits: int, signed: bool
) -> None:
    lowest = -(1 << (bits - 1)) if signed else 0
    values = np.random.default_rng(1).integers(lowest, lowest + (1 << bits), (41, 67))
    header = {"BitsStored": bits, "BitsAllocated": 8 if bits == 8 else 16, "PixelRepresentation": int(signed)}
    window = {"WindowCenter": lowest + (1 << (bits - 1)), "WindowWidth": (1 << bits) // 2}
    radiograph = read(make_dataset(values, **header, **window))
    dataset, back = write_and_read(
        tmp_path / "out.dcm", radiograph, radiograph.image, provenance, transfer_syntax=syntax
    )
    np.testing.assert_array_equal(back.stored, values)
    expected = {"explicit": uid.ExplicitVRLittleEndian, "rle": uid.RLELossless, "jpeg2000": uid.JPEG2000Lossless}
    assert dataset.file_meta.TransferSyntaxUID == expected[syntax]


def test_shifted_cells_and_unused_bits(tmp_path: Path, provenance: Provenance) -> None:
    cells = (RAMP << 4) | (RAMP % 3)
    radiograph = read(make_dataset(cells, HighBit=15))
    kept, back = write_and_read(tmp_path / "keep.dcm", radiograph, radiograph.image, provenance, deidentify="none")
    assert kept.HighBit == 15 and kept.PixelData == cells.astype("<u2").tobytes()
    clean, _ = write_and_read(tmp_path / "pseudonym.dcm", radiograph, radiograph.image, provenance)
    assert clean.PixelData == (RAMP << 4).astype("<u2").tobytes(), "overlays in unused bits may hold names"
    np.testing.assert_array_equal(back.stored, RAMP)


@pytest.mark.parametrize("deidentify", ["pseudonymize", "none", "anonymize"])
def test_it_says_what_it_is(tmp_path: Path, provenance: Provenance, deidentify: str) -> None:
    source = make_dataset(RAMP, ImageType=["ORIGINAL", "PRIMARY", "POST_PROCESSED"], SeriesDescription="Chest PA")
    dataset, _ = write_and_read(
        tmp_path / "out.dcm", read(source), read(source).image, provenance, deidentify=deidentify
    )
    assert dataset[0x0008, 0x001C].value == "YES"
    assert list(dataset.ImageType) == ["DERIVED", "PRIMARY", "POST_PROCESSED"]
    assert dataset.SeriesDescription == "SYNTHETIC - not for diagnosis: pulmonary edema"
    assert dataset.ImageComments == "SYNTHETIC - not for diagnosis"
    assert dataset.ContentQualification == "RESEARCH"
    for fact in ("pulmonary edema", "strength 0.4", "guidance 4", "50 steps", "seed 7", "compose delta"):
        assert fact in dataset.DerivationDescription
    assert provenance.engine_hash in dataset.DerivationDescription and len(dataset.DerivationDescription) <= 1024
    equipment = dataset.ContributingEquipmentSequence[-1]
    purpose = equipment.PurposeOfReferenceCodeSequence[0]
    assert code_of(purpose) == SYNTHESIZING_EQUIPMENT
    assert list(equipment.SoftwareVersions) == ["0.1.0", provenance.engine_hash]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert dataset[keyword].value != source[keyword].value
    assert (dataset.StudyInstanceUID == source.StudyInstanceUID) == (deidentify == "none")
    if deidentify == "anonymize":
        assert "SourceImageSequence" not in dataset
    else:
        item = dataset.SourceImageSequence[0]
        assert code_of(item.PurposeOfReferenceCodeSequence[0]) == SOURCE_IMAGE
        assert (item.ReferencedSOPInstanceUID == source.SOPInstanceUID) == (deidentify == "none")
    with pytest.raises(RefusedError, match="already synthetic"):
        read_radiograph(tmp_path / "out.dcm")


MARK = "SYNTHETIC - not for diagnosis"


@pytest.mark.parametrize(
    ("charset", "prompt", "description"),
    [
        ("ISO_IR 100", "edema", f"{MARK}: edema"),
        ("ISO_IR 100", "", MARK),
        ("ISO_IR 100", " \n", MARK),
        ("ISO_IR 100", "edema\nand\teffusion", f"{MARK}: edema and effusion"),
        ("ISO_IR 100", "left\\right", f"{MARK}: left/right"),
        ("ISO_IR 100", "e" * 33, f"{MARK}: {'e' * 33}"),
        ("ISO_IR 100", "e" * 34, f"{MARK}: {'e' * 30}..."),
        ("ISO_IR 100", "severe bilateral pulmonary edema, effusion", f"{MARK}: severe bilateral pulmonary ede..."),
        ("ISO_IR 100", "ödème", f"{MARK}: ödème"),
        (None, "ödème", f"{MARK}: odeme"),
        (None, "o\u0308deme", f"{MARK}: odeme"),
        ("ISO_IR 100", "o\u0308deme", f"{MARK}: ödeme"),
        ("ISO_IR 100", "肺水腫", f"{MARK}: ???"),
        ("ISO_IR 192", "肺水腫", f"{MARK}: 肺水腫"),
        (["", "ISO 2022 IR 87"], "肺水腫", f"{MARK}: 肺水腫"),
        ("ISO_IR 144", "отёк лёгких", f"{MARK}: отёк лёгких"),
        ("GB18030", "肺水肿" * 20, f"{MARK}: {'肺水肿' * 10}..."),
    ],
)
def test_the_series_is_described_by_mark_and_prompt(
    tmp_path: Path, provenance: Provenance, charset: Any, prompt: str, description: str
) -> None:
    source = make_dataset(RAMP, SpecificCharacterSet=charset, SeriesDescription="Chest PA")
    how = Provenance(**{**vars(provenance), "prompt": prompt})
    dataset, _ = write_and_read(tmp_path / "out.dcm", read(source), read(source).image, how)
    assert dataset.SeriesDescription == description and len(description) <= 64


def test_a_png_edit_is_described_too(provenance: Provenance) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((RAMP >> 4).astype(np.uint8)).save(buffer, "PNG")
    radiograph = read_raster(buffer.getvalue(), "x.png")
    dataset = synthetic_dataset(radiograph, radiograph.image, provenance)
    assert dataset.SeriesDescription == f"{MARK}: pulmonary edema" and 10_000 <= dataset.SeriesNumber < 100_000


@pytest.mark.parametrize(
    ("number", "block"),
    [(None, 0), (0, 0), (3, 3), (901, 901), (21473, 21473), (21474, 0), (2**31 - 1, 19225), (-5, 21469)],
)
def test_edits_of_a_study_have_series_numbers_of_their_own(
    provenance: Provenance, number: int | None, block: int
) -> None:
    radiograph = read(make_dataset(RAMP, SeriesNumber=number))
    ways: list[dict[str, Any]] = [
        *({"prompt": prompt} for prompt in ("edema", "effusion", "pneumonia", "cardiomegaly", "")),
        *({"seed": seed} for seed in range(5)),
        *({"strength": 0.5}, {"guidance": 7.0}, {"steps": 20}, {"compose": "replace"}),
    ]
    made = [Provenance(**{**vars(provenance), **way}) for way in ways]
    for deidentify in ("pseudonymize", "none", "anonymize"):
        numbers = [
            int(synthetic_dataset(radiograph, radiograph.image, how, deidentify=deidentify).SeriesNumber)
            for how in made
        ]
        again = synthetic_dataset(radiograph, radiograph.image, made[0], deidentify=deidentify)
        assert len(set(numbers)) == len(made) and again.SeriesNumber == numbers[0]
        assert all(block * 100_000 + 10_000 <= n < (block + 1) * 100_000 and n < 2**31 for n in numbers)


def test_every_output_is_a_new_instance_and_series(tmp_path: Path, provenance: Provenance) -> None:
    radiograph = read(make_dataset(RAMP))
    made = [write_and_read(tmp_path / f"{n}.dcm", radiograph, radiograph.image, provenance)[0] for n in range(2)]
    assert made[0].SOPInstanceUID != made[1].SOPInstanceUID
    assert made[0].SeriesInstanceUID != made[1].SeriesInstanceUID
    assert made[0].StudyInstanceUID == made[1].StudyInstanceUID


def test_the_source_is_not_changed(tmp_path: Path, provenance: Provenance) -> None:
    source = make_dataset(
        RAMP, SeriesDescription="Chest PA", AnatomicRegionSequence=[code_item(CHEST)], ImageType=["ORIGINAL", "PRIMARY"]
    )
    radiograph = read(source)
    assert radiograph.dataset is not None
    before = copy.deepcopy(radiograph.dataset)
    for deidentify in ("none", "pseudonymize", "anonymize"):
        write_dicom(tmp_path / f"{deidentify}.dcm", radiograph, edited(radiograph), provenance, deidentify=deidentify)
    assert radiograph.dataset == before
    np.testing.assert_array_equal(radiograph.stored, RAMP)


def test_keep_drops_what_no_longer_holds(tmp_path: Path, provenance: Provenance) -> None:
    icon, histogram = Dataset(), Dataset()
    icon.Rows = 1
    histogram.HistogramNumberOfBins = 1
    source = make_dataset(
        RAMP,
        IconImageSequence=[icon],
        HistogramSequence=[histogram],
        SOPInstanceStatus="AO",
        SOPAuthorizationComment="for diagnosis",
        SmallestImagePixelValue=0,
        LargestImagePixelValue=4095,
        PixelSpacing=[0.14, 0.14],
        FrameOfReferenceUID="1.2.3.9",
        DerivationDescription="JPEG 2000 lossy 10:1",
    )
    source.private_block(0x0019, "VENDOR", create=True).add_new(0x10, "LO", "vendor's own")
    dataset, _ = write_and_read(tmp_path / "o.dcm", read(source), read(source).image, provenance, deidentify="none")
    gone_too = ("HistogramSequence", "SOPInstanceStatus", "SOPAuthorizationComment")
    for gone in ("IconImageSequence", "SmallestImagePixelValue", "LargestImagePixelValue", *gone_too):
        assert gone not in dataset
    assert not any(element.tag.is_private for element in dataset)
    assert dataset.PixelSpacing == [0.14, 0.14] and dataset.FrameOfReferenceUID == "1.2.3.9"
    assert dataset.PatientName == "Doe^Jane" and dataset.PatientID == "12345678"
    assert dataset.DerivationDescription.endswith("; before: JPEG 2000 lossy 10:1")


@pytest.mark.parametrize("deidentify", ["none", "pseudonymize", "anonymize"])
def test_shutter_and_collimator_stay_whole(tmp_path: Path, provenance: Provenance, deidentify: str) -> None:
    """C.7.6.11 and C.8.7.3: a viewer masks what it masks in the source; a shape stays with its geometry."""
    given = {
        "ShutterShape": ["RECTANGULAR", "POLYGONAL"],
        "ShutterLeftVerticalEdge": 2,
        "ShutterRightVerticalEdge": 60,
        "ShutterUpperHorizontalEdge": 3,
        "ShutterLowerHorizontalEdge": 40,
        "VerticesOfThePolygonalShutter": [1, 1, 1, 50, 40, 50],
        "ShutterPresentationValue": 7,
        "CollimatorShape": "CIRCULAR",
        "CenterOfCircularCollimator": [20, 30],
        "RadiusOfCircularCollimator": 15,
    }
    source = read(make_dataset(RAMP, **given))
    dataset, _ = write_and_read(tmp_path / "o.dcm", source, source.image, provenance, deidentify=deidentify)
    assert {keyword: dataset[keyword].value for keyword in given} == given


def test_lossy_history_is_never_reset(tmp_path: Path, provenance: Provenance) -> None:
    with_history = make_dataset(
        RAMP, LossyImageCompression="01", LossyImageCompressionRatio=10, LossyImageCompressionMethod="ISO_15444_1"
    )
    for deidentify in ("none", "pseudonymize", "anonymize"):
        dataset, _ = write_and_read(
            tmp_path / f"{deidentify}.dcm",
            read(with_history),
            read(with_history).image,
            provenance,
            deidentify=deidentify,
        )
        assert dataset.LossyImageCompression == "01" and dataset.LossyImageCompressionRatio == 10
        assert dataset.LossyImageCompressionMethod == "ISO_15444_1"


def test_lossy_compression_that_the_header_hides_is_recorded(tmp_path: Path, provenance: Provenance) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((RAMP >> 4).astype(np.uint8)).save(buffer, "JPEG", quality=80)
    source = make_dataset(RAMP >> 4, BitsAllocated=8, WindowCenter=128, WindowWidth=256)
    source.PixelData = encapsulate([buffer.getvalue()])
    source["PixelData"].is_undefined_length = True
    radiograph = read_dicom(to_bytes(source, uid.JPEGBaseline8Bit), "file.dcm")
    dataset, _ = write_and_read(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)
    assert dataset.LossyImageCompression == "01" and dataset.LossyImageCompressionMethod == "ISO_10918_1"
    assert float(dataset.LossyImageCompressionRatio) == pytest.approx(RAMP.size / len(buffer.getvalue()), rel=0.1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_edit_of_a_jpeg_file_records_its_compression(tmp_path: Path, provenance: Provenance, kind: str) -> None:
    from PIL import Image

    from roentmod_fast.radiograph.raster import from_image

    buffer = io.BytesIO()
    Image.fromarray((RAMP >> 4).astype(np.uint8)).save(buffer, kind)
    from_file = read_raster(buffer.getvalue(), "x", force=True)
    opened = from_image(Image.open(buffer), "x")
    for radiograph, length in ((from_file, len(buffer.getvalue())), (opened, None)):
        dataset, _ = write_and_read(tmp_path / f"{length}.dcm", radiograph, radiograph.image, provenance)
        if kind == "PNG":
            assert dataset.get("LossyImageCompression", "00") == "00"
            continue
        assert dataset.LossyImageCompression == "01" and dataset.LossyImageCompressionMethod == "ISO_10918_1"
        ratio = dataset.get("LossyImageCompressionRatio")
        assert ratio is None if length is None else float(ratio) == pytest.approx(RAMP.size / length, abs=0.01)


def test_items_of_sequences_keep_no_private_elements_nor_signatures(tmp_path: Path, provenance: Provenance) -> None:
    deeper = Dataset()
    deeper.CodeMeaning = "kept"
    deeper.add_new(0x00091010, "LO", "vendor's own")
    item = Dataset()
    item.RequestedProcedureDescription = "kept"
    item.RequestedProcedureCodeSequence = [deeper]
    item.DigitalSignaturesSequence = [Dataset()]
    item.add_new(0x00090010, "LO", "VENDOR")
    radiograph = read(make_dataset(RAMP, RequestAttributesSequence=[item]))
    dataset, _ = write_and_read(tmp_path / "o.dcm", radiograph, radiograph.image, provenance, deidentify="none")
    (request,) = dataset.RequestAttributesSequence
    assert {element.keyword for element in request} == {
        "RequestedProcedureDescription",
        "RequestedProcedureCodeSequence",
    }
    assert [element.keyword for element in request.RequestedProcedureCodeSequence[0]] == ["CodeMeaning"]
    assert len(item) == 4, "the source is not changed"


def test_lossless_jpeg_2000_under_the_lossy_syntax_is_no_loss(tmp_path: Path, provenance: Provenance) -> None:
    source = make_dataset(RAMP)
    source.compress(uid.JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    radiograph = read_dicom(to_bytes(source, uid.JPEG2000), "file.dcm")
    dataset, _ = write_and_read(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)
    assert dataset.get("LossyImageCompression", "00") == "00"


def test_a_big_endian_source_keeps_its_lut(tmp_path: Path, provenance: Provenance) -> None:
    curve = [v * v >> 12 for v in range(4096)]
    item = lut_item(0, curve, 12)
    item.LUTData = np.array(curve, dtype=">u2").tobytes()
    source = make_dataset(RAMP, VOILUTSequence=[item])
    source.PixelData = RAMP.astype(">u2").tobytes()
    radiograph = read_dicom(to_bytes(source, uid.ExplicitVRBigEndian), "file.dcm")
    np.testing.assert_allclose(radiograph.image, np.array(curve)[RAMP] / 4095, atol=1e-6)
    _, back = write_and_read(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)
    np.testing.assert_array_equal(back.image, radiograph.image)
    again = read_dicom(to_bytes(source, uid.ExplicitVRBigEndian), "file.dcm")
    np.testing.assert_array_equal(again.image, radiograph.image)


@pytest.mark.parametrize(
    ("charset", "prompt", "shown"),
    [
        (None, "ödema", r"\u00f6dema"),
        ("ISO_IR 100", "ödema", "ödema"),
        ("ISO_IR 100", "肺水腫", r"\u80ba\u6c34\u816b"),
        ("ISO_IR 192", "肺水腫 ⅔", "肺水腫 ⅔"),
        (["", "ISO 2022 IR 87"], "肺水腫", "肺水腫"),
        ("GB18030", "肺水肿", "肺水肿"),
    ],
)
def test_a_prompt_in_the_sources_own_character_set(
    tmp_path: Path, provenance: Provenance, charset: Any, prompt: str, shown: str
) -> None:
    source = make_dataset(RAMP, SpecificCharacterSet=charset)
    how = Provenance(**{**vars(provenance), "prompt": f"{prompt}\nsecond line"})
    dataset, _ = write_and_read(tmp_path / "out.dcm", read(source), read(source).image, how)
    assert f'"{shown} second line"' in dataset.DerivationDescription
    assert dataset.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")


def test_a_long_prompt_is_cut_and_the_facts_stay(tmp_path: Path, provenance: Provenance) -> None:
    how = Provenance(**{**vars(provenance), "prompt": "edema, " * 500})
    radiograph = read(make_dataset(RAMP))
    dataset, _ = write_and_read(tmp_path / "out.dcm", radiograph, radiograph.image, how)
    assert len(dataset.DerivationDescription) <= 1024 and "seed 7" in dataset.DerivationDescription


def test_as_secondary_capture(tmp_path: Path, provenance: Provenance) -> None:
    radiograph = read(make_dataset(RAMP, PhotometricInterpretation="MONOCHROME1"))
    dataset, back = write_and_read(
        tmp_path / "out.dcm", radiograph, radiograph.image, provenance, sop_class="secondary-capture"
    )
    assert dataset.SOPClassUID == uid.SecondaryCaptureImageStorage and dataset.ConversionType == "SYN"
    np.testing.assert_array_equal(back.image, radiograph.image)


def test_an_image_file_becomes_a_secondary_capture(tmp_path: Path, provenance: Provenance) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((RAMP * 16).astype(np.uint16)).save(buffer, "PNG")
    radiograph = read_raster(buffer.getvalue(), "x.png")
    dataset, back = write_and_read(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)
    assert dataset.SOPClassUID == uid.SecondaryCaptureImageStorage and dataset.ConversionType == "SYN"
    assert dataset.PhotometricInterpretation == "MONOCHROME2" and dataset.BitsStored == 16
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"] and "SourceImageSequence" not in dataset
    np.testing.assert_array_equal(back.stored, RAMP * 16)


def test_a_label_is_declared(tmp_path: Path, provenance: Provenance) -> None:
    radiograph = read(make_dataset(np.full((300, 300), 100), BurnedInAnnotation="NO"), force="content")
    labelled = burn_label(radiograph.image)
    changed = labelled != radiograph.image
    assert changed[-30:, :40].any() and not changed[:250].any() and labelled.max() > 0.8
    dataset, back = write_and_read(tmp_path / "out.dcm", radiograph, labelled, provenance, labelled=True)
    assert dataset.BurnedInAnnotation == "YES"
    assert np.abs(back.image - labelled).max() < 1e-3


def test_wrong_options(tmp_path: Path, provenance: Provenance) -> None:
    radiograph = read(make_dataset(RAMP))
    for options in ({"deidentify": "alias"}, {"transfer_syntax": "zip"}, {"sop_class": "ct"}):
        with pytest.raises(SettingError, match="expected one of"):
            write_dicom(tmp_path / "out.dcm", radiograph, radiograph.image, provenance, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="edit of shape"):
        write_dicom(tmp_path / "out.dcm", radiograph, radiograph.image[:10], provenance)
    assert list(tmp_path.iterdir()) == []
    write_dicom(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)
    with pytest.raises(OutputError, match="already exists"):
        write_dicom(tmp_path / "out.dcm", radiograph, radiograph.image, provenance)


@pytest.mark.parametrize("deidentify", ["pseudonymize", "none", "anonymize"])
def test_a_thin_header_is_completed(provenance: Provenance, deidentify: str) -> None:
    nothing = dict.fromkeys(
        [
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyDate",
            "StudyTime",
            "BodyPartExamined",
            "ViewPosition",
            "Modality",
        ]
    )
    source = make_dataset(RAMP, SOPClassUID=uid.DigitalXRayImageStorageForPresentation, **nothing)
    radiograph = read(source)
    dataset = synthetic_dataset(radiograph, radiograph.image, provenance, deidentify=deidentify)
    for keyword in words(  # type 1 of the DX IOD (PS3.3 A.26)
        "StudyInstanceUID SeriesInstanceUID SOPInstanceUID PresentationIntentType ImageLaterality BurnedInAnnotation"
        " LossyImageCompression PixelIntensityRelationship PixelIntensityRelationshipSign RescaleIntercept RescaleSlope"
        " RescaleType PresentationLUTShape ImageType"
    ):
        assert dataset[keyword].value not in (None, ""), keyword
    for keyword in words(  # type 2
        "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID"
        " AccessionNumber SeriesNumber InstanceNumber Manufacturer DetectorType PositionerType"
        " AcquisitionContextSequence AnatomicRegionSequence"
    ):
        assert keyword in dataset, keyword


def test_a_phantom_is_written_and_can_be_edited(tmp_path: Path, provenance: Provenance) -> None:
    drawn = phantom.draw(128, 3, ("edema",))
    path = tmp_path / "sample.dcm"
    new = write_sample(path, drawn.image, seed=3, findings=("edema",))
    dataset = pydicom.dcmread(path)
    assert dataset.SOPInstanceUID == new and dataset.PatientName == "PHANTOM^SEED 3"
    assert dataset.SOPClassUID == uid.DigitalXRayImageStorageForPresentation
    assert (dataset.BitsStored, dataset.PhotometricInterpretation, dataset.Modality) == (12, "MONOCHROME2", "DX")
    assert dataset[0x0008, 0x001C].value == "YES" and "seed 3, edema" in dataset.DerivationDescription
    radiograph = read_radiograph(path)
    assert radiograph.notes == ()
    assert np.abs(radiograph.image - drawn.image).max() <= 0.5 / 4095 + 1e-6
    for deidentify in ("pseudonymize", "none", "anonymize"):
        target = tmp_path / f"{deidentify}.dcm"
        write_dicom(target, radiograph, edited(radiograph), provenance, deidentify=deidentify)
        with pytest.raises(RefusedError, match="already synthetic"):
            read_radiograph(target)
    with pytest.raises(OutputError, match="already exists"):
        write_sample(path, drawn.image, seed=3)
    write_sample(path, drawn.image, seed=3, overwrite=True)


def test_a_lut_descriptor_whose_length_reads_as_negative(provenance: Provenance) -> None:
    """32768 entries from -16384 on, as SS: pydicom reads -32768 and cannot write it."""
    curve = np.linspace(0, 4095, 32768).astype(int).tolist()
    values = (RAMP * 8) - 16384
    source = make_dataset(values, BitsStored=15, PixelRepresentation=1, VOILUTSequence=[lut_item(-16384, curve, 12)])
    radiograph = read(source)
    np.testing.assert_allclose(radiograph.image, np.array(curve)[values + 16384] / 4095, atol=1e-6)
    for deidentify in ("none", "pseudonymize"):
        dataset = synthetic_dataset(radiograph, radiograph.image, provenance, deidentify=deidentify)
        back = read_dicom(encode(dataset, uid.ExplicitVRLittleEndian, "out.dcm"), "out.dcm", force=True)
        np.testing.assert_array_equal(back.image, radiograph.image)


def test_values_that_cannot_be_written_are_left_out(provenance: Provenance) -> None:
    radiograph = read(make_dataset(RAMP))
    dataset = synthetic_dataset(radiograph, radiograph.image, provenance, deidentify="none")
    dataset.PositionerIsocenterPrimaryAngle = 12.0
    dataset["PositionerIsocenterPrimaryAngle"]._value = object()  # what a damaged source may leave behind
    back = read_dicom(encode(dataset, uid.ExplicitVRLittleEndian, "out.dcm"), "out.dcm", force=True)
    assert back.dataset is not None and "PositionerIsocenterPrimaryAngle" not in back.dataset
    np.testing.assert_array_equal(back.stored, RAMP)
