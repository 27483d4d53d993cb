"""What ``reader-study page`` takes for a study and what it writes; the page itself is tested in Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from roentmod_fast.cli import cli
from roentmod_fast.errors import OutputError, RoentmodError, SettingError, SourceError
from roentmod_fast.study.page.html import read_data, template
from roentmod_fast.study.page.pixels import Blob, decode
from roentmod_fast.study.readers.formula import guarded, unguarded
from roentmod_fast.study.readers.page import READER, ReaderStudy, reader_page, write_pages
from roentmod_fast.study.readers.sheet import SheetRow
from tests.study.readers.study_folder import FINDINGS, ID, names, tiny, write_study

IMAGES = tiny(3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of three images for two readers."""
    return write_study(tmp_path / "study", IMAGES, readers=2)


def test_a_page_holds_the_pixels_and_what_a_reader_may_know(folder: Path) -> None:
    (folder / "key.json").write_text('{"secret": "edema, please"}', encoding="utf-8")
    study = ReaderStudy.open(folder)
    [path, other] = write_pages(study)
    assert (path, other) == tuple(folder / f"reader-{n}" / "read.html" for n in (1, 2))
    data = read_data(path)
    assert data is not None
    assert data["columns"][:6] == ["study", "image", "order", *FINDINGS] and data["findings"] == list(FINDINGS)
    assert [image["name"] for image in data["images"]] == names(3), "in the order of the sheet"
    text = path.read_text(encoding="utf-8")
    for number, pixels in enumerate(IMAGES):
        [blob] = re.findall(rf'id="image{number}">([^<]*)<', text)
        assert np.array_equal(decode(Blob(blob, data["images"][number]["predictor"]), pixels.shape), pixels)
    assert "please" not in text and "prompt" not in json.dumps(data) and str(folder) not in text
    assert "SYNTHETIC" not in text, "a mark that holds for all images"
    assert reader_page(study, "reader-1") == path.read_bytes() == reader_page(ReaderStudy.open(folder), "reader-1")
    assert data["set"] != read_data(other)["set"], "readers in one browser do not share answers"  # type: ignore[index]


def test_the_policy_allows_nothing_but_the_page_itself(folder: Path) -> None:
    text = reader_page(ReaderStudy.open(folder), "reader-1").decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none';") and "form-action 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    for tag in ("script", "style"):
        [code] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() in policy


def test_the_template_is_small_and_needs_nothing_else() -> None:
    parts = [READER.page, *READER.styles, *READER.scripts]
    assert sum(len(template(*part).encode()) for part in parts) <= 52_000
    for part in parts:
        text = template(*part)
        assert not re.search(r"https?:|//cdn|@import|url\(|fetch\(|XMLHttp|WebSocket|innerHTML|eval\(", text), part


def change_study(**facts: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        raw = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        (folder / "study.json").write_text(json.dumps(raw | facts), encoding="utf-8")

    return change


def change_sheet(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "reader-1" / "sheet.csv"
        text = path.read_text(encoding="utf-8-sig")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


def image(change: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: change(folder / "reader-1" / "images" / f"{names(3)[1]}.png")


def save(pixels: Any, mode: str, **options: Any) -> Callable[[Path], None]:
    return image(lambda path: Image.fromarray(np.asarray(pixels)).convert(mode).save(path, **options))


SMALL = np.zeros((24, 24), np.uint8)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda folder: (folder / "study.json").unlink(), SettingError, "name the folder of a reader study"),
        (lambda folder: (folder / "study.json").write_text("{"), SettingError, "no JSON"),
        (lambda folder: (folder / "study.json").write_text("[]"), SettingError, "no reader study of format 1"),
        (change_study(format=2), SettingError, "no reader study of format 1"),
        (change_study(study=" "), SettingError, "lacks title or study"),
        (change_study(title=None), SettingError, "lacks title or study"),
        (change_study(findings=[]), SettingError, "findings: expected a list of names"),
        (change_study(findings=["edema", "edema"]), SettingError, "findings: a name comes twice"),
        (change_study(findings=["Edema"]), SettingError, "expected names such as"),
        (change_study(findings=["edema", "notes"]), SettingError, "notes is a column of its own"),
        (change_study(readers=0), SettingError, "readers: expected a list of names"),
        (change_study(readers=True), SettingError, "readers: expected a list of names"),
        (change_study(readers=["../reader-1"]), SettingError, "no name of a folder"),
        (change_study(study="b0"), SettingError, "expected b0"),
        (change_study(findings=["edema"]), SettingError, "its findings are not those of study.json"),
        (change_sheet(f"{names(3)[1]},2", f"{names(3)[1]},1"), SettingError, "another number in each row"),
        (change_sheet(f"{names(3)[1]},2", f"{names(3)[1]},"), SettingError, "another number in each row"),
        (change_sheet(names(3)[1], "../key"), SettingError, "is no name of a file"),
        (change_sheet(f"{ID},{names(3)[1]},2,,,,,,,,,,\n", ""), SettingError, "no row of images/"),
        (lambda folder: (folder / "reader-1" / "sheet.csv").unlink(), SettingError, "sheet.csv"),
        (image(Path.unlink), SourceError, "missing, and in the sheet"),
        (image(lambda path: path.write_bytes(b"x")), SourceError, "no grey PNG of 8 bits"),
        (image(lambda path: path.write_bytes(path.read_bytes()[:60])), SourceError, "cannot be read: damaged"),
        (save(SMALL, "RGB"), SourceError, "no grey PNG of 8 bits"),
        (save(SMALL, "1"), SourceError, "no grey PNG of 8 bits"),
        (save(SMALL, "LA"), SourceError, "no grey PNG of 8 bits"),
        (save(SMALL, "P"), SourceError, "no grey PNG of 8 bits"),
        (save(SMALL.astype(np.uint16), "I;16"), SourceError, "no grey PNG of 8 bits"),
        (save(SMALL[:20], "L"), SourceError, "24 x 20 pixels: expected 24 x 24"),
    ],
)
def test_what_is_no_study_is_refused(
    folder: Path, change: Callable[[Path], None], kind: type[RoentmodError], words: str
) -> None:
    change(folder)
    with pytest.raises(kind, match=re.escape(words)) as caught:
        list(write_pages(ReaderStudy.open(folder)))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert not (folder / "reader-1" / "read.html").exists()


def test_readers_may_come_as_names_or_as_a_number(folder: Path) -> None:
    assert ReaderStudy.open(folder).readers == ("reader-1", "reader-2")
    change_study(readers=["reader-2"])(folder)
    assert ReaderStudy.open(folder).chosen([]) == ("reader-2",)


def test_answers_of_a_sheet_go_into_the_page(tmp_path: Path) -> None:
    row = SheetRow(ID, names(3)[2], 3, dict.fromkeys(FINDINGS, 0), 1, "'-x", 4, "<!-- </script>", 12.5, "t", "read")
    folder = write_study(tmp_path / "study", IMAGES, title="A & <b>", answers={2: row})
    [path] = write_pages(ReaderStudy.open(folder))
    data = read_data(path)
    assert data is not None
    texts = {"extra": "-x", "notes": "<!-- </script>", "seconds": "12.5", "read_at": "t", "status": "read"}
    assert data["answers"] == [[row.image, dict.fromkeys(FINDINGS, "0") | {"realism": "1", "confidence": "4", **texts}]]
    assert "A &amp; &lt;b&gt; - reader-1" in path.read_text(encoding="utf-8")


def test_a_page_that_is_there_is_never_replaced_unasked(folder: Path) -> None:
    study = ReaderStudy.open(folder)
    list(write_pages(study, [2]))
    (folder / "reader-2" / "read.html").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="already exists: --overwrite"):
        list(write_pages(study))
    assert not (folder / "reader-1" / "read.html").exists(), "nothing is written then"
    list(write_pages(study, overwrite=True))
    assert read_data(folder / "reader-2" / "read.html") is not None


def test_the_command_writes_the_pages_of_the_readers_that_are_named(folder: Path) -> None:
    result = CliRunner().invoke(cli, ["reader-study", "page", str(folder), "--reader", "2", "--reader", "2"])
    assert result.exit_code == 0, result.output
    assert str(folder / "reader-2" / "read.html") in result.output and "reader-1" not in result.output
    result = CliRunner().invoke(cli, ["reader-study", "page", str(folder), "--reader", "3"])
    assert isinstance(result.exception, SettingError)
    assert "--reader 3" in str(result.exception) and "reader-1, reader-2" in str(result.exception)


@pytest.mark.parametrize(
    "text", ["=1", "'=1", "''@x", " +1", "-", "\uff1dx", "\t=1", "' =1", "'", "'a", "a=1", "", "1-2"]
)
def test_free_text_is_never_a_formula_and_comes_back(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert not re.match(r"\s*[=+\-@\uff1d]", cell)
