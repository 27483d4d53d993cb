"""Which devices run which graph of a network, and that each is checked like any other file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from roentmod_fast.bundle.bundle import Bundle, read_bundle
from roentmod_fast.bundle.manifest import FILE_NAME, fact_of, render_manifest
from roentmod_fast.errors import EngineError
from roentmod_fast.runtime import networks
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from roentmod_fast.runtime.networks import Networks
from tests.runtime.conftest import write_bundle
from tests.runtime.stub_runtime import ADA, StubRuntime, install

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubRuntime:
    """onnxruntime-gpu and a GPU; the cache is the test's own."""
    monkeypatch.setattr(networks, "cache_folder", lambda: tmp_path / "cache")
    return install(monkeypatch, StubRuntime(PROVIDERS), found_gpus=(ADA,))


@pytest.fixture
def fused(tmp_path: Path) -> Bundle:
    """A bundle whose UNet has a fused graph."""
    folder = tmp_path / "bundle"
    manifest = write_bundle(folder)
    (folder / "unet.fused.onnx").write_bytes(b"another graph")
    files = {**manifest.files, "unet.fused.onnx": fact_of(folder / "unet.fused.onnx")}
    manifest = replace(manifest, files=files, fused={"unet.onnx": "unet.fused.onnx"})
    (folder / FILE_NAME).write_text(render_manifest(manifest), encoding="utf-8")
    return read_bundle(folder)


@pytest.mark.parametrize(
    ("device", "unet"), [(CPU, "unet.fused.onnx"), (CUDA, "unet.fused.onnx"), (TENSORRT, "unet.onnx")]
)
def test_only_onnxruntimes_own_providers_get_it(
    runtime: StubRuntime, fused: Bundle, device: Backend, unet: str
) -> None:
    Networks.open(fused, device, "fp32")
    opened = sorted(Path(session.path).name for session in runtime.sessions)
    assert opened == sorted(["text_encoder.onnx", unet, "vae_encoder.onnx", "vae_decoder.onnx"])


@pytest.mark.parametrize(("device", "unet"), [(CPU, "unet.fused.onnx"), (CUDA, "unet.cuda.onnx")])
def test_cuda_gets_its_own(runtime: StubRuntime, fused: Bundle, device: Backend, unet: str) -> None:
    (fused.folder / "unet.cuda.onnx").write_bytes(b"a third graph")
    files = {**fused.manifest.files, "unet.cuda.onnx": fact_of(fused.folder / "unet.cuda.onnx")}
    manifest = replace(fused.manifest, files=files, cuda={"unet.onnx": "unet.cuda.onnx"})
    (fused.folder / FILE_NAME).write_text(render_manifest(manifest), encoding="utf-8")
    bundle = read_bundle(fused.folder)
    assert bundle.manifest == manifest
    Networks.open(bundle, device, "fp32")
    assert unet in [Path(session.path).name for session in runtime.sessions]
    (fused.folder / unet).write_bytes(b"altered")
    with pytest.raises(EngineError, match=f"{unet}: altered"):
        Networks.open(bundle, device, "fp32")


@pytest.mark.parametrize("name", ["unet.fused.onnx", "unet.onnx.data"])
def test_it_is_checked_with_its_weights(runtime: StubRuntime, fused: Bundle, name: str) -> None:
    (fused.folder / name).write_bytes(b"altered")
    with pytest.raises(EngineError, match=f"{name}: altered"):
        Networks.open(fused, CPU, "fp32")
    assert runtime.sessions == []
