"""The engine of a sitting: its presets, what they cost, and networks that are opened once."""

from __future__ import annotations

import pytest

from roentmod_fast.app.engine import Engine
from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.editor import choose
from roentmod_fast.errors import DeviceError, EngineError, SettingError
from roentmod_fast.presets import Preset, SpeedSettings, render_presets, tuned_path
from roentmod_fast.settings import EditConfig

from .conftest import TINY

MEASURED = {"times_exact": 3.2, "psnr_db": 41.0, "images": 2, "machine": "a machine", "seconds": 5.0}


@pytest.fixture
def tuned() -> None:
    bundle = read_bundle(TINY)
    path = tuned_path(bundle, "cpu")
    path.parent.mkdir(parents=True)
    fast = Preset("fast", SpeedSettings("fp32", "dpm++", 4), MEASURED)
    path.write_text(render_presets({"fast": fast}, bundle, {"exact_seconds": 20.0}))


def test_presets_are_those_that_were_measured_with_their_price(tuned: None) -> None:
    engine = Engine(str(TINY), "cpu")
    presets = engine.facts()["presets"]
    assert [(preset["name"], preset["seconds"]) for preset in presets] == [("exact", 20.0), ("fast", 5.0)]
    assert presets[0]["price"] == "" and "3.2 times as fast as exact" in presets[1]["price"]
    assert engine.seconds("exact", 10) == 10.0 and engine.check(EditConfig(), "fast")[1] == 4
    engine.note_pace("exact", 10, seconds=5.0, whole=6.0)
    assert engine.seconds("exact", 20) == 11.0 and engine.seconds("fast", 4) == 5.0
    with pytest.raises(SettingError, match="preset 'balanced': expected one of exact, fast"):
        engine.check(EditConfig(), "balanced")


def test_networks_of_one_precision_are_opened_once_and_edit_as_the_command_does(tuned: None) -> None:
    engine = Engine(str(TINY), "cpu", "fast")
    fast = engine.editor("fast")
    exact = engine.editor("exact")
    assert exact.networks is fast.networks and engine.editor("fast").networks is fast.networks
    assert (fast.settings().speed.calls, exact.settings().speed.calls) == (4, None)
    for editor in (fast, exact):
        assert editor.settings() == engine.check(EditConfig(), editor.preset.name)[0]


def test_what_cannot_be_opened_is_known_at_the_start() -> None:
    with pytest.raises(EngineError, match="no engine named"):
        Engine("none", "cpu")
    with pytest.raises(DeviceError, match="unknown device"):
        Engine(str(TINY), "abacus")
    with pytest.raises(SettingError, match="never measured"):
        Engine(str(TINY), "cpu", "fast")


def test_the_choice_is_what_is_opened(tuned: None) -> None:
    choice = choose(read_bundle(TINY), "cpu", preset="fast")
    assert (choice.device.name, choice.precision, choice.preset.name) == ("cpu", "fp32", "fast")
    assert choose(read_bundle(TINY), "cpu", "int8", choice.preset).precision == "int8"
