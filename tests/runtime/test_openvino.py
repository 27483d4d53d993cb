"""The device ``openvino``: run for real where it is, with a message of what to type where it is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast import editor as editor_module
from roentmod_fast.bundle.bundle import Bundle, read_bundle
from roentmod_fast.bundle.manifest import NETWORKS, FileFact, fact_of, render_manifest
from roentmod_fast.editor import Editor
from roentmod_fast.errors import DeviceError, EngineError
from roentmod_fast.folders import cache_folder
from roentmod_fast.presets import Preset, SpeedSettings
from roentmod_fast.runtime import host
from roentmod_fast.runtime.backends import choose_device
from roentmod_fast.runtime.backends import openvino as openvino_backend
from roentmod_fast.runtime.backends.base import SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.openvino import OPENVINO
from roentmod_fast.runtime.backends.tensorrt_rtx import RTX
from roentmod_fast.runtime.networks import Networks
from roentmod_fast.settings import EditConfig

TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"
IMAGE = np.random.default_rng(0).random((64, 64), dtype=np.float32)
CONFIG = EditConfig(steps=10, compose="replace")
IS_HERE = OPENVINO.missing() is None

here = pytest.mark.skipif(not IS_HERE, reason="no OpenVINO here")
in_bfloat16 = pytest.mark.skipif(
    not IS_HERE or OPENVINO.bfloat16_missing() is not None, reason="no OpenVINO that computes in bfloat16 here"
)


@here
def test_it_gives_what_onnxruntime_gives() -> None:
    reference = Editor.load(TINY, "cpu").edit(IMAGE, "edema", CONFIG)
    editor = Editor.load(TINY, "openvino")
    assert editor.networks.providers == (OPENVINO.provider,)
    # The same float32 arithmetic in another order; bfloat16 would differ by 1e-3 and more.
    np.testing.assert_allclose(editor.edit(IMAGE, "edema", CONFIG).decoded, reference.decoded, rtol=0, atol=1e-4)


@here
def test_a_result_is_not_touched_by_the_next_run() -> None:
    networks = Networks.open(read_bundle(TINY), OPENVINO, "fp32")
    latents = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    first = networks.decode(latents)
    before = first.copy()
    assert not np.array_equal(networks.decode(-latents), before)
    np.testing.assert_array_equal(first, before)


@here
def test_two_threads_get_their_own_results() -> None:
    networks = Networks.open(read_bundle(TINY), OPENVINO, "fp32")
    random = np.random.default_rng(0)
    latents = [random.standard_normal((1, 4, 8, 8)).astype(np.float32) for _ in range(2)]
    alone = [networks.decode(each) for each in latents]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(networks.decode, 50 * latents))
    for index, result in enumerate(found):
        np.testing.assert_array_equal(result, alone[index % 2])


@here
def test_it_needs_no_onnxruntime() -> None:
    code = f"""
import importlib.util, sys
sys.modules["onnxruntime"] = None
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "onnxruntime" else real(name, *rest)
import numpy as np
from roentmod_fast.doctor import examine
from roentmod_fast.editor import Editor
from roentmod_fast.settings import EditConfig
editor = Editor.load({str(TINY)!r})
editor.edit(np.random.default_rng(0).random((64, 64), dtype=np.float32), "edema", EditConfig(steps=10))
print(editor.device.name)
for item in examine():
    if item.subject.startswith("device ") or item.level == "problem":
        print(item.level, item.subject, item.text)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    used, *lines = done.stdout.splitlines()
    assert used == "openvino"
    assert "ok device auto openvino (OpenVINO)" in lines
    assert "ok device openvino OpenVINO" in lines
    assert any(line.startswith("note device cpu device 'cpu' is absent: no onnxruntime installed") for line in lines)
    assert any("'cuda' is absent: type " in line and "pip install 'roentmod-fast[gpu]'" in line for line in lines)
    assert not any(line.startswith("problem") for line in lines)


@here
def test_a_file_that_is_no_network_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "unet.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(EngineError, match=r"unet\.onnx: OpenVINO cannot open it: .+") as error:
        OPENVINO.open(SessionSpec("unet", path))
    assert "\n" not in str(error.value)


@here
def test_a_network_that_it_cannot_read_is_one_line(tmp_path: Path) -> None:
    """Such as one with an operator that it does not know."""
    path = tmp_path / "unet.onnx"
    known = (TINY / "unet.onnx").read_bytes()
    assert b"Softmax" in known
    path.write_bytes(known.replace(b"Softmax", b"Saftmax"))
    with pytest.raises(EngineError, match=r"unet\.onnx: OpenVINO cannot open it: .*") as error:
        OPENVINO.open(SessionSpec("unet", path))
    assert "\n" not in str(error.value)


@in_bfloat16
def test_what_would_compute_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_backend, "settings", lambda bfloat16: {"INFERENCE_PRECISION_HINT": "bf16"})
    with pytest.raises(DeviceError, match=r"unet\.onnx: asked OpenVINO for the CPU in f32, got CPU in bf16"):
        OPENVINO.open(SessionSpec("unet", TINY / "unet.onnx"))


@here
def test_an_old_one_is_reported_and_auto_passes_it_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "version_of", {"openvino": "2024.6.0", "onnxruntime": "1.32.0"}.get)
    with pytest.raises(DeviceError, match=r"openvino 2024\.6\.0 is too old, expected 2026 or later: type pip install"):
        choose_device("openvino")
    assert choose_device("auto") == CPU


@here
def test_an_error_of_one_network_is_its_own(with_int8: Bundle) -> None:
    with_int8.path("vae_encoder.int8.onnx").write_bytes(b"altered")
    with pytest.raises(EngineError, match=r"vae_encoder\.int8\.onnx: altered"):
        Networks.open(with_int8, OPENVINO, "int8")


# --- bfloat16 ---------------------------------------------------------------------------------------------------------


@in_bfloat16
@pytest.mark.parametrize(("precision", "stored"), [("bf16", "fp32"), ("int8-bf16", "int8")])
def test_bfloat16_is_near_what_is_stored_and_is_not_it(with_int8: Bundle, precision: str, stored: str) -> None:
    full, half = (Editor.load(with_int8.folder, "openvino", each) for each in (stored, precision))
    assert (full.networks.precision, half.networks.precision) == (stored, precision)
    assert half.settings(CONFIG).speed.precision == precision
    text = full.networks.encode_text(full._tokenizer.encode("edema"))
    latents = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    exact, rounded = (networks.predict(latents, 300, text) for networks in (full.networks, half.networks))
    # 8 bits of a number are kept in each of many operations.
    error = np.abs(rounded - exact).max() / np.ptp(exact)
    assert 1e-4 < error < 0.05
    assert not (rounded.view(np.uint32) & 0xFFFF).any()
    assert (exact.view(np.uint32) & 0xFFFF).any()


@in_bfloat16
def test_int8_in_bfloat16_is_kept_beside_int8(with_int8: Bundle) -> None:
    for precision in ("int8", "int8-bf16"):
        Editor.load(with_int8.folder, "openvino", precision)
    assert len(kept_in(with_int8)) == 2 * len(NETWORKS)
    plans = [
        OPENVINO.plan(with_int8, "unet", precision, kept_in(with_int8)[0].parent) for precision in ("int8", "int8-bf16")
    ]
    assert all(plan.compiled for plan in plans)
    assert plans[0].path != plans[1].path
    Editor.load(with_int8.folder, "openvino", "bf16")
    assert len(kept_in(with_int8)) == 2 * len(NETWORKS), "float32 networks compile quicker than they are read"


@in_bfloat16
@pytest.mark.parametrize("precision", ["bf16", "int8-bf16"])
def test_bfloat16_tells_timesteps_apart(with_int8: Bundle, precision: str) -> None:
    """Of which it holds every second or fourth above 256: they are embedded in float32."""
    editor = Editor.load(with_int8.folder, "openvino", precision)
    text = editor.networks.encode_text(editor._tokenizer.encode("edema"))
    latents = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    for steps in ((128, 129), (300, 301), (980, 981, 982, 983), (998, 999)):
        found = [editor.networks.predict(latents, step, text).tobytes() for step in steps]
        assert len(set(found)) == len(steps), steps


@in_bfloat16
def test_a_timestep_that_bfloat16_would_round_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_backend, "_into_first_products", lambda node: [])
    with pytest.raises(EngineError, match=r"timestep comes to 0 matrix products, expected one"):
        OPENVINO.open(SessionSpec("unet", TINY / "unet.onnx", bfloat16=True))
    monkeypatch.setattr(openvino_backend, "TIMESTEPS", 999)
    with pytest.raises(EngineError, match="has more than 999 timesteps: bf16 cannot be had"):
        Editor.load(TINY, "openvino", "bf16")


@in_bfloat16
def test_auto_takes_the_cpus_device_that_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu in (CUDA, RTX):
        monkeypatch.setattr(gpu, "missing", lambda: "no GPU")
    monkeypatch.setattr(editor_module, "fastest_measured", lambda bundle, name, devices: "cpu")
    assert Editor.load(TINY, "auto", "fp32").device == CPU
    assert Editor.load(TINY, "auto", "bf16").device == OPENVINO
    assert Editor.load(TINY, "auto", preset=Preset("fast", SpeedSettings("bf16"))).device == OPENVINO


@here
def test_float32_is_not_taken_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_backend, "settings", lambda bfloat16: {"INFERENCE_PRECISION_HINT": "f32"})
    with pytest.raises(DeviceError, match=r"unet\.onnx: asked OpenVINO for the CPU in bf16, got CPU in f32"):
        OPENVINO.open(SessionSpec("unet", TINY / "unet.onnx", bfloat16=True))


@here
def test_a_cpu_without_bfloat16_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    core = types.SimpleNamespace(get_property=lambda device, name: ["FP32", "INT8"])
    monkeypatch.setattr(openvino_backend, "import_openvino", lambda: types.SimpleNamespace(Core=lambda: core))
    with pytest.raises(DeviceError, match=r"'bf16' cannot be had: OpenVINO does not compute in bfloat16 on this CPU"):
        Networks.open(read_bundle(TINY), OPENVINO, "bf16")


def test_bfloat16_is_openvinos_alone() -> None:
    with pytest.raises(DeviceError, match=r"'bf16' cannot be had: device cpu computes as .* only openvino in bfloat16"):
        Editor.load(TINY, "cpu", "bf16")


@pytest.mark.skipif(IS_HERE, reason="OpenVINO is here")
def test_where_it_is_absent_the_message_names_what_to_type() -> None:
    with pytest.raises(DeviceError, match=r"device 'openvino' is absent: .*'roentmod-fast\[openvino\]'$"):
        choose_device("openvino")


# --- what was compiled is kept ----------------------------------------------------------------------------------------


@pytest.fixture
def with_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle that calls copies of its float32 networks int8, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    folder = tmp_path / "engine"
    shutil.copytree(TINY, folder)
    manifest = read_bundle(folder).manifest
    names = dict(manifest.networks["fp32"])
    facts: dict[str, FileFact] = dict(manifest.files)
    for role in NETWORKS[1:]:
        names[role] = f"{role}.int8.onnx"
        shutil.copy(folder / f"{role}.onnx", folder / names[role])
        facts[names[role]] = fact_of(folder / names[role])
    networks = {**manifest.networks, "int8": names}
    (folder / "manifest.json").write_text(render_manifest(replace(manifest, networks=networks, files=facts)))
    return read_bundle(folder)


def kept_in(bundle: Bundle) -> list[Path]:
    return sorted((cache_folder() / bundle.manifest_hash[:16] / "openvino").glob("*.blob"))


@here
def test_int8_networks_are_kept_as_they_were_compiled(with_int8: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Editor.load(with_int8.folder, "openvino", "int8").edit(IMAGE, "edema", CONFIG)
    assert [path.name.split(".")[0] for path in kept_in(with_int8)] == sorted(NETWORKS)
    # They are all that the second start reads of these networks.
    for file in with_int8.networks_of("int8").values():
        with_int8.path(file).unlink()
    second = Editor.load(with_int8.folder, "openvino", "int8").edit(IMAGE, "edema", CONFIG)
    np.testing.assert_array_equal(second.decoded, first.decoded)
    monkeypatch.setattr(openvino_backend, "CACHE_FORMAT", 2)
    with pytest.raises(EngineError, match="missing"):  # what another format kept is compiled again
        Editor.load(with_int8.folder, "openvino", "int8")


@here
def test_a_kept_network_that_was_altered_is_compiled_again(with_int8: Bundle, logged: list[str]) -> None:
    first = Editor.load(with_int8.folder, "openvino", "int8").edit(IMAGE, "edema", CONFIG)
    [unet] = [path for path in kept_in(with_int8) if path.name.startswith("unet")]
    good = unet.read_bytes()
    unet.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    logged.clear()
    second = Editor.load(with_int8.folder, "openvino", "int8").edit(IMAGE, "edema", CONFIG)
    assert [note for note in logged if "compiled" in note] == ["unet is compiled for this CPU, once"]
    np.testing.assert_array_equal(second.decoded, first.decoded)
    assert OPENVINO.plan(with_int8, "unet", "int8", unet.parent).compiled, "it was kept anew"


@here
def test_what_is_kept_anew_takes_the_place_of_what_was(with_int8: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    Editor.load(with_int8.folder, "openvino", "int8")
    before = kept_in(with_int8)
    of_another_cpu = before[0].with_name(f"unet.int8.onnx.{'0' * 16}.{'0' * 16}.{'0' * 64}.blob")
    of_another_cpu.write_bytes(b"x")
    monkeypatch.setattr(openvino_backend, "CACHE_FORMAT", 2)
    Editor.load(with_int8.folder, "openvino", "int8")
    after = set(kept_in(with_int8))
    assert len(after) == len(before) + 1
    assert after & {*before, of_another_cpu} == {of_another_cpu}


@here
def test_a_kept_network_that_openvino_does_not_take_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / f"unet.onnx.{openvino_backend.CACHE_SUFFIX}"
    path.write_bytes(bytes(1000))
    with pytest.raises(EngineError, match=r"\.blob: OpenVINO cannot open it: .+: remove this file$"):
        OPENVINO.open(SessionSpec("unet", path))


@here
def test_nothing_is_left_of_a_network_that_could_not_be_kept(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("it cannot be exported")

    openvino_backend._store(types.SimpleNamespace(export_model=fail), tmp_path / "cache" / "unet.onnx.key")
    assert list(tmp_path.rglob("*.*")) == []


@here
def test_nothing_is_kept_where_that_is_turned_off(with_int8: Bundle) -> None:
    Editor.load(with_int8.folder, "openvino", "int8", keep=False)
    assert kept_in(with_int8) == []


@here
def test_float32_networks_are_not_kept(with_int8: Bundle) -> None:
    Editor.load(with_int8.folder, "openvino", "fp32")
    assert kept_in(with_int8) == []


@here
def test_a_cache_that_cannot_be_written_is_no_error(with_int8: Bundle) -> None:
    cache_folder().parent.mkdir(parents=True)
    cache_folder().write_text("a file where the folder would be")
    editor = Editor.load(with_int8.folder, "openvino", "int8")
    assert np.isfinite(editor.edit(IMAGE, "edema", CONFIG).decoded).all()
