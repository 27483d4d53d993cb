"""Tuning, on the tiny engine: what is measured is true, and nothing that misses the threshold becomes a preset."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roentmod_fast import tune as tune_module
from roentmod_fast.bundle.bundle import read_bundle
from roentmod_fast.editor import Editor
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import SpeedSettings
from roentmod_fast.radiograph.metrics import change_statistics
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.backends.cpu import CPU
from roentmod_fast.runtime.backends.cuda import CUDA
from roentmod_fast.runtime.backends.openvino import OPENVINO
from roentmod_fast.settings import EditConfig
from roentmod_fast.tune import CALLS, Trial, tune

BUNDLE = Path(__file__).parent / "goldens" / "tiny_bundle"
IMAGE = np.random.default_rng(0).random((64, 64), dtype=np.float32)


def test_a_trial_says_what_its_edit_shows(logged: list[str]) -> None:
    tuning = tune(read_bundle(BUNDLE), CPU, [IMAGE], ["edema"])
    lines = list(logged)
    trial = next(trial for trial in tuning.trials if trial.speed == SpeedSettings("fp32", "dpm++", 5))
    editor = Editor.load(BUNDLE, "cpu")
    exact = editor.edit(IMAGE, "edema", EditConfig(compose="replace"))
    quick = editor.edit(IMAGE, "edema", EditConfig(compose="replace", solver="dpm++", calls=5))
    assert (exact.unet_calls, quick.unet_calls) == (20, 5)
    assert trial.psnr_db == pytest.approx(change_statistics(exact.decoded, quick.decoded).psnr_db)
    assert trial.seconds > 0 and tuning.exact_seconds > 0  # which is less is the machine's affair
    assert len([line for line in lines if "times exact" in line or line.startswith("exact: ")]) == 1 + len(
        tuning.trials
    )


def test_the_threshold_decides() -> None:
    bundle = read_bundle(BUNDLE)
    none = tune(bundle, CPU, [IMAGE], ["edema"], min_psnr=300.0)
    assert none.presets == {}
    trial = Trial(
        SpeedSettings("int8"),
        psnr_db=45.0,
        worst_db=41.0,
        ssim=0.99,
        effect_ratio=1.0,
        farthest_effect_ratio=0.94,
        seconds=1.0,
    )
    assert trial.holds("fast", 35.0)
    assert not trial.holds("balanced", 35.0)  # makes too little of the change
    assert replace(trial, farthest_effect_ratio=0.96).holds("balanced", 35.0)
    assert not replace(trial, farthest_effect_ratio=0.96, worst_db=39.9).holds("balanced", 35.0)
    assert not replace(trial, farthest_effect_ratio=1.2).holds("fast", 35.0)


def tuned_as_if(
    device: Backend, seconds: dict[str, float], lacks: str | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], list[SpeedSettings]]:
    """Tune where an edit in each precision takes ``seconds``; return what was opened and tried.

    The edits are the CPU's, and float32 stands for every precision.
    """
    bundle = read_bundle(BUNDLE)
    full = bundle.manifest.networks["fp32"]
    every = replace(bundle.manifest, networks=dict.fromkeys(("fp32", "fp16", "int8"), full))
    opened: list[str] = []
    real = Editor.load

    def load(folder: Path, name: str, precision: str) -> Editor:
        assert name == device.name
        opened.append(precision)
        editor = real(folder, "cpu", "fp32")
        editor.networks = replace(editor.networks, precision=precision)
        return editor

    def timed(editor: Editor, speed: SpeedSettings, exact: list[Any]) -> Trial:
        assert editor.networks.precision == speed.precision
        return Trial(speed, 50.0, 50.0, 1.0, 1.0, 1.0, seconds[editor.networks.precision])

    monkeypatch.setattr(Editor, "load", load)
    monkeypatch.setattr(tune_module, "_try", timed)
    monkeypatch.setattr(device, "bfloat16_missing", lambda: lacks)
    tuning = tune(replace(bundle, manifest=every), device, [IMAGE], ["edema"])
    return opened, [trial.speed for trial in tuning.trials]


@pytest.mark.parametrize(
    ("device", "lacks", "tried"),
    [
        (CPU, "no bfloat16", ["fp32", "int8"]),
        (OPENVINO, "no bfloat16", ["fp32", "int8"]),
        (OPENVINO, None, ["fp32", "bf16", "int8", "int8-bf16"]),
        (CUDA, "no bfloat16", ["fp32", "fp16"]),
    ],
)
def test_what_a_device_may_be_quick_in_is_tried(
    device: Backend, lacks: str | None, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = dict.fromkeys(tried, 0.0001) | {"fp32": 1e-3}
    opened, speed = tuned_as_if(device, quick, lacks, monkeypatch)
    assert opened == tried
    for precision in tried:
        calls = [each.calls for each in speed if each.precision == precision]
        assert calls == [*CALLS, *([] if precision == "fp32" else [None])]


def test_only_the_precisions_that_are_named_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = read_bundle(BUNDLE)
    monkeypatch.setattr(tune_module, "_try", lambda editor, speed, exact: Trial(speed, 50.0, 50.0, 1.0, 1.0, 1.0, 1e-4))
    tuning = tune(bundle, CPU, [IMAGE], ["edema"], precisions=["fp32"])
    assert {trial.speed.precision for trial in tuning.trials} == {"fp32"}
    with pytest.raises(SettingError, match="precision 'int8' cannot be tried: engine tiny has fp32 on cpu"):
        tune(bundle, CPU, [IMAGE], ["edema"], precisions=["fp32", "int8"])


def test_a_precision_that_gains_nothing_is_tried_once(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    seconds = {"fp32": 1e-4, "bf16": 1e-4, "int8": 9e-5, "int8-bf16": 2e-4}
    _, speed = tuned_as_if(OPENVINO, seconds, None, monkeypatch)
    tries = Counter(each.precision for each in speed)
    assert tries == {"fp32": len(CALLS), "bf16": 1, "int8": len(CALLS) + 1, "int8-bf16": 1}
    assert [text for text in logged if "no faster" in text] == [
        f"{precision} is no faster than fp32 here: not tried further" for precision in ("bf16", "int8-bf16")
    ]
