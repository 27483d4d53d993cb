"""Networks on a real NVIDIA GPU, against the CPU. Without a GPU these tests skip and say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.parity import compare_with_cpu
from roentmod_fast.runtime import gpus, networks
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from roentmod_fast.runtime.networks import Networks

GOLDENS = Path(__file__).parents[1] / "goldens"
TINY, HALF = GOLDENS / "tiny_bundle", GOLDENS / "tiny_half"
TOLERANCE = {"cuda": 1e-3, "rtx": 1e-2, "tensorrt": 1e-2}
"""Largest difference over the largest value. CUDA is held to float32; TensorRT rounds products to TF32, 10 bits."""

pytestmark = pytest.mark.skipif(not gpus.list_gpus(), reason="no NVIDIA device")


@pytest.fixture(params=[CUDA, RTX, TENSORRT], ids=lambda device: device.name)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Backend]:
    """Each device of an NVIDIA GPU that this environment has, with a cache of its own."""
    chosen: Backend = request.param
    missing = chosen.missing()
    if missing is not None:
        pytest.skip(missing)
    monkeypatch.setattr(networks, "cache_folder", lambda: tmp_path)
    yield chosen


def test_every_network_gives_what_the_cpu_gives(device: Backend) -> None:
    bundle = read_bundle(TINY)
    here, there = Networks.open(bundle, CPU, "fp32"), Networks.open(bundle, device, "fp32")
    assert there.providers[0] == device.provider
    draws = np.random.default_rng(0)
    side = bundle.manifest.model.image_size
    latents = draws.standard_normal((2, 4, bundle.manifest.model.latent_size, bundle.manifest.model.latent_size))
    latents = latents.astype(np.float32)
    image = draws.uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
    tokens = np.arange(2 * bundle.manifest.model.max_tokens, dtype=np.int64).reshape(2, -1) % 50
    text = here.encode_text(tokens)
    pairs = {
        "text_encoder": (text, there.encode_text(tokens)),
        "unet": (here.predict(latents, 500, text), there.predict(latents, 500, text)),
        "vae_encoder": (here.encode_image(image)[0], there.encode_image(image)[0]),
        "vae_decoder": (here.decode(latents), there.decode(latents)),
    }
    for role, (expected, found) in pairs.items():
        difference = np.abs(expected - found).max() / np.abs(expected).max()
        assert difference < TOLERANCE[device.name], f"{role}: {difference:.2g}"


def test_half_precision_is_near_the_cpus(device: Backend) -> None:
    """On cuda this is the UNet's graph of operators that no CPU has."""
    wrong = [parity for parity in compare_with_cpu(read_bundle(HALF), device) if not parity.passed]
    assert wrong == []


@pytest.mark.parametrize("graphs", [True, False])
def test_batches_change_nothing_but_rounding(device: Backend, graphs: bool) -> None:
    if device == TENSORRT and not graphs:
        pytest.skip("whether there are graphs is a matter of cuda and rtx")
    bundle = read_bundle(TINY)
    here, there = Networks.open(bundle, CPU, "fp32"), Networks.open(bundle, device, "fp32", batch=3, graphs=graphs)
    side, tokens = bundle.manifest.model.latent_size, bundle.manifest.model.max_tokens
    draws = np.random.default_rng(0)
    text = here.encode_text(np.arange(7 * tokens, dtype=np.int64).reshape(7, -1) % 50)
    # 7 is one full batch of six and one more; the same sizes again are bound already, and replay their graphs.
    for timestep, count in [(900, 7), (500, 7), (500, 1), (100, 7), (1, 1)]:
        latents = draws.standard_normal((count, 4, side, side)).astype(np.float32)
        expected, found = here.predict(latents, timestep, text[:count]), there.predict(latents, timestep, text[:count])
        difference = np.abs(expected - found).max() / np.abs(expected).max()
        assert difference < TOLERANCE[device.name], f"{count} at {timestep}: {difference:.2g}"
        latents /= 5
        expected, found = here.decode(latents), there.decode(latents)
        difference = np.abs(expected - found).max() / np.abs(expected).max()
        assert difference < TOLERANCE[device.name], f"{count} decoded: {difference:.2g}"
    assert not [note for note in there.notes if "CUDA graphs" in note], there.notes


def test_a_loop_on_cuda_keeps_its_arrays_on_the_gpu() -> None:
    missing = CUDA.missing()
    if missing is not None:
        pytest.skip(missing)
    opened = Networks.open(read_bundle(TINY), CUDA, "fp32")
    latents, text = np.zeros((2, 4, 8, 8), np.float32), np.zeros((2, 77, 32), np.float32)
    for timestep in range(5):
        opened.predict(latents, timestep, text)
    assert opened.unet._session is not None
    [arrays] = opened.unet._session._sets.values()
    assert {value.device_name() for value in (*arrays._inputs.values(), *arrays._outputs.values())} == {"cuda"}


def test_a_second_start_gives_the_same(device: Backend) -> None:
    bundle = read_bundle(TINY)
    image = np.zeros((1, 3, bundle.manifest.model.image_size, bundle.manifest.model.image_size), np.float32)
    first, second = (Networks.open(bundle, device, "fp32").encode_image(image)[0] for _ in range(2))
    np.testing.assert_allclose(first, second, atol=1e-4)
