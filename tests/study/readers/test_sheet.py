"""Sheets as readers and spreadsheets leave them: what can be read is read, what cannot is an error with its row."""

from __future__ import annotations

from pathlib import Path

import pytest

from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.study.readers.sheet import COLUMNS, SheetRow, read_sheet, render_sheet, write_sheet

FINDINGS = ("edema", "mass")
STUDY = "a1b2c3d4e5f60718"
ROWS = (
    SheetRow(STUDY, "x01", 1, {"edema": 1, "mass": 0}, 1, "", 5, 'größer; "so", 2\nlines', 12.5, "2026-11-27", "read"),
    SheetRow(STUDY, "x1e5", 2, {"edema": 2, "mass": None}, 0, "rib fracture", None, "", None, "", "read"),
    SheetRow(STUDY, "x03", 3, {"edema": None, "mass": None}),
)


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def plain(*rows: str, header: str = "study,image,edema,mass,realism,confidence,seconds,status") -> str:
    return "\n".join((header, *rows)) + "\n"


def same(rows: tuple[SheetRow, ...]) -> bool:
    """Tell whether rows are those of :data:`ROWS`, but for their line numbers and type of line ending."""
    return [{**vars(row), "number": 0} for row in rows] == [vars(row) for row in ROWS]


def test_a_sheet_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    write_sheet(path, ROWS, FINDINGS)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfstudy,image,order,edema,mass,realism,extra,")
    sheet = read_sheet(path)
    assert same(sheet.rows)
    assert sheet.findings == FINDINGS
    assert sheet.study == STUDY
    assert [row.read for row in sheet.rows] == [True, True, False]
    with pytest.raises(OutputError, match="already exists"):
        write_sheet(path, ROWS, FINDINGS)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_delimiters_encodings_and_line_endings(tmp_path: Path, delimiter: str, encoding: str, ending: str) -> None:
    lines = ["study,image,order,notes,edema", f"{STUDY},x01,1,größer,1", f"{STUDY},x02,2,,"]
    text = ending.join(line.replace(",", delimiter) for line in lines) + ending
    rows = read_sheet(written(tmp_path / "sheet.csv", text, encoding)).rows
    assert [(row.image, row.order, row.notes, row.findings) for row in rows] == [
        ("x01", 1, "größer", {"edema": 1}),
        ("x02", 2, "", {"edema": None}),
    ]


@pytest.mark.parametrize(
    "text",
    [
        plain(f"{STUDY},x01,1,0,1,5,12.5,read"),
        plain(f"{STUDY},x01.png,1,0,1,5,12.5,Read"),
        plain(f"{STUDY},X01.PNG,1,0,1,5,12.5,READ").replace("X01", "x01"),
        plain(f"{STUDY},x01,1.0,0.00,1.,5.0,12.5,read"),
        plain(f" {STUDY} , x01 ,\u00a01 ,0,1,5,12.5, read "),
        plain(f"{STUDY},x01,1,0,1,5,12.5,read,,,", ",,,,,,,,", "", " , "),
        plain(f"{STUDY};x01;1,0;0;1,00;5;12,5;read")
        .replace(",edema", ";edema")
        .replace("study,image", "study;image")
        .replace("edema,mass,realism,confidence,seconds,status", "edema;mass;realism;confidence;seconds;status"),
        plain(f"read,12.5,5,1,0,1,x01,{STUDY}", header="Status,SECONDS,Confidence, realism ,Mass,EDEMA,Image,Study"),
        "sep=,\r\n" + plain(f"{STUDY},x01,1,0,1,5,12.5,read"),
        plain(f'"{STUDY}","x01","1","0","1","5","12.5","read"'),
    ],
    ids=["plain", "png", "upper", "decimals", "spaces", "trailing", "german", "reordered", "sep", "quoted"],
)
def test_variants_of_one_row(tmp_path: Path, text: str) -> None:
    [row] = read_sheet(written(tmp_path / "sheet.csv", text)).rows
    assert (row.image, row.findings, row.realism, row.confidence, row.seconds) == (
        *("x01", {"edema": 1, "mass": 0}, 1, 5, 12.5),
    )
    assert row.read


@pytest.mark.parametrize(
    ("cells", "read"),
    [("x,,,,,,", False), ("x,0,,,,,", True), ("x,,,,,,read", True), ("x,,,,,,open", False), ("x,,,2,,,", True)],
)
def test_an_empty_row_is_not_read(tmp_path: Path, cells: str, read: bool) -> None:
    [row] = read_sheet(written(tmp_path / "sheet.csv", plain(f"{STUDY},{cells}"))).rows
    assert row.read is read
    assert row.findings["mass"] is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (plain(f"{STUDY},x01,3,0,1,5,1,read"), r"row 2, column edema: '3': expected one of 0, 1, 2"),
        (plain(f"{STUDY},x01,yes,0,1,5,1,read"), r"column edema: 'yes'"),
        (plain(f"{STUDY},x01,-1,0,1,5,1,read"), r"column edema: '-1'"),
        (plain(f"{STUDY},x01,0.5,0,1,5,1,read"), r"column edema: '0.5'"),
        (plain(f"{STUDY},x01,01.02.2026,0,1,5,1,read"), r"column edema: '01.02.2026'"),
        (plain(f"{STUDY},x01,1,0,3,5,1,read"), r"column realism: '3'"),
        (plain(f"{STUDY},x01,1,0,1,6,1,read"), r"column confidence: '6': expected one of 1, 2, 3, 4, 5"),
        (plain(f"{STUDY},x01,1,0,1,5,long,read"), r"column seconds: 'long' is no number"),
        (plain(f"{STUDY},1E+05,1,0,1,5,1,read"), r"image '1E\+05': a spreadsheet made a number or date of it"),
        (plain(f"{STUDY},12345,1,0,1,5,1,read"), r"image '12345'"),
        (plain(f'{STUDY},"1,00E+05",1,0,1,5,1,read'), r"image '1,00E\+05'"),
        (plain(f"{STUDY},04.03.2026,1,0,1,5,1,read"), r"image '04.03.2026'"),
        (plain(f"{STUDY},3-Apr,1,0,1,5,1,read"), r"image '3-Apr'"),
        (plain(f"{STUDY},3. Mär,1,0,1,5,1,read"), r"image '3. Mär'"),
        (plain(f"{STUDY},Dec-24,1,0,1,5,1,read"), r"image 'Dec-24'"),
        (plain(f"{STUDY},####,1,0,1,5,1,read"), r"image '####'"),
        (plain("1.2E+15,x01,1,0,1,5,1,read"), r"study '1.2E\+15'"),
        (plain(",x01,1,0,1,5,1,read"), r"row 2: no study"),
        (plain(f"{STUDY},,1,0,1,5,1,read"), r"row 2: no image"),
        (plain(f"{STUDY},x01,1,0,1,5,12,5,read"), r"row 2: more cells than columns"),
        (plain(f"{STUDY},x01,1,0,1,5,1,read", "", f"{STUDY},x01.png,,,,,,"), r"rows 2 and 4: image x01 comes twice"),
        (plain(f"{STUDY},x01,,,,,,", "b0b0,x02,,,,,,"), r"rows of 2 studies"),
        (plain(f"{STUDY},x01,1", header="study,image,edema,Edema "), r"column edema comes twice"),
        (plain("x01,1", header="image,edema"), r"lacks the column study"),
        (plain(f"{STUDY},1", header="study,edema"), r"lacks the column image"),
        (plain(f"{STUDY},x01,1,lost", header="study,image,edema,"), r"column without a name"),
        (plain(), r"no rows"),
        ("", r"lacks the column study"),
    ],
)
def test_what_cannot_be_taken_is_an_error_with_its_place(tmp_path: Path, text: str, match: str) -> None:
    path = written(tmp_path / "sheet.csv", text)
    with pytest.raises(SettingError, match=match) as error:
        read_sheet(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0rest", b"\xff\xd8\xff\x00\x81", b"ab\x00\x81"])
def test_files_that_are_no_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(data)
    with pytest.raises(SettingError, match=r"workbook|not a text|lacks the column"):
        read_sheet(path)
    with pytest.raises(SettingError, match="cannot be read"):
        read_sheet(tmp_path / "absent.csv")


def test_a_number_has_no_digits_that_it_does_not_need() -> None:
    text = render_sheet([SheetRow(STUDY, "x", seconds=3.0)], FINDINGS).decode("utf-8-sig")
    assert text.splitlines()[1] == f"{STUDY},x,,,,,,,,3,,"
    assert tuple(text.splitlines()[0].split(",")) == COLUMNS(FINDINGS)


@pytest.mark.parametrize("seconds", [1234567.0, 1e16, 0.00001, 0.0, 12.25, 123456.75])
def test_a_time_comes_back_as_it_was(tmp_path: Path, seconds: float) -> None:
    write_sheet(tmp_path / "sheet.csv", [SheetRow(STUDY, "x", seconds=seconds)], FINDINGS)
    [row] = read_sheet(tmp_path / "sheet.csv").rows
    assert row.seconds == seconds
