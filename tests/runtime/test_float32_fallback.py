"""Half precision that overflows: the autoencoder is run again in float32, and says so. onnxruntime is a stub."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from roentmod_fast.bundle.manifest import FILE_NAME
from roentmod_fast.editor import Editor
from roentmod_fast.errors import EngineError, NotFiniteError
from roentmod_fast.report import RunReport
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from roentmod_fast.runtime.networks import Networks
from tests.runtime.conftest import numbered, write_halves
from tests.runtime.stub_runtime import StubRuntime

NOTE = "vae_decoder gave NaN or infinity in fp16: such images run in float32"


def opened_files(runtime: StubRuntime) -> list[str]:
    return [Path(session.path).name for session in runtime.sessions]


@pytest.mark.parametrize("device", [CUDA, RTX])
def test_the_autoencoder_is_run_again_in_float32(
    tmp_path: Path, gpu: StubRuntime, device: Backend, logged: list[str]
) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), device, "fp16", batch=2)
    before = len(logged)
    gpu.spoiled = "vae_decoder.fp16"
    image = opened.decode(numbered(2))
    np.testing.assert_array_equal(image[:, 0, 0, 0], [0, 1])
    assert logged[before] == NOTE
    assert opened.notes == logged
    fallback = gpu.sessions[-1]
    assert Path(fallback.path).name == "vae_decoder.onnx"
    if device == CUDA:
        assert fallback.provider_options["use_tf32"] == "1", "float32 among halves may be rounded to TF32"
    else:
        assert fallback.options.dimensions == {"batch": 1}
        assert logged[before + 1] == "vae_decoder is compiled for this GPU, once"
    # It is opened and noted once, and each image is tried in fp16 first: no edit depends on those before it.
    count, runs, sessions = len(logged), len(gpu.runs), len(gpu.sessions)
    opened.decode(numbered(1))
    gpu.spoiled = ""
    opened.decode(numbered(1))
    names = [name for name, _ in gpu.runs[runs:]]
    assert names == ["vae_decoder.fp16.onnx", "vae_decoder.onnx", "vae_decoder.fp16.onnx"]
    assert (len(logged), len(gpu.sessions)) == (count, sessions)


def test_an_image_that_overflows_leaves_the_others_of_its_batch_in_fp16(
    tmp_path: Path, gpu: StubRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16", batch=3)
    half = opened.vae_decoder._network  # type: ignore[union-attr]
    real = half.run

    def run(**arrays: np.ndarray) -> dict[str, np.ndarray]:
        if (arrays["latents"] == 1).any():
            raise NotFiniteError("vae_decoder: its output image holds NaN or infinity")
        return real(**arrays)

    monkeypatch.setattr(half, "run", run)
    runs = len(gpu.runs)
    image = opened.decode(numbered(3))
    np.testing.assert_array_equal(image[:, 0, 0, 0], [0, 1, 2])
    names = [name for name, _ in gpu.runs[runs:]]
    assert names == ["vae_decoder.fp16.onnx", "vae_decoder.onnx", "vae_decoder.fp16.onnx"]


def test_what_is_not_finite_in_float32_either_is_an_error(tmp_path: Path, gpu: StubRuntime) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16")
    gpu.spoiled = "vae_encoder"
    image = np.zeros((1, 3, 64, 64), np.float32)
    for _ in range(2):
        with pytest.raises(NotFiniteError, match="vae_encoder: its output mean holds NaN or infinity"):
            opened.encode_image(image)
    assert opened_files(gpu).count("vae_encoder.onnx") == 1


def test_the_loop_is_not_run_again(tmp_path: Path, gpu: StubRuntime) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16")
    gpu.spoiled = "unet"
    with pytest.raises(NotFiniteError, match="unet: its output prediction holds NaN"):
        opened.predict(numbered(1), 500, np.zeros((1, 77, 16), np.float32))
    assert opened.notes == []


def test_a_bundle_without_float32_has_no_fallback(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_halves(tmp_path / "b")
    half = {"fp16": bundle.manifest.networks["fp16"]}
    opened = Networks.open(replace(bundle, manifest=replace(bundle.manifest, networks=half)), CUDA, "fp16")
    gpu.spoiled = "vae_decoder"
    with pytest.raises(NotFiniteError, match="vae_decoder"):
        opened.decode(numbered(1))


def test_an_altered_fallback_is_refused(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_halves(tmp_path / "b")
    opened = Networks.open(bundle, CUDA, "fp16")
    bundle.path("vae_decoder.onnx").write_bytes(b"\0" * 100)
    gpu.spoiled = "vae_decoder"
    with pytest.raises(EngineError, match=r"vae_decoder\.onnx: altered"):
        opened.decode(numbered(1))


def test_the_run_report_shows_it(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_halves(tmp_path / "b")
    opened = Networks.open(bundle, CUDA, "fp16")
    preset = SimpleNamespace(name="exact", measured={})
    editor: Any = SimpleNamespace(bundle=bundle, device=CUDA, networks=opened, preset=preset, batch=1)
    report = RunReport()
    report.use(cast(Editor, editor))
    gpu.spoiled = "vae_decoder.fp16"
    opened.decode(numbered(1))
    assert json.loads(report.render())["notes"] == [NOTE]
    assert (bundle.folder / FILE_NAME).is_file()
