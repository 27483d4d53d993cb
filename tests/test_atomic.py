"""Whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from roentmod_fast import atomic
from roentmod_fast.atomic import check_output, write_atomically
from roentmod_fast.errors import OutputError


@pytest.fixture(params=["nameless", "named", "no hard links"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to write that a system may leave us."""
    if request.param != "nameless":
        monkeypatch.setattr(atomic, "_write_nameless", lambda *_: False)
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("no nameless files on this system")
    if request.param == "no hard links":
        monkeypatch.setattr(atomic, "_link", lambda *_: False)
    return str(request.param)


def test_writes_a_new_file(tmp_path: Path, way: str) -> None:
    path = tmp_path / "out.bin"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.bin"]


def test_permissions_are_the_users_own(tmp_path: Path, way: str) -> None:
    if os.name != "posix":
        pytest.skip("no umask")
    path = tmp_path / "out.bin"
    write_atomically(path, b"content")
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_existing_file_is_kept_by_default(tmp_path: Path, way: str) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"out\.bin: already exists \(--overwrite"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.bin"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.bin"
    fill = atomic._fill

    def fill_while_another_writes(descriptor: int, data: bytes) -> None:
        fill(descriptor, data)
        path.write_bytes(b"theirs")

    monkeypatch.setattr(atomic, "_fill", fill_while_another_writes)
    with pytest.raises(OutputError, match="already exists"):
        write_atomically(path, b"ours")
    assert path.read_bytes() == b"theirs"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, failing: str, overwrite: bool
) -> None:
    path = tmp_path / "out.bin"
    if overwrite:
        path.write_bytes(b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OutputError, match=r"out\.bin: no space left") as caught:
        write_atomically(path, b"content", overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == (["out.bin"] if overwrite else [])
    assert not overwrite or path.read_bytes() == b"old"


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "out.bin", b"content")
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    write_atomically(tmp_path / "out.bin", b"0123456789")
    assert (tmp_path / "out.bin").read_bytes() == b"0123456789"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="no nameless files on this system")
def test_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from roentmod_fast import atomic
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        atomic.write_atomically(Path({str(tmp_path / "out.bin")!r}), b"content")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits of Linux")
def test_a_limit_of_the_system_is_reported_in_one_line(tmp_path: Path) -> None:
    script = f"""
        import resource, signal
        from pathlib import Path
        from roentmod_fast.errors import OutputError
        from roentmod_fast.atomic import write_atomically
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomically(Path({str(tmp_path / "out.bin")!r}), bytes(5000))
        except OutputError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=True, stdout=subprocess.PIPE, text=True
    )
    assert "out.bin: larger than a file may be here" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        write_atomically(tmp_path / "missing" / "out.bin", b"")
    with pytest.raises(OutputError, match="a folder of that name"):
        write_atomically(tmp_path, b"")
    with pytest.raises(OutputError, match="name is too long"):
        write_atomically(tmp_path / ("x" * 300), b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="no such folder"):
        write_atomically(tmp_path / "file" / "out.bin", b"")


def test_check_output_comes_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    check_output(path)
    path.write_bytes(b"")
    check_output(path, overwrite=True)
    with pytest.raises(OutputError, match="already exists"):
        check_output(path)
