"""The page of a reader in a real browser, from file: a session by keys, storage, sheets, tabs, accessibility."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roentmod_fast.study.readers.make import StudySettings, make_study
from roentmod_fast.study.readers.page import ReaderStudy, write_pages
from roentmod_fast.study.readers.score import read_study
from roentmod_fast.study.readers.sheet import SheetRow, read_sheet
from tests.study.page.axe import faults, needs_axe
from tests.study.page.browser import Browser
from tests.study.page.chromium import Chromium
from tests.study.page.contrast import faint_texts
from tests.study.readers.conftest import drawn_cohort
from tests.study.readers.study_folder import FINDINGS, ID, names, tiny, write_study

pytestmark = pytest.mark.slow

COUNT = 6
TEXT = '=1+1; "nodule", left ü'
TEXT_OF = "return document.getElementById(arguments[0]).textContent"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of six images and three findings."""
    [path] = write_pages(ReaderStudy.open(write_study(tmp_path_factory.mktemp("study"), tiny(COUNT))))
    return path


@pytest.fixture
def page(browser: Browser, file: Path, tmp_path: Path) -> Path:
    """The page at its first image, without stored answers; what it exports goes to the test's folder."""
    browser.open(file)
    browser.run("onpagehide = null; localStorage.clear()")
    browser.open(file.parent / "images")  # a page that leaves stores its answers
    browser.run("localStorage.clear()")
    browser.show(file)
    browser.requests(), browser.messages()
    browser.download_to(tmp_path)
    return file


def keys(browser: Browser, *pressed: str) -> None:
    for key in pressed:
        browser.key(key)


def answers(browser: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.run("return reader.answers()")
    return found


def cells(browser: Browser, image: int = 0) -> str:
    """Return the answers of an image, - for none: findings, realism, confidence, extra, notes."""
    return " ".join(cell or "-" for cell in answers(browser)[image]["cells"])


def message(browser: Browser) -> str:
    return str(browser.run(TEXT_OF, "message"))


def choose(browser: Browser, path: Path, content: bytes) -> str:
    """Import a sheet; return what the page says of it."""
    path.write_bytes(content)
    browser.run("document.getElementById('message').textContent = ''")
    browser.choose_file("#file", path)
    return str(browser.wait("document.getElementById('message').textContent || document.getElementById('ask').open"))


def exported(browser: Browser, folder: Path) -> Path:
    browser.key("s")
    browser.wait("/^Exported/.test(document.getElementById('message').textContent)")
    return browser.downloaded(folder, "reader-1-sheet.csv")


def test_a_session_by_keys_survives_closing_and_is_exported(browser: Browser, page: Path, tmp_path: Path) -> None:
    keys(browser, "1", "0", "2", "0", "5", "Enter")  # three findings, synthetic, certain
    browser.wait("document.body.dataset.ready === '2'")
    keys(browser, "a", "1", "3", "e")
    browser.type(TEXT)
    keys(browser, "Enter")
    browser.type("first line")
    browser.key("Enter", shift=True)
    browser.type("second")
    keys(browser, "Enter", "Enter")
    browser.wait("document.body.dataset.ready === '3'")
    keys(browser, "2", "1")  # closed in the middle of the third
    assert browser.run(TEXT_OF, "count") == "2 of 6 read" and browser.run(TEXT_OF, "saved") == "saved"
    assert browser.requests() == [] and browser.messages() == []

    browser.restart()
    browser.download_to(tmp_path)
    browser.show(page)
    assert browser.run("return document.querySelector('h1').textContent") == "Image 3 of 6begun"
    assert browser.run(TEXT_OF, "count") == "2 of 6 read"
    assert cells(browser, 2) == "2 1 - - - - -"
    assert browser.run("return document.querySelector('.current').textContent").startswith("pleural effusion")
    keys(browser, "0", "2", "1", "Enter")
    keys(browser, "ArrowLeft", "ArrowLeft", "ArrowUp", "0")  # back to the second, and its first finding changed
    keys(browser, "1")
    assert cells(browser, 1) == f"0 1 0 1 3 {TEXT} first line\nsecond"
    assert browser.run(TEXT_OF, "count") == "3 of 6 read", "a changed answer stays an answer"
    keys(browser, "Enter")
    for number in (4, 5, 6):
        browser.wait(f"document.body.dataset.ready === '{number}'")
        keys(browser, "a", "2", "4", "Enter")
    assert message(browser) == "All 6 images are read. Export the sheet."
    assert browser.run("return document.activeElement.id") == "export"

    path = exported(browser, tmp_path)
    content = path.read_bytes()
    assert content.startswith(b"\xef\xbb\xbfstudy,image,order,cardiomegaly,edema,pleural_effusion,realism,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    wanted = ["10205", "01013", "21021", "00024", "00024", "00024"]
    columns = (*FINDINGS, "realism", "confidence")
    assert ["".join(row[name] for name in columns) for row in rows] == wanted
    assert [row["image"] for row in rows] == names(COUNT) and [row["order"] for row in rows] == list("123456")
    assert [row["extra"] for row in rows] == ["", f"'{TEXT}", "", "", "", ""], "no spreadsheet runs it"
    assert rows[1]["notes"] == "first line\nsecond"
    assert {row["status"] for row in rows} == {"read"} and {row["study"] for row in rows} == {ID}
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["read_at"]) for row in rows)
    assert all(0 <= float(row["seconds"]) < 600 for row in rows) and float(rows[2]["seconds"]) > 0
    assert [row.read for row in read_sheet(path).rows] == [True] * COUNT
    assert browser.requests() == [page.as_uri()] and browser.messages() == []

    before = answers(browser)
    browser.run("localStorage.clear(); for (const a of reader.answers()) { a.cells.fill(''); a.read = false }")
    assert choose(browser, tmp_path / "back.csv", content) == "Imported 6 rows: 6 read."
    assert [each["cells"] for each in answers(browser)] == [each["cells"] for each in before]
    assert [each["readAt"] for each in answers(browser)] == [each["readAt"] for each in before]


def test_a_study_is_made_read_in_the_page_and_scored(browser: Browser, tmp_path: Path) -> None:
    findings = ("edema", "mass")
    settings = StudySettings(readers=1, size=64, controls=0.3, overlap=0, repeat=0, findings=findings)
    made = make_study(drawn_cohort(tmp_path, 3, ("edema",)), tmp_path / "study", settings)
    assert made is not None
    [path] = write_pages(ReaderStudy.open(tmp_path / "study"))
    browser.show(path)
    browser.download_to(tmp_path)
    images = sorted(made.key.images, key=lambda image: image.order)
    assert {image.real for image in images} == {True, False}
    for image in images[:-1]:  # the reader stops before the last one
        browser.wait(f"document.body.dataset.ready === '{image.order}'")
        keys(browser, "1" if image.asked else "0", "0", str(int(image.real)), "5", "Enter")
    reads = read_study(tmp_path / "study" / "key.json", [exported(browser, tmp_path)])
    assert [(read.image.name, dict(read.row.findings), read.row.realism) for read in reads.reads] == [
        (image.name, {"edema": int("edema" in image.asked), "mass": 0}, int(image.real)) for image in images[:-1]
    ]


def test_an_image_is_read_by_the_readers_act_alone(browser: Browser, page: Path) -> None:
    keys(browser, "Enter")
    assert "No answer: cardiomegaly and 4 more" in message(browser)
    keys(browser, " ", "3", "7")
    browser.run("document.querySelector('#questions input').focus()")
    keys(browser, " ")
    assert cells(browser) == "- - - - - - -", "Space and other digits answer nothing"
    keys(browser, "ArrowDown", "1", "a")
    assert cells(browser) == "0 1 0 - - - -" and message(browser) == "Absent: cardiomegaly, pleural effusion"
    keys(browser, "Enter")
    assert browser.run(TEXT_OF, "count") == "0 of 6 read"
    keys(browser, "1", "2")
    assert answers(browser)[0]["read"] is False, "answered and not finished"
    keys(browser, "Enter", "ArrowLeft")
    assert browser.run(TEXT_OF, "count") == "1 of 6 read"
    keys(browser, "Backspace")
    assert cells(browser) == "- 1 0 1 2 - -" and browser.run(TEXT_OF, "count") == "0 of 6 read"
    assert "no longer read" in message(browser)
    keys(browser, "2", "Enter")
    assert browser.run("return document.querySelector('h1').textContent") == "Image 2 of 6not read"
    press = (
        "for (const facts of arguments[0]) document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', {bubbles: true, cancelable: true, ...facts}))"
    )
    browser.run(press, [{"key": "1"}] + [{"key": "1", "repeat": True}] * 3)
    assert cells(browser, 1) == "1 - - - - - -", "a key that is held answers once"
    azerty = {"key": "\u00e9", "code": "Digit2"}
    cyrillic = {"key": "\u0444", "code": "KeyA"}
    browser.run(press, [azerty, cyrillic, {"key": "1", "isComposing": True}, {"key": "2", "ctrlKey": True}])
    assert cells(browser, 1) == "1 2 0 - - - -"
    keys(browser, "e")
    browser.run(press, [{"key": "Enter", "isComposing": True}])
    assert browser.run("return document.activeElement.id") == "extra", "Enter ends what an input method composes"
    browser.run(press, [{"key": "Enter"}, {"key": "Enter", "repeat": True}])
    assert browser.run("return document.activeElement.id") == "notes"
    keys(browser, "Escape", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp")
    # With the mouse.
    x, y = browser.run(
        "const r = document.querySelectorAll('#questions input')[1].getBoundingClientRect(); return [r.x + 20, r.y + 9]"
    )
    browser.drag((int(x), int(y)), (int(x), int(y)))
    assert cells(browser, 1) == "0 2 0 - - - -"
    assert browser.run("return document.querySelector('.current').textContent").startswith("edema")


def test_sheets_of_spreadsheets_are_imported(browser: Browser, page: Path, tmp_path: Path) -> None:
    header = ["study", "image", "order", *FINDINGS, "realism", "extra", "notes", "confidence", "seconds", "read_at"]
    header.append("status")

    def sheet(first: dict[str, str], delimiter: str = ",", columns: list[str] = header) -> str:
        rows = [{"study": ID, "image": name, "order": str(n)} for n, name in enumerate(names(COUNT)[:2])]
        rows[1] |= first
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, restval="", delimiter=delimiter, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    full = dict(zip(FINDINGS, "102", strict=True)) | {"realism": "1", "confidence": "4", "status": "read"}
    full |= {"extra": "Größe", "seconds": "12,5", "read_at": "2026-11-27T10:00:00Z"}
    for name, content in {
        "semicolons and decimals": sheet({**full, "edema": "0,0", "realism": "1.00"}, ";").encode("utf-8-sig"),
        "tabs in UTF-16": sheet(full, "\t").encode("utf-16"),
        "a Windows code page": sheet(full, ";").encode("cp1252"),
        "sep, Unix lines, other order": (
            "sep=;\n" + sheet(full, ";", [*reversed(header)]).replace("\r\n", "\n") + ";" * 12 + "\n"
        ).encode(),
        "names with .png, capitals": sheet({**full, "image": names(COUNT)[1] + ".PNG", "status": "Read"})
        .replace("edema", "Edema ")
        .encode(),
    }.items():
        browser.run("for (const a of reader.answers()) { a.cells.fill(''); a.read = false }")
        assert choose(browser, tmp_path / "s.csv", content) == "Imported 2 rows: 1 read.", name
        assert cells(browser, 1) == "1 0 2 1 4 Größe -", name
        assert (answers(browser)[1]["seconds"], answers(browser)[1]["readAt"]) == (12.5, full["read_at"]), name

    assert "1 were marked read" in choose(browser, tmp_path / "s.csv", sheet({"status": "read"}).encode()) or (
        browser.run("return document.getElementById('ask').open")
    ), "a row that is marked and not answered is not read; here are answers to lose, so the page asks"
    browser.run("document.getElementById('no').click()")
    browser.wait("/Not imported/.test(document.getElementById('message').textContent)")
    assert cells(browser, 1) == "1 0 2 1 4 Größe -"
    choose(browser, tmp_path / "s.csv", sheet({"status": "read"}).encode())
    browser.run("document.getElementById('yes').click()")
    browser.wait("/marked read/.test(document.getElementById('message').textContent)")
    assert cells(browser, 1) == "- - - - - - -" and answers(browser)[1]["read"] is False

    good = sheet(full)
    before = answers(browser)
    for part, content in {
        "of the study b0, and this page is of": good.replace(ID, "b0").encode(),
        "of the study (none)": good.replace(ID, "", 1).encode(),
        "is not in this page": good.replace(names(COUNT)[1], "other").encode(),
        f"the image {names(COUNT)[0]} comes twice": good.replace(names(COUNT)[1], names(COUNT)[0]).encode(),
        'row 3, edema: "3": expected 1, 0, 2 or nothing': sheet({**full, "edema": "3"}).encode(),
        'realism: "yes"': sheet({**full, "realism": "yes"}).encode(),
        "confidence": sheet({**full, "confidence": "0"}).encode(),
        "seconds: no number": sheet({**full, "seconds": "1:30"}).encode(),
        "status: expected read or nothing": sheet({**full, "status": "done"}).encode(),
        "no column edema": good.replace("edema", "oedema").encode(),
        "the column mine is not of this study": sheet(full, columns=[*header, "mine"]).encode(),
        "the column edema comes twice": good.replace("notes", "edema").encode(),
        "a quote is never closed": (good + '"cut').encode(),
        "row 3: a quote in the middle of a cell": good.replace("Größe", '"Größe').encode(),
        "more cells than columns": good.replace("Größe", "a,b").encode(),
        "a workbook": b"PK\x03\x04" + bytes(20),
        "no rows": good.split("\r\n")[0].encode(),
        "no column study": b"",
    }.items():
        said = choose(browser, tmp_path / "s.csv", content)
        assert said.startswith("Not imported. ") and part in said, said
        assert [each["cells"] for each in answers(browser)] == [each["cells"] for each in before]
    assert browser.messages() == []

    if not isinstance(browser, Chromium):
        return  # whose driver sees the functions of a page's script
    texts = ["=1", "'=1", "''@x", " +1", "'", "'a", "-", "\uff1dx", 'a "b", c;d', "a\n\nb", "\t=1", "", " a "]
    assert (
        browser.run(
            "return arguments[0].map(t => unguarded(cellsOf(csvOf([[guarded(t), 'x']]).slice(1))[0][0]))", texts
        )
        == texts
    )
    guarded = browser.run("return arguments[0].map(guarded)", texts)
    assert not any(re.match(r"\s*[=+\-@\uff1d]", text) for text in guarded)


def test_pixels_window_and_zoom(browser: Browser, page: Path) -> None:
    state = "return reader.state."
    image = tiny(COUNT)[0]
    tried = {"1", "0", "2", "3", "4", "5", "a", "Backspace", "Enter", "e", "n", "s"}  # of the other tests

    def press(key: str, name: str, *, shift: bool = False) -> tuple[Any, Any]:
        tried.add(("Shift+" if shift else "") + key)
        before = browser.run(state + name)
        browser.key(key, shift=shift)
        return before, browser.run(state + name)

    shown = browser.run(
        "reader.state.fit = false; reader.state.zoom = 4; reader.draw();"
        "const c = document.getElementById('view'), s = reader.state, x = c.getContext('2d');"
        "return arguments[0].map(([y, i]) => [...x.getImageData(c.width / 2 + (i + .5 - s.x) * 4,"
        " c.height / 2 + (y + .5 - s.y) * 4, 1, 1).data].slice(0, 3))",
        [[y, i] for y in range(24) for i in range(24)],
    )
    assert np.array_equal(np.array(shown), np.repeat(image.reshape(-1, 1), 3, axis=1)), "the values of the file"
    widths = [press("w", "width")[1] for _ in range(4)]
    assert widths == [161, 129, 160, 256]
    assert press("W", "width") == (256, 160)
    assert press("r", "width")[1] == 256
    for key, name, more in (("[", "width", False), ("]", "width", True), (",", "centre", True), (".", "centre", False)):
        before, after = press(key, name)
        assert (after > before) is more, key
    assert press("i", "invert") == (False, True)
    for key, more in (("+", True), ("=", True), ("-", False)):
        before, after = press(key, "zoom")
        assert (after > before) is more
    for key, axis, more in (("Left", "x", False), ("Right", "x", True), ("Up", "y", False), ("Down", "y", True)):
        before, after = press(f"Arrow{key}", axis, shift=True)
        assert (after > before) is more
    assert press("x", "zoom")[1] == 1
    assert press("f", "fit")[1] is True
    browser.drag((300, 300), (360, 300))
    assert browser.run(state + "width") > 256
    assert browser.run("return document.activeElement.name") == "question0", "keys stay the question's"
    for key, ready in (("ArrowRight", 2), ("u", 3), ("ArrowLeft", 2)):
        tried.add(key)
        browser.key(key)
        browser.wait(f"document.body.dataset.ready === '{ready}'")
    assert browser.run("return [reader.state.width, reader.state.invert, reader.state.fit]") == [256, False, True]
    for key, dialog in (("o", "overview"), ("?", "help")):
        tried.add(key)
        keys(browser, key, "1")
        assert browser.run(f"return document.getElementById('{dialog}').open")
        keys(browser, "Escape")
    keys(browser, "ArrowDown", "ArrowUp", "1", "ArrowUp", "Delete")
    tried |= {"ArrowDown", "ArrowUp", "Delete"}
    assert cells(browser, 1) == "- - - - - - -", "no key answers under a dialog"
    keys(browser, "o", "Tab", "Tab", "Enter")
    browser.wait("document.body.dataset.ready === '4'")
    assert set(browser.run("return reader.keys")) == tried, "every key of the page was tried"
    assert [text for text in browser.messages() if "willReadFrequently" not in text] == []  # this test reads pixels


def test_a_second_tab_never_writes_over_the_first(browser: Browser, page: Path) -> None:
    browser.key("1")
    first = browser.tab()
    second = browser.new_tab()
    browser.show(page)
    assert "open in another tab" in browser.run(TEXT_OF, "notice")
    browser.key("0")
    assert cells(browser) == "1 - - - - - -"
    browser.switch(first)
    browser.key("2")
    browser.switch(second)
    browser.wait("reader.answers()[0].cells[1] === '2'")
    browser.run("document.getElementById('remedy').click()")
    browser.wait("document.body.dataset.writable")
    browser.key("0")
    assert cells(browser) == "1 2 0 - - - -"
    browser.switch(first)
    browser.wait("!document.body.dataset.writable")
    browser.wait("reader.answers()[0].cells[2] === '0'")
    browser.key("1")
    browser.switch(second)
    browser.close_tab(first)
    browser.wait("document.body.dataset.writable")
    assert cells(browser) == "1 2 0 - - - -" and browser.run("return document.getElementById('notice').hidden")
    # A browser without locks: what another tab stored is found at the next answer.
    browser.run(
        "const key = Object.keys(localStorage).find(k => k.includes('reader-study'));"
        "const s = JSON.parse(localStorage[key]);"
        "s.version += 5; s.answers[0].cells[3] = '2'; localStorage[key] = JSON.stringify(s)"
    )
    browser.key("1")
    assert "saved in another tab" in browser.run(TEXT_OF, "notice")
    browser.run("document.getElementById('remedy').click()")
    browser.wait("document.body.dataset.open && reader.answers()[0].cells[3] === '2'")


def test_without_storage_the_reader_is_warned(browser: Browser, page: Path, tmp_path: Path) -> None:
    if not isinstance(browser, Chromium):
        pytest.skip("a script before the page's own is Chromium's protocol")
    refuse = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }"
    added = browser.protocol("Page.addScriptToEvaluateOnNewDocument", source=refuse)
    denied = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError') }})"
    try:
        browser.show(page)
        assert "does not store answers" in browser.run(TEXT_OF, "notice")
        keys(browser, "1", "0")
        assert cells(browser) == "1 0 - - - - -" and browser.run(TEXT_OF, "saved") == "not saved"
        assert b",1,0,,,," in exported(browser, tmp_path).read_bytes()
    finally:
        browser.protocol("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])
    added = browser.protocol("Page.addScriptToEvaluateOnNewDocument", source=denied)
    try:
        browser.show(page)
        assert "does not store answers" in browser.run(TEXT_OF, "notice")
    finally:
        browser.protocol("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


def test_time_stands_still_while_the_page_is_hidden(browser: Browser, page: Path) -> None:
    browser.key("1")
    browser.wait("reader.answers()[0].seconds > 0.1")
    browser.run("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")
    before = answers(browser)[0]["seconds"]
    browser.wait("new Promise(r => setTimeout(() => r(true), 700))")
    assert answers(browser)[0]["seconds"] == before


@needs_axe
def test_axe_finds_nothing(browser: Browser, page: Path) -> None:
    for pressed in (("1", "Enter"), ("o",), ("Escape", "?")):
        keys(browser, *pressed)
        assert faults(browser) == [], pressed


def test_the_page_is_accessible(browser: Browser, page: Path) -> None:
    keys(browser, "1", "Enter")
    assert faint_texts(browser) == []
    browser.key("o")
    assert faint_texts(browser) == []
    if not isinstance(browser, Chromium):
        pytest.skip("the names of controls are read by Chromium's protocol")
    nodes = browser.protocol("Accessibility.getFullAXTree")["nodes"]
    browser.key("Escape")
    nodes += browser.protocol("Accessibility.getFullAXTree")["nodes"]
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if any(each["name"] == "focusable" for each in node.get("properties", ()))
        and node["role"]["value"] not in {"RootWebArea", "dialog"}
    ]
    assert len(controls) > 30 and all(name.strip() for _, name in controls), controls
    assert ("radio", "1 present") in controls and ("button", "Image 1, begun") in controls
    groups = {node["name"]["value"].lower() for node in nodes if node.get("role", {}).get("value") == "radiogroup"}
    assert {"cardiomegaly", "edema", "pleural effusion", "real or synthetic"} < groups

    browser.run("document.activeElement.blur(); document.getElementById('view').focus()")
    order = []
    for _ in range(14):
        browser.key("Tab")
        order.append(browser.run("const e = document.activeElement; return e.name || e.id || e.title || e.textContent"))
        assert browser.run(
            "const e = document.activeElement, s = getComputedStyle(e.type === 'radio' ? e.closest('.choices') : e);"
            "return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2"
        ), order[-1]
    questions = [f"question{n}" for n in range(5)]
    place = ["Image before (\u2190)", "Image after (\u2192)", "All images (o)"]
    assert order == [*place, *questions, "extra", "notes", "finish", "rest", "full", "contrast"]


def test_answers_of_the_sheet_are_shown_and_texts_are_texts(browser: Browser, tmp_path: Path) -> None:
    evil = (
        "<img src=x onerror=\"document.body.dataset.evil='1'\"></script><script>document.body.dataset.evil='1'</script>"
    )
    name = names(2)[0]
    row = SheetRow(ID, name, 1, dict(zip(FINDINGS, (1, 0, 2), strict=True)), 1, "'=x", 5, evil, 7.5, "then", "read")
    folder = write_study(tmp_path / "study", tiny(2), title=evil, answers={0: row})
    [path] = write_pages(ReaderStudy.open(folder))
    browser.show(path)
    assert cells(browser) == f"1 0 2 1 5 =x {evil}" and browser.run(TEXT_OF, "count") == "1 of 2 read"
    assert browser.run("return document.querySelector('h1').textContent") == "Image 2 of 2not read"
    assert browser.run(TEXT_OF, "title") == evil
    assert browser.run("return document.body.dataset.evil || ''") == ""
    keys(browser, "2")
    [_] = write_pages(ReaderStudy.open(write_study(tmp_path / "again", tiny(2), title=evil)))
    browser.show(tmp_path / "again" / "reader-1" / "read.html")
    assert cells(browser, 1) == "2 - - - - - -", "the browser's, of the same images"
    assert browser.run("return document.getElementById('notice').hidden")
    (folder / "reader-1" / "read.html").unlink()
    show_other = SheetRow(ID, name, 1, dict.fromkeys(FINDINGS, 2), status="")
    other = write_study(tmp_path / "other", tiny(2), answers={0: show_other})
    [path] = write_pages(ReaderStudy.open(other))
    browser.show(path)
    assert "other answers than the sheet" in browser.run(TEXT_OF, "notice")
    browser.run("fetch('http://127.0.0.1:9/b').catch(() => 0); new Image().src = 'http://127.0.0.1:9/a.png'")
    browser.wait("new Promise(r => setTimeout(() => r(true), 100))")
    assert any(re.search("Content.Security.Policy", text) for text in browser.messages())
