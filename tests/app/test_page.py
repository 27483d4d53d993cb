"""The page of the app in a real browser, before a server without an engine: the whole job by mouse and by keyboard."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from roentmod_fast.app.page import policy, render
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.radiograph.read import read_radiograph
from tests.app.conftest import Served, eventually
from tests.app.fake_server import DATA, Server, address, serving
from tests.study.page.axe import faults, needs_axe
from tests.study.page.browser import Browser
from tests.study.page.chromium import Chromium
from tests.study.page.contrast import faint_texts

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror=\"document.body.dataset.evil='1'\"></script><script>document.body.dataset.evil='1'</script>"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of phantoms of 160 pixels: two that are taken, one that is refused, and what is no radiograph."""
    folder = tmp_path_factory.mktemp("films")
    for seed, name in enumerate(("film-2.dcm", "film-10.dcm", "lateral.dcm"), 3):
        write_sample(folder / name, draw(160, seed).image, seed=seed)
    (folder / "notes.txt").write_text("no radiograph")
    return folder


@pytest.fixture
def server(browser: Browser, tmp_path: Path) -> Iterator[Server]:
    """A server whose page is open; what the page saves goes to the test's folder."""
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server") as running:
        browser.requests(), browser.messages()
        browser.download_to(tmp_path)
        browser.visit(address(running))
        browser.wait("document.body.dataset.open")
        yield running
        browser.visit("about:blank")


def text(browser: Browser, name: str) -> str:
    return str(browser.run("return document.getElementById(arguments[0]).textContent", name))


def focus(browser: Browser) -> None:
    browser.run("document.activeElement.blur(); document.getElementById('view').focus()")


def click(browser: Browser, selector: str) -> None:
    browser.run("document.querySelector(arguments[0]).click()", selector)


def choose(browser: Browser, path: Path) -> None:
    """Open a file by the dialog and wait until it is on screen."""
    count = browser.run("return app.films.size")
    browser.choose_file("#files", path)
    browser.wait(f"app.films.size > {count} && document.body.dataset.ready")


def states(browser: Browser) -> list[str]:
    found: list[str] = browser.run("return [...app.jobs.values()].map(e => e.state)")
    return found


def shown(browser: Browser, edit: str) -> None:
    browser.wait(f"document.body.dataset.ready.endsWith(' {edit}')")


def middle(browser: Browser) -> tuple[int, int]:
    x, y, width, height = browser.run(
        "const r = document.getElementById('view').getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
    )
    return int(x + width / 2), int(y + height / 2)


def test_the_page_is_small_and_its_policy_has_no_exception() -> None:
    page = render({**DATA, "findings": []})
    assert len(page) < 80_000
    assert policy().endswith("; frame-ancestors 'none'") and "unsafe" not in policy()
    assert policy().split("; frame-ancestors")[0] in page.decode()
    assert b"innerHTML" not in page and not re.search(rb"https?://", page)


def test_a_film_is_dropped_edited_looked_at_and_saved(
    browser: Browser, server: Server, films: Path, tmp_path: Path
) -> None:
    browser.drop([films / "film-2.dcm"])
    browser.wait("document.body.dataset.ready === 'f0 '")
    assert text(browser, "title") == "film-2.dcm" and browser.run("return document.getElementById('strip').hidden")
    click(browser, "#findings [data-prompt=edema]")
    assert "97 %" in text(browser, "unasked") and "cardiomegaly in 46 %" in text(browser, "unasked")
    assert text(browser, "go") == "Make the edit, about 40 s"
    server.sitting.gate.clear()
    click(browser, "#go")
    browser.wait("document.querySelector('#edits .status')?.textContent.includes('of 20 UNet evaluations')")
    assert "left" in text(browser, "work") and states(browser) == ["started"]
    server.sitting.gate.set()
    shown(browser, "e0")
    assert server.sitting.posts[-1] == (
        "edit",
        {"film": "f0", "prompt": "edema", "strength": 0.4, "guidance": 4, "seed": 0}
        | {"preset": "exact", "compose": "contrast", "mask": None},
    )
    rng = np.random.default_rng(0)
    where = [(int(x), int(y)) for x, y in rng.integers(40, 120, (60, 2))]
    copies = {"source": films / "film-2.dcm", "edit": server.sitting.edits["e0"]["path"]}
    original = copies["edit"].read_bytes()
    focus(browser)
    browser.key("x")
    for window in (None, (1700.0, 1200.0)):
        for name, split in (("source", 1), ("edit", 0)):
            dataset = pydicom.dcmread(copies[name])
            if window is not None:
                dataset.WindowCenter, dataset.WindowWidth = window
                browser.run("app.view.setWindow(...arguments)", *window)
            dataset.save_as(tmp_path / f"{name}.dcm")
            expected = np.rint(read_radiograph(tmp_path / f"{name}.dcm", force=True).image * 255)
            browser.run(f"app.state.split = {split}")
            grey = np.array(browser.grey("app", where))
            assert np.array_equal(grey[:, 0], grey[:, 2])
            assert np.abs(grey[:, 0] - [expected[y, x] for x, y in where]).max() <= 1, (name, window)
    browser.key("i")
    assert browser.run("return app.state.invert") is True

    browser.key("S")
    assert browser.run("return document.getElementById('save').open")
    assert "dates shifted" in text(browser, "identities")
    click(browser, "[value=anonymize]")
    click(browser, "#save-go")
    browser.wait("document.getElementById('save-message').textContent.startsWith('Saved as e0.dcm')")
    name, asked = server.sitting.posts[-1]
    assert name == "save" and asked == {
        "edits": ["e0"],
        "as": "dicom",
        "deidentify": "anonymize",
        "label": False,
        "sop_class": "source",
        "transfer_syntax": "explicit",
    }
    assert browser.downloaded(tmp_path, "e0.dcm").read_bytes() == original
    for chosen, ending, sent in (
        ("png", "png", "pseudonymize"),
        ("html", "html", "pseudonymize"),
        ("dicom", "dcm", "none"),
    ):
        click(browser, "[value=dicom]")
        click(browser, "[value=none]")
        click(browser, f"[value={chosen}]")
        click(browser, "#save-go")
        browser.wait(f"document.getElementById('save-message').textContent.includes('e0.{ending}')")
        assert server.sitting.posts[-1][1]["deidentify"] == sent, "what is hidden is not in force"
    click(browser, "[value=command]")
    browser.wait("document.getElementById('line').value.startsWith('roentmod-fast edit')")
    browser.key("Escape")
    own = address(server)
    found = [each for each in browser.requests() if not each.startswith("blob:")]
    assert found and all(each.startswith(own) for each in found)
    assert [each for each in browser.messages() if "getImageData" not in each] == [], "which this test calls"


def test_the_whole_job_by_keyboard(browser: Browser, server: Server) -> None:
    for _ in range(10):
        browser.key("Tab")
        if browser.run("return document.activeElement.textContent") == "Try it with a phantom":
            break
    browser.key("Enter")
    browser.wait("document.body.dataset.ready === 'f0 '")
    browser.key("n")
    browser.key(" ")
    browser.key("Tab")
    browser.key(" ")
    assert text(browser, "go") == "Make 2 edits, about 80 s"
    browser.key("g")
    browser.wait("[...app.jobs.values()].length === 2")
    browser.key("e")
    browser.type("smal nodle")
    browser.key("Enter")
    browser.wait("[...app.jobs.values()].filter(e => e.state === 'done').length === 3")
    assert "did you mean 'small nodule'" in text(browser, "message")
    shown(browser, "e2")
    browser.key("Escape")
    assert browser.run("return document.activeElement.id") == "view"
    for key, mode in (("b", "side by side"), ("f", "flicker"), ("d", "difference"), ("s", "slider"), ("a", "all")):
        browser.key(key)
        assert browser.run("return app.state.mode") == mode
    browser.wait("app.comparison.panes().length === 4")
    browser.key("s")
    for key, edit in (("ArrowDown", "e1"), ("ArrowDown", "e0"), ("ArrowUp", "e1")):
        browser.key(key)
        shown(browser, edit)
    browser.key("c")
    browser.wait("app.comparison.first.synthetic === true")
    assert browser.run("return app.comparison.first.words") == "cardiomegaly", "two versions are compared"
    browser.key(" ", hold=True)
    assert browser.run("return app.state.hold") is True
    browser.release()
    before = browser.run("return app.state.width")
    browser.key("]")
    assert browser.run("return app.state.width") > before
    browser.key("2")
    assert browser.run("return document.getElementById('preset').value") == "1"
    browser.key("m")
    assert "before" in text(browser, "value")
    browser.key("B")
    for _ in range(40):
        browser.key("Tab")
        if browser.run("return document.activeElement.dataset.side === '0'"):
            break
    for number in ("20", "30", "90", "100"):
        browser.run("document.activeElement.select()")
        browser.type(number)
        browser.key("Tab")
    assert browser.run("return app.current().area.box") == [20, 30, 90, 100]
    focus(browser)
    for key, dialog in (("y", "past"), ("?", "help"), ("S", "save")):
        browser.key(key)
        assert browser.run(f"return document.getElementById('{dialog}').open"), key
        browser.key("Escape")
    assert len(browser.run("return document.getElementById('all-edits').children")) == 3
    listed = browser.run("return [...document.querySelectorAll('#help kbd')].map(e => e.textContent)")
    assert {"o", "Delete", "g", "k", "W", "B", "P", "S", "Space", "1-9"} <= set(listed)
    browser.key("Delete")
    browser.wait("document.getElementById('ask').open")
    assert "3 edits that are not saved" in text(browser, "ask-words")
    click(browser, "#yes")
    browser.wait("app.films.size === 0")
    assert server.sitting.posts[-1] == ("close", {"film": "f0"})
    assert browser.messages() == []


def test_dialogs_one_page_of_all_edits_and_the_end(browser: Browser, server: Server, films: Path) -> None:
    browser.run(
        "window.opened = []; addEventListener('click', event => {"
        "if (event.target.type === 'file') { opened.push(event.target.id); event.preventDefault(); } }, true)"
    )
    focus(browser)
    browser.key("o")
    browser.key("O", shift=True)
    click(browser, "#main-acts button")
    click(browser, "#start-acts button:nth-child(2)")
    assert browser.run("return window.opened") == ["files", "folder", "files", "folder"]
    choose(browser, films / "film-2.dcm")
    for number, prompt in enumerate(("edema", "hernia"), 1):
        click(browser, f"#findings [data-prompt={prompt}]")
        browser.key("g")
        browser.wait(f"[...app.jobs.values()].filter(e => e.state === 'done').length === {number}")
        browser.key("S", shift=True)
        for value, offered in (("png", False), ("html", number > 1)):
            click(browser, f"[value={value}]")
            assert browser.run("return !document.getElementById('every').hidden") is offered
        if number == 1:
            browser.key("Escape")
    assert "All 2 edits of this film" in text(browser, "every")
    click(browser, "#all")
    click(browser, "#save-go")
    browser.wait("document.getElementById('save-message').textContent.startsWith('Saved as')")
    assert server.sitting.posts[-1][1]["edits"] == ["e0", "e1"]
    assert browser.run("return [...app.jobs.values()].map(e => e.saved)") == [True, True]
    browser.key("Escape")
    for answer in ("#no", "#yes"):
        click(browser, "#main-acts button:last-child")
        browser.wait("document.getElementById('ask').open")
        assert "not saved are discarded" in text(browser, "ask-words")
        click(browser, answer)
        browser.wait("!document.getElementById('ask').open")
        assert browser.run("return document.getElementById('lost').hidden") or answer == "#yes"
    browser.wait("document.getElementById('lost').dataset.quit")
    assert [name for name, _ in server.sitting.posts].count("quit") == 1
    assert browser.messages() == []


def test_a_box_and_a_brush_become_masks(browser: Browser, server: Server, films: Path) -> None:
    choose(browser, films / "film-2.dcm")
    x, y = middle(browser)
    browser.run("app.view.fit(); app.draw()")
    browser.key("B")
    browser.drag((x - 60, y - 40), (x + 20, y + 60))
    box = browser.run("return app.current().area.box")
    zoom = browser.run("return app.state.zoom")
    assert np.allclose(box, [80 - 60 / zoom, 80 - 40 / zoom, 80 + 20 / zoom, 80 + 60 / zoom], atol=1.5)
    click(browser, "#findings [data-prompt=hernia]")
    browser.key("g")
    browser.wait("app.jobs.size === 1")
    assert server.sitting.posts[-1][1]["mask"] == {"box": box}
    pressed = "return [...document.querySelectorAll('#where [aria-pressed=true]')].map(e => e.dataset.tool)"
    assert browser.run(pressed) == [], "the next edit has the box too"
    browser.key("Z")
    assert browser.run(pressed) == [""]
    browser.key("P")
    assert browser.run(pressed) == ["brush"]
    assert browser.run("return app.current().area.empty"), "a brush begins anew"
    browser.drag((x - 60, y), (x + 60, y))
    browser.drag((x, y - 60), (x, y + 60))
    browser.key("z")
    assert browser.run("return app.current().area.shapes.length") == 1
    browser.run("app.current().area.size = 12")
    browser.drag((x, y - 100), (x + 2, y - 100))
    click(browser, "#findings [data-prompt=hernia]")
    browser.key("g")
    browser.wait("app.jobs.size === 2")
    with Image.open(io.BytesIO(base64.b64decode(server.sitting.posts[-1][1]["mask"]["png"]))) as mask:
        assert mask.mode == "L" and mask.size == (160, 160)
        values = np.array(mask)
    assert set(np.unique(values)) == {0, 255}
    assert values[80, 80] == values[80, int(80 - 55 / zoom)] == values[int(80 - 100 / zoom), 80] == 255
    assert values[5, 5] == values[80 + 30, 80] == 0 and 0 < (values > 0).mean() < 0.3
    browser.key("Z")
    assert browser.run("return app.current().area.empty")
    browser.key("W")
    assert browser.run(pressed) == [""]
    browser.wait("[...app.jobs.values()].every(e => e.state === 'done')")
    assert browser.messages() == []


def test_edits_wait_are_stopped_and_fail(browser: Browser, server: Server, films: Path) -> None:
    choose(browser, films / "film-2.dcm")
    server.sitting.gate.clear()
    browser.run("document.getElementById('prompt').value = 'it fails'; document.getElementById('go').click()")
    browser.wait("app.jobs.size === 1")
    for prompt in ("edema", "hernia"):
        click(browser, f"#findings [data-prompt={prompt}]")
    browser.key("g")
    browser.wait("app.jobs.size === 3 && document.getElementById('work').textContent.includes('2 waiting')")
    browser.key("i")
    assert browser.run("return app.state.invert") is True, "the page stays usable"
    click(browser, "#edits li:first-child .status button")
    server.sitting.gate.set()
    browser.wait("[...app.jobs.values()].every(e => e.finished)")
    assert states(browser) == ["failed", "done", "stopped"]
    assert "not enough memory" in text(browser, "edits")
    browser.run("document.getElementById('prompt').value = 'nonsense'; document.getElementById('go').click()")
    browser.wait("document.getElementById('message').textContent.includes('expected words of a report')")
    assert len(states(browser)) == 3
    server.sitting.gate.clear()
    click(browser, "#findings [data-prompt=hernia]")
    focus(browser)
    browser.key("g")
    browser.wait("document.getElementById('work').textContent.startsWith('hernia (2)')")
    browser.key("k")
    browser.wait("document.getElementById('edits').textContent.includes('stopping')")
    server.sitting.gate.set()
    browser.wait("[...app.jobs.values()].every(e => e.finished)")
    assert states(browser)[3:] == ["stopped"]
    assert [name for name, _ in server.sitting.posts].count("stop") == 2
    browser.key("p")
    assert browser.run("return document.getElementById('panel').hidden") is True


def test_refusals_folders_archives_and_markup(browser: Browser, server: Server, films: Path, tmp_path: Path) -> None:
    browser.drop([films])
    browser.wait("app.films.size === 3 && document.getElementById('work').textContent === ''")
    assert browser.run("return [...app.films.values()].map(f => f.facts.name)") == [
        "film-2.dcm",
        "film-10.dcm",
        "lateral.dcm",
    ], "as a reader counts"
    assert "notes.txt" in text(browser, "notice")
    for _ in range(2):
        browser.key("ArrowRight")
    assert "expected a frontal one" in text(browser, "reason")
    assert browser.run("return document.getElementById('view').hidden && document.getElementById('go').disabled")
    click(browser, "#force")
    browser.wait("document.body.dataset.ready === 'f2 '")
    assert server.sitting.posts[-1] == ("force", {"film": "f2", "doubts": ["view"]})

    name = EVIL.replace("/", "\u2044")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(films / "film-2.dcm", name)
        archive.write(films / "film-2.dcm", "color.dcm")
    browser.choose_file("#files", tmp_path / "all.zip")
    browser.wait("app.films.size === 5 && document.body.dataset.ready === 'f3 '")
    assert text(browser, "title") == name
    browser.run("document.getElementById('prompt').value = arguments[0]; document.getElementById('go').click()", EVIL)
    shown(browser, "e0")
    browser.key("y")
    assert EVIL in text(browser, "all-edits")
    browser.key("Escape")
    browser.key("ArrowRight")
    assert "cannot be used" in text(browser, "way") and browser.run("return document.getElementById('force').hidden")
    assert browser.run("return document.body.dataset.evil || ''") == ""
    assert all("400" in line for line in browser.messages())

    browser.visit(address(server))
    browser.wait("document.body.dataset.open && app.films.size === 5 && app.jobs.size === 1")
    assert states(browser) == ["done"], "a page that is loaded again shows the sitting"


def test_a_lost_connection(browser: Browser, server: Server, films: Path) -> None:
    choose(browser, films / "film-2.dcm")
    server.sitting.gate.clear()
    for seed in (7, 8):
        click(browser, "#findings [data-prompt=edema]")
        browser.run("document.getElementById('seed').value = arguments[0]", seed)
        browser.key("g")
        browser.wait(f"app.jobs.size === {seed - 6}")
    click(browser, "#edits li:last-child .status button")
    browser.wait("[...app.jobs.values()].some(e => e.state === 'started')")
    server.down = True
    for page in list(server.sitting.pages):
        page.put(None)
    browser.wait("!document.getElementById('lost').hidden")
    assert "What is on the screen stays" in text(browser, "lost")
    assert browser.run("return !document.getElementById('view').hidden && document.getElementById('go').disabled")
    server.sitting.gate.set()
    eventually(lambda: bool(server.sitting.edits))
    server.down = False
    browser.wait("document.getElementById('lost').hidden")
    shown(browser, "e0")
    seeds = "return [...app.jobs.values()].filter(e => e.state === 'done').map(e => e.settings.seed)"
    assert sorted(states(browser)) == ["done", "failed"] and browser.run(seeds) == [8], (
        "the one with seed 7 was stopped"
    )
    assert not browser.run("return document.getElementById('go').disabled")
    browser.visit(address(server))
    browser.wait("document.body.dataset.open && app.jobs.size === 1")
    click(browser, "#edits .acts button:nth-child(2)")
    assert browser.run("return document.getElementById('seed').value") == "8", "the same settings, after a reload too"


def test_the_page_and_the_server_fit(browser: Browser, served: Served, films: Path, tmp_path: Path) -> None:
    """The server of the app itself, with the tiny engine: what the page asks for is what it answers."""
    browser.requests(), browser.messages()
    browser.download_to(tmp_path)
    browser.visit(f"{served.origin}/{served.token}/")
    browser.wait("document.body.dataset.open")
    browser.drop([films / "film-2.dcm"])
    browser.wait("document.body.dataset.ready")
    browser.key("P")
    x, y = middle(browser)
    browser.drag((x - 60, y), (x + 60, y))
    click(browser, "#findings [data-prompt=edema]")
    browser.run("const e = document.getElementById('seed'); e.value = 7")
    browser.key("g")
    browser.wait("[...app.jobs.values()].some(e => e.state === 'done') && app.comparison.second")
    changed = browser.run(
        "const [a, b] = [app.comparison.first, app.comparison.second].map(i => i.pixels.levels[0]);"
        "const rows = new Set(); a.forEach((v, i) => { if (v !== b[i]) rows.add(i / 160 | 0); }); return [...rows]"
    )
    assert changed and max(abs(row - 80) for row in changed) < 30, "the brush is where it was painted"
    browser.key("S")
    for value, ending in (("html", ".html"), ("png", ".png"), ("dicom", ".dcm")):
        click(browser, f"[value={value}]")
        click(browser, "#save-go")
        browser.wait(f"document.getElementById('save-message').textContent.includes('{ending} in')")
    click(browser, "[value=command]")
    browser.wait("document.getElementById('line').value.includes('--seed 7')")
    assert "--mask" in browser.run("return document.getElementById('line').value")
    click(browser, "#burn")
    browser.wait("document.getElementById('line').value.includes('--label')")
    assert not browser.run("return document.getElementById('save-mask').hidden")
    browser.downloaded(tmp_path, "*.dcm")
    [path] = tmp_path.glob("*.dcm")
    saved = read_radiograph(path, force=True)
    stored = browser.run("return Array.from(app.comparison.second.pixels.levels[0])")
    assert saved.stored is not None and np.array_equal(saved.stored.ravel(), stored)
    browser.visit(f"{served.origin}/{served.token}/")
    browser.wait("document.body.dataset.open && app.jobs.size === 1 && app.films.size === 1")
    assert states(browser) == ["done"]
    found = [each for each in browser.requests() if not each.startswith("blob:")]
    assert found and all(each.startswith(served.origin) for each in found)
    assert browser.messages() == []
    browser.visit("about:blank")


@needs_axe
def test_axe_finds_nothing(browser: Browser, server: Server, films: Path) -> None:
    assert faults(browser) == []
    browser.drop([films / "film-2.dcm", films / "lateral.dcm"])
    browser.wait("app.films.size === 2 && document.body.dataset.ready")
    click(browser, "#findings [data-prompt=edema]")
    browser.key("g")
    shown(browser, "e0")
    for key in ("", "B", "S", "?", "y", "ArrowRight"):
        focus(browser)
        if key:
            browser.key(key)
        assert faults(browser) == [], key
        browser.key("Escape")


def test_the_page_is_accessible(browser: Browser, server: Server, films: Path) -> None:
    assert faint_texts(browser) == []
    browser.drop([films / "film-2.dcm", films / "film-10.dcm"])
    browser.wait("app.films.size === 2 && document.body.dataset.ready")
    click(browser, "#findings [data-prompt=edema]")
    browser.key("g")
    shown(browser, "e0")
    browser.key("B")
    nodes: list[dict[str, Any]] = []
    for key in ("", "S", "?", "y"):
        focus(browser)
        if key:
            browser.key(key)
        assert faint_texts(browser) == [], key
        if isinstance(browser, Chromium):
            nodes += browser.protocol("Accessibility.getFullAXTree")["nodes"]
        browser.key("Escape")
    if isinstance(browser, Chromium):
        controls = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if any(each["name"] == "focusable" for each in node.get("properties", ()))
            and node["role"]["value"] not in {"RootWebArea", "dialog"}
        ]
        assert len(controls) > 60 and all(name.strip() for _, name in controls), controls
        for expected in (("slider", "Strength"), ("button", "Close film-2.dcm"), ("combobox", "Window")):
            assert expected in controls, controls
    focus(browser)
    seen = set()
    for _ in range(25):
        browser.key("Tab")
        seen.add(browser.run("const e = document.activeElement; return e.id || e.textContent || e.type"))
        assert browser.run(
            "const s = getComputedStyle(document.activeElement); return document.activeElement === document.body ||"
            "s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2"
        ), seen
    assert {"prompt", "strength", "go"} <= seen
