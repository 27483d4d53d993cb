"""Whether two ways of running an engine compute the same, and that a device that does not is found out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from roentmod_fast import parity
from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.bundle.manifest import INPUTS, NETWORKS
from roentmod_fast.errors import NotFiniteError
from roentmod_fast.parity import MIN_PSNR, compare_with_cpu, difference, fixed_inputs
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.openvino import OPENVINO
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from roentmod_fast.runtime.networks import Float32Fallback, Network, Networks

GOLDENS = Path(__file__).parent / "goldens"
TINY, HALF = GOLDENS / "tiny_bundle", GOLDENS / "tiny_half"


def test_a_difference_is_given_in_three_ways() -> None:
    want = np.array([0.0, 2.0, 4.0, 2.0], np.float32)
    found = difference(want, want + np.array([0.4, 0, 0, 0], np.float32))
    assert found["max_abs"] == pytest.approx(0.4)
    assert found["relative"] == pytest.approx(0.1)
    assert found["psnr_db"] == pytest.approx(10 * np.log10(4**2 / (0.4**2 / 4)))
    assert difference(want, want)["psnr_db"] > 300


@pytest.mark.parametrize("network", NETWORKS)
def test_inputs_are_the_same_each_time_and_fit_the_network(network: str) -> None:
    model = read_bundle(TINY).manifest.model
    once, again = fixed_inputs(network, model, 32), fixed_inputs(network, model, 32)
    assert len(once) == (3 if network == "unet" else 1)
    for first, second in zip(once, again, strict=True):
        assert set(first) == set(INPUTS[network])
        assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("folder", [TINY, HALF])
def test_the_cpu_agrees_with_itself(folder: Path) -> None:
    found = list(compare_with_cpu(read_bundle(folder), CPU))
    assert [one.network for one in found] == list(NETWORKS)
    assert all(one.passed and one.psnr_db > 300 for one in found)


@pytest.mark.skipif(OPENVINO.missing() is not None, reason="no OpenVINO here")
def test_openvino_agrees_with_the_cpu() -> None:
    found = [one for one in compare_with_cpu(read_bundle(TINY), OPENVINO) if one.precision == "fp32"]
    assert len(found) == len(NETWORKS)
    assert all(one.passed and 80 < one.psnr_db < 300 for one in found)


def spoil(monkeypatch: pytest.MonkeyPatch, network: str, error: float) -> None:
    """Have a device called cuda that is the CPU, but for an error in the outputs of ``network``."""
    opened = Networks.open

    def open_it(bundle: Any, device: Any, *more: Any) -> Networks:
        networks = opened(bundle, CPU, *more)
        if device != CPU:
            inner = getattr(networks, network)
            run = inner.run

            def wrong(**arrays: Any) -> dict[str, Any]:
                return {name: value + error * np.ptp(value) for name, value in run(**arrays).items()}

            monkeypatch.setattr(inner, "run", wrong)
        return networks

    monkeypatch.setattr(parity.Networks, "open", open_it)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_that_is_wrong_on_a_device_is_found(monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    spoil(monkeypatch, network, 0.01)
    found = {one.network: one for one in compare_with_cpu(read_bundle(TINY), CUDA)}
    assert [name for name, one in found.items() if not one.passed] == [network]
    assert found[network].psnr_db == pytest.approx(40, abs=0.1)
    assert found[network].min_psnr_db == MIN_PSNR["fp32"] == 60


@pytest.mark.parametrize("device", [RTX, TENSORRT])
def test_tensorrt_rounds_float32_to_tf32_and_is_not_held_to_more(
    monkeypatch: pytest.MonkeyPatch, device: Backend
) -> None:
    spoil(monkeypatch, "unet", 0.003)
    assert all(one.passed for one in compare_with_cpu(read_bundle(TINY), device))


def test_the_unet_is_asked_for_two_at_once_as_guidance_does(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    run = Network.run

    def watch(self: Network, **arrays: Any) -> dict[str, Any]:
        if self.role == "unet":
            seen.append(len(arrays["latents"]))
        return run(self, **arrays)

    monkeypatch.setattr(Network, "run", watch)
    assert all(one.passed for one in compare_with_cpu(read_bundle(TINY), CPU))
    assert seen == 2 * [1, 1, 1, 2, 2, 2]


def test_an_autoencoder_that_needs_its_fallback_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Networks.open

    def open_it(bundle: Any, device: Any, *more: Any) -> Networks:
        networks = opened(bundle, CPU, *more)
        good = networks.vae_decoder
        assert isinstance(good, Network)

        def overflow(**arrays: Any) -> dict[str, Any]:
            raise NotFiniteError("vae_decoder: NaN")

        bad = SimpleNamespace(run=overflow, role="vae_decoder")
        fallback = Float32Fallback(bad, lambda: good, lambda note: None)  # type: ignore[arg-type]
        return networks if device == CPU else replace(networks, vae_decoder=fallback)

    monkeypatch.setattr(parity.Networks, "open", open_it)
    found = {one.network: one for one in compare_with_cpu(read_bundle(TINY), CUDA)}
    assert [name for name, one in found.items() if not one.passed] == ["vae_decoder"]
    assert found["vae_decoder"].psnr_db == -math.inf


def test_a_gpu_is_not_asked_for_int8() -> None:
    bundle = read_bundle(HALF)
    halves = bundle.manifest.networks["fp16"]
    object.__setattr__(bundle.manifest, "networks", {"fp32": halves, "fp16": halves, "int8": halves})
    assert CUDA.precisions(bundle) == ("fp32", "fp16")
    assert "int8" in CPU.precisions(bundle)
