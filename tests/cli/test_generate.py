"""``roentmod-fast generate``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest

from roentmod_fast.editor import Editor
from roentmod_fast.errors import DeviceError, EngineError, NotFiniteError
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
QUICK = ("--steps", "5", "--device", "cpu")
QUICKEST = ("--steps", "2", "--device", "cpu", "--engine", "phantom")


def test_one_image_into_a_file(roentmod: Run, tmp_path: Path) -> None:
    ran = roentmod("generate", "-p", "edema", "-o", tmp_path / "a.dcm", *QUICK)
    assert ran.code == 0, ran.err
    assert ran.out == f"{tmp_path / 'a.dcm'}\n"
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    assert (dataset.Rows, dataset.Columns) == (256, 256) and "SourceImageSequence" not in dataset


@pytest.mark.parametrize("steps", [1, 2])
def test_few_steps_are_all_run(roentmod: Run, tmp_path: Path, steps: int) -> None:
    """The default strength of an edit, which would leave none of them, does not count."""
    ran = roentmod("generate", "-p", "edema", "-o", tmp_path / "a.dcm", *QUICKEST, "--steps", steps)
    assert ran.code == 0, ran.err
    assert (tmp_path / "a.dcm").is_file() and ran.err.splitlines()[-1] == "1 written"


@pytest.mark.slow
def test_several_into_a_folder_and_on_from_there(roentmod: Run, tmp_path: Path) -> None:
    arguments = ("generate", "-p", "edema", "-p", "hernia", "-o", f"{tmp_path / 'out'}/", "--format", "png", *QUICK)
    ran = roentmod(*arguments, "--count", 2, "--seed", 3)
    assert ran.code == 0, ran.err
    names = [Path(line).name for line in ran.out.splitlines()]
    assert names == ["edema.00003.png", "edema.00004.png", "hernia.00003.png", "hernia.00004.png"]
    (tmp_path / "out" / names[1]).unlink()
    before = (tmp_path / "out" / names[0]).read_bytes()
    refused = roentmod(*arguments, "--count", 2, "--seed", 3)
    assert refused.code == 1 and "already exists" in refused.err and not (tmp_path / "out" / names[1]).exists()
    again = roentmod(*arguments, "--count", 3, "--seed", 3, "--skip-existing")
    assert again.code == 0 and "3 written, 3 existing" in again.err
    assert (tmp_path / "out" / names[0]).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "--prompt"),
        (("-p", " "), 2, "empty"),
        (("-p", "edema", "--count", "0"), 2, "--count"),
        (("-p", "edema", "--seed", "-1"), 2, "--seed"),
        (("-p", "edema", "-o", "a.txt"), 2, ".dcm or .png"),
        (("-p", "edema", "-o", "a.dcm", "--format", "png"), 2, "--format"),
        (("-p", "edema", "--count", "2", "-o", "a.dcm"), 2, "folder"),
        (("-p", "a b", "-p", "a-b"), 2, "two prompts"),
        (("-p", "edema", "--overwrite", "--skip-existing"), 2, "contradict"),
        (("-p", "edema", "--steps", "1000", "-o", "a.dcm"), 2, "steps 1000"),
        (("-p", "edema", "-o", "none.txt/a.dcm"), 1, "none.txt"),
    ],
)
def test_bad_options(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.txt").write_text("a file")
    ran = roentmod("generate", *arguments)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["none.txt"]


def fail_at(monkeypatch: pytest.MonkeyPatch, error: Exception, *numbers: int) -> None:
    """Make the calls of ``Editor.run`` of these numbers, from 1 on, raise ``error``."""
    real, calls = Editor.run, []

    def run(self: Editor, pairs: Sequence[Any], **options: Any) -> Any:
        calls.append(pairs)
        if len(calls) in numbers:
            raise error
        return real(self, pairs, **options)

    monkeypatch.setattr(Editor, "run", run)


@pytest.mark.parametrize(
    ("batch", "numbers", "code", "written", "failed"),
    [
        (1, (2,), 3, (0, 2, 3), 1),
        (1, (1,), 3, (1, 2, 3), 1),
        (1, (4,), 3, (0, 1, 2), 1),
        (2, (1,), 3, (2, 3), 2),
        (1, (1, 2, 3, 4), 1, (), 4),
    ],
)
def test_an_image_that_is_not_finite_fails_alone(
    roentmod: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    numbers: tuple[int, ...],
    code: int,
    written: tuple[int, ...],
    failed: int,
) -> None:
    """With those of its batch, of which it is not known which one it was."""
    arguments = ("generate", "-p", "edema", "--count", 4, "-o", f"{tmp_path}/", "--batch", batch, *QUICKEST)
    with monkeypatch.context() as patch:
        fail_at(patch, NotFiniteError("unet: its output prediction holds NaN or infinity"), *numbers)
        ran = roentmod(*arguments)
    assert ran.code == code, ran.err
    names = [f"edema.{number:05d}.dcm" for number in written]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert ran.err.splitlines()[-1] == f"{len(written)} written, {failed} failed"
    lost = next(number for number in range(4) if number not in written)
    assert f"Error: edema.{lost:05d}.dcm" in ran.err and "unet: its output" in ran.err
    again = roentmod(*arguments, "--skip-existing")
    assert again.code == 0 and f"{failed} written" in again.err


@pytest.mark.parametrize("error", [EngineError("unet: cannot run"), DeviceError("cuda: out of memory")])
@pytest.mark.parametrize(
    ("number", "code", "says"), [(3, 3, "2 written, 1 failed, 1 not made"), (1, 1, "0 written, 1 failed, 3 not made")]
)
def test_a_network_that_fails_ends_the_run_with_a_summary(
    roentmod: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    number: int,
    code: int,
    says: str,
) -> None:
    fail_at(monkeypatch, error, number)
    ran = roentmod("generate", "-p", "edema", "--count", 4, "-o", f"{tmp_path}/", *QUICKEST)
    assert ran.code == code, ran.err
    assert ran.err.splitlines()[-1] == says
    assert f": {error}" in ran.err
    assert len(list(tmp_path.iterdir())) == number - 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_current_step(
    roentmod: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """In the second batch: the images of the first one are there, those of the second are not made."""
    real, calls, steps = Editor.run, [], []

    def run(self: Editor, pairs: Sequence[Any], *, progress: Callable[[int, int], None]) -> Any:
        calls.append(pairs)

        def step(done: int, total: int) -> None:
            steps.append((len(calls), done, total))
            if len(calls) == 2:
                os.kill(os.getpid(), number)
            progress(done, total)

        return real(self, pairs, progress=step)

    monkeypatch.setattr(Editor, "run", run)
    ran = roentmod("generate", "-p", "edema", "--count", 6, "-o", f"{tmp_path}/", "--batch", 2, *QUICKEST)
    assert ran.code == 128 + number, ran.err
    assert ran.err.splitlines()[-1] == "2 written, 4 not made"
    assert len(list(tmp_path.iterdir())) == 2
    batch, done, total = steps[-1]
    assert batch == 2 and [step for step in steps if step[0] == 2] == [steps[-1]] and done < total
