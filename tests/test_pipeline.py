"""Reading ahead and writing behind, on the tiny engine; pictures in memory stand for files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast import throughput
from roentmod_fast.editor import EditConfig, Editor, EditResult, Progress
from roentmod_fast.errors import DeviceError, OutputError, SettingError, SourceError
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.throughput import Output, edit_many

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


def outputs(sources: int, prompts: Sequence[str] = ("edema",)) -> list[Output]:
    return [
        Output(Source.of(Path(f"{index}.dcm")), prompt, Path(f"{index}.{prompt}.dcm"))
        for index in range(sources)
        for prompt in prompts
    ]


def picture(source: Source) -> np.ndarray:
    return np.random.default_rng(int(source.stem)).random((64, 64), dtype=np.float32)


@dataclass
class Stub:
    """Work without files: it keeps what happened, and the hooks are called where a test wants to look or to fail."""

    on_read: Callable[[str], None] = lambda name: None
    on_write: Callable[[str], None] = lambda name: None
    on_progress: Callable[[list[str]], None] = lambda names: None
    told: list[str] = field(default_factory=list)
    images: dict[str, np.ndarray] = field(default_factory=dict)

    def read(self, source: Source) -> tuple[Radiograph, None]:
        assert threading.current_thread() is not threading.main_thread()
        assert throughput._FILES.locked()
        self.on_read(source.stem)
        return Radiograph(picture(source), source.name), None

    def write(self, output: Output, radiograph: Radiograph, result: EditResult) -> str:
        assert threading.current_thread() is not threading.main_thread()
        assert throughput._FILES.locked()
        assert radiograph.source == output.source.name
        self.on_write(output.path.stem)
        return f"uid of {output.path.stem}"

    def was_read(self, radiograph: Radiograph) -> None:
        self.tell(f"read {radiograph.source}")

    def cannot_be_read(self, source: Source, error: Exception) -> None:
        self.tell(f"not read {source.name}: {error}")

    @contextmanager
    def progress(self, items: Sequence[Output], calls: int) -> Iterator[Progress]:
        names = [item.path.stem for item in items]
        self.tell(f"make {' '.join(names)}")
        self.on_progress(names)
        seen: list[int] = []
        yield lambda done, total: seen.append(done)
        assert seen == list(range(1, calls + 1))

    def was_written(self, output: Output, radiograph: Radiograph, result: EditResult, uid: str | None) -> None:
        assert uid == f"uid of {output.path.stem}"
        assert result.prompt == output.prompt
        self.images[output.path.stem] = result.image
        self.tell(f"written {output.path.stem}")

    def cannot_be_written(self, output: Output, error: OutputError) -> None:
        self.tell(f"not written {output.path.stem}: {error}")

    def tell(self, what: str) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.told.append(what)

    def only(self, *kinds: str) -> list[str]:
        return [what for what in self.told if what.startswith(kinds)]


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


def test_all_is_made_and_told_in_order(editor: Editor) -> None:
    work = Stub()
    edit_many(editor, CONFIG, outputs(3, ("edema", "hernia")), work)
    names = [f"{index}.{prompt}" for index in range(3) for prompt in ("edema", "hernia")]
    assert work.only("written") == [f"written {name}" for name in names]
    assert work.only("make") == [f"make {' '.join(names[start : start + 2])}" for start in (0, 2, 4)]
    assert work.only("read") == ["read 0.dcm", "read 1.dcm", "read 2.dcm"]


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_neither_batch_nor_order_shows_in_a_picture(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Bit for bit on a processor; every radiograph has the noise of the seed, wherever it stands."""
    monkeypatch.setattr(engine, "batch", batch)
    wanted = outputs(3, ("edema", "hernia"))
    work = Stub()
    edit_many(engine, EditConfig(steps=10), [*wanted[4:], *wanted[:4]], work)
    for output in wanted:
        alone = engine.edit(picture(output.source), output.prompt, EditConfig(steps=10))
        assert np.array_equal(work.images[output.path.stem], alone.image)


def test_the_next_batch_is_read_while_the_device_works(editor: Editor) -> None:
    read = {str(index): threading.Event() for index in range(6)}

    def on_progress(names: list[str]) -> None:
        for index in range(int(names[-1][0]) + 1, min(int(names[-1][0]) + 3, 6)):
            assert read[str(index)].wait(PATIENCE), f"source {index} is not read while {names} are made"

    work = Stub(on_read=lambda name: read[name].set(), on_progress=on_progress)
    edit_many(editor, CONFIG, outputs(6), work)
    assert len(work.only("written")) == 6


@pytest.mark.parametrize(("batch", "prompts", "ahead"), [(1, 1, 1), (1, 3, 1), (2, 1, 2), (4, 2, 2), (3, 2, 2)])
def test_no_more_than_a_batch_is_read_ahead(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, batch: int, prompts: int, ahead: int
) -> None:
    monkeypatch.setattr(engine, "batch", batch)
    monkeypatch.setattr(throughput, "ThreadPoolExecutor", Inline)
    read: list[str] = []
    most = []

    def on_progress(names: list[str]) -> None:
        most.append(len(read) - 1 - int(names[-1][0]))

    edit_many(engine, CONFIG, outputs(9, ("a", "b", "c")[:prompts]), Stub(on_read=read.append, on_progress=on_progress))
    assert len(read) == 9
    assert max(most) == ahead


def test_a_batch_is_written_while_the_device_makes_the_next(editor: Editor) -> None:
    """The first write ends only once the second batch is on the device."""
    second = threading.Event()

    def on_write(name: str) -> None:
        if name == "0.edema":
            assert second.wait(PATIENCE), "the device waits for a file"

    def on_progress(names: list[str]) -> None:
        if names[0] == "2.edema":
            second.set()

    work = Stub(on_write=on_write, on_progress=on_progress)
    edit_many(editor, CONFIG, outputs(4), work)
    assert work.only("make", "written") == [
        "make 0.edema 1.edema",
        "make 2.edema 3.edema",
        "written 0.edema",
        "written 1.edema",
        "written 2.edema",
        "written 3.edema",
    ]


def test_single_edits_are_told_before_the_next_begins(engine: Editor) -> None:
    work = Stub()
    edit_many(engine, CONFIG, outputs(2), work)
    assert work.only("make", "written") == ["make 0.edema", "written 0.edema", "make 1.edema", "written 1.edema"]


def test_a_source_that_fails_leaves_its_place_to_the_next(editor: Editor) -> None:
    def on_read(name: str) -> None:
        if name == "1":
            raise SourceError("1.dcm: damaged")
        if name == "3":
            raise SettingError("a mask of another size")

    work = Stub(on_read=on_read)
    edit_many(editor, CONFIG, outputs(5), work)
    assert work.only("make") == ["make 0.edema 2.edema", "make 4.edema"]
    assert work.only("not") == ["not read 1.dcm: 1.dcm: damaged", "not read 3.dcm: a mask of another size"]
    assert work.only("written") == [f"written {index}.edema" for index in (0, 2, 4)]


def test_a_wish_that_cannot_be_met_is_the_users_where_there_is_one_source(editor: Editor) -> None:
    def on_read(name: str) -> None:
        raise SettingError("a mask of another size")

    with pytest.raises(SettingError, match="another size"):
        edit_many(editor, CONFIG, outputs(1, ("edema", "hernia")), Stub(on_read=on_read))


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_after_an_output_that_fails_nothing_is_written(
    engine: Editor, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(engine, "batch", batch)
    tried = []

    def on_write(name: str) -> None:
        tried.append(name)
        if name == "1.edema":
            raise OutputError("1.edema.dcm: no space left")

    work = Stub(on_write=on_write)
    edit_many(engine, CONFIG, outputs(9), work)
    assert tried == ["0.edema", "1.edema"]
    assert work.only("written", "not") == ["written 0.edema", "not written 1.edema: 1.edema.dcm: no space left"]
    assert len(work.only("make")) < 9 / batch


def test_a_bug_in_a_thread_is_raised_with_the_line_it_happened_in(editor: Editor) -> None:
    def bug(name: str) -> None:
        raise ZeroDivisionError(name)

    with pytest.raises(ZeroDivisionError) as reading:
        edit_many(editor, CONFIG, outputs(2), Stub(on_read=bug))
    work = Stub(on_write=bug)
    with pytest.raises(ZeroDivisionError, match=r"0\.edema") as writing:
        edit_many(editor, CONFIG, outputs(3), work)
    assert reading.traceback[-1].name == writing.traceback[-1].name == "bug"
    assert work.only("written", "not") == []


def test_what_was_made_before_the_device_fails_is_written(editor: Editor) -> None:
    def on_progress(names: list[str]) -> None:
        if names[0] == "2.edema":
            raise DeviceError("unet: out of memory")

    work = Stub(on_progress=on_progress)
    with pytest.raises(DeviceError):
        edit_many(editor, CONFIG, outputs(4), work)
    assert work.only("written") == ["written 0.edema", "written 1.edema"]


def test_an_interrupt_ends_what_is_being_written_and_begins_nothing(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, dropped = threading.Event(), threading.Event()
    tried = []
    drop = throughput._Behind.drop_waiting

    def drop_waiting(behind: throughput._Behind) -> None:
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

    monkeypatch.setattr(throughput._Behind, "drop_waiting", drop_waiting)
    work = Stub(on_write=on_write, on_progress=on_progress)
    with pytest.raises(KeyboardInterrupt):
        edit_many(editor, CONFIG, outputs(6), work)
    assert tried == ["0.edema"]
    assert work.only("written") == ["written 0.edema"]
    assert {thread.name.partition("_")[0] for thread in threading.enumerate()}.isdisjoint({"read", "finish", "write"})
