"""A sweep makes what single edits make, with less work; cells that are the same run are marked."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from roentmod_fast.editor import Editor
from roentmod_fast.errors import OutputError, SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import as_radiograph
from roentmod_fast.study.sweep.plan import SweepAxes, SweepPlan, plan_sweep, without_images
from roentmod_fast.study.sweep.run import SweepRun
from roentmod_fast.study.sweep.store import SweepStore
from roentmod_fast.study.sweep.workers import StoppedError, run_groups

GOLDENS = Path(__file__).parents[2] / "goldens"
GRID = SweepAxes(("edema",), (0.2, 0.4), (1.0, 4.0, 7.5), (10,))


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.load(GOLDENS / "tiny_bundle", device="cpu")


@pytest.fixture(scope="module")
def radiograph() -> Radiograph:
    """A radiograph that is no square, with a burned-in marker."""
    shown = Image.fromarray(np.rint(draw(320, 5).image[:, 20:300] * 255).astype(np.uint8))
    ImageDraw.Draw(shown).line([(250, 20), (250, 40), (260, 40)], fill=255, width=4)
    return as_radiograph(np.asarray(shown))


def make(plan: SweepPlan, run: SweepRun) -> dict[int, np.ndarray]:
    return {number: image for group in plan.groups for number, image in run.run(group).items()}


@pytest.mark.parametrize(
    "axes",
    [
        GRID,
        SweepAxes(("edema", "hernia"), (0.4,), (4.0,), (10,), compose=("replace",)),
        SweepAxes(("edema",), (0.4, 0.6), (1.0, 4.0), (10,), ("ddim", "dpm++"), (0, 7), ("replace",)),
        SweepAxes(("edema",), (1.0,), (0.5, 1.0, 2.0), (5, 10)),
    ],
)
def test_cells_are_what_single_edits_decode(editor: Editor, radiograph: Radiograph, axes: SweepAxes) -> None:
    run = SweepRun(editor, radiograph, protect_markers=False)
    plan = plan_sweep(editor, axes)
    images = make(plan, run)
    for cell in plan.cells:
        alone = editor.edit(radiograph, cell.prompt, cell.config, protect_markers=False)
        expected = run.letterbox.crop(alone.decoded)
        assert np.abs(images[cell.image_of] - expected).max() < 1e-5, cell
        assert cell.evaluated_steps == len(editor.timesteps(editor.settings(cell.config)))


@pytest.mark.parametrize("compose", ["contrast", "delta", "replace"])
def test_cells_are_composed_as_edits_of_the_same_size_are(editor: Editor, radiograph: Radiograph, compose: str) -> None:
    """With the markers protected: the radiograph is reduced to the engine's size first, then edited."""
    run = SweepRun(editor, radiograph)
    small = as_radiograph(run.source)
    run = SweepRun(editor, small)
    plan = plan_sweep(editor, SweepAxes(("edema",), (0.4,), (1.0, 4.0), (10,), compose=(compose,)))
    images = make(plan, run)
    for cell in plan.cells:
        alone = editor.edit(small, cell.prompt, cell.config)
        assert np.abs(images[cell.number] - alone.image).max() < 1e-4


def test_shared_work_is_done_once(editor: Editor, radiograph: Radiograph) -> None:
    counted: dict[str, int] = {}

    def count(role: str, arrays: dict[str, np.ndarray]) -> None:
        counted[role] = counted.get(role, 0) + next(iter(arrays.values())).shape[0]

    plan = plan_sweep(editor, GRID)
    run = SweepRun(editor, radiograph)
    _ = editor.empty_text
    ticks: list[int] = []
    with editor.networks.observed(count):
        for group in plan.groups:
            run.run(group, ticks.append)
    # Strength 0.2 is 2 steps, 0.4 is 4: first step 2 evaluations for all, then 1 + 2 + 2 for the three guidances.
    assert plan.calls == counted["unet"] == sum(ticks) == (2 + 5) + (2 + 3 * 5)
    assert sum(group.alone for group in plan.groups) == (2 + 4) * 5
    assert counted["vae_encoder"] == 1
    assert counted["vae_decoder"] == 6


def test_the_papers_grid_has_the_steps_of_the_paper(editor: Editor) -> None:
    strengths, guidances = np.linspace(0.2, 1, 10), np.linspace(1.5, 10, 10)
    plan = plan_sweep(editor, SweepAxes(("edema",), tuple(strengths.tolist()), tuple(guidances.tolist()), (50,)))
    assert [plan.cells[10 * row].evaluated_steps for row in range(10)] == [10, 14, 18, 23, 27, 32, 36, 41, 45, 50]
    assert plan.rows[2] == "0.3778 (18 of 50 steps)" and plan.columns[:2] == ("1.5", "2.444")
    assert (plan.row_axis, plan.column_axis) == ("strength", "guidance")
    assert plan.calls == sum(2 + 20 * (steps - 1) for steps in (10, 14, 18, 23, 27, 32, 36, 41, 45, 50)) == 5740


def test_the_same_run_is_made_once_and_marked(editor: Editor) -> None:
    plan = plan_sweep(editor, SweepAxes(("edema",), (0.4, 0.42, 0.5), (0.0, 1.0, 4.0), (10,)))
    same = [cell.same_as for cell in plan.cells]
    # 0.42 of 10 steps are 4 steps too; guidance 0 and 1 are both none.
    assert same == [None, 0, None, 0, 0, 2, None, 6, None]
    assert len(plan.runs) == 4 and "5 cells are the same run" in plan.notes[0]


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        (lambda: SweepAxes((" ",), (0.4,), (4.0,)), "empty"),
        (lambda: SweepAxes(("a",), (1.4,), (4.0,)), "strength 1.4"),
        (lambda: SweepAxes(("a",), (0.0,), (4.0,)), "runs no step"),
        (lambda: SweepAxes(("a",), (0.01,), (4.0,), (10,)), "gives no step"),
        (lambda: SweepAxes(("a",), (0.4,), (4.0,), (0,)), "steps 0"),
        (lambda: SweepAxes(("a",), (0.4,), (4.0,), seed=(-1,)), "seed -1"),
        (lambda: SweepAxes(("a",), (0.4,), (4.0,), solver=("euler",)), "euler"),
        (lambda: SweepAxes(("a",), (0.4,), (4.0,), compose=("mix",)), "mix"),
        (lambda: SweepAxes(("a",), (), (4.0,)), "strength"),
    ],
)
def test_bad_values_are_known_before_work(editor: Editor, axes: object, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        plan_sweep(editor, axes())  # type: ignore[operator]


def stored(editor: Editor, radiograph: Radiograph, folder: Path, axes: SweepAxes = GRID) -> SweepStore:
    return SweepStore(folder, SweepRun(editor, radiograph, (40, 60, 160, 220)), plan_sweep(editor, axes))


def complete(store: SweepStore, workers: int = 1, stop: threading.Event | None = None) -> None:
    left = without_images(store.plan, store.present())
    for group, images in run_groups(store.run, left.groups, workers, lambda count: None, stop or threading.Event()):
        for cell in group.cells:
            store.write(cell, images[cell.number])


def test_a_folder_holds_images_numbers_sheet_and_page(editor: Editor, radiograph: Radiograph, tmp_path: Path) -> None:
    store = stored(editor, radiograph, tmp_path / "sweep", SweepAxes(("edema",), (0.4, 0.42), (1.0, 4.0), (10,)))
    store.begin()
    complete(store)
    written = store.finish(tmp_path / "p.html", "edema")
    assert [path.name for path in written] == ["cells.csv", "sheet.png", "p.html"]
    rows = list(csv.DictReader((tmp_path / "sweep" / "cells.csv").read_text().splitlines()))
    assert [row["same_as"] for row in rows] == ["", "", "0", "1"]
    assert rows[2]["image"] == rows[0]["image"] == "cells/00000.png"
    image, source, inside = store.read(store.plan.cells[1]), store.run.source, store.run.inside
    assert inside is not None and inside.mean() == pytest.approx(120 * 160 / (320 * 280), abs=0.05)
    change = np.abs(image - source) * 255
    assert float(rows[1]["mean_change_inside"]) == pytest.approx(change[inside].mean(), rel=1e-3)
    assert float(rows[1]["mean_change_outside"]) == pytest.approx(change[~inside].mean(), rel=1e-3)
    with Image.open(tmp_path / "sweep" / "cells" / "00001.png") as opened:
        assert any("SYNTHETIC" in str(value) for value in opened.info.values())
        assert '"guidance": 4.0' in str(opened.info)
    with Image.open(tmp_path / "sweep" / "sheet.png") as opened:
        assert opened.width > 256 * 2 and any("SYNTHETIC" in str(value) for value in opened.info.values())
    text = (tmp_path / "p.html").read_text()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert [(edit["row"], edit["column"]) for edit in data["edits"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert data["grid"]["rows"] == ["0.4 (4 of 10 steps)", "0.42 (4 of 10 steps)"]
    assert data["edits"][2]["name"] == "row 2, column 1: as row 1, column 1"


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stopped_sweep_goes_on_and_ends_the_same(
    editor: Editor, radiograph: Radiograph, tmp_path: Path, workers: int
) -> None:
    axes = SweepAxes(("edema",), tuple(n / 10 for n in range(1, 11)), (1.0, 4.0), (10,))
    whole = stored(editor, radiograph, tmp_path / "whole", axes)
    whole.begin()
    complete(whole)
    whole.finish()
    store = stored(editor, radiograph, tmp_path / "part", axes)
    store.begin()
    stop = threading.Event()
    write = SweepStore.write

    def write_one(cell, image):  # type: ignore[no-untyped-def]
        write(store, cell, image)
        stop.set()

    left = without_images(store.plan, store.present())
    with pytest.raises(StoppedError):
        for group, images in run_groups(store.run, left.groups, workers, lambda count: None, stop):
            for cell in group.cells:
                write_one(cell, images[cell.number])
    assert 0 < len(store.present()) < 20
    again = stored(editor, radiograph, tmp_path / "part", axes)
    again.begin()
    before = {path: path.read_bytes() for path in (tmp_path / "part" / "cells").iterdir()}
    complete(again, workers)
    again.finish()
    for path, data in before.items():
        assert path.read_bytes() == data
    for name in ("cells.csv", "sheet.png", *(f"cells/{n:05d}.png" for n in range(20))):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_another_sweep_in_the_folder_is_refused(editor: Editor, radiograph: Radiograph, tmp_path: Path) -> None:
    stored(editor, radiograph, tmp_path / "s").begin()
    stored(editor, radiograph, tmp_path / "s").begin()
    other = as_radiograph(np.zeros((50, 40), np.uint8))
    for store in (
        stored(editor, radiograph, tmp_path / "s", SweepAxes(("hernia",), (0.2, 0.4), (1.0, 4.0, 7.5), (10,))),
        SweepStore(tmp_path / "s", SweepRun(editor, other), plan_sweep(editor, GRID)),
        SweepStore(tmp_path / "s", SweepRun(editor, radiograph), plan_sweep(editor, GRID)),
    ):
        with pytest.raises(SettingError, match="another sweep"):
            store.begin()
    (tmp_path / "s" / "sweep.json").write_text("{")
    with pytest.raises(SettingError, match="another sweep"):
        stored(editor, radiograph, tmp_path / "s").begin()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(SettingError, match="other files"):
        stored(editor, radiograph, tmp_path / "mine").begin()


def test_a_damaged_image_is_an_error(editor: Editor, radiograph: Radiograph, tmp_path: Path) -> None:
    store = stored(editor, radiograph, tmp_path / "s", SweepAxes(("edema",), (0.4,), (1.0,), (10,)))
    store.begin()
    complete(store)
    path = tmp_path / "s" / "cells" / "00000.png"
    for data in (path.read_bytes()[:300], b"", (GOLDENS.parents[1] / "docs" / "app.png").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(OutputError, match="run the sweep again"):
            store.finish()
