"""The device ``openvino``: run for real where it is, and told what to type where it is not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.editor import EditConfig, Editor
from roentmod_fast.engine import devices, openvino_session
from roentmod_fast.engine.bundle import Bundle, read_bundle
from roentmod_fast.engine.devices import OPENVINO, choose_device, what_is_missing
from roentmod_fast.engine.manifest import NETWORKS, FileFact, fact_of, render_manifest
from roentmod_fast.engine.networks import Networks
from roentmod_fast.engine.openvino_session import plan_on_openvino
from roentmod_fast.engine.sessions import cache_folder, open_session
from roentmod_fast.errors import DeviceError, EngineError

TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"
IMAGE = np.random.default_rng(0).random((64, 64), dtype=np.float32)
CONFIG = EditConfig(steps=10, compose="replace")
IS_HERE = what_is_missing(OPENVINO) is None

here = pytest.mark.skipif(not IS_HERE, reason="no OpenVINO here")


@here
def test_it_gives_what_onnxruntime_gives() -> None:
    reference = Editor.load(TINY, "cpu").edit(IMAGE, "edema", CONFIG)
    editor = Editor.load(TINY, "openvino")
    assert editor.networks.providers == (OPENVINO.provider,)
    # The same float32 arithmetic in another order; bfloat16 would differ by 1e-3 and more.
    np.testing.assert_allclose(editor.edit(IMAGE, "edema", CONFIG).decoded, reference.decoded, rtol=0, atol=1e-4)


@here
def test_a_result_is_not_touched_by_the_next_run() -> None:
    networks = Networks.open(read_bundle(TINY), OPENVINO)
    latents = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    first = networks.decode(latents)
    before = first.copy()
    assert not np.array_equal(networks.decode(-latents), before)
    np.testing.assert_array_equal(first, before)


@here
def test_it_needs_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise AssertionError("onnxruntime was asked for")

    monkeypatch.setattr(devices, "import_onnxruntime", gone)
    monkeypatch.setattr(devices, "_has_onnxruntime", lambda: False)
    assert choose_device("auto") == OPENVINO
    with pytest.raises(DeviceError, match="device 'cpu' is absent: no onnxruntime installed"):
        choose_device("cpu")
    with pytest.raises(DeviceError, match=r"device 'cuda' is absent: type .*pip install 'roentmod-fast\[gpu\]'"):
        choose_device("cuda")
    Editor.load(TINY).edit(IMAGE, "edema", CONFIG)


@here
def test_a_file_that_is_no_network_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "unet.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(EngineError, match=r"unet\.onnx: OpenVINO cannot open it: .+") as error:
        open_session(path, OPENVINO)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(IS_HERE, reason="OpenVINO is here")
def test_where_it_is_absent_one_is_told_what_to_type() -> None:
    with pytest.raises(DeviceError, match=r"device 'openvino' is absent: .*'roentmod-fast\[openvino\]'$"):
        choose_device("openvino")


# --- what was compiled is kept ----------------------------------------------------------------------------------------


@pytest.fixture
def with_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle that calls copies of its float32 networks int8, and an empty cache folder."""
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "user"))
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
    monkeypatch.setattr(openvino_session, "settings", lambda: {"INFERENCE_NUM_THREADS": 1})
    with pytest.raises(EngineError, match="missing"):  # with other settings it would be compiled again
        Editor.load(with_int8.folder, "openvino", "int8")


@here
def test_a_kept_network_that_was_altered_is_compiled_again(with_int8: Bundle) -> None:
    first = Editor.load(with_int8.folder, "openvino", "int8").edit(IMAGE, "edema", CONFIG)
    [unet] = [path for path in kept_in(with_int8) if path.name.startswith("unet")]
    good = unet.read_bytes()
    unet.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    second = Editor.load(with_int8.folder, "openvino", "int8").edit(IMAGE, "edema", CONFIG)
    np.testing.assert_array_equal(second.decoded, first.decoded)
    assert plan_on_openvino(with_int8, "unet", "int8", unet.parent).path == unet, "it was kept anew"


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
