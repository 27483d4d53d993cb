"""Presets: what they may hold, where they are kept, and that none is used that nobody has measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from roentmod_fast.bundle.bundle import Bundle, read_bundle
from roentmod_fast.errors import EngineError, SettingError
from roentmod_fast.presets import (
    Preset,
    SpeedSettings,
    fastest_measured,
    find_preset,
    read_measurements,
    render_presets,
    shipped_path,
    tuned_path,
)
from roentmod_fast.runtime import backends

GOLDENS = Path(__file__).parent / "goldens"
MEASURED = {"times_exact": 3.2, "psnr_db": 41.0, "images": 2, "machine": "a machine"}
FAST = Preset("fast", SpeedSettings("fp32", "dpm++", 4), MEASURED)


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bundle:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return read_bundle(GOLDENS / "tiny_bundle")


def keep(path: Path, bundle: Bundle, *presets: Preset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_presets({preset.name: preset for preset in presets}, bundle, {"why": "a test"}))


def test_exact_takes_no_short_cut(bundle: Bundle) -> None:
    exact = find_preset(bundle)
    assert (exact.name, exact.speed, exact.price()) == ("exact", SpeedSettings("fp32"), "")
    assert (SpeedSettings().solver, SpeedSettings().calls, SpeedSettings().precision) == ("ddim", None, None)


@pytest.mark.parametrize(
    ("device", "edit_db", "precision"),
    [
        ("cuda", 60.0, "fp16"),
        ("rtx", 75.4, "fp16"),
        ("tensorrt", 75.4, "fp16"),
        ("cuda", 59.9, "fp32"),
        ("cuda", None, "fp32"),
        ("cpu", 75.4, "fp32"),
        ("openvino", 75.4, "fp32"),
    ],
)
def test_a_gpu_runs_fp16_where_the_export_vouches_for_a_whole_edit(
    bundle: Bundle, device: str, edit_db: float | None, precision: str
) -> None:
    parity = {"fp16": {} if edit_db is None else {"whole_edit": {"psnr_db": edit_db}}}
    networks = {**bundle.manifest.networks, "fp16": bundle.manifest.networks["fp32"]}
    bundle = replace(bundle, manifest=replace(bundle.manifest, networks=networks, parity=parity))
    assert find_preset(bundle, device=device).speed.precision == precision


def test_an_engine_without_fp16_runs_fp32_on_a_gpu(bundle: Bundle) -> None:
    parity = {"fp16": {"whole_edit": {"psnr_db": 99.0}}}
    bundle = replace(bundle, manifest=replace(bundle.manifest, parity=parity))
    assert find_preset(bundle, device="cuda").speed.precision == "fp32"


def test_what_was_measured_is_found_again_with_its_price(bundle: Bundle) -> None:
    keep(tuned_path(bundle, "cpu"), bundle, FAST)
    found = find_preset(bundle, "fast", "cpu")
    assert found == FAST
    measured_on = "median of 2 images on a machine, default settings"
    assert found.price() == f"3.2 times as fast as exact and 41.0 dB from it ({measured_on})"
    assert found.speed.describe() == "fp32, dpm++ in 4 steps"


def test_what_was_never_measured_is_refused(bundle: Bundle) -> None:
    keep(tuned_path(bundle, "cpu"), bundle, FAST)
    with pytest.raises(SettingError, match=r"'balanced' was never measured .* type roentmod-fast tune --engine"):
        find_preset(bundle, "balanced", "cpu")
    with pytest.raises(SettingError, match=r"on openvino: type roentmod-fast tune .* --device openvino"):
        find_preset(bundle, "fast", "openvino")
    with pytest.raises(SettingError, match="unknown preset 'quick': expected one of exact, balanced, fast"):
        find_preset(bundle, "quick", "cpu")


def test_the_users_own_measurement_goes_before_the_shipped_one(bundle: Bundle, tmp_path: Path) -> None:
    moved = Bundle(tmp_path / "engine", bundle.manifest, bundle.manifest_hash)
    keep(shipped_path(moved, "cpu"), moved, Preset("fast", SpeedSettings("fp32", "dpm++", 8), MEASURED))
    assert find_preset(moved, "fast", "cpu").speed.calls == 8
    keep(tuned_path(moved, "cpu"), moved, FAST)
    assert find_preset(moved, "fast", "cpu").speed.calls == 4


def test_a_preset_in_a_precision_that_the_machine_lacks_is_passed_over(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Bundle(tmp_path / "engine", bundle.manifest, bundle.manifest_hash)
    keep(tuned_path(moved, "openvino"), moved, Preset("fast", SpeedSettings("bf16", "dpm++", 4), MEASURED))
    device = backends.get("openvino")
    monkeypatch.setattr(device, "missing", lambda: None)
    monkeypatch.setattr(device, "bfloat16_missing", lambda: "not on this CPU")
    remedy = (
        r"'fast' was measured in bf16, which this machine does not compute, .* on openvino: type roentmod-fast tune"
    )
    with pytest.raises(SettingError, match=remedy):
        find_preset(moved, "fast", "openvino")
    assert find_preset(moved, "fast", "openvino", precision="fp32").speed.calls == 4
    keep(shipped_path(moved, "openvino"), moved, FAST)
    assert find_preset(moved, "fast", "openvino") == FAST
    # Where the device does compute so, and where a plan is made for another machine, the first one counts.
    monkeypatch.setattr(device, "bfloat16_missing", lambda: None)
    assert find_preset(moved, "fast", "openvino").speed.precision == "bf16"
    monkeypatch.setattr(device, "missing", lambda: "not installed")
    monkeypatch.setattr(device, "bfloat16_missing", lambda: 1 / 0)
    assert find_preset(moved, "fast", "openvino").speed.precision == "bf16"


def test_presets_of_another_engine_or_damaged_ones_are_an_error(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    other = Bundle(bundle.folder, bundle.manifest, "0" * 64)
    keep(path, other, FAST)
    with pytest.raises(EngineError, match="belongs to another engine"):
        read_measurements(path, bundle)
    path.write_text("{")
    with pytest.raises(EngineError, match="cannot be read"):
        read_measurements(path, bundle)
    keep(path, bundle, FAST)
    values = json.loads(path.read_text())
    values["presets"]["fast"]["speed"]["magic"] = 1
    path.write_text(json.dumps(values))
    with pytest.raises(EngineError, match="unknown speed setting magic"):
        read_measurements(path, bundle)
    assert read_measurements(tmp_path / "none.json", bundle) is None


def test_the_older_key_of_the_speed_settings_is_read(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    keep(path, bundle, FAST)
    values = json.loads(path.read_text())
    values["presets"]["fast"]["means"] = values["presets"]["fast"].pop("speed")
    path.write_text(json.dumps(values))
    found = read_measurements(path, bundle)
    assert found is not None
    assert found.presets["fast"] == FAST
    del values["presets"]["fast"]["means"]
    path.write_text(json.dumps(values))
    with pytest.raises(EngineError, match="not as expected"):
        read_measurements(path, bundle)


@pytest.mark.parametrize(
    ("speed", "message"),
    [
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"solver": "euler"}, "unknown solver 'euler'"),
        ({"calls": 0}, "calls 0 is below 1"),
    ],
)
def test_speed_settings_that_cannot_be_used(speed: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        SpeedSettings(**speed)  # type: ignore[arg-type]


def test_the_shipped_engine_is_tuned() -> None:
    from roentmod_fast.bundle.bundle import find_bundle

    phantom = find_bundle("phantom")
    for device in ("cpu", "openvino"):
        found = read_measurements(shipped_path(phantom, device), phantom)
        assert found is not None
        shipped = found.presets
        assert set(shipped) == {"balanced", "fast"}
        assert shipped["balanced"].measured["worst_db"] >= 40 and shipped["fast"].measured["worst_db"] >= 35


def test_the_fastest_measured_is_the_one_that_was_measured_so(bundle: Bundle) -> None:
    both = ("openvino", "cpu")

    def tuned(device: str, exact: float, fast: float) -> None:
        path = tuned_path(bundle, device)
        path.parent.mkdir(parents=True, exist_ok=True)
        preset = Preset("fast", SpeedSettings("fp32", "dpm++", 4), {**MEASURED, "seconds": fast})
        path.write_text(render_presets({"fast": preset}, bundle, {"exact_seconds": exact}))

    assert fastest_measured(bundle, "exact", both) == "openvino", "nothing was measured: the first"
    tuned("cpu", exact=4.0, fast=2.0)
    assert fastest_measured(bundle, "exact", both) == "openvino", "one alone tells nothing"
    tuned("openvino", exact=5.0, fast=1.0)
    assert fastest_measured(bundle, "exact", both) == "cpu"
    assert fastest_measured(bundle, "fast", both) == "openvino"
    assert fastest_measured(bundle, "balanced", both) == "openvino", "a preset that was not found on either"
