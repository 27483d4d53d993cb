"""What a page holds of a radiograph: its view as a window where it is one, and nothing that names a patient."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from roentmod_fast.errors import SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import as_radiograph, read_radiograph
from roentmod_fast.study.page.content import source_of
from roentmod_fast.study.page.edits import Page, write_page
from roentmod_fast.study.page.html import embedded, template
from roentmod_fast.study.page.index import IndexRow, index_page
from tests.study.page.conftest import Change, result_of, write_source


def windowed(centre: float, width: float, **more: object) -> Change:
    def change(dataset: Dataset) -> None:
        dataset.WindowCenter, dataset.WindowWidth = centre, width
        for keyword, value in more.items():
            setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    ("change", "window", "inverted"),
    [
        (windowed(2048, 4096), (2048, 4096), False),
        (windowed(1000, 900), (1000, 900), False),
        (windowed(3000, 2000, RescaleSlope=2, RescaleIntercept=-500), (3000, 2000), False),
        (windowed(-1000, 900, RescaleSlope=-1, RescaleIntercept=0), (-1000, 900), False),
        (
            windowed(1000, 900, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
            (1000, 900),
            True,
        ),
    ],
)
def test_the_files_window_is_found(tmp_path: Path, change: Change, window: tuple[float, float], inverted: bool) -> None:
    source = source_of(write_source(tmp_path / "a.dcm", change), "a")
    assert not source.by_table
    assert source.windows["as the file"] == pytest.approx(window, abs=0.1)
    assert source.inverted is inverted


def test_what_is_no_window_is_a_table(tmp_path: Path) -> None:
    radiograph = write_source(tmp_path / "a.dcm", windowed(2000, 1500, VOILUTFunction="SIGMOID"))
    source = source_of(radiograph, "a")
    assert source.by_table
    centre, width = source.windows["as the file"]
    assert abs(centre - 2000) < 200 and 1500 < width < 4000
    assert np.array_equal(source.shown(source.values) * 255, np.rint(radiograph.image * 255))


def test_padding_is_black_in_every_window(tmp_path: Path) -> None:
    def pad(dataset: Dataset) -> None:
        dataset.PixelPaddingValue = 0
        dataset.PixelPaddingRangeLimit = 100

    source = source_of(write_source(tmp_path / "a.dcm", pad), "a")
    assert source.padding == (0, 100)
    assert not source.table[:101].any() and source.table[101] > 0


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_arrays_have_pages_too(kind: type) -> None:
    top = 1 if kind is np.float32 else np.iinfo(kind).max
    radiograph = as_radiograph((np.linspace(0, 1, 64 * 48).reshape(64, 48) * top).astype(kind))
    page = Page(radiograph, "an array")
    page.add(result_of(radiograph), "edema.png")
    assert page.content.source.bits == (8 if kind is np.uint8 else 16)
    assert b"SYNTHETIC" in page.render()


def test_text_cannot_leave_its_place(radiograph: Radiograph) -> None:
    for evil in (
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "{{blobs}}{{script}}",
        "\u2028\u2029&amp;\"'`",
        "\ud800",
        "${alert(1)}",
    ):
        page = Page(radiograph, evil, evil)
        page.add(result_of(radiograph, evil), evil)
        text = page.render().decode("utf-8")
        assert "alert(1)</script>" not in text.replace("&lt;/script&gt;", "")
        assert text.count("<script") == 4, "data, two blobs, the script"
        [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
        assert json.loads(data)["edits"][0]["prompt"] == evil.replace("\ud800", "?")
    assert "<" not in embedded({"a": "</b>"})


def test_nothing_of_the_header_is_in_a_page(tmp_path: Path) -> None:
    def named(dataset: Dataset) -> None:
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Muster^Erika", "PID-778899", "19400203"
        dataset.InstitutionName, dataset.AccessionNumber = "Klinik Sankt Nirgend", "ACC-4455"

    radiograph = write_source(tmp_path / "Muster_Erika.dcm", named)
    write_page(tmp_path / "page.html", [result_of(radiograph)])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    for secret in ("Muster", "Erika", "778899", "19400203", "Nirgend", "4455", str(tmp_path)):
        assert secret not in text


def test_the_template_is_small_and_needs_nothing_else() -> None:
    names = ("page.html", "page.css", "viewer.js", "page.js")
    assert sum(len(template(name).encode()) for name in names) <= 40_000
    for name in (*names, "index.html", "index.js"):
        text = template(name)
        assert not re.search(r"https?:|//cdn|@import|url\(|fetch\(|XMLHttp|WebSocket|innerHTML|eval\(", text), name


def test_the_policy_allows_nothing_but_the_page_itself(radiograph: Radiograph) -> None:
    page = Page(radiograph, "a")
    page.add(result_of(radiograph), "b")
    for text in (page.render().decode(), index_page([IndexRow("a", "b")], "c").decode()):
        [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy and "http" not in policy and "*" not in policy


def test_edits_of_one_radiograph_only(radiograph: Radiograph, tmp_path: Path) -> None:
    other = as_radiograph(np.zeros((20, 20), np.uint8))
    with pytest.raises(SettingError, match="several radiographs"):
        write_page(tmp_path / "p.html", [result_of(radiograph), result_of(other)])
    with pytest.raises(SettingError, match="without an edit"):
        write_page(tmp_path / "p.html", [])
    assert not (tmp_path / "p.html").exists()


@pytest.mark.slow
def test_a_page_of_a_large_film_with_six_prompts_is_small(tmp_path: Path) -> None:
    """2500 x 2048 pixels of 12 bits are 10 MB; with all edits the page has at most 12."""
    image = draw(2500, 3).image[:, 226:2274]
    write_sample(tmp_path / "big.dcm", image, seed=3)
    radiograph = read_radiograph(tmp_path / "big.dcm")
    page = Page(radiograph, "big")
    for number in range(6):
        page.add(result_of(radiograph, f"prompt {number}", 0.05 * (number + 1)), f"{number}.dcm")
    assert len(page.render()) <= 12_000_000
