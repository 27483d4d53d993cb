"""Bundles of the right form whose files are not networks, for everything but running them; and a stub of a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roentmod_fast.bundle.bundle import Bundle, read_bundle
from roentmod_fast.bundle.manifest import (
    FILE_NAME,
    NETWORKS,
    TOKENIZER_NAME,
    EditDefaults,
    Manifest,
    Model,
    fact_of,
    render_manifest,
)
from roentmod_fast.runtime import networks
from tests.runtime.stub_runtime import ADA, StubRuntime, install, offer

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")

MODEL = Model(
    image_size=64,
    latent_channels=4,
    vae_scale=8,
    latent_scaling=0.18215,
    prediction="epsilon",
    train_timesteps=1000,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    set_alpha_to_one=False,
    steps_offset=1,
    timestep_spacing="leading",
    max_tokens=77,
)


def write_bundle(folder: Path, name: str = "mock") -> Manifest:
    """Write a bundle named ``name`` into ``folder``."""
    folder.mkdir(parents=True)
    files = [TOKENIZER_NAME, *(f"{network}.onnx" for network in NETWORKS), "unet.onnx.data"]
    for index, file in enumerate(files):
        (folder / file).write_bytes(bytes([index]) * 100)
    manifest = Manifest(
        name=name,
        model=MODEL,
        networks={"fp32": {network: f"{network}.onnx" for network in NETWORKS}},
        files={file: fact_of(folder / file) for file in files},
        edit=EditDefaults(0.5, 3.0, 20),
        notice="a mock",
        made={"by": "tests"},
    )
    (folder / FILE_NAME).write_text(render_manifest(manifest), encoding="utf-8")
    return manifest


def write_engines(folder: Path, architecture: str = "sm89", **changes: Any) -> Bundle:
    """Write a bundle with fp16 networks and an engine of each."""
    manifest = write_bundle(folder)
    records = []
    for network in NETWORKS:
        names = [f"{network}.fp16.onnx", f"{network}.{architecture}.onnx", f"{network}.{architecture}.engine"]
        for name in names:
            (folder / name).write_bytes(name.encode())
            manifest = replace(manifest, files={**manifest.files, name: fact_of(folder / name)})
        record = {
            "network": network,
            "architecture": architecture,
            "batch": [1, 2],
            "file": names[1],
            "engine": names[2],
            "source": {names[0]: manifest.files[names[0]].sha256},
            "package": "tensorrt_rtx",
            "version": "1.7.1.116",
        }
        records.append({**record, **changes})
    half = {network: f"{network}.fp16.onnx" for network in NETWORKS}
    manifest = replace(manifest, networks={**manifest.networks, "fp16": half}, tensorrt=tuple(records))
    (folder / FILE_NAME).write_text(render_manifest(manifest), encoding="utf-8")
    return read_bundle(folder)


def write_halves(folder: Path) -> Bundle:
    """Write a bundle with fp16 networks and no engine of any."""
    bundle = write_engines(folder)
    return replace(bundle, manifest=replace(bundle.manifest, tensorrt=()))


def numbered(count: int) -> Any:
    """Latents whose items are all of one number each, from 0."""
    return np.broadcast_to(np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1), (count, 4, 8, 8))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubRuntime:
    """A stub of onnxruntime with an RTX GPU for every provider, a plugin of TensorRT 1.7.1, a cache of its own."""
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    (plugin / "libtensorrt_rtx.so.1.7.1").touch()
    (plugin / "libtensorrt_rtx.so.1").touch()
    monkeypatch.setattr(networks, "cache_folder", lambda: tmp_path / "cache")
    stub = install(monkeypatch, StubRuntime(GPU_PROVIDERS), plugin=plugin, found_gpus=(ADA,))
    stub.offers = [offer(ADA)]
    return stub
