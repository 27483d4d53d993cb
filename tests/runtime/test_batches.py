"""Batches: how many items run at once on each device, in which order, and what TensorRT is compiled for.

onnxruntime is a stub where a GPU would be needed: it gives each item the mean of its first input.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.errors import DeviceError, EngineError, SettingError
from roentmod_fast.runtime.backends.base import Backend, SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.openvino import OPENVINO
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX, choose_trt_engine
from roentmod_fast.runtime.networks import Network, Networks
from tests.runtime.conftest import numbered, write_engines, write_halves
from tests.runtime.stub_runtime import ADA, StubRuntime

TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"


# --- how many at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "unet", "text"), [(CPU, 1, 1), (OPENVINO, 1, 1), (CUDA, 8, 4), (RTX, 8, 4), (TENSORRT, 8, 4)]
)
def test_gpus_take_batches_and_cpus_do_not(device: Backend, unet: int, text: int) -> None:
    assert device.max_batch_of("unet", 4) == unet
    assert device.max_batch_of("text_encoder", 4) == text
    # Images are large: one keeps a GPU busy, and more take its memory.
    assert {device.max_batch_of(role, 4) for role in ("vae_encoder", "vae_decoder")} == {1}


@pytest.mark.parametrize("device", [CUDA, RTX, TENSORRT])
def test_a_longer_batch_is_cut_and_joined_in_order(tmp_path: Path, gpu: StubRuntime, device: Backend) -> None:
    opened = Networks.open(write_halves(tmp_path / "b"), device, "fp16", batch=2)
    found = opened.predict(numbered(9), 500, np.zeros((9, 77, 16), np.float32))
    np.testing.assert_array_equal(found, numbered(9))
    assert [len(arrays["latents"]) for _, arrays in gpu.runs] == [4, 4, 1]
    gpu.runs.clear()
    image = opened.decode(numbered(3))
    np.testing.assert_array_equal(image[:, 0, 0, 0], [0, 1, 2])
    assert [len(arrays["latents"]) for _, arrays in gpu.runs] == [1, 1, 1]


def test_only_what_runs_alone_has_its_batch_fixed(tmp_path: Path, gpu: StubRuntime) -> None:
    Networks.open(write_halves(tmp_path / "b"), CUDA, "fp16")
    fixed = {Path(session.path).name: session.options.dimensions for session in gpu.sessions}
    assert fixed.pop("unet.fp16.onnx") == {}, "guidance asks twice for one image"
    assert set(map(str, fixed.values())) == {"{'batch': 1}"}
    gpu.sessions.clear()
    Networks.open(write_halves(tmp_path / "c"), CPU, "fp32", batch=16)
    assert all(session.options.dimensions == {"batch": 1} for session in gpu.sessions)


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_none_is_refused(batch: int) -> None:
    with pytest.raises(SettingError, match=f"batch {batch} is below 1"):
        Networks.open(read_bundle(TINY), CPU, "fp32", batch=batch)


# --- the real CPU -----------------------------------------------------------------------------------------------


def test_on_the_cpu_a_batch_is_its_items() -> None:
    opened = Networks.open(read_bundle(TINY), CPU, "fp32", batch=5)
    draws = np.random.default_rng(0)
    latents = draws.standard_normal((5, 4, 8, 8)).astype(np.float32)
    text = draws.standard_normal((5, 77, 32)).astype(np.float32)
    together = opened.predict(latents, 500, text)
    alone = [opened.predict(latents[i : i + 1], 500, text[i : i + 1]) for i in range(5)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("items", [1, 2, 5])
def test_batches_change_nothing_but_rounding(items: int) -> None:
    latents = np.random.default_rng(1).standard_normal((5, 4, 8, 8)).astype(np.float32)
    path = TINY / "vae_decoder.onnx"
    alone = Network(CPU, SessionSpec("vae_decoder", path)).run(latents=latents)["image"]
    found = Network(CPU, SessionSpec("vae_decoder", path, max_batch=items)).run(latents=latents)["image"]
    # Sums of some hundred products in float32, in another order.
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_inputs_that_do_not_belong_together_are_named() -> None:
    opened = Networks.open(read_bundle(TINY), CPU, "fp32")
    latents, text = np.zeros((2, 4, 8, 8), np.float32), np.zeros((3, 77, 32), np.float32)
    with pytest.raises(EngineError, match="unet: input text_states holds 3 items of float32, expected 2 of float32"):
        opened.predict(latents, 500, text)
    with pytest.raises(EngineError, match="unet: input latents holds 2 items of float64, expected 2 of float32"):
        opened.predict(latents.astype(np.float64), 500, text[:2])


# --- TensorRT ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("device", "prefix"), [(RTX, "nv"), (TENSORRT, "trt")])
def test_tensorrt_is_compiled_for_one_up_to_the_batch(
    tmp_path: Path, gpu: StubRuntime, device: Backend, prefix: str
) -> None:
    Networks.open(write_halves(tmp_path / "b"), device, "fp16", batch=4)
    asked = {Path(session.path).name: session.provider_options for session in gpu.sessions}
    unet = asked["unet.fp16.onnx"]
    assert unet[f"{prefix}_profile_min_shapes"] == "latents:1x4x8x8,timestep:1,text_states:1x77x16"
    assert unet[f"{prefix}_profile_opt_shapes"] == "latents:8x4x8x8,timestep:8,text_states:8x77x16"
    assert unet[f"{prefix}_profile_max_shapes"] == unet[f"{prefix}_profile_opt_shapes"]
    assert f"{prefix}_profile_max_shapes" not in asked["vae_encoder.fp16.onnx"], "one image, as its file says"
    assert asked["text_encoder.fp16.onnx"][f"{prefix}_profile_max_shapes"] == "tokens:4x77"


def test_what_is_compiled_is_kept_apart_by_batch(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_halves(tmp_path / "b")
    Networks.open(bundle, RTX, "fp16", batch=2)
    again = Networks.open(bundle, RTX, "fp16", batch=2)
    assert again.notes == []
    assert not any("nv_profile_max_shapes" in session.provider_options for session in gpu.sessions[4:]), (
        "compiled already"
    )
    other = Networks.open(bundle, RTX, "fp16", batch=3)
    assert other.notes == [f"{role} is compiled for this GPU, once" for role in ("text_encoder", "unet")]
    plans = [RTX.plan_for(ADA, bundle, "unet", "fp16", tmp_path / "cache", batch) for batch in (2, 3)]
    assert plans[0].cache != plans[1].cache
    Networks.open(bundle, TENSORRT, "fp16", batch=5)
    assert "/batch-5" in Path(gpu.sessions[-1].provider_options["trt_engine_cache_path"]).as_posix()


def test_an_engine_that_is_too_small_is_reported_and_not_used(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_engines(tmp_path / "b", batch=[1, 2, 16])
    assert choose_trt_engine(bundle, "unet", "fp16", ADA, 16)[0] is not None
    record, note = choose_trt_engine(bundle, "unet", "fp16", ADA, 18)
    assert record is None
    assert note.endswith("unet.sm89.onnx takes batches of 1 to 16, and 1 to 18 are asked for")
    opened = Networks.open(bundle, RTX, "fp16", batch=9)
    assert opened.notes[0].startswith(
        "unet: no TensorRT engine of the bundle is used: unet.sm89.onnx takes batches of 1 to 16"
    )
    assert [Path(session.path).name for session in gpu.sessions].count("unet.fp16.onnx") == 1


# --- what a provider may leave to the CPU -----------------------------------------------------------------------


def test_with_a_free_batch_more_shapes_are_computed(tmp_path: Path, gpu: StubRuntime) -> None:
    path = tmp_path / "unet.onnx"
    path.write_bytes(b"a network")
    gpu.nodes = {CUDA.provider: ["MatMul"], CPU.provider: ["Shape", "Slice", "Concat", "Gather"]}
    Network(CUDA, SessionSpec("unet", path, max_batch=2))
    with pytest.raises(DeviceError, match=r"Concat \(1\), Slice \(1\) would run elsewhere"):
        Network(CUDA, SessionSpec("unet", path))
    gpu.nodes[CPU.provider] += ["Add"]
    with pytest.raises(DeviceError, match=r"Add \(1\) would run elsewhere"):
        Network(CUDA, SessionSpec("unet", path, max_batch=2))
