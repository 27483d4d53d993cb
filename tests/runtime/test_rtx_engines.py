"""Which engine is opened on an RTX GPU: the bundle's own, one kept from before, or the ONNX file."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roentmod_fast.bundle.bundle import Bundle, read_bundle
from roentmod_fast.bundle.manifest import NETWORKS, parse_manifest, render_manifest
from roentmod_fast.errors import EngineError
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.tensorrt import TENSORRT
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX, RTX_PACKAGE, begins_with, tensorrt_version
from roentmod_fast.runtime.cache import quarantine
from roentmod_fast.runtime.host import version_of
from roentmod_fast.runtime.networks import Networks
from tests.runtime.conftest import write_bundle, write_engines, write_halves
from tests.runtime.stub_runtime import ADA, StubRuntime

pytestmark = pytest.mark.usefixtures("gpu")


def test_the_plugin_names_its_tensorrt() -> None:
    assert tensorrt_version() == "1.7.1"
    assert begins_with("1.7.1.116", "1.7.1")
    assert not begins_with("1.7.11.3", "1.7.1")


def test_an_engine_that_fits_is_opened_instead(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_engines(tmp_path / "b")
    # It is not read, so it is not checked either.
    (tmp_path / "b" / "unet.fp16.onnx").unlink()
    opened = Networks.open(bundle, RTX, "fp16")
    assert [Path(session.path).name for session in gpu.sessions] == [f"{network}.sm89.onnx" for network in NETWORKS]
    assert opened.precision == "fp16"
    assert opened.notes == []
    assert not any("ep.context_enable" in session.options.entries for session in gpu.sessions)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_an_engine_that_was_altered_is_refused(tmp_path: Path) -> None:
    bundle = write_engines(tmp_path / "b")
    (tmp_path / "b" / "unet.sm89.engine").write_bytes(b"unet.sm89.enginf")
    with pytest.raises(EngineError, match=r"unet\.sm89\.engine: altered"):
        Networks.open(bundle, RTX, "fp16")


@pytest.mark.parametrize(
    ("architecture", "changes", "reason"),
    [
        ("sm89", {"source": {"unet.fp16.onnx": "0" * 64}}, "is stale: unet.fp16.onnx has changed since"),
        ("sm120", {}, "is for sm120, the GPU is sm89"),
        ("sm89", {"version": "1.8.0.3"}, "is of TensorRT 1.8.0.3, the plugin holds 1.7.1"),
        ("sm89", {"package": "tensorrt"}, "is of tensorrt, not of tensorrt_rtx"),
    ],
)
def test_an_engine_that_does_not_fit_is_reported_and_not_used(
    tmp_path: Path, gpu: StubRuntime, architecture: str, changes: dict[str, Any], reason: str, logged: list[str]
) -> None:
    bundle = write_engines(tmp_path / "b", architecture, **changes)
    opened = Networks.open(bundle, RTX, "fp16")
    unet = next(note for note in opened.notes if note.startswith("unet"))
    assert f"no TensorRT engine of the bundle is used: unet.{architecture}.onnx {reason}; unet is compiled" in unet
    assert logged == opened.notes
    assert str(bundle.path("unet.fp16.onnx")) in [session.path for session in gpu.sessions]


def test_what_was_compiled_once_is_opened_the_next_time(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_engines(tmp_path / "b")
    bundle = replace(bundle, manifest=replace(bundle.manifest, tensorrt=()))
    first = Networks.open(bundle, RTX, "fp16")
    assert first.notes == [f"{network} is compiled for this GPU, once" for network in NETWORKS]
    second = Networks.open(bundle, RTX, "fp16")
    assert second.notes == []
    opened = [Path(session.path) for session in gpu.sessions[len(NETWORKS) :]]
    assert {path.name for path in opened} == {"engine.onnx"}
    for part in (bundle.manifest_hash[:16], "rtx", ADA.key, f"tensorrt-1.7.1-plugin-{version_of(RTX_PACKAGE)}"):
        assert all(part in path.parts for path in opened), part


def keep_networks(tmp_path: Path) -> tuple[Bundle, Path]:
    """Open a bundle, whose networks are compiled and kept; return it, and the file by which its UNet is kept."""
    bundle = write_halves(tmp_path / "b")
    Networks.open(bundle, RTX, "fp16")
    return bundle, next((tmp_path / "cache").rglob("unet.fp16.onnx")) / "compiled" / "engine.onnx"


def test_what_was_kept_and_cannot_be_opened_is_compiled_again(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle, kept = keep_networks(tmp_path)
    kept.write_bytes(b"spoiled")
    gpu.failure, gpu.failing = RuntimeError("could not deserialize engine"), str(kept)
    again = Networks.open(bundle, RTX, "fp16")
    made_again, compiled = again.notes
    assert made_again.startswith(f"the cached network of unet does not open and is compiled again: {kept}: ")
    assert made_again.endswith("cannot open it on rtx: could not deserialize engine")
    assert compiled == "unet is compiled for this GPU, once"
    assert [path.name for path in kept.parent.parent.iterdir()] == ["compiled"]
    assert kept.read_bytes() == b"unet.fp16.onnx"
    gpu.failure = None
    assert Networks.open(bundle, RTX, "fp16").notes == []


def test_what_was_kept_stays_where_it_cannot_be_made_again(tmp_path: Path, gpu: StubRuntime) -> None:
    """As where the GPU's memory is full for a while."""
    bundle, kept = keep_networks(tmp_path)
    gpu.failure, gpu.failing = RuntimeError("CUDA failure 2: out of memory"), "unet"
    with pytest.raises(EngineError, match="memory is full"):
        Networks.open(bundle, RTX, "fp16")
    gpu.failure = None
    assert kept.is_file()
    assert [path.name for path in kept.parent.parent.iterdir()] == ["compiled"]
    assert Networks.open(bundle, RTX, "fp16").notes == []


def test_what_was_kept_stays_where_nothing_is_to_be_kept(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle, kept = keep_networks(tmp_path)
    gpu.failure, gpu.failing = RuntimeError("could not deserialize engine"), str(kept)
    Networks.open(bundle, RTX, "fp16", keep=False)
    assert kept.is_file()
    assert [path.name for path in kept.parent.parent.iterdir()] == ["compiled"]


def test_what_can_be_neither_opened_nor_moved_is_an_error(
    tmp_path: Path, gpu: StubRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where another process has it open."""
    bundle, _ = keep_networks(tmp_path)
    gpu.failure, gpu.failing = RuntimeError("could not deserialize engine"), "compiled"

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "it is open")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(EngineError, match="could not deserialize engine"):
        Networks.open(bundle, RTX, "fp16")


def test_another_process_may_have_set_it_aside(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "compiled" / "engine.onnx"
    with quarantine(kept):
        kept.parent.mkdir(parents=True)
        kept.write_bytes(b"of the other process")
    assert kept.read_bytes() == b"of the other process"


@pytest.mark.parametrize("free", [0, 10**12])
def test_a_full_disk_keeps_nothing(
    tmp_path: Path, gpu: StubRuntime, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free, 0, free))
    notes = Networks.open(write_halves(tmp_path / "b"), RTX, "fp16").notes
    assert [note.endswith("for this GPU, once") for note in notes] == [free > 0] * len(NETWORKS)
    assert [note.endswith("cannot be written or is full") for note in notes] == [free == 0] * len(NETWORKS)


@pytest.mark.parametrize("device", [RTX, TENSORRT])
def test_a_cache_that_cannot_be_written_is_reported_and_done_without(
    tmp_path: Path, gpu: StubRuntime, device: Backend
) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    opened = Networks.open(write_halves(tmp_path / "b"), device, "fp16")
    for role, note in zip(NETWORKS, opened.notes, strict=True):
        assert note.startswith(f"{role} is compiled ")
        assert f"at each start, for {tmp_path / 'cache'}" in note
        assert " cannot be written" in note
    for session in gpu.sessions:
        assert "ep.context_enable" not in session.options.entries
        assert "nv_runtime_cache_path" not in session.provider_options
        assert "trt_engine_cache_path" not in session.provider_options


def test_without_a_cache_an_engine_of_the_bundle_is_opened_all_the_same(tmp_path: Path, gpu: StubRuntime) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    opened = Networks.open(write_engines(tmp_path / "b"), RTX, "fp16")
    assert [Path(session.path).name for session in gpu.sessions] == [f"{network}.sm89.onnx" for network in NETWORKS]
    assert [note.partition(" at each start")[0] for note in opened.notes] == [
        f"kernels of {network} are compiled" for network in NETWORKS
    ]


def test_memory_is_held_where_an_engine_is_for_these_batches(tmp_path: Path, gpu: StubRuntime) -> None:
    """An engine for larger ones would hold as much as the largest of them takes."""
    bundle = write_engines(tmp_path / "b")  # of one item and two
    Networks.open(bundle, RTX, "fp16")
    held = {
        Path(session.path).name: "nv_persistent_context_memory" in session.provider_options for session in gpu.sessions
    }
    assert held == {f"{network}.sm89.onnx": network == "unet" for network in NETWORKS}
    Networks.open(write_halves(tmp_path / "h"), RTX, "fp16")
    assert all(
        session.provider_options["nv_persistent_context_memory"] == "1" for session in gpu.sessions[len(NETWORKS) :]
    )


def test_of_an_unknown_gpu_nothing_is_kept(tmp_path: Path) -> None:
    bundle = write_engines(tmp_path / "b")
    plan = RTX.plan_for(None, bundle, "unet", "fp16", tmp_path / "cache")
    assert plan.path.name == "unet.fp16.onnx"
    assert plan.compile_to is None
    assert "the GPU's architecture is not known" in plan.note


def test_a_bundle_without_half_precision_runs_in_float32(tmp_path: Path, gpu: StubRuntime) -> None:
    write_bundle(tmp_path / "b")
    opened = Networks.open(read_bundle(tmp_path / "b"), CUDA, "fp32")
    assert opened.precision == "fp32"
    assert opened.notes == []
    assert all(session.arguments["providers"][0][1]["use_tf32"] == "0" for session in gpu.sessions)
    with pytest.raises(EngineError, match="has no fp16 networks, only fp32"):
        Networks.open(read_bundle(tmp_path / "b"), CUDA, "fp16")


@pytest.mark.parametrize("device", [CPU, CUDA, RTX, TENSORRT])
def test_float32_that_is_tf32_is_reported(tmp_path: Path, gpu: StubRuntime, device: Backend) -> None:
    bundle = write_halves(tmp_path / "b")
    note = f"{device.name} rounds float32 products to TF32, 10 bits, where the GPU has it; cuda does not"
    assert (note in Networks.open(bundle, device, "fp32").notes) == (device in (RTX, TENSORRT))
    if device != CPU:
        assert note not in Networks.open(bundle, device, "fp16").notes


def test_an_autoencoder_that_stays_in_float32_is_known(tmp_path: Path) -> None:
    bundle = write_engines(tmp_path / "b")
    mixed = {**bundle.manifest.networks["fp16"], "vae_decoder": "vae_decoder.onnx"}
    bundle = replace(bundle, manifest=replace(bundle.manifest, networks={**bundle.manifest.networks, "fp16": mixed}))
    assert bundle.computes_in_fp16("unet", "fp16")
    assert not bundle.computes_in_fp16("vae_decoder", "fp16")
    assert not bundle.computes_in_fp16("unet", "fp32")


def test_only_what_is_in_half_precision_is_computed_in_it(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_engines(tmp_path / "b")
    mixed = {**bundle.manifest.networks["fp16"], "vae_decoder": "vae_decoder.onnx"}
    bundle = replace(bundle, manifest=replace(bundle.manifest, networks={**bundle.manifest.networks, "fp16": mixed}))
    Networks.open(bundle, TENSORRT, "fp16")
    provider_options = {Path(session.path).name: session.arguments["providers"][0][1] for session in gpu.sessions}
    assert provider_options["vae_decoder.onnx"]["trt_fp16_enable"] == "0"
    assert provider_options["unet.fp16.onnx"]["trt_fp16_enable"] == "1"
    assert ADA.key in provider_options["unet.fp16.onnx"]["trt_engine_cache_path"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": 89}, r"tensorrt\[0\]\.architecture: expected str, found 89"),
        ({"network": "vae"}, r"network is 'vae': expected one of"),
        ({"engine": "elsewhere.engine"}, r"names 'elsewhere\.engine', which files does not list"),
        ({"batch": 2}, r"batch: expected \[smallest, best, largest\], found 2"),
        ({"batch": [2, 1]}, r"batch: expected \[smallest, best, largest\]"),
        ({"source": {}}, r"source: expected an object that is not empty"),
        ({"source": {"gone.onnx": "0"}}, r"names 'gone\.onnx', which files does not list"),
    ],
)
def test_a_record_that_is_not_as_it_should_be_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    manifest = write_engines(tmp_path / "b").manifest
    raw = json.loads(render_manifest(manifest))
    raw["tensorrt"][0].update(change)
    with pytest.raises(EngineError, match=message):
        parse_manifest(json.dumps(raw), "manifest.json")


def test_the_cpu_reads_no_engine(tmp_path: Path, gpu: StubRuntime) -> None:
    bundle = write_engines(tmp_path / "b")
    Networks.open(bundle, CPU, "fp32")
    assert sorted(Path(session.path).name for session in gpu.sessions) == sorted(f"{name}.onnx" for name in NETWORKS)
