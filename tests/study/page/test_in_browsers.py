"""The page in a real browser, from file: with every request counted: pixels, keys, mouse, mark, index."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.page.edits import Page, write_page
from roentmod_fast.study.page.index import IndexRow, write_index
from tests.study.page.axe import faults, needs_axe
from tests.study.page.browser import Browser
from tests.study.page.conftest import Change, result_of, write_source

pytestmark = pytest.mark.slow

PROMPTS = ("edema", "right pleural effusion", "hernia")


@pytest.fixture
def page(browser: Browser, radiograph: Radiograph, tmp_path: Path) -> Path:
    """A page with three edits, open at the first."""
    browser.requests(), browser.messages()
    amounts = zip(PROMPTS, (0.2, 0.1, -0.3), strict=True)
    write_page(tmp_path / "p.html", [result_of(radiograph, prompt, amount) for prompt, amount in amounts])
    browser.show(tmp_path / "p.html")
    return tmp_path / "p.html"


def state(browser: Browser, name: str) -> object:
    return browser.run(f"return viewer.state.{name}")


def places(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return some pixels (x, y) within the image, away from what is written over it."""
    rng = np.random.default_rng(0)
    return [(int(x), int(y)) for y, x in rng.integers(30, np.array(shape) - 30, (60, 2))]


def test_nothing_is_requested(browser: Browser, page: Path) -> None:
    for key in ("b", "f", "d", "s", "ArrowDown", "?", "Escape"):
        browser.key(key)
    assert browser.requests() == [page.as_uri()]
    assert browser.messages() == []


def rescaled(dataset: Dataset) -> None:
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -500
    dataset.WindowCenter, dataset.WindowWidth = 3000, 5000


def negative(dataset: Dataset) -> None:
    dataset.PhotometricInterpretation, dataset.PresentationLUTShape = "MONOCHROME1", "INVERSE"
    values = np.frombuffer(dataset.PixelData, "<u2")
    dataset.PixelData = (4095 - values).astype("<u2").tobytes()


def signed(dataset: Dataset) -> None:
    dataset.PixelRepresentation = 1
    values = np.frombuffer(dataset.PixelData, "<u2").astype(np.int32) - 2048
    dataset.PixelData = values.astype("<i2").tobytes()
    dataset.WindowCenter, dataset.WindowWidth = 0, 4096


def sigmoid(dataset: Dataset) -> None:
    dataset.VOILUTFunction = "SIGMOID"
    dataset.WindowCenter, dataset.WindowWidth = 2000, 2500


def sideways(dataset: Dataset) -> None:
    dataset.PatientOrientation = ["F", "L"]
    values = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    dataset.PixelData = np.ascontiguousarray(values.T).tobytes()


def padded(dataset: Dataset) -> None:
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 0, 200


@pytest.mark.parametrize("change", [lambda dataset: None, rescaled, negative, signed, sigmoid, sideways, padded])
def test_pixels_are_those_of_the_files_at_the_same_window(browser: Browser, tmp_path: Path, change: Change) -> None:
    """The reference is what our reader shows of both files; another window is set in the header and read again."""
    radiograph = write_source(tmp_path / "source.dcm", change)
    result = result_of(radiograph)
    result.save(tmp_path / "edit.dcm")
    write_page(tmp_path / "p.html", [result])
    browser.show(tmp_path / "p.html")
    where = places(radiograph.shape)
    for window in (None, (1700.0, 1200.0)):
        if window is not None:
            if change is sigmoid:
                continue  # the page's own windows are linear
            for name in ("source", "edit"):
                dataset = pydicom.dcmread(tmp_path / f"{name}.dcm")
                dataset.WindowCenter, dataset.WindowWidth = window
                dataset.save_as(tmp_path / f"{name}.dcm")
            browser.run(
                "for (const [id, v] of [['centre', arguments[0]], ['width', arguments[1]]]) {"
                "const e = document.getElementById(id); e.value = v; }"
                "document.getElementById('width').dispatchEvent(new Event('change'));",
                *window,
            )
        browser.run("document.activeElement.blur(); document.getElementById('view').focus()")
        browser.key("x")
        for name, split in (("source", 1), ("edit", 0)):
            browser.run(f"viewer.state.split = {split}")
            shown = np.array(browser.grey("viewer", where))
            image = read_radiograph(tmp_path / f"{name}.dcm", force=True).image
            expected = np.rint(np.array([image[y, x] for x, y in where]) * 255)
            assert np.array_equal(shown[:, 0], shown[:, 1]) and np.array_equal(shown[:, 0], shown[:, 2])
            assert np.abs(shown[:, 0] - expected).max() <= 1, (name, window)


def test_a_window_really_widens(browser: Browser, tmp_path: Path) -> None:
    """Where the file's window shows white, a wider one shows the 12 bits that are there."""

    def narrow(dataset: Dataset) -> None:
        dataset.WindowCenter, dataset.WindowWidth = 600, 300

    radiograph = write_source(tmp_path / "source.dcm", narrow)
    write_page(tmp_path / "p.html", [result_of(radiograph)])
    browser.show(tmp_path / "p.html")
    browser.key("x")
    browser.run("viewer.state.split = 1")
    where = [(x, y) for x, y in places(radiograph.shape) if radiograph.image[y, x] == 1]
    assert len(where) > 10
    assert {tuple(grey) for grey in browser.grey("viewer", where)} == {(255, 255, 255)}
    browser.key("2")
    assert len({tuple(grey) for grey in browser.grey("viewer", where)}) > 5


def test_every_key(browser: Browser, page: Path) -> None:
    browser.run("document.getElementById('view').focus()")
    tried: set[str] = set()

    def press(key: str, what: str, *, shift: bool = False) -> tuple[object, object]:
        tried.add(("Shift+" if shift else "") + key)
        before = browser.run(f"return {what}")
        browser.key(key, shift=shift)
        return before, browser.run(f"return {what}")

    for key, mode in (("b", "side by side"), ("f", "flicker"), ("d", "difference"), ("s", "slider")):
        assert press(key, "viewer.state.mode")[1] == mode
    for key, split in (("h", 0.45), ("l", 0.5)):
        assert press(key, "viewer.state.split")[1] == pytest.approx(split)
    names = browser.run("return [...document.querySelectorAll('#preset option')].map(o => o.value)")
    assert names == ["-1", "0", "1", "2", "3", "4"]
    for number in range(9, 0, -1):
        before, after = press(str(number), "document.getElementById('preset').value")
        assert after == (str(number - 1) if number <= 5 else before)
    for key, wider in (("[", False), ("]", True)):
        before, after = press(key, "viewer.state.width")
        assert (after > before) is wider  # type: ignore[operator]
    for key, brighter in ((",", False), (".", True)):
        before, after = press(key, "viewer.state.centre")
        assert (after < before) is brighter  # type: ignore[operator]
    assert press("i", "viewer.state.invert") == (False, True)
    before, after = press(",", "viewer.state.centre")
    assert after < before, "inverted: darker is a lower centre"  # type: ignore[operator]
    for key, closer in (("+", True), ("=", True), ("-", False)):
        before, after = press(key, "viewer.state.zoom")
        assert (after > before) is closer  # type: ignore[operator]
    for key, axis, more in (
        ("ArrowLeft", "x", False),
        ("ArrowRight", "x", True),
        ("ArrowUp", "y", False),
        ("ArrowDown", "y", True),
    ):
        before, after = press(key, f"viewer.state.{axis}", shift=True)
        assert (after > before) is more  # type: ignore[operator]
    assert press("x", "viewer.state.zoom")[1] == 1
    assert press("0", "viewer.state.fit") == (False, True)
    press("m", "1")
    assert "before" in browser.run("return document.getElementById('value').textContent")
    browser.key("d")
    for key, factor in (("<", 0.5), (">", 2)):
        before, after = press(key, "viewer.state.scale")
        assert after == pytest.approx(before * factor)  # type: ignore[operator]
    for key, more in (("t", True), ("T", False)):
        before, after = press(key, "viewer.state.threshold")
        assert (after > before) is more  # type: ignore[operator]
    browser.key(" ", hold=True)
    assert state(browser, "hold") is True
    browser.release()
    assert state(browser, "hold") is False
    tried.add(" ")
    press("r", "1")
    assert [state(browser, name) for name in ("invert", "split", "fit", "preset")] == [False, 0.5, True, 0]
    for key, index in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowDown", 2), ("ArrowUp", 1)):
        press(key, "1")
        browser.wait(f"document.body.dataset.ready === '{index}'")
        assert PROMPTS[index] in browser.run("return document.getElementById('facts').textContent")
    assert press("p", "document.getElementById('panel').hidden") == (False, True)
    assert press("p", "document.getElementById('panel').hidden") == (True, False)
    for key in ("ArrowLeft", "ArrowRight", "u"):  # no page to go to
        address = browser.run("return location.href")
        assert press(key, "location.href") == (address, address)
    assert press("?", "document.getElementById('help').open") == (False, True)
    listed = browser.run("return document.getElementById('help').textContent")
    browser.key("Escape")
    assert browser.run("return document.getElementById('help').open") is False
    assert set(browser.run("return viewer.keys")) == tried, "every key of the page was tried"
    for words in ("slider", "hold: show the source", "invert", "pan", "these keys"):
        assert words in listed
    assert browser.messages() == []


def test_the_mouse_windows_pans_zooms_and_moves_the_slider(browser: Browser, page: Path) -> None:
    view = browser.run(
        "const r = document.getElementById('view').getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
    )
    x, y = int(view[0] + view[2] / 2), int(view[1] + view[3] / 2)
    centre, width = (state(browser, name) for name in ("centre", "width"))
    browser.drag((x - 100, y), (x - 50, y))
    assert state(browser, "width") > width and state(browser, "centre") == centre  # type: ignore[operator]
    browser.drag((x - 100, y), (x - 100, y - 40))
    assert state(browser, "centre") < centre, "up is brighter"  # type: ignore[operator]
    browser.drag((x, y), (x + int(view[2] / 4), y))
    assert state(browser, "split") == pytest.approx(0.75, abs=0.01)
    browser.wheel((x - 100, y), -300)
    assert state(browser, "fit") is False
    before = state(browser, "x")
    browser.drag((x - 100, y), (x - 60, y), button=2)
    assert state(browser, "x") < before  # type: ignore[operator]
    browser.move((x - 90, y))
    text = browser.wait(
        "/before/.test(document.getElementById('value').textContent) && document.getElementById('value').textContent"
    )
    assert "after" in text and "change" in text


def test_the_values_under_the_pointer_are_the_stored_ones(browser: Browser, page: Path, radiograph: Radiograph) -> None:
    result = result_of(radiograph)
    assert radiograph.stored is not None
    after = radiograph.to_stored(result.image)
    for x, y in places(radiograph.shape):
        found = browser.run("return viewer.values(arguments[0], arguments[1])", x, y)
        assert (found["before"], found["after"]) == (radiograph.stored[y, x], after[y, x])
    assert browser.run("return viewer.values(-1, 0)") is None


AMBER = """
const c = document.getElementById("view"); viewer.draw();
const d = c.getContext("2d").getImageData(arguments[0] * c.width | 0, 0, c.width / 4 | 0, 40).data;
let n = 0;
for (let i = 0; i < d.length; i += 4) if (d[i] > 240 && d[i + 1] > 170 && d[i + 1] < 210 && d[i + 2] < 90) n++;
return n;
"""


def test_the_edit_is_marked_wherever_it_is_shown(browser: Browser, page: Path) -> None:
    browser.run("document.getElementById('view').focus()")
    for key in ("s", "b", "d"):
        browser.key(key)
        for more in ("x", "0", "i"):
            browser.key(more)
            assert browser.run(AMBER, 0.75) > 100, key
    browser.key("s")
    browser.key(" ", hold=True)
    assert browser.run(AMBER, 0.75) == 0, "the source alone"
    browser.release()
    browser.key("f")
    for phase in (0, 1):
        browser.run(f"viewer.state.phase = {phase}")
        assert (browser.run(AMBER, 0.75) > 100) is (phase == 0)
    assert "SYNTHETIC" in browser.run("return document.querySelector('header').textContent")


def test_names_and_prompts_are_text(browser: Browser, radiograph: Radiograph, tmp_path: Path) -> None:
    evil = (
        "<img src=x onerror=\"document.body.dataset.evil='1'\"></script><script>document.body.dataset.evil='1'</script>"
    )
    page = Page(radiograph, evil, evil)
    page.add(result_of(radiograph, evil), evil)
    (tmp_path / "p.html").write_bytes(page.render())
    browser.show(tmp_path / "p.html")
    assert browser.run("return document.body.dataset.evil || ''") == ""
    assert evil in browser.run("return document.getElementById('facts').textContent")
    assert browser.run("return document.querySelectorAll('img').length") == 1


@needs_axe
def test_axe_finds_nothing(browser: Browser, page: Path) -> None:
    for key in ("s", "b", "f", "d", "a", "?"):
        browser.key(key)
        assert faults(browser) == [], key


def test_an_injected_request_is_refused(browser: Browser, page: Path) -> None:
    browser.run("new Image().src = 'http://127.0.0.1:9/a.png'; fetch('http://127.0.0.1:9/b').catch(() => 0)")
    browser.wait("new Promise(r => setTimeout(() => r(true), 200))")
    assert any(re.search("Content.Security.Policy", message) for message in browser.messages())


def test_the_index_filters_by_finding_patient_and_change(browser: Browser, page: Path) -> None:
    rows = [
        IndexRow(f"{n:04d}.dcm", prompt, PurePath("p.html"), n % 3, f"SYN-{n // 3}", (finding,), n / 3000)
        for n in range(1500)
        for prompt, finding in [[("edema", "edema"), ("hernia", "hernia"), ("<b>mass</b>", "mass")][n % 3]]
    ]
    rows.append(IndexRow("failed", "edema", status="failed: no such file"))
    write_index(page.with_name("index.html"), rows, "A <cohort>")
    browser.open(page.with_name("index.html"))
    browser.wait("document.body.dataset.open")

    def put(name: str, value: str) -> str:
        browser.run(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            value,
        )
        return str(browser.run("return document.getElementById('count').textContent"))

    assert browser.run("return document.querySelectorAll('tbody tr').length") == 500
    assert put("finding", "hernia") == "500 of 1501 edits"
    assert put("patient", "syn-499") == "1 of 1501 edits"
    put("patient", "")
    assert put("most", "10") == "100 of 1501 edits"
    put("most", "")
    put("finding", "-")
    assert put("text", "failed") == "1 of 1501 edits"
    put("text", "")
    put("finding", "mass")
    assert browser.run("return document.querySelector('tbody').textContent.includes('<b>mass</b>')")
    browser.run("document.querySelector('tbody a').click()")
    browser.wait("document.body.dataset.ready === '2'")
    assert browser.messages() == []


def test_a_grid_is_walked_by_arrows(browser: Browser, radiograph: Radiograph, tmp_path: Path) -> None:
    from dataclasses import replace

    from roentmod_fast.study.page.content import Grid

    page = Page(radiograph, "grid")
    for n in range(6):
        page.add(result_of(radiograph, f"cell {n}", n / 20), f"{n}")
    edits = page.content.edits
    page.content.edits = [replace(edit, row=n // 3, column=n % 3, label=str(n)) for n, edit in enumerate(edits)]
    page.content.grid = Grid("strength", "guidance", ["a", "b"], ["1", "2", "3"])
    (tmp_path / "p.html").write_bytes(page.render())
    browser.show(tmp_path / "p.html")
    browser.run("document.getElementById('view').focus()")
    for key, index in (("ArrowRight", 1), ("ArrowDown", 4), ("ArrowLeft", 3), ("ArrowLeft", 3), ("ArrowUp", 0)):
        browser.key(key)
        browser.wait(f"document.body.dataset.ready === '{index}'")
    assert browser.run("return document.querySelectorAll('#edits td button').length") == 6
