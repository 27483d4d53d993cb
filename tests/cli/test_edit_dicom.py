"""``roentmod-fast edit`` with the choices that concern DICOM: where to edit, whose it is, in which form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import uid
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.read import read_dicom
from roentmod_fast.radiograph.read import read_radiograph
from tests.cli.conftest import Ran, run_process
from tests.radiograph.conftest import lut_item, make_dataset, to_bytes

Run = Callable[..., Ran]

QUICK = ("-p", "edema", "--steps", 5)
ROWS, COLUMNS = 150, 130
BOX = (20, 40, 90, 110)
REGION = np.zeros((ROWS, COLUMNS), dtype=bool)
REGION[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True


def chest_values(bits: int = 12, signed: bool = False) -> NDArray[np.int64]:
    """Return stored values of a drawn chest, dense bright, over the whole range of ``bits``."""
    image = draw(160, 3).image[5 : 5 + ROWS, 15 : 15 + COLUMNS]
    lowest = -(1 << (bits - 1)) if signed else 0
    return np.rint(image * ((1 << bits) - 1)).astype(np.int64) + lowest


def written_source(folder: Path, values: NDArray[np.int64] | None = None, **attributes: Any) -> Path:
    """Write a source with pixels of a drawn chest; ``attributes`` as for ``make_dataset``."""
    path = folder / "IM0001"
    path.write_bytes(to_bytes(make_dataset(chest_values() if values is None else values, **attributes)))
    return path


def stored(path: Path) -> NDArray[np.int32]:
    values = read_radiograph(path, force=True).stored
    assert values is not None
    return values


# --- where ------------------------------------------------------------------------------------------------------------


HEADERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lying negative": {
        "PhotometricInterpretation": "MONOCHROME1",
        "PatientOrientation": ["F", "R"],
        "WindowCenter": 1800,
        "WindowWidth": 2000,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("compose", ["contrast", "delta", "replace"])
def test_outside_a_mask_or_a_box_stored_values_are_the_sources(
    roentmod: Run, tmp_path: Path, header: str, compose: str
) -> None:
    source = written_source(tmp_path, **HEADERS[header])
    Image.fromarray((REGION * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    (tmp_path / "mask.dcm").write_bytes(to_bytes(make_dataset(REGION * 3, BitsAllocated=8)))
    ways = {
        "box": ("--box", ",".join(map(str, BOX))),
        "png": ("--mask", tmp_path / "mask.png"),
        "dicom": ("--mask", tmp_path / "mask.dcm"),
    }
    before, edits = chest_values(), []
    for name, way in ways.items():
        out = tmp_path / f"{name}.dcm"
        ran = roentmod("edit", source, *QUICK, *way, "--compose", compose, "-o", out)
        assert ran.code == 0, ran.err
        edits.append(stored(out))
        np.testing.assert_array_equal(edits[-1][~REGION], before[~REGION])
        assert (edits[-1][REGION] != before[REGION]).mean() > 0.1
    np.testing.assert_array_equal(edits[1], edits[0])
    np.testing.assert_array_equal(edits[2], edits[0])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--box", "1,2,3"], "four whole numbers"),
        (["--box", "0,0,131,10"], "expected 0 <= X0 < X1 <= 130 and 0 <= Y0 < Y1 <= 150"),
        (["--box", "9,9,9,20"], "expected 0 <= X0"),
        (["--mask", "small.png"], "a mask of 10 x 12 pixels, the radiograph has 150 x 130"),
        (["--mask", "empty.png"], "the mask is empty"),
        (["--mask", "absent.png"], "no such file"),
        (["--mask", "small.png", "--box", "0,0,9,9"], "contradict"),
        (["--voi", "1"], "no VOI LUT or window 1: the header has 1"),
        (["--voi", "-1"], "--voi"),
    ],
)
def test_a_place_that_does_not_fit_is_one_line(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = written_source(tmp_path)
    Image.fromarray(np.full((10, 12), 255, dtype=np.uint8)).save("small.png")
    Image.fromarray(np.zeros((ROWS, COLUMNS), dtype=np.uint8)).save("empty.png")
    before = sorted(tmp_path.iterdir())
    ran = roentmod("edit", source, *QUICK, *arguments)
    assert ran.code in (1, 2)
    [line] = [line for line in ran.err.splitlines() if line.startswith("Error: ")]
    assert says in line
    assert sorted(tmp_path.iterdir()) == before


def test_a_box_that_leaves_one_of_several_sources_fails_that_one(roentmod: Run, tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    written_source(study, chest_values()[:60, :60]).rename(study / "a-small")
    written_source(study).rename(study / "b-large")
    report = tmp_path / "report.json"
    ran = roentmod("edit", study, *QUICK, "--box", ",".join(map(str, BOX)), "--report", report)
    assert ran.code == 3
    assert ran.out == f"{study / 'b-large.edema.dcm'}\n"
    [failure] = json.loads(report.read_text())["failures"]
    assert "a-small" in failure["source"] and "expected 0 <= X0" in failure["reason"]


def burned_in(values: NDArray[np.int64], text: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return a copy with ``text`` burned into the upper right corner in white, and where its strokes are."""
    layer = Image.new("L", (values.shape[1], values.shape[0]), 0)
    ImageDraw.Draw(layer).text((112, 8), text, font=ImageFont.load_default(size=14), fill=255)
    ink = np.asarray(layer) > 127
    return np.where(ink, 4095, values), ink


def test_burned_in_markers_are_left_alone_by_default(roentmod: Run, tmp_path: Path) -> None:
    values, ink = burned_in(chest_values(), "L")
    source = written_source(tmp_path, values)
    ran = roentmod("edit", source, *QUICK, "--compose", "replace", "-o", tmp_path / "kept.dcm")
    assert ran.code == 0, ran.err
    ran = roentmod(
        "edit", source, *QUICK, "--compose", "replace", "--no-protect-markers", "-o", tmp_path / "edited.dcm"
    )
    assert ran.code == 0, ran.err
    kept, edited = stored(tmp_path / "kept.dcm"), stored(tmp_path / "edited.dcm")
    assert ink.sum() > 10
    np.testing.assert_array_equal(kept[ink], values[ink])
    assert (edited[ink] != values[ink]).mean() > 0.9
    assert (kept[~ink] != values[~ink]).mean() > 0.5, "only the marker is protected"


# --- whose ------------------------------------------------------------------------------------------------------------


PEOPLE = {
    "ISO_IR 192": ("山田^太郎=ヤマダ^タロウ", "Straße der Köchin, Łódź"),
    "ISO_IR 100": ("Müller^Jürgen", "Straße der Köchin 12"),
    "ISO_IR 144": ("Жданов^Иван", "Улица Победы"),
    "GB18030": ("王^小东", "北京市朝阳区"),
    "\\ISO 2022 IR 87": ("Yamada^Tarou=山田^太郎=やまだ^たろう", "東京都港区"),
    "\\ISO 2022 IR 149": ("Hong^Gildong=洪^吉洞=홍^길동", "서울특별시"),
}
ENCODINGS = ("utf-8", "latin-1", "iso8859-5", "gb18030", "shift_jis", "iso2022_jp", "euc_jp", "euc_kr", "utf-16-le")


def telling_source(charset: str) -> Dataset:
    """Return a header full of a patient, in sequences and private attributes too, in one character set."""
    name, address = PEOPLE[charset]
    source = make_dataset(
        chest_values(),
        SpecificCharacterSet=charset.split("\\") if "\\" in charset else charset,
        PatientName=name,
        PatientID="PID-47110815",
        OtherPatientIDs="OPID-4712",
        PatientBirthDate="19370911",
        PatientAge="083Y",
        PatientAddress=address,
        PatientComments=address[::-1],
        PatientTelephoneNumbers="0221-1234567",
        EthnicGroup="Rheinländer" if charset in ("ISO_IR 100", "ISO_IR 192") else "Rhein",
        InstitutionName=f"{address} 5",
        StationName="ROOM-NINE",
        DeviceSerialNumber="SN-31337-77",
        OperatorsName=name,
        ReferringPhysicianName=name,
        AccessionNumber="ACC-81549",
        StudyID="STUDY-77",
        StudyDescription=f"Thorax {address}",
        SeriesDescription="Thorax p.a. in bed 4",
        ProtocolName="Protocol-XYZZY",
        ImageComments=f"coughs, {address}",
        AdditionalPatientHistory="Pneumonia 1987",
        StudyDate="20180607",
        SeriesDate="20180608",
        AcquisitionDate="20180607",
        StudyTime="131415.123",
        AcquisitionTime="131416.789",
        SOPInstanceUID="1.2.40.0.13.1.111.47110815",
        StudyInstanceUID="1.2.40.0.13.1.222.47110815",
        SeriesInstanceUID="1.2.40.0.13.1.333.47110815",
        FrameOfReferenceUID="1.2.40.0.13.1.444.47110815",
        ImageType=["ORIGINAL", "PRIMARY"],
    )
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.40.0.13.1.555.47110815"
    inner.RequestedProcedureDescription = address
    inner.PatientID = "PID-INNER-1"
    source.RequestAttributesSequence = [inner]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "MYCODE1", "99LOCALSITE", address
    source.ViewCodeSequence = [code]
    source.private_block(0x0019, "SECRET VENDOR", create=True).add_new(0x10, "LO", "private secret")
    return source


HARMLESS = {
    # What a derived image has in common with any other.
    *("CHEST", "CR", "PA", "MONOCHROME2", "DERIVED", "PRIMARY", "ORIGINAL", "YES"),
    *PEOPLE,
    *(part for charset in PEOPLE for part in charset.split("\\")),
    str(uid.ComputedRadiographyImageStorage),
}


def secrets_of(dataset: Dataset) -> set[str]:
    """Return every string of a header that could lead to someone, whole and in parts."""
    found: set[str] = set()
    for element in dataset.iterall():
        if element.VR in ("SQ", "OW", "OB", "US", "SS", "DS", "IS") or element.tag.group == 0x0002:
            continue
        values = element.value if element.VM > 1 else [element.value]
        for value in values:
            text = str(value)
            found.add(text)
            found.update(part for group in text.split("=") for part in group.split("^"))
    # One or two signs of a name in Chinese characters are a name; one or two Latin ones are anywhere.
    return {text for text in found if (len(text) > 3 or (text and not text.isascii())) and text not in HARMLESS}


def traces(data: bytes, secrets: set[str]) -> set[str]:
    """Return the secrets that occur in bytes, in any encoding or escape."""
    found = set()
    for secret in secrets:
        forms = {json.dumps(secret)[1:-1].encode(), "".join(f"\\u{ord(c):04x}" for c in secret).encode()}
        for encoding in ENCODINGS:
            try:
                form = secret.encode(encoding)
            except UnicodeEncodeError:
                continue
            # Less than four bytes are found in any pixels.
            if len(form) > 3:
                forms.add(form.removeprefix(b"\x1b$B").removesuffix(b"\x1b(B"))
        if any(form in data for form in forms if len(form) > 3):
            found.add(secret)
    return found


def test_the_search_finds_what_is_there() -> None:
    for charset in PEOPLE:
        source = telling_source(charset)
        secrets = secrets_of(source)
        assert len(secrets) > 30
        assert len(traces(to_bytes(source), secrets)) >= len(secrets) - 3


@pytest.mark.parametrize("identity", ["pseudonym", "strip"])
@pytest.mark.parametrize("charset", PEOPLE)
def test_no_string_of_the_header_in_anything_that_is_written(
    roentmod: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, charset: str, identity: str
) -> None:
    caplog.set_level(0)
    source = telling_source(charset)
    secrets = secrets_of(source)
    study, out = tmp_path / "study", tmp_path / "out"
    study.mkdir()
    (study / "IM0001").write_bytes(to_bytes(source))
    # Sources that fail tell why without telling who.
    (study / "IM0002").write_bytes(to_bytes(source)[:-3000])
    source.ViewPosition, source.BodyPartExamined = "LL", "HAND"
    (study / "IM0003").write_bytes(to_bytes(source))
    report = tmp_path / "report.json"
    ran = roentmod("edit", study, *QUICK, "--identity", identity, "-o", out, "--preview", "--report", report, "--label")
    assert ran.code == 3, ran.err
    assert {path.name for path in out.iterdir()} == {"IM0001.edema.dcm", "IM0001.edema.preview.png"}
    values = json.loads(report.read_text())
    assert (len(values["failures"]), len(values["refused"])) == (1, 1)
    output = "\n".join([ran.out, ran.err, *(record.getMessage() for record in caplog.records)])
    assert traces(output.encode(), secrets) == set()
    for path in (report, *out.iterdir()):
        assert traces(path.read_bytes(), secrets) == set(), path.name
    with Image.open(out / "IM0001.edema.preview.png") as preview:
        chunks = "\n".join(f"{key} {value}" for key, value in preview.info.items())
    assert "SYNTHETIC" in chunks
    assert traces(chunks.encode(), secrets) == set()


@pytest.mark.parametrize("identity", ["pseudonym", "strip"])
def test_values_that_break_the_rules_are_not_repeated_either(tmp_path: Path, identity: str) -> None:
    """In a process of its own: libraries warn and log there as they do for a user."""
    with disable_value_validation():
        source = telling_source("ISO_IR 192")
        source.AccessionNumber = "ACC-TOO-LONG-FOR-ITS-VR-81549"
        source.PatientAge = "EIGHTY"
        source.PatientBirthDate = "11.9.1937 in Köln"
        source.StudyTime = "half past nine"
        source.StudyInstanceUID = "1.2.40.not.a.uid"
        source.PatientSex = "female"
        source.add_new("KVP", "LO", "about 120 kV")
        (tmp_path / "IM0001").write_bytes(to_bytes(source))
        secrets = secrets_of(source)
    ran = run_process("edit", "IM0001", *QUICK, "--identity", identity, "--report", "report.json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert {"about 120 kV", "1.2.40.not.a.uid", "female", "EIGHTY", "half past nine"} < secrets
    assert traces((ran.out + ran.err).encode(), secrets) == set()
    for name in ("IM0001.edema.dcm", "report.json"):
        assert traces((tmp_path / name).read_bytes(), secrets) == set(), name


def test_keep_says_so_and_keeps(roentmod: Run, tmp_path: Path) -> None:
    source = tmp_path / "IM0001"
    source.write_bytes(to_bytes(telling_source("ISO_IR 192")))
    ran = roentmod("edit", source, *QUICK, "--identity", "keep")
    assert ran.code == 0, ran.err
    assert "note: --deidentify none: the edits carry the patient's" in ran.err
    assert "山田" not in ran.out + ran.err
    dataset = pydicom.dcmread(tmp_path / "IM0001.edema.dcm")
    assert dataset.PatientName == PEOPLE["ISO_IR 192"][0]
    assert dataset.StudyInstanceUID == "1.2.40.0.13.1.222.47110815"


def test_a_png_of_a_dicom_source_tells_nothing(roentmod: Run, tmp_path: Path) -> None:
    source = telling_source("ISO_IR 192")
    (tmp_path / "IM0001").write_bytes(to_bytes(source))
    ran = roentmod("edit", tmp_path / "IM0001", *QUICK, "-o", tmp_path / "out.png")
    assert ran.code == 0, ran.err
    with Image.open(tmp_path / "out.png") as image:
        chunks = "\n".join(f"{key} {value}" for key, value in image.info.items())
    assert "SYNTHETIC" in chunks
    assert traces((tmp_path / "out.png").read_bytes() + chunks.encode(), secrets_of(source)) == set()


# --- in which form ----------------------------------------------------------------------------------------------------


def test_voi_chooses_what_is_shown_and_edited(roentmod: Run, tmp_path: Path) -> None:
    values = chest_values()
    curve = [value * value >> 12 for value in range(4096)]
    windows = {"WindowCenter": [2048, 1500], "WindowWidth": [4096, 1200]}
    source = written_source(tmp_path, values, VOILUTSequence=[lut_item(0, curve, 12)], **windows)
    shown = [
        np.array(curve)[values] / 4095,
        np.clip((values - 2047.5) / 4095 + 0.5, 0, 1),
        np.clip((values - 1499.5) / 1199 + 0.5, 0, 1),
    ]
    for number, expected in enumerate(shown):
        out = tmp_path / f"{number}.png"
        ran = roentmod("edit", source, *QUICK, "--voi", number, "--box", "40,40,60,60", "-o", out)
        assert ran.code == 0, ran.err
        with Image.open(out) as image:
            levels = np.asarray(image).astype(float)
        outside = np.ones(values.shape, dtype=bool)
        outside[40:60, 40:60] = False
        scale = 65535 if levels.max() > 255 else 255
        assert np.abs(levels / scale - expected)[outside].max() <= 0.5 / 255 + 1e-6
    ran = roentmod("edit", source, *QUICK, "--voi", 2, "-o", tmp_path / "out.dcm")
    assert ran.code == 0, ran.err
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    assert dataset.WindowCenter == [2048, 1500]
    assert len(dataset.VOILUTSequence) == 1


def test_as_secondary_capture(roentmod: Run, tmp_path: Path) -> None:
    source = written_source(tmp_path, PhotometricInterpretation="MONOCHROME1")
    for name, arguments in {"twin": (), "apart": ("--as", "secondary-capture")}.items():
        ran = roentmod("edit", source, *QUICK, *arguments, "-o", tmp_path / f"{name}.dcm")
        assert ran.code == 0, ran.err
    twin, apart = (pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("twin", "apart"))
    assert twin.SOPClassUID == uid.ComputedRadiographyImageStorage
    assert apart.SOPClassUID == uid.SecondaryCaptureImageStorage
    assert apart.file_meta.MediaStorageSOPClassUID == uid.SecondaryCaptureImageStorage
    assert apart.ConversionType == "SYN"
    assert apart[0x0008, 0x001C].value == "YES"
    assert apart.PhotometricInterpretation == "MONOCHROME1"
    assert apart.PixelData == twin.PixelData


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits", "signed"), [(8, False), (10, False), (12, True), (15, False), (16, False), (16, True)]
)
def test_every_transfer_syntax_gives_the_same_stored_values(
    roentmod: Run, tmp_path: Path, bits: int, signed: bool
) -> None:
    lowest = -(1 << (bits - 1)) if signed else 0
    source = written_source(
        tmp_path,
        chest_values(bits, signed),
        BitsAllocated=8 if bits == 8 else 16,
        BitsStored=bits,
        PixelRepresentation=int(signed),
        WindowCenter=lowest + (1 << (bits - 1)),
        WindowWidth=1 << bits,
    )
    syntaxes = {
        "explicit": uid.ExplicitVRLittleEndian,
        "rle": uid.RLELossless,
        "jpeg2000": uid.JPEG2000Lossless,
    }
    edits = {}
    for name, syntax in syntaxes.items():
        out = tmp_path / f"{name}.dcm"
        ran = roentmod("edit", source, *QUICK, "--transfer-syntax", name, "-o", out)
        assert ran.code == 0, ran.err
        dataset = pydicom.dcmread(out)
        assert dataset.file_meta.TransferSyntaxUID == syntax
        assert dataset.get("LossyImageCompression", "00") == "00"
        edits[name] = stored(out)
        # Another program's reading of the file is the same.
        np.testing.assert_array_equal(dataset.pixel_array, edits[name])
    assert (edits["explicit"] != chest_values(bits, signed)).any()
    np.testing.assert_array_equal(edits["rle"], edits["explicit"])
    np.testing.assert_array_equal(edits["jpeg2000"], edits["explicit"])


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("identity", ["pseudonym", "keep", "strip"])
def test_label_is_burned_in_and_declared(roentmod: Run, tmp_path: Path, padded: bool, identity: str) -> None:
    values = chest_values()
    attributes: dict[str, Any] = {"BurnedInAnnotation": "NO"}
    if padded:
        # The corner of the label holds no image: padding, as beside a collimated field.
        values[-40:, :100] = 0
        attributes["PixelPaddingValue"] = 0
    source = written_source(tmp_path, values, **attributes)
    out = tmp_path / "out.dcm"
    ran = roentmod("edit", source, *QUICK, "--label", "--identity", identity, "--box", "60,20,90,50", "-o", out)
    assert ran.code == 0, ran.err
    dataset = pydicom.dcmread(out)
    assert dataset.BurnedInAnnotation == "YES"
    before = read_dicom(source.read_bytes(), "source").image
    after = read_radiograph(out, force=True).image
    label = after != before
    label[20:50, 60:90] = False
    rows, columns = np.nonzero(label)
    assert rows.min() > ROWS - 20 and columns.max() < 100
    assert (after[rows.min() :, : columns.max() + 1] > 0.4).sum() > 40, "letters can be read"


def test_without_a_label_burned_in_annotation_is_the_sources(roentmod: Run, tmp_path: Path) -> None:
    source = written_source(tmp_path, BurnedInAnnotation="NO")
    ran = roentmod("edit", source, *QUICK, "-o", tmp_path / "out.dcm")
    assert ran.code == 0, ran.err
    assert pydicom.dcmread(tmp_path / "out.dcm").BurnedInAnnotation == "NO"
