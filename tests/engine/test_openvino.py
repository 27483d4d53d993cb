"""The device ``openvino``: run for real where it is, and told what to type where it is not."""

from __future__ import annotations

import importlib.util
import types
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.editor import EditConfig, Editor
from roentmod_fast.engine import devices
from roentmod_fast.engine.devices import CPU, OPENVINO, choose_device
from roentmod_fast.engine.sessions import open_session
from roentmod_fast.errors import DeviceError

TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"
IMAGE = np.random.default_rng(0).random((64, 64), dtype=np.float32)


def is_here() -> bool:
    try:
        choose_device("openvino")
    except DeviceError:
        return False
    return True


@pytest.mark.skipif(not is_here(), reason="no OpenVINO here")
def test_it_gives_what_the_processor_gives() -> None:
    config = EditConfig(steps=10, compose="replace")
    reference = Editor.load(TINY, "cpu").edit(IMAGE, "edema", config)
    editor = Editor.load(TINY, "openvino")
    assert editor.networks.providers[0] == OPENVINO.provider
    # The same float32 arithmetic in another order; bfloat16 would differ by 1e-3 and more.
    np.testing.assert_allclose(editor.edit(IMAGE, "edema", config).decoded, reference.decoded, rtol=0, atol=1e-4)


@pytest.mark.skipif(is_here(), reason="OpenVINO is here")
def test_where_it_is_absent_one_is_told_what_to_type() -> None:
    with pytest.raises(DeviceError, match=r"device 'openvino' is absent: .*pip install"):
        choose_device("openvino")


class Runtime(types.SimpleNamespace):
    """A stand-in for onnxruntime that knows plugins: what is registered adds its devices."""

    def __init__(self, offered: list[types.SimpleNamespace]) -> None:
        super().__init__(registered=[], opened=[])
        self._offered = offered

    def get_available_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def get_ep_devices(self) -> list[types.SimpleNamespace]:
        return self._offered if self.registered else []

    def register_execution_provider_library(self, name: str, path: str) -> None:
        self.registered.append((name, path))

    def SessionOptions(self) -> types.SimpleNamespace:  # noqa: N802
        options = types.SimpleNamespace(asked={}, dimensions={}, entries={})
        options.add_session_config_entry = options.entries.__setitem__
        options.add_free_dimension_override_by_name = options.dimensions.__setitem__
        options.add_provider_for_devices = lambda found, wishes: options.asked.update(devices=found, wishes=wishes)
        return options

    def InferenceSession(self, path: str, options: object, **arguments: object) -> types.SimpleNamespace:  # noqa: N802
        self.opened.append((path, options, arguments))
        return types.SimpleNamespace(get_providers=lambda: [OPENVINO.provider, CPU.provider])


def offer(kind: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(ep_name=OPENVINO.provider, ep_metadata={"ov_device": kind})


@pytest.fixture
def with_plugin(monkeypatch: pytest.MonkeyPatch) -> object:
    """Put a plugin in place that offers what the test says."""

    def install(*offered: types.SimpleNamespace) -> Runtime:
        runtime = Runtime(list(offered))
        plugin = types.SimpleNamespace(
            get_ep_name=lambda: OPENVINO.provider, get_library_path=lambda: "/plugin/library.so"
        )
        modules = {"onnxruntime": runtime, devices.OPENVINO_PLUGIN.module: plugin}
        monkeypatch.setattr(devices.importlib, "import_module", modules.__getitem__)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in modules else None)
        return runtime

    return install


def test_the_plugin_is_registered_once_and_given_its_own_processor(with_plugin: object, tmp_path: Path) -> None:
    processor = offer("CPU")
    runtime = with_plugin(offer("GPU"), processor)  # type: ignore[operator]
    assert choose_device("openvino") == OPENVINO
    open_session(tmp_path / "unet.onnx", OPENVINO)
    assert runtime.registered == [(OPENVINO.provider, "/plugin/library.so")]
    ((path, options, arguments),) = runtime.opened
    assert (path, arguments) == (str(tmp_path / "unet.onnx"), {"enable_fallback": 0})
    assert options.asked["devices"] == [processor]
    assert options.asked["wishes"]["precision"] == "FP32"
    assert options.dimensions == {"batch": 1}
    assert options.entries == {"session.disable_cpu_ep_fallback": "1"}


def test_a_plugin_that_offers_no_processor_is_told(with_plugin: object) -> None:
    with_plugin(offer("GPU"))  # type: ignore[operator]
    with pytest.raises(DeviceError, match=r"serves those of Intel only.*pip install onnxruntime-openvino"):
        choose_device("openvino")
