"""A bundle of the right form whose files are not networks: enough for everything but running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from roentmod_fast.engine.manifest import (
    FILE_NAME,
    NETWORKS,
    TOKENIZER_NAME,
    EditDefaults,
    Manifest,
    Model,
    fact_of,
    render_manifest,
)

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


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "mock")
    return tmp_path / "mock"
