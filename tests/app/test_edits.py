"""Edits of the app are those of ``edit``: stored values, files, command lines; the queue; memory."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import shlex
import threading
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from roentmod_fast.editor import Editor
from roentmod_fast.errors import EngineError
from roentmod_fast.findings import FINDINGS, PROMPTS
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.result import Decoded, EditResult, Placed
from roentmod_fast.study.page import pixels
from roentmod_fast.study.page.content import PageEdit, PageSource, source_of, upright_values
from roentmod_fast.study.page.pixels import Blob
from tests.cli.conftest import Ran
from tests.study.page.conftest import write_source

from .conftest import QUICK, TINY, Answer, Served, eventually

Run = Callable[..., Ran]
PROMPT = "right pleural effusion"


def saved(served: Served, edit: str, kind: str = "dicom", **more: Any) -> Answer:
    answer = served.post("api/save", {"edits": [edit], "as": kind, **more})
    assert answer.status == 200, answer.body
    return answer


def typed(served: Served, edit: str, folder: Path, query: str = "") -> list[str]:
    """Return the arguments of the command line of an edit; what it needs is saved to ``folder``."""
    answer = served.get(f"api/command/{edit}{query}").json()
    for name in answer["needs"]:
        (folder / name).write_bytes(saved(served, edit, "mask").body)
    words = shlex.split(answer["command"])
    assert words[:2] == ["roentmod-fast", "edit"] and "--seed" in words
    return words[1:]


def stored(data: bytes) -> np.ndarray[Any, Any]:
    return pydicom.dcmread(io.BytesIO(data)).pixel_array


def painted(shape: tuple[int, int]) -> bytes:
    """Return a mask as a canvas gives it: RGBA, white where it was painted, soft at its edge."""
    grey = np.zeros((*shape, 4), dtype=np.uint8)
    grey[..., 3] = 255
    grey[20:90, 30:100, :3] = 255
    grey[90:95, 30:100, :3] = 100
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG")
    return buffer.getvalue()


AREAS: dict[str, Any] = {
    "everywhere": None,
    "box": {"box": [12, 30, 90, 140]},
    "mask": {"png": b64encode(painted((160, 160))).decode()},
}


def lying(dataset: Dataset) -> None:
    """Turn a phantom on its side, in an image that is not square."""
    values = np.frombuffer(dataset.PixelData, "<u2").reshape(160, 160)
    dataset.PixelData = values[:, :144].T[::-1].tobytes()
    dataset.Rows, dataset.Columns = 144, 160
    dataset.PatientOrientation = ["F", "R"]


@pytest.mark.parametrize("area", AREAS)
def test_what_is_saved_equals_what_edit_writes(
    served: Served, chest: Path, tmp_path: Path, roentmod: Run, monkeypatch: pytest.MonkeyPatch, area: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chest.dcm").write_bytes(chest.read_bytes())
    film = served.open(chest)["id"]
    settings = {"guidance": 3.5, "seed": 7, "compose": "contrast", "mask": AREAS[area]}
    edit = served.edit(film, PROMPT, **settings)

    ran = roentmod(*typed(served, edit, tmp_path))
    assert ran.code == 0, ran.err
    [path] = ran.out.split()
    answer = saved(served, edit)
    assert answer.headers["content-disposition"] == f'attachment; filename="{path}"'
    assert answer.headers["content-type"] == "application/octet-stream"
    ours, theirs = pydicom.dcmread(io.BytesIO(answer.body)), pydicom.dcmread(path)
    np.testing.assert_array_equal(ours.pixel_array, theirs.pixel_array)
    changed = ours.pixel_array != pydicom.dcmread(chest).pixel_array
    assert changed.any()
    if area == "box":
        assert not changed[:30].any() and not changed[:, :12].any() and not changed[:, 90:].any()
    if area == "mask":
        assert not changed[:20].any() and not changed[95:].any()
    for dataset in (ours, theirs):
        for keyword in dataset.dir():
            if "UID" in keyword or "Date" in keyword or "Time" in keyword:
                delattr(dataset, keyword)
    assert {e.keyword for e in ours} == {e.keyword for e in theirs}
    assert ours.DerivationDescription == theirs.DerivationDescription and ours.PatientID == theirs.PatientID

    ran = roentmod(*typed(served, edit, tmp_path, "?as=png&label=true"))
    assert ran.code == 0 and ran.out.strip() == f"chest.{PROMPT.replace(' ', '-')}.png", ran.err
    assert Path(ran.out.strip()).read_bytes() == saved(served, edit, "png", label=True).body


def test_the_options_of_saving_are_those_of_edit(
    served: Served, chest: Path, tmp_path: Path, roentmod: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chest.dcm").write_bytes(chest.read_bytes())
    edit = served.edit(served.open(chest)["id"])
    chosen = {"deidentify": "none", "sop_class": "secondary-capture", "transfer_syntax": "rle", "label": True}
    query = "&".join(f"{name}={str(value).lower()}" for name, value in chosen.items())
    ran = roentmod(*typed(served, edit, tmp_path, f"?{query}"))
    assert ran.code == 0, ran.err
    answer = saved(served, edit, **chosen)
    ours, theirs = pydicom.dcmread(io.BytesIO(answer.body)), pydicom.dcmread(ran.out.strip())
    np.testing.assert_array_equal(ours.pixel_array, theirs.pixel_array)
    for keyword in ("SOPClassUID", "PatientID", "PatientName", "PatientIdentityRemoved", "BurnedInAnnotation"):
        assert ours.get(keyword) == theirs.get(keyword), keyword
    assert ours.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    for wrong in (
        {"deidentify": "x"},
        {"sop_class": "x"},
        {"transfer_syntax": "x"},
        {"as": "gif"},
        {"label": "yes"},
        {"edits": []},
    ):
        answer = served.post("api/save", {"edits": [edit], **wrong})
        assert answer.status == 422 and "expected" in answer.json()["error"]
        assert str(served.folder) not in answer.body.decode()


@pytest.mark.parametrize("area", [{"box": [10, 20, 60, 150]}, {"png": b64encode(painted((160, 144))).decode()}])
def test_an_area_on_a_film_that_lies_on_its_side_is_turned_back(
    served: Served, tmp_path: Path, roentmod: Run, monkeypatch: pytest.MonkeyPatch, area: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_source(tmp_path / "lying.dcm", lying)
    film = served.open(tmp_path / "lying.dcm", "lying.dcm")
    assert (film["rows"], film["columns"]) == (160, 144)
    edit = served.edit(film["id"], mask=area)
    ran = roentmod(*typed(served, edit, tmp_path))
    assert ran.code == 0, ran.err
    data = saved(served, edit).body
    np.testing.assert_array_equal(stored(data), stored(Path(ran.out.strip()).read_bytes()))
    radiograph = read_radiograph(tmp_path / "lying.dcm")
    changed = radiograph.orientation.upright(stored(data) != radiograph.stored)
    assert changed.any() and not changed[:20].any() and not changed[:, :10].any()


def test_the_page_gets_the_pixels_of_film_and_edit_without_loss(served: Served, chest: Path) -> None:
    film = served.open(chest)["id"]
    shown = served.get(f"api/film/{film}").json()
    source = source_of(read_radiograph(chest), "source")
    data = shown["data"]
    assert (data["rows"], data["columns"], data["bits"], data["edits"]) == (160, 160, 12, [])
    values = pixels.decode(pixels.Blob(shown["source"], data["predictor"]), (160, 160))
    np.testing.assert_array_equal(values, source.values)
    assert zlib.decompress(b64decode(data["table"])) == source.table.tobytes()

    edit = served.edit(film, "edema")
    result = served.get(f"api/result/{edit}").json()
    entry = result["edit"]
    assert entry["prompt"] == "edema" and entry["findings"] == ["edema"] and 0 < entry["changed"] <= 1
    found = pixels.decode(pixels.Blob(result["blob"], entry["predictor"]), (160, 160))
    if entry["difference"]:
        found = found + source.values - np.uint16(pixels.ZERO)
    written = stored(saved(served, edit).body).astype(np.int32)
    np.testing.assert_array_equal(found, upright_values(read_radiograph(chest), written))


def test_the_self_contained_page_holds_one_edit_or_several(served: Served, chest: Path) -> None:
    film = served.open(chest)["id"]
    edits = [served.edit(film, "edema"), served.edit(film, "hernia"), served.edit(film, "edema", seed=3)]
    one = saved(served, edits[0], "html")
    assert one.headers["content-disposition"] == 'attachment; filename="chest.edema.html"'
    assert one.body.startswith(b"<!DOCTYPE html>") and one.headers["content-type"] == "application/octet-stream"
    answer = served.post("api/save", {"edits": edits, "as": "html"})
    assert answer.headers["content-disposition"] == 'attachment; filename="chest.html"'
    start = answer.body.index(b'id="data">') + 10
    page = json.loads(answer.body[start : answer.body.index(b"</script>", start)])
    assert [entry["prompt"] for entry in page["edits"]] == ["edema", "hernia", "edema"] and page["title"] == "chest"
    assert served.post("api/save", {"edits": edits, "as": "dicom"}).status == 422
    alike = [edits[0], *(served.edit(film, prompt) for prompt in ("Edema", "edema."))]
    answer = served.post("api/save", {"edits": alike, "as": "html"})
    assert answer.headers["content-disposition"] == 'attachment; filename="chest.edema.html"'
    assert all(f'"prompt":"{prompt}"'.encode() in answer.body.replace(b'": "', b'":"') for prompt in ("edema", "Edema"))


def test_a_name_that_tells_the_patient_is_in_no_file(served: Served, tmp_path: Path) -> None:
    def named(dataset: Dataset) -> None:
        dataset.PatientName = "Secretowicz^Anna"

    write_source(tmp_path / "a.dcm", named)
    edit = served.edit(served.open(tmp_path / "a.dcm", "Secretowicz_Anna.dcm")["id"])
    for kind in ("dicom", "png", "html"):
        answer = saved(served, edit, kind)
        assert "ecretowicz" not in answer.headers["content-disposition"], kind
        assert b"ecretowicz" not in answer.body
    answer = saved(served, edit, deidentify="none")
    assert "Secretowicz_Anna.edema" in answer.headers["content-disposition"] and b"Secretowicz" in answer.body


def test_markup_in_a_prompt_stays_text(served: Served, chest: Path) -> None:
    film = served.open(chest)["id"]
    prompt = "</script><script>alert(1)</script> <img src=x onerror=alert(1)> \"'&"
    edit = served.edit(film, prompt)
    assert served.get(f"api/result/{edit}").json()["edit"]["prompt"] == prompt
    page = saved(served, edit, "html").body.decode()
    assert "<script>alert(1)" not in page and "<img src=x" not in page
    command = served.get(f"api/command/{edit}").json()["command"]
    assert f"--prompt={prompt}" in shlex.split(command)
    for name in (saved(served, edit, kind).headers["content-disposition"] for kind in ("dicom", "png", "html")):
        assert name.startswith('attachment; filename="chest.script-script-alert-1-script-img-src-x-onerror-alert-1.')


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"prompt": " "}, "a prompt is empty"),
        ({"prompt": None}, "a prompt is empty"),
        ({"prompt": 3}, "prompt: expected"),
        ({"prompt": "x" * 1001}, "at most 1000"),
        ({"prompt": "a\nb"}, "expected one line"),
        ({"prompt": "\ud800"}, "expected one line"),
        ({"strength": 1.5}, "strength 1.5 is outside"),
        ({"strength": float("nan")}, "strength nan is outside"),
        ({"strength": "0.4"}, "strength: expected"),
        ({"strength": True}, "strength: expected"),
        ({"guidance": float("inf")}, "guidance inf is no number"),
        ({"steps": 0}, "steps 0 is outside"),
        ({"steps": 2.5}, "steps: expected"),
        ({"seed": -1}, "seed -1 is negative"),
        ({"seed": 1.0}, "seed: expected"),
        ({"compose": "x"}, "unknown compose mode"),
        ({"preset": "fast"}, "preset 'fast'"),
        ({"mask": {"box": [0, 0, 161, 10]}}, "expected 0 <= X0 < X1 <= 160"),
        ({"mask": {"box": [10, 10, 10, 20]}}, "expected 0 <= X0 < X1"),
        ({"mask": {"box": [1, 2, 3]}}, "box: expected four"),
        ({"mask": {"box": [1, 2, 3, True]}}, "box: expected four"),
        ({"mask": {"png": "%%%"}}, "mask: expected a PNG"),
        ({"mask": {"png": b64encode(b"no image").decode()}}, "mask: not a PNG"),
        ({"mask": {"png": b64encode(painted((160, 159))).decode()}}, "mask: a mask of 160 x 159 pixels"),
        ({"mask": {"x": 1}}, "mask: not a PNG"),
        ({"mask": [1]}, "mask: expected"),
    ],
)
def test_what_edit_refuses_is_refused_at_once(served: Served, chest: Path, asked: dict[str, Any], words: str) -> None:
    film = served.open(chest)["id"]
    answer = served.post("api/edit", {"film": film, "prompt": "edema", **asked})
    assert answer.status == 422 and words in answer.json()["error"], answer.body
    assert len(served.files()) == 1 and served.app.queue.state() == []


def test_an_empty_mask_is_refused(served: Served, chest: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (160, 160)).save(buffer, format="PNG")
    mask = {"png": b64encode(buffer.getvalue()).decode()}
    answer = served.post("api/edit", {"film": served.open(chest)["id"], "prompt": "edema", "mask": mask})
    assert answer.status == 422 and answer.json()["error"].startswith("mask: the mask is empty")
    assert len(served.files()) == 1


def test_hints_come_with_the_edit(served: Served, chest: Path) -> None:
    film = served.open(chest)["id"]
    with waiting(served):
        hints = [
            served.post("api/edit", {"film": film, "prompt": prompt, **QUICK}).json()["hint"]
            for prompt in ("edema", "edemma", "zebra")
        ]
    assert hints[0] is None and "did you mean 'edema'" in hints[1] and "names none of the findings" in hints[2]


# --- the queue --------------------------------------------------------------------------------------------------------


class Gate:
    """Holds each edit before its first UNet evaluation until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)


@contextlib.contextmanager
def waiting(served: Served):  # type: ignore[no-untyped-def]
    """Hold the thread that edits while the block runs."""
    gate, run = Gate(), Editor.run

    def held(self: Editor, pairs: Any, **more: Any) -> Any:
        gate.entered.release()
        assert gate.open.wait(30)
        return run(self, pairs, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Editor, "run", held)
        try:
            yield gate
        finally:
            gate.open.set()
            eventually(lambda: served.app.queue.state() == [])


def test_edits_are_made_one_at_a_time_in_order_and_can_be_stopped(served: Served, chest: Path) -> None:
    film = served.open(chest)["id"]
    with served.events() as events, served.events() as other:
        with waiting(served) as gate:
            jobs = [
                served.post("api/edit", {"film": film, "prompt": prompt, **QUICK}).json()["job"]
                for prompt in ("edema", "hernia", "cardiomegaly", "left upper lobe mass")
            ]
            assert gate.entered.acquire(timeout=30)
            state = served.get("api/sitting").json()["jobs"]
            assert [(event["job"], event["position"]) for event in state] == list(zip(jobs, range(4), strict=True))
            assert served.post("api/stop", {"job": jobs[1]}).status == 200
            assert served.post("api/stop", {"job": jobs[1]}).status == 404
            assert served.post("api/stop", {"job": jobs[0]}).status == 200
            with served.events() as late:  # a page that was loaded again sees where each edit stands
                first = [next(late) for _ in range(3)]
            assert [event["job"] for event in first] == [jobs[0], jobs[2], jobs[3]]
        seen = [next(events)]
        while (seen[-1]["type"], seen[-1]["job"]) != ("done", jobs[3]):
            seen.append(next(events))
        ends = [(event["job"], event["type"]) for event in seen if event["type"] in ("done", "failed", "stopped")]
        assert ends == [(jobs[1], "stopped"), (jobs[0], "stopped"), (jobs[2], "done"), (jobs[3], "done")]
        progress = [
            (event["done"], event["total"]) for event in seen if event["job"] == jobs[3] and event["type"] == "progress"
        ]
        assert progress == [(1, 2), (2, 2)]
        positions = [event["position"] for event in seen if event["job"] == jobs[3] and event["type"] == "queued"]
        assert positions[0] == 3 and positions[-1] == 1 and positions == sorted(positions, reverse=True)
        begun = [event["job"] for event in seen if event["type"] == "started"]
        assert begun == [jobs[0], jobs[2], jobs[3]]
        assert all(event["left"] >= 0 for event in seen if event["type"] == "progress")
        # Two pages at once see the same.
        assert [next(other) for _ in seen] == seen
    versions = served.get("api/sitting").json()["edits"]
    assert [version["prompt"] for version in versions] == ["cardiomegaly", "left upper lobe mass"]
    assert versions[0]["settings"]["strength"] == 0.4 and versions[0]["settings"]["preset"] == "exact"
    assert [version["job"] for version in versions] == [jobs[2], jobs[3]]
    for version in versions:
        assert all(event["settings"] == version["settings"] for event in seen if event["job"] == version["job"])


def test_a_film_that_is_closed_stops_its_edits_and_takes_its_files_along(served: Served, chest: Path) -> None:
    first, second = served.open(chest, "a.dcm")["id"], served.open(chest, "b.dcm")["id"]
    edit = served.edit(first, mask=AREAS["mask"])
    assert len(served.files()) == 5
    with waiting(served) as gate:
        served.post("api/edit", {"film": first, "prompt": "edema", "mask": AREAS["mask"], **QUICK})
        assert gate.entered.acquire(timeout=30)
        served.post("api/edit", {"film": first, "prompt": "hernia", "mask": AREAS["mask"], **QUICK})
        served.post("api/edit", {"film": second, "prompt": "hernia", **QUICK})
        assert served.post("api/close", {"film": first}).status == 200
        assert len(served.app.queue.state()) == 2
    eventually(lambda: len(served.files()) == 3)
    for path in (f"film/{first}", f"result/{edit}", f"command/{edit}"):
        assert served.get(f"api/{path}").status == 404
    assert [version["film"] for version in served.get("api/sitting").json()["edits"]] == [second]


def test_a_browser_that_closes_in_the_middle_of_an_edit_changes_nothing(served: Served, chest: Path) -> None:
    film = served.open(chest)["id"]
    eventually(lambda: len(served.app.events) == 0)
    with waiting(served) as gate:
        with served.events():
            eventually(lambda: len(served.app.events) == 1)
            served.post("api/edit", {"film": film, "prompt": "edema", **QUICK})
            assert gate.entered.acquire(timeout=30)
        eventually(lambda: len(served.app.events) == 0)
    [version] = served.get("api/sitting").json()["edits"]
    assert served.get(f"api/result/{version['edit']}").status == 200


def test_a_network_that_fails_is_an_event_and_the_next_edit_is_made(
    served: Served, chest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = served.open(chest)["id"]
    for error, words in (
        (EngineError("unet gave NaN"), "unet gave NaN"),
        (MemoryError(), "not enough memory for this edit"),
        (ValueError("Secretowicz^Anna"), "a bug of roentmod-fast (ValueError)"),
    ):

        def fail(*arguments: Any, error: Exception = error, **more: Any) -> None:
            raise error

        with monkeypatch.context() as patch, served.events() as events:
            patch.setattr(Editor, "run", fail)
            served.post("api/edit", {"film": film, "prompt": "edema", **QUICK})
            event = next(event for event in events if event["type"] not in ("queued", "started"))
        assert event["type"] == "failed" and event["message"].startswith(words)
    assert served.edit(film)


def test_the_estimate_is_that_of_this_sitting(served: Served, chest: Path) -> None:
    film = served.open(chest)["id"]
    served.edit(film)
    with waiting(served):
        seconds = [
            served.post("api/edit", {"film": film, "prompt": "edema", "strength": 0.4, "steps": steps}).json()[
                "seconds"
            ]
            for steps in (5, 50)
        ]
    assert 0 < seconds[0] < seconds[1] < 600
    presets = served.app.engine.facts()["presets"]
    assert [preset["name"] for preset in presets] == ["exact"] and presets[0]["seconds"] > 0


# --- memory, logs, facts ----------------------------------------------------------------------------------------------


def held() -> int:
    """Return how many films, edits and their encoded pixels this process holds in memory."""
    kinds = (Radiograph, Placed, Decoded, EditResult, PageSource, PageEdit, Blob)
    gc.collect()
    return sum(isinstance(each, kinds) for each in gc.get_objects())


@pytest.mark.slow
def test_memory_is_flat_over_a_hundred_edits(served: Served, tmp_path: Path) -> None:
    write_sample(tmp_path / "a.dcm", draw(96, 3).image, seed=3)
    film = served.open(tmp_path / "a.dcm")["id"]
    body = {"film": film, "prompt": "edema", "steps": 3, "strength": 0.4, "compose": "replace"}
    before, after = held(), []
    with served.events() as events:
        for number in range(100):
            assert served.post("api/edit", {**body, "seed": number}).status == 200
            assert next(event for event in events if event["type"] in ("done", "failed"))["type"] == "done"
            if number in (0, 99):
                eventually(lambda: served.app.queue.state() == [])
                after.append(held())
    assert len(served.app.sitting.versions) == 100
    assert after == [before, before]


def test_logs_hold_no_name_and_no_token(
    served: Served,
    chest: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    film = served.open(chest, "Secretowicz_Anna.dcm")["id"]
    served.post("api/open?name=Secretowicz_Anna.dcm", b"broken")
    edit = served.edit(film, "Secretowicz edema")
    saved(served, edit)

    def fail(*arguments: Any) -> None:
        raise KeyError("Secretowicz_Anna.dcm")

    monkeypatch.setattr(type(served.app.sitting), "shown", fail)
    answer = served.get(f"api/film/{film}")
    assert answer.status == 500 and "KeyError" in answer.json()["error"] and "ecretowicz" not in answer.body.decode()
    out, err = capfd.readouterr()
    for text in (caplog.text, out, err):
        assert "ecretowicz" not in text and served.token not in text and str(served.folder) not in text
    assert "a bug: KeyError at test_edits.py:" in caplog.text


def test_the_page_knows_the_findings_as_the_paper_gives_them(served: Served) -> None:
    text = served.get("").body.decode()
    start = text.index('id="data">') + 10
    data = json.loads(text[start : text.index("</script>", start)])
    assert [finding["prompt"] for finding in data["findings"]] == list(PROMPTS)
    by_key = {finding["key"]: finding for finding in data["findings"]}
    assert all(by_key[finding.key]["rate"] == finding.paper_rate for finding in FINDINGS)
    assert by_key["edema"]["unasked"] == [{"key": "cardiomegaly", "rate": 0.92}]
    assert by_key["hernia"]["unasked"] == [] and by_key["normal"]["rate"] is None
    assert data["engine"] == "tiny" and data["device"] == "cpu" and data["limits"] == {"bytes": 1 << 29}
    assert data["defaults"]["strength"] == 0.4 and data["demo"] is False and "SYNTHETIC" in data["warning"]


def test_the_phantom_is_that_of_sample(served: Served) -> None:
    [film] = served.post("api/demo", {}).json()["films"]
    assert (film["name"], film["rows"], film["refused"]) == ("sample.dcm", 1024, None)


def test_the_command_names_the_engine_as_it_was_given(served: Served, chest: Path, tmp_path: Path) -> None:
    odd = served.open(chest, "-x%20$(id).dcm")["id"]
    words = typed(served, served.edit(odd, "edema"), tmp_path)
    assert words[1] == "./-x $(id).dcm" and words[words.index("--engine") + 1] == str(TINY)
