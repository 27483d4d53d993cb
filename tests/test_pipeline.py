"""Reading ahead and writing behind, on the tiny engine; images in memory stand for files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast import pipeline
from roentmod_fast.editor import Editor
from roentmod_fast.errors import DeviceError, DiskFullError, OutputError, RefusedError, SettingError, SourceError
from roentmod_fast.jobs import Job
from roentmod_fast.pipeline import Edited, Event, Failed, Reading, Skipped, Stopped, Writing, edit_many
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import as_radiograph
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.result import EditResult
from roentmod_fast.settings import EditConfig

BUNDLE = Path(__file__).parent / "goldens" / "tiny_bundle"
CONFIG = EditConfig(steps=5, compose="replace")
PATIENCE = 60
"""Seconds until a thread that should have come by counts as lost; no test that passes waits for it."""


@pytest.fixture(scope="module")
def engine() -> Editor:
    return Editor.load(BUNDLE, device="cpu")


@pytest.fixture
def editor(engine: Editor, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """The same engine for all tests, two edits at a time."""
    monkeypatch.setattr(engine, "batch", 2)
    return engine


def jobs_of(sources: int, prompts: Sequence[str] = ("edema",), folder: Path = Path()) -> list[Job]:
    return [
        Job(Source.of(folder / f"{index}.dcm"), prompt, folder / f"{index}.{prompt}.dcm")
        for index in range(sources)
        for prompt in prompts
    ]


def image_of(source: Source) -> np.ndarray:
    return np.random.default_rng(int(source.stem)).random((64, 64), dtype=np.float32)


@dataclass
class Files:
    """Stands for files: the hooks are called where a test wants to look or to fail."""

    on_read: Callable[[str], None] = lambda name: None
    on_write: Callable[[str], None] = lambda name: None
    on_progress: Callable[[list[str]], None] = lambda names: None
    happened: list[str] = field(default_factory=list)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    calls: list[tuple[int, int]] = field(default_factory=list)

    def read(self, source: Source, *, voi: int, force: object, orientation: object) -> Radiograph:
        assert pipeline.FILES_LOCK.locked()
        self.on_read(source.stem)
        return as_radiograph(image_of(source))

    def write(self, job: Job, result: EditResult, writing: Writing) -> Edited:
        assert threading.current_thread() is not threading.main_thread()
        assert pipeline.FILES_LOCK.locked()
        self.on_write(job.path.stem)
        assert result.prompt == job.prompt
        self.images[job.path.stem] = result.image
        return Edited(job, result, f"uid of {job.path.stem}")

    def progress(self, jobs: Sequence[Job], done: int, total: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        if done == 0:
            names = [job.path.stem for job in jobs]
            self.happened.append(f"make {' '.join(names)}")
            self.on_progress(names)
            self.calls = []
        else:
            self.calls.append((done, total))
            if done == total:
                assert self.calls == [(number, total) for number in range(1, total + 1)]

    def only(self, *kinds: str) -> list[str]:
        return [what for what in self.happened if what.startswith(kinds)]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    files = Files()
    monkeypatch.setattr(pipeline, "read_radiograph", files.read)
    monkeypatch.setattr(pipeline, "write_job", files.write)
    return files


def run(
    editor: Editor | Callable[[], Editor],
    jobs: Sequence[Job],
    files: Files,
    config: EditConfig = CONFIG,
    stop: threading.Event | None = None,
) -> list[Event]:
    """Run all jobs and note what is yielded beside what happened."""
    events = []
    for event in edit_many(
        editor, jobs, config, reading=Reading(protect_markers=False), progress=files.progress, stop=stop
    ):
        events.append(event)
        if isinstance(event, Edited):
            files.happened.append(f"written {event.job.path.stem}")
        elif isinstance(event, Failed | Skipped):
            reason = event.error if isinstance(event, Failed) else event.refused
            files.happened.append(f"not {' '.join(job.path.stem for job in event.jobs)}: {reason}")
        else:
            files.happened.append(f"stopped {' '.join(job.path.stem for job in event.not_tried)}: {event.error}")
    return events


class Inline:
    """Stands for a pool of threads and does at once what it is given, so that a test sees how much that is."""

    def __init__(self, count: int, name: str) -> None:
        pass

    def submit(self, work: Callable[..., object], *arguments: object) -> Future[object]:
        future: Future[object] = Future()
        thread = threading.Thread(target=lambda: future.set_result(work(*arguments)))
        thread.start()
        thread.join()
        return future

    def shutdown(self, cancel_futures: bool) -> None:
        pass


def test_all_is_made_and_yielded_in_order(editor: Editor, files: Files) -> None:
    events = run(editor, jobs_of(3, ("edema", "hernia")), files)
    names = [f"{index}.{prompt}" for index in range(3) for prompt in ("edema", "hernia")]
    assert files.only("written") == [f"written {name}" for name in names]
    assert files.only("make") == [f"make {' '.join(names[start : start + 2])}" for start in (0, 2, 4)]
    assert [event.sop_instance_uid for event in events if isinstance(event, Edited)] == [f"uid of {n}" for n in names]


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_neither_batch_nor_order_shows_in_an_image(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, files: Files, batch: int
) -> None:
    """Bit for bit on a CPU; every radiograph has the noise of the seed, wherever it stands."""
    monkeypatch.setattr(engine, "batch", batch)
    wanted = jobs_of(3, ("edema", "hernia"))
    run(engine, [*wanted[4:], *wanted[:4]], files, EditConfig(steps=10))
    for job in wanted:
        alone = engine.edit(image_of(job.source), job.prompt, EditConfig(steps=10), protect_markers=False)
        assert np.array_equal(files.images[job.path.stem], alone.image)


def test_the_next_batch_is_read_while_the_device_works(editor: Editor, files: Files) -> None:
    read = {str(index): threading.Event() for index in range(6)}

    def on_progress(names: list[str]) -> None:
        for index in range(int(names[-1][0]) + 1, min(int(names[-1][0]) + 3, 6)):
            assert read[str(index)].wait(PATIENCE), f"source {index} is not read while {names} are made"

    files.on_read, files.on_progress = lambda name: read[name].set(), on_progress
    run(editor, jobs_of(6), files)
    assert len(files.only("written")) == 6


@pytest.mark.parametrize(("batch", "prompts", "ahead"), [(1, 1, 1), (1, 3, 1), (2, 1, 2), (4, 2, 2), (3, 2, 2)])
def test_no_more_than_a_batch_is_read_ahead(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, files: Files, batch: int, prompts: int, ahead: int
) -> None:
    monkeypatch.setattr(engine, "batch", batch)
    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", Inline)
    read: list[str] = []
    most = []

    def on_progress(names: list[str]) -> None:
        most.append(len(read) - 1 - int(names[-1][0]))

    files.on_read, files.on_progress = read.append, on_progress
    run(engine, jobs_of(9, ("a", "b", "c")[:prompts]), files)
    assert len(read) == 9
    assert max(most) == ahead


def test_a_batch_is_written_while_the_device_makes_the_next(editor: Editor, files: Files) -> None:
    """The first write ends only once the second batch is on the device."""
    second = threading.Event()

    def on_write(name: str) -> None:
        if name == "0.edema":
            assert second.wait(PATIENCE), "the device waits for a file"

    def on_progress(names: list[str]) -> None:
        if names[0] == "2.edema":
            second.set()

    files.on_write, files.on_progress = on_write, on_progress
    run(editor, jobs_of(4), files)
    assert files.only("make", "written") == [
        "make 0.edema 1.edema",
        "make 2.edema 3.edema",
        "written 0.edema",
        "written 1.edema",
        "written 2.edema",
        "written 3.edema",
    ]


def test_single_edits_are_yielded_before_the_next_begins(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    monkeypatch.setattr(engine, "batch", 1)
    run(engine, jobs_of(2), files)
    assert files.only("make", "written") == ["make 0.edema", "written 0.edema", "make 1.edema", "written 1.edema"]


@pytest.mark.parametrize("first", [0, 1])
def test_a_source_that_fails_leaves_its_place_to_the_next(editor: Editor, files: Files, first: int) -> None:
    def on_read(name: str) -> None:
        if name == str(first):
            raise SourceError(f"{name}.dcm: damaged")
        if name == "3":
            raise SettingError("a mask of another size")

    files.on_read = on_read
    run(editor, jobs_of(5), files)
    good = [index for index in (0, 1, 2, 4) if index != first]
    assert files.only("not") == [
        f"not {first}.edema: {first}.dcm: damaged",
        "not 3.edema: 3.dcm: a mask of another size",
    ]
    assert files.only("written") == [f"written {index}.edema" for index in good]


def test_a_setting_that_fits_no_source_is_raised(editor: Editor, files: Files) -> None:
    def on_read(name: str) -> None:
        raise SettingError("a mask of another size")

    files.on_read = on_read
    with pytest.raises(SettingError, match="another size"):
        run(editor, jobs_of(1, ("edema", "hernia")), files)


def test_what_should_not_be_edited_is_skipped_in_a_folder_and_fails_where_it_was_named(
    editor: Editor, files: Files
) -> None:
    def on_read(name: str) -> None:
        if name in ("0", "1"):
            raise RefusedError(f"{name}.dcm: a lateral view")

    files.on_read = on_read
    found = Source.of(Path("1.dcm"), named=False)
    jobs = [jobs_of(1)[0], Job(found, "edema", Path("1.edema.dcm")), *jobs_of(3)[2:]]
    events = run(editor, jobs, files)
    assert [type(event) for event in events] == [Failed, Skipped, Edited]


def test_a_wrong_source_is_known_before_the_engine_is_opened(editor: Editor, files: Files) -> None:
    def on_read(name: str) -> None:
        files.happened.append(f"read {name}")
        if name == "0":
            raise SourceError("0.dcm: damaged")

    def load() -> Editor:
        files.happened.append("load")
        return editor

    files.on_read = on_read
    run(load, jobs_of(1), files)
    assert files.happened == ["read 0", "not 0.edema: 0.dcm: damaged"]
    files.happened.clear()
    run(load, jobs_of(2), files)
    assert files.happened[:4] == ["read 0", "not 0.edema: 0.dcm: damaged", "read 1", "load"]


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_an_output_that_fails_fails_alone(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, files: Files, batch: int
) -> None:
    monkeypatch.setattr(engine, "batch", batch)

    def on_write(name: str) -> None:
        if name == "1.edema":
            raise OutputError("1.edema.dcm: no permission")

    files.on_write = on_write
    run(engine, jobs_of(5), files)
    assert files.only("written", "not") == [
        "written 0.edema",
        "not 1.edema: 1.edema.dcm: no permission",
        *(f"written {index}.edema" for index in (2, 3, 4)),
    ]


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_full_disk_stops_the_run_and_accounts_for_the_rest(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, files: Files, batch: int
) -> None:
    monkeypatch.setattr(engine, "batch", batch)

    def on_write(name: str) -> None:
        if int(name[0]) >= 1:
            raise DiskFullError(f"{name}.dcm: no space left")

    files.on_write = on_write
    jobs = jobs_of(20)
    events = run(engine, jobs, files)
    stopped = events[-1]
    assert isinstance(stopped, Stopped)
    assert isinstance(stopped.error, DiskFullError)
    assert files.only("written") == ["written 0.edema"]
    failed = [job for event in events if isinstance(event, Failed) for job in event.jobs]
    assert [jobs[0], *failed, *stopped.not_tried] == jobs
    assert len(failed) <= 3 * batch


def test_outputs_that_cannot_be_written_are_known_before_anything_is_made(
    editor: Editor, files: Files, tmp_path: Path
) -> None:
    jobs = jobs_of(4, folder=tmp_path)
    jobs[1] = Job(jobs[1].source, "edema", tmp_path / f"{'n' * 300}.dcm")
    (tmp_path / "2.edema.dcm").write_text("precious")
    run(editor, jobs, files)
    assert [line.partition(":")[0] for line in files.happened[:2]] == [f"not {'n' * 300}", "not 2.edema"]
    assert "longer than" in files.happened[0]
    assert "already exists" in files.happened[1]
    assert files.only("written") == ["written 0.edema", "written 3.edema"]
    assert (tmp_path / "2.edema.dcm").read_text() == "precious"


def test_what_exists_is_skipped_without_a_look_at_its_source(editor: Editor, files: Files, tmp_path: Path) -> None:
    jobs = jobs_of(3, folder=tmp_path)
    jobs[1].path.write_text("done before")
    read: list[str] = []
    files.on_read = read.append
    events = list(edit_many(editor, jobs, CONFIG, writing=Writing(skip_existing=True)))
    assert events[0] == Skipped((jobs[1],))
    assert [event.job for event in events[1:] if isinstance(event, Edited)] == [jobs[0], jobs[2]]
    assert read == ["0", "2"]


def test_a_bug_in_a_thread_is_raised_with_the_line_it_happened_in(editor: Editor, files: Files) -> None:
    def bug(name: str) -> None:
        if name != "0":
            raise ZeroDivisionError(name)

    files.on_read = bug
    with pytest.raises(ZeroDivisionError) as reading:
        run(editor, jobs_of(2), files)
    files.on_read, files.on_write = lambda name: None, bug
    files.happened.clear()
    with pytest.raises(ZeroDivisionError, match=r"0\.edema") as writing:
        run(editor, jobs_of(3), files)
    assert reading.traceback[-1].name == writing.traceback[-1].name == "bug"
    assert files.only("written", "not") == []


def test_what_was_made_before_the_device_fails_is_written(editor: Editor, files: Files) -> None:
    def on_progress(names: list[str]) -> None:
        if names[0] == "2.edema":
            raise DeviceError("unet: out of memory")

    files.on_progress = on_progress
    with pytest.raises(DeviceError):
        run(editor, jobs_of(4), files)
    assert files.only("written") == ["written 0.edema", "written 1.edema"]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_request_to_stop_ends_the_loop_and_writes_what_is_made(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, files: Files, batch: int
) -> None:
    monkeypatch.setattr(engine, "batch", batch)
    stop = threading.Event()
    jobs = jobs_of(9)

    def on_progress(names: list[str]) -> None:
        if names[0] == "3.edema" or (batch == 2 and names[0] == "4.edema"):
            stop.set()

    files.on_progress = on_progress
    events = run(engine, jobs, files, stop=stop)
    made = 4 if batch == 2 else 3
    assert [event.job for event in events if isinstance(event, Edited)] == jobs[:made]
    assert events[-1] == Stopped(tuple(jobs[made:]))
    assert {thread.name.partition("_")[0] for thread in threading.enumerate()}.isdisjoint({"read", "finish", "write"})


def test_an_interrupt_ends_what_is_being_written_and_begins_nothing(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    begun, dropped = threading.Event(), threading.Event()
    tried = []
    drop = pipeline._Behind.drop_waiting

    def drop_waiting(behind: pipeline._Behind) -> None:
        drop(behind)
        dropped.set()

    def on_write(name: str) -> None:
        tried.append(name)
        begun.set()
        assert dropped.wait(PATIENCE)

    def on_progress(names: list[str]) -> None:
        if names[0] == "2.edema":
            assert begun.wait(PATIENCE)
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline._Behind, "drop_waiting", drop_waiting)
    files.on_write, files.on_progress = on_write, on_progress
    with pytest.raises(KeyboardInterrupt):
        run(editor, jobs_of(6), files)
    assert tried == ["0.edema"]
    assert {thread.name.partition("_")[0] for thread in threading.enumerate()}.isdisjoint({"read", "finish", "write"})


def test_a_consumer_that_goes_away_leaves_no_thread(editor: Editor, files: Files) -> None:
    events: Iterator[Event] = edit_many(editor, jobs_of(6), CONFIG)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert {thread.name.partition("_")[0] for thread in threading.enumerate()}.isdisjoint({"read", "finish", "write"})
