"""The command ``roentmod-fast app`` as a process: how it starts, how it ends, and what it leaves."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roentmod_fast.app import run
from roentmod_fast.app.folder import MARK, OWNER, PrivateFolder, remove_leftovers
from roentmod_fast.app.run import listen
from roentmod_fast.app.sitting import Sitting
from roentmod_fast.errors import OutputError, SettingError, SourceError
from tests.cli.conftest import Ran

from .conftest import TINY, eventually


@contextlib.contextmanager
def running(tmp: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the app with all of a user's folders in ``tmp``; yield the process and the address that it printed."""
    places = {name: str(tmp / name) for name in ("TMPDIR", "HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    for place in (*places.values(), str(tmp / "cwd")):
        Path(place).mkdir(exist_ok=True)
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "roentmod_fast", "app", "--no-browser", "--engine", str(TINY), "--device", "cpu"]
    with (
        (tmp / "stderr").open("w") as errors,
        subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=tmp / "cwd",
            env={**os.environ, **places, "PYTHONPATH": path},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), (tmp / "stderr").read_text()
            yield process, address
        finally:
            process.kill()


def post(address: str, path: str, body: bytes) -> bytes:
    headers = {"X-Roentmod": address.rstrip("/").rpartition("/")[2]}
    with urllib.request.urlopen(urllib.request.Request(address + path, body, headers), timeout=60) as answer:
        return bytes(answer.read())


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_server_that_is_killed_is_cleaned_up_after_and_one_that_runs_is_not(tmp_path: Path, chest: Path) -> None:
    with running(tmp_path) as (process, address):
        post(address, "api/open?name=Secretowicz.dcm", chest.read_bytes())
        [folder] = (tmp_path / "TMPDIR").iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and len(list(folder.iterdir())) == 2
        assert not any("ecretowicz" in path.name for path in folder.iterdir())
        assert remove_leftovers(tmp_path / "TMPDIR") == 0 and len(list(folder.iterdir())) == 2
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert len(list(folder.iterdir())) == 2
    with contextlib.closing(PrivateFolder(tmp_path / "TMPDIR")) as fresh:
        assert list((tmp_path / "TMPDIR").iterdir()) == [fresh.path]
    assert "ecretowicz" not in (tmp_path / "stderr").read_text()


@pytest.mark.slow
def test_quit_leaves_nothing_and_nothing_is_written_elsewhere(tmp_path: Path, chest: Path) -> None:
    with running(tmp_path, "--demo", str(chest)) as (process, address):
        before = tree(tmp_path)
        [folder] = (tmp_path / "TMPDIR").iterdir()
        post(address, "api/open?name=../../evil.dcm", chest.read_bytes())
        assert {path for path in tree(tmp_path) - before if folder not in path.parents} == set()
        assert post(address, "api/quit", b"{}") == b"{}"
        assert process.wait(30) == 0
    assert tree(tmp_path) == {tmp_path / "stderr"} and list((tmp_path / "TMPDIR").iterdir()) == []
    assert address.rstrip("/").rpartition("/")[2] not in (tmp_path / "stderr").read_text()


@pytest.mark.slow
def test_a_signal_leaves_nothing_though_a_page_is_connected(tmp_path: Path) -> None:
    with (
        running(tmp_path) as (process, address),
        urllib.request.urlopen(f"{address}api/events", timeout=30) as events,
    ):
        assert events.readline() == b"retry: 1000\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert list((tmp_path / "TMPDIR").iterdir()) == []
    assert "Traceback" not in (tmp_path / "stderr").read_text()


HANG_UP = getattr(signal, "SIGHUP", signal.SIGTERM)


@contextlib.contextmanager
def harmless(*numbers: int) -> Iterator[None]:
    """Let signals that the app leaves alone do nothing to the tests."""
    before = {number: signal.signal(number, lambda number, frame: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, HANG_UP])
def test_a_signal_leaves_nothing_while_files_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def open_given(sitting: Sitting, path: Path) -> None:
        sitting.folder.new().write_bytes(b"a film")
        signal.raise_signal(number)
        raise SourceError("not ended")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Sitting, "open_given", open_given)
    with harmless(signal.SIGTERM, HANG_UP):
        with pytest.raises(SystemExit) as ended:
            run.run([Path("chest.dcm")], engine=str(TINY), device="cpu", browser=False)
        assert ended.value.code == 128 + signal.SIGTERM and list(tmp_path.iterdir()) == []
        signal.signal(HANG_UP, signal.SIG_IGN)
        if number == HANG_UP != signal.SIGTERM:  # as nohup starts it
            with pytest.raises(SourceError):
                run.run([Path("chest.dcm")], engine=str(TINY), device="cpu", browser=False)


def test_a_closed_terminal_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ready(address: str) -> None:
        os.kill(os.getpid(), HANG_UP)
        time.sleep(0.3)
        with contextlib.suppress(OSError):  # it has ended
            post(address, "api/quit", b"{}")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with harmless(signal.SIGTERM, HANG_UP):
        status = run.run(engine=str(TINY), device="cpu", browser=False, ready=ready)
    assert status == 128 + signal.SIGTERM and list(tmp_path.iterdir()) == []


# --- the private folder -----------------------------------------------------------------------------------------------


def test_what_is_not_left_by_us_stays(tmp_path: Path) -> None:
    names = {name: tmp_path / f"{MARK}{name}" for name in ("left", "open", "unlocked", "link", "other")}
    for name, path in names.items():
        if name == "link":
            (tmp_path / "target").mkdir(mode=0o700)
            (tmp_path / "target" / OWNER).write_text("1")
            path.symlink_to(tmp_path / "target")
            continue
        path.mkdir(mode=0o755 if name == "open" else 0o700)
        (path / "film").write_text("pixels")
        if name != "unlocked":
            (path / OWNER).write_text("1")
    names["other"].rename(tmp_path / "another-program")
    assert remove_leftovers(tmp_path) == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "target",
        "another-program",
        *(f"{MARK}{name}" for name in ("open", "unlocked", "link")),
    }


def test_two_sittings_have_a_folder_each(tmp_path: Path) -> None:
    with contextlib.closing(PrivateFolder(tmp_path)) as first, contextlib.closing(PrivateFolder(tmp_path)) as second:
        assert first.path != second.path and first.path.is_dir() and second.path.is_dir()
        assert first.new(".png") != first.new(".png")
        first.close()
        assert not first.path.exists() and second.path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="set TMPDIR"):
        PrivateFolder(tmp_path / "none")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen-on", "0.0.0.0"), "listens on this machine alone"),
        (("--listen-on", "example.org"), "listens on this machine alone"),
        (("--port", "70000"), "--port"),
        (("--engine", "none"), "no engine named 'none'"),
        (("--engine", str(TINY), "--device", "cpu", "--preset", "fast"), "was never measured"),
        (("--engine", str(TINY), "--device", "cpu", "none.dcm"), "none.dcm"),
    ],
)
def test_a_wrong_option_is_an_error_and_leaves_nothing(
    roentmod: Callable[..., Ran],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = roentmod("app", "--no-browser", *arguments)
    assert ran.code in (1, 2) and words in ran.err and ran.out == ""
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_pip_line_is_named(roentmod: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    ran = roentmod("app")
    assert ran.code == 2 and "pip install 'roentmod-fast[app]'" in ran.err and ran.err.count("\n") == 1


def test_a_port_that_is_taken_is_an_error() -> None:
    with contextlib.closing(listen()) as taken, pytest.raises(SettingError, match="give another one"):
        listen(port=taken.getsockname()[1])


def test_the_browser_is_given_the_ticket_and_not_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user of a machine sees the command lines of its processes."""
    opened: list[str] = []
    printed: list[str] = []

    def browse(address: str) -> bool:
        opened.append(address)
        with urllib.request.urlopen(address, timeout=30) as answer:  # follows to the page
            assert answer.url == printed[0] and b"SYNTHETIC" in answer.read()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address, timeout=30)
        post(printed[0], "api/quit", b"{}")
        return True

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(run.webbrowser, "open", browse)
    assert run.run(engine=str(TINY), device="cpu", ready=printed.append) == 0
    eventually(lambda: len(opened) == 1)
    assert printed[0].rstrip("/").rpartition("/")[2] not in opened[0]
    assert list(tmp_path.iterdir()) == []
