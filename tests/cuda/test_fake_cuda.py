"""The device ``cuda`` on onnxruntime-gpu itself, without a GPU: CUDA's libraries are fakes, see ``fake_cuda.c``.

What a network computes is not seen here, only what the real provider is asked and what it does with it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cuda import fake_cuda
from tests.cuda.on_cuda import HALF

pytestmark = pytest.mark.skipif(fake_cuda.why_not() is not None, reason=str(fake_cuda.why_not()))


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries of a fake GPU."""
    folder = tmp_path_factory.mktemp("fake")
    fake_cuda.build(folder)
    return folder


@pytest.fixture
def source(libraries: Path, tmp_path: Path) -> Path:
    """A phantom."""
    path = tmp_path / "chest.dcm"
    assert fake_cuda.run(libraries, "-m", "roentmod_fast", "sample", str(path), "--size", "128").returncode == 0
    return path


def edit(libraries: Path, source: Path, *more: str, **failures: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "roentmod_fast", "edit", str(source), "-p", "edema", "--engine", str(HALF)]
    return fake_cuda.run(libraries, *command, "--device", "cuda", "--precision", "fp16", *more, **failures)


def tell(libraries: Path, task: str) -> Any:
    """Return what a task of ``on_cuda.py`` gives."""
    return fake_cuda.answer(fake_cuda.run(libraries, "-m", "tests.cuda.on_cuda", task))


def test_doctor_finds_the_gpu(libraries: Path) -> None:
    done = fake_cuda.run(libraries, "-m", "roentmod_fast", "doctor")
    assert done.returncode == 0, done.stdout
    assert "NVIDIA GPU: fake GPU, sm90, 80 GiB" in done.stdout
    assert "device auto: cuda (CUDAExecutionProvider)" in done.stdout


@pytest.mark.parametrize("more", [[], ["-p", "hernia", "--batch", "2"]])
def test_an_edit_runs_on_the_gpu_and_nowhere_else(libraries: Path, source: Path, more: list[str]) -> None:
    report = source.with_name("report.json")
    done = edit(libraries, source, *more, "--report", str(report))
    assert done.returncode == 0, done.stderr
    said = json.loads(report.read_text(encoding="utf-8"))
    assert (said["device"], said["precision"]) == ("cuda", "fp16")
    assert said["providers"][0] == "CUDAExecutionProvider"
    assert said["notes"] == [], "networks were taken whole and a graph was recorded"
    assert len(said["outputs"]) == (2 if more else 1)
    assert "onnxruntime" not in done.stderr


def test_a_gpu_that_computes_nothing_is_found_out(libraries: Path) -> None:
    done = fake_cuda.run(libraries, "-m", "roentmod_fast", "engines", "verify", str(HALF), "--device", "cuda")
    assert done.returncode == 1
    said = "cuda computes fp16 text_encoder, fp16 unet, fp16 vae_encoder, fp16 vae_decoder of engine tiny_half wrongly"
    assert said in done.stderr


def test_the_unet_is_recorded_at_its_second_run_and_replayed_from_then_on(libraries: Path) -> None:
    first, second, third, fourth = tell(libraries, "runs")
    assert first[0] > 100
    assert first[1] == 0
    assert second[0] >= first[0], "it is recorded by running it"
    assert third == fourth == [0, 1]


def test_its_own_graph_takes_fewer_launches(libraries: Path) -> None:
    launches = tell(libraries, "graphs")
    assert launches["plain"] > launches["fused"] > 1.2 * launches["cuda"] > 0


def test_the_gate_has_a_kernel(libraries: Path) -> None:
    assert tell(libraries, "gate") == 1


def test_options_are_read(libraries: Path) -> None:
    """So that those which we give are known to be options of the provider."""
    assert "enable_fake" in tell(libraries, "unknown_option")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ({"FAKE_BYTES": "300000"}, "cannot open it on cuda: memory is full: close what else uses it"),
        ({"FAKE_BYTES": "3000000"}, "memory is full: close what else uses it"),
        ({"FAKE_COUNT": "999"}, "cannot open it on cuda: CUDA failure 999: an error of a fake GPU"),
        (
            {"FAKE_DRIVER": "12040"},
            "device 'cuda' is absent: the NVIDIA driver runs CUDA 12.4, and CUDA 13 is needed: ",
        ),
        ({"FAKE_LAUNCH": "209"}, "cuda failed while it ran: in "),
    ],
)
def test_a_gpu_that_fails_leaves_no_file_and_one_line(
    libraries: Path, source: Path, failure: dict[str, str], message: str
) -> None:
    done = edit(libraries, source, **failure)
    assert done.returncode == 1
    others = ("note: ", "engine ", "chest: ", "0 written")
    [line] = [line for line in done.stderr.splitlines() if not line.startswith(others)]
    assert line.startswith("Error: ")
    assert message in line
    assert len(line) < 400
    assert [path.name for path in source.parent.iterdir()] == [source.name]


def test_without_graphs_it_runs_on_and_says_so(libraries: Path, source: Path) -> None:
    done = edit(libraries, source, FAKE_CAPTURE="901")
    assert done.returncode == 0, done.stderr
    assert "note: unet runs without CUDA graphs: CUDA failure 901: an error of a fake GPU" in done.stderr
    assert source.with_name("chest.edema.dcm").exists()
