"""A run: the same bytes by any number of workers, shards and restarts; failures are rows; a full disk stops it."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from roentmod_fast.errors import DiskFullError, SettingError
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.raster import is_marked_synthetic
from roentmod_fast.settings import EditConfig
from roentmod_fast.study import rows as rows_module
from roentmod_fast.study.locks import hold
from roentmod_fast.study.plan import Cohort, Output
from roentmod_fast.study.rows import DONE, FAILED, REFUSED, read_rows
from roentmod_fast.study.run import parse_shard, pending_units, run_cohort
from roentmod_fast.study.status import status, verify
from roentmod_fast.study.workers import check_workers
from tests.study.conftest import MakeCohort, files_of, run


def copy_of(cohort: Cohort, name: str) -> Cohort:
    """Return the same plan in another folder, with nothing made."""
    folder = cohort.folder.parent / name
    folder.mkdir()
    for file in ("plan.json", "sources.csv"):
        (folder / file).write_bytes((cohort.folder / file).read_bytes())
    return Cohort.open(folder)


def test_each_edit_has_its_files_and_its_row(cohort_of: MakeCohort) -> None:
    cohort = cohort_of(output=Output("both", png_bits=16, size=48), repeats=2)
    outcomes = run(cohort)
    assert len(outcomes) == 4 and sum(len(outcome.states) for outcome in outcomes) == 16
    rows = read_rows(cohort.folder)
    assert len(rows.by_id) == 16 and set(rows.counts()) == {DONE}
    assert verify(cohort).clean
    images = set()
    for row in rows.by_id.values():
        assert set(row.files) == {"dicom", "png"}
        data = (cohort.folder / row.files["png"][0]).read_bytes()
        assert is_marked_synthetic(data), "the file's own mark stays"
        pixels = np.asarray(Image.open(cohort.folder / row.files["png"][0]))
        assert pixels.shape == (48, 48) and pixels.dtype == np.uint16 and pixels.max() > 255
        dataset = pydicom.dcmread(cohort.folder / row.files["dicom"][0])
        assert dataset.SyntheticData == "YES" and dataset.InstanceCreationDate == "20260304"
        assert dataset.get("BurnedInAnnotation") != "YES", "no visible label for training"
        images.add(pixels.tobytes())
    assert len(images) == 16, "repeats have noise of their own"


def test_png_of_8_bit_and_a_visible_label(cohort_of: MakeCohort) -> None:
    plain = cohort_of("plain", prompts=["edema"], output=Output("png", png_bits=8))
    labelled = cohort_of("labelled", prompts=["edema"], output=Output("png", png_bits=8, label=True))
    for cohort in (plain, labelled):
        run(cohort)
    first, second = files_of(plain), files_of(labelled)
    assert first.keys() == second.keys() and len(first) == 4
    import io

    for name in first:
        one, other = (np.asarray(Image.open(io.BytesIO(files[name]))) for files in (first, second))
        assert one.dtype == np.uint8 and one.shape == (96, 96)
        assert (one != other).any()


@pytest.mark.slow
def test_two_workers_and_shards_give_the_bytes_of_one(cohort_of: MakeCohort) -> None:
    cohort = cohort_of(output=Output("both"))
    run(cohort)
    expected = files_of(cohort)
    assert len(expected) == 16
    two = copy_of(cohort, "two")
    assert sum(len(outcome.states) for outcome in run(two, workers=2)) == 8
    assert files_of(two) == expected
    parts = copy_of(cohort, "parts")
    counts = [sum(len(outcome.states) for outcome in run(parts, shard=(i, 3))) for i in (3, 1, 2)]
    assert counts == [2, 4, 2]
    assert files_of(parts) == expected and verify(parts).clean
    assert len(read_rows(parts.folder).by_id) == 8 and not read_rows(parts.folder).repeated


def test_a_run_goes_on_with_the_same_bytes_after_any_loss(cohort_of: MakeCohort) -> None:
    cohort = cohort_of(output=Output("both"))
    run(cohort)
    expected = files_of(cohort)
    [log] = (cohort.folder / "rows").glob("*.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    # Killed within a line; and a file that had not got its row, torn, as a system crash may leave it.
    log.write_bytes(b"".join(lines[:3]) + lines[3][:50])
    torn = cohort.folder / next(iter(read_rows_of(lines[4]).values()))[0]
    torn.write_bytes(b"torn")
    (cohort.folder / "edits" / "aa").mkdir(exist_ok=True)
    (cohort.folder / "edits" / "aa" / ".roentmod-1234.part").write_bytes(b"x")
    assert len(verify(cohort).stray) == 11
    assert sum(len(unit.pending) for unit in pending_units(cohort)) == 5
    run(cohort)
    (cohort.folder / "edits" / "aa" / ".roentmod-1234.part").unlink()
    assert files_of(cohort) == expected
    rows = read_rows(cohort.folder)
    assert len(rows.by_id) == 8 and not rows.repeated and sum(rows.torn.values()) == 1
    check = verify(cohort)
    assert check.clean and any("torn" in note for note in check.notes)
    assert run(cohort) == [], "nothing is left to make"


@pytest.mark.parametrize("kind", ["missing", "altered", "cut", "one of two"])
def test_an_edit_whose_file_is_damaged_is_made_again(cohort_of: MakeCohort, kind: str) -> None:
    cohort = cohort_of(output=Output("both"))
    run(cohort)
    expected = files_of(cohort)
    row = sorted(read_rows(cohort.folder).by_id.values(), key=lambda row: row.id)[2]
    first, second = (cohort.folder / path for path, _, _ in row.files.values())
    whole = first.read_bytes()
    if kind == "altered":
        first.write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
    elif kind == "cut":
        first.write_bytes(whole[:50])
    else:
        first.unlink()
    if kind == "missing":
        second.unlink()
    found = verify(cohort)
    assert len(found.problems) == (2 if kind == "missing" else 1)
    assert any("run again with --retry-failed" in note for note in found.notes)
    assert run(cohort) == [], "not by itself"
    assert [outcome.states for outcome in run(cohort, retry_failed=True)] == [(DONE,)]
    assert files_of(cohort) == expected and verify(cohort).clean
    assert run(cohort, retry_failed=True) == []


def read_rows_of(line: bytes) -> dict[str, tuple[str, str, int]]:
    import json

    return dict(json.loads(line)["files"])


@pytest.mark.parametrize(("noise", "compose"), [("edit", "contrast"), ("source", "contrast"), ("source", "delta")])
def test_what_is_made_already_does_not_change_the_rest(cohort_of: MakeCohort, noise: str, compose: str) -> None:
    cohort = cohort_of(
        prompts=["edema", "hernia", "mass"], noise=noise, batch=2, config=EditConfig(steps=3, compose=compose)
    )
    run(cohort)
    expected = files_of(cohort)
    again = copy_of(cohort, "again")
    made = sorted(read_rows(cohort.folder).by_id)[::2]
    log = b"".join(
        line
        for path in (cohort.folder / "rows").iterdir()
        for line in path.read_bytes().splitlines(keepends=True)
        if any(key.encode() in line[:40] for key in made)
    )
    (again.folder / "rows").mkdir()
    (again.folder / "rows" / "before.jsonl").write_bytes(log)
    run(again)
    fresh = files_of(again)
    assert len(fresh) == 12 - len(made)
    assert all(fresh[name] == expected[name] for name in fresh)


def test_a_source_that_cannot_be_edited_is_a_row_with_the_reason(cohort_of: MakeCohort, sources: Path) -> None:
    damaged = sources / "p0" / "chest0.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:300])
    lateral = pydicom.dcmread(sources / "p0" / "chest1.dcm")
    lateral.ViewPosition = "LL"
    lateral.save_as(sources / "p0" / "chest1.dcm")
    cohort = cohort_of()
    there = (sources / "p1" / "chest1.png").read_bytes()
    (sources / "p1" / "chest1.png").unlink()
    outcomes = run(cohort)
    states = Counter(state for outcome in outcomes for state in outcome.states)
    assert states == {FAILED: 4, REFUSED: 2, DONE: 2}
    errors = {error for outcome in outcomes for error in outcome.errors}
    assert any(error.startswith("p0/chest0.png: ") and "truncated" in error for error in errors)
    assert any("p1/chest1.png: no such file" in error for error in errors)
    assert all("\n" not in error and str(sources) not in error for error in errors)
    assert run(cohort) == [], "failures are not tried again by themselves"
    damaged.write_bytes(whole)
    (sources / "p1" / "chest1.png").write_bytes(there)
    states = Counter(state for outcome in run(cohort, retry_failed=True) for state in outcome.states)
    assert states == {FAILED: 2, DONE: 2}
    assert any("changed since the plan" in row.error for row in read_rows(cohort.folder).by_id.values())
    now = status(cohort)
    assert (now.counts, now.pending) == ({FAILED: 2, REFUSED: 2, DONE: 4}, 0)
    assert len(now.reasons) == 2 and verify(cohort).clean


def test_one_broken_file_among_many_loses_nothing_else(cohort_of: MakeCohort, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    pixels = (draw(64, 0).image * 255).astype(np.uint8)
    for number in range(40):
        pixels[0, 0] = number
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "17.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    cohort = cohort_of("many-edits", prompts=["edema"], paths=[folder], config=EditConfig(steps=3, compose="replace"))
    states = Counter(state for outcome in run(cohort) for state in outcome.states)
    assert states == {DONE: 39, FAILED: 1}
    [row] = [row for row in read_rows(cohort.folder).by_id.values() if row.state == FAILED]
    assert row.error.startswith("17.png: ")


@pytest.mark.parametrize(("code", "what"), [(errno.ENOSPC, "file"), (errno.EDQUOT, "row")])
def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(
    cohort_of: MakeCohort, monkeypatch: pytest.MonkeyPatch, code: int, what: str
) -> None:
    cohort = cohort_of()
    expected_cohort = copy_of(cohort, "expected")
    run(expected_cohort)
    real, written = os.write, []

    def full(descriptor: int, data: bytes) -> int:
        is_row = bytes(data[:6]) == b'{"id":'
        written.append(is_row)
        if sum(written) >= 3 and is_row == (what == "row"):
            if is_row:
                real(descriptor, bytes(data[:20]))  # a part of the line fits
            raise OSError(code, os.strerror(code))
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DiskFullError, match="free some"):
            run(cohort)
    assert 2 <= len(read_rows(cohort.folder).by_id) < 8
    assert not list((cohort.folder / "edits").rglob("*.part"))
    run(cohort)
    assert files_of(cohort) == files_of(expected_cohort)
    assert len(read_rows(cohort.folder).by_id) == 8 and verify(cohort).clean


def test_a_run_that_is_asked_to_stop_keeps_what_it_made(cohort_of: MakeCohort) -> None:
    cohort, stop = cohort_of(), threading.Event()
    made = 0
    for outcome in run_cohort(cohort, stop=stop):
        made += len(outcome.states)
        stop.set()
    assert 2 <= made < 8
    assert len(read_rows(cohort.folder).by_id) == made and verify(cohort).clean
    run(cohort)
    assert len(read_rows(cohort.folder).by_id) == 8


@pytest.mark.skipif(os.name == "nt", reason="needs flock")
def test_two_runs_of_the_same_edits_are_refused(cohort_of: MakeCohort) -> None:
    cohort = cohort_of()
    first = run_cohort(cohort, shard=(1, 2))
    next(first)
    with pytest.raises(SettingError, match="another run is making these edits"):
        run(cohort)
    with pytest.raises(SettingError, match="another run"):
        run(cohort, shard=(1, 2))
    run(cohort, shard=(2, 2))
    first.close()
    run(cohort)
    assert len(read_rows(cohort.folder).by_id) == 8


def test_the_plans_engine_key_and_folder_are_needed(
    cohort_of: MakeCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = cohort_of()
    with pytest.raises(SettingError, match=r"no such folder: .* --root"):
        run(cohort, root=tmp_path / "elsewhere")
    monkeypatch.setenv("ROENTMOD_PSEUDONYM_KEY", "another key of sixteen")
    with pytest.raises(SettingError, match="set ROENTMOD_PSEUDONYM_KEY"):
        run(cohort)
    monkeypatch.delenv("ROENTMOD_PSEUDONYM_KEY")
    plan = (cohort.folder / "plan.json").read_text()
    (cohort.folder / "plan.json").write_text(plan.replace(cohort.plan.engine_sha256, "0" * 64))
    with pytest.raises(SettingError, match="import the plan's engine"):
        run(Cohort.open(cohort.folder))
    assert not read_rows(cohort.folder).by_id


def test_sources_that_moved_are_found_below_another_root(cohort_of: MakeCohort, sources: Path) -> None:
    cohort = cohort_of(prompts=["edema"])
    moved = sources.rename(sources.with_name("moved"))
    assert [outcome.states for outcome in run(cohort, root=moved)] == [(DONE,)] * 4


def test_shards_of_other_numbers_are_refused_while_one_runs(cohort_of: MakeCohort) -> None:
    cohort = cohort_of(prompts=["edema"])
    with hold(cohort.folder, (1, 3)):
        for shard in ((1, 2), (2, 4)):
            with pytest.raises(SettingError, match="a run with --shard i/3 is going on: use 3 shards too"):
                run(cohort, shard=shard)
        with pytest.raises(SettingError, match="another run is making these edits"):
            run(cohort)
        run(cohort, shard=(2, 3))
    with hold(cohort.folder, (2, 2)), hold(cohort.folder, (1, 2)):
        pass
    run(cohort)
    assert pending_units(cohort) == []


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "a/b", "1/2/3", "-1/4"])
def test_shards_are_checked(text: str) -> None:
    with pytest.raises(SettingError, match="expected i/n"):
        parse_shard(text)
    assert parse_shard("2/16") == (2, 16)


def test_one_worker_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    check_workers("cuda", 2)
    with pytest.raises(SettingError, match=r"--workers 3 and 2 GPUs: one worker a GPU, give --workers 2"):
        check_workers("cuda", 3)
    check_workers("cpu", 64)


def test_rows_count_once_and_files_win(tmp_path: Path) -> None:
    writer = rows_module.RowWriter(tmp_path)
    done = rows_module.Row("a", DONE, files={"png": ("edits/a.png", "00", 2)}, finished="2026-01-01T00:00:00+00:00")
    late = rows_module.Row("a", FAILED, error="x", finished="2026-01-02T00:00:00+00:00")
    for row in (
        done,
        late,
        done,
        rows_module.Row("b", FAILED, finished="1"),
        rows_module.Row("b", REFUSED, finished="2"),
    ):
        writer.append(row)
    writer.close()
    rows = read_rows(tmp_path)
    assert rows.by_id["a"] == done and rows.by_id["b"].state == REFUSED
    assert rows.repeated == {"a"} and not rows.differing
    writer.append(rows_module.Row("a", DONE, files={"png": ("edits/a.png", "11", 2)}))
    assert read_rows(tmp_path).differing == {"a"}
    assert read_rows(tmp_path).by_id["a"] == done
    again = replace(done, files={"png": ("edits/a.png", "22", 2)}, finished="2026-01-03T00:00:00+00:00")
    writer.append(again)
    assert read_rows(tmp_path).by_id["a"] == again, "a file that was lost is made again"
    assert len(list((tmp_path / "rows").iterdir())) == 2, "a file that was closed is not opened again"
    writer.close()


@pytest.mark.parametrize(
    "tail", [b'{"id": "c", "sta', b"\0" * 40, b"\n", b"{}\n", b'{"id": 1}\n', b"\xff\xfe\n", b"[]\n"]
)
def test_torn_lines_count_as_absent(tmp_path: Path, tail: bytes) -> None:
    writer = rows_module.RowWriter(tmp_path)
    writer.append(rows_module.Row("a", DONE))
    writer.close()
    [path] = (tmp_path / "rows").iterdir()
    path.write_bytes(path.read_bytes() + tail)
    rows = read_rows(tmp_path)
    assert set(rows.by_id) == {"a"} and rows.torn == {path.name: 1}
