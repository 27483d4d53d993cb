"""Tuning, on the tiny engine: what is measured is true, and nothing that misses the wish becomes a preset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roentmod_fast.editor import EditConfig, Editor
from roentmod_fast.engine.bundle import read_bundle
from roentmod_fast.engine.devices import CPU, CUDA, Device
from roentmod_fast.presets import Means
from roentmod_fast.radiograph.compose import change_statistics
from roentmod_fast.tune import Trial, tune

BUNDLE = Path(__file__).parent / "goldens" / "tiny_bundle"
IMAGE = np.random.default_rng(0).random((64, 64), dtype=np.float32)


def test_a_trial_says_what_its_edit_shows() -> None:
    told: list[str] = []
    tuning = tune(read_bundle(BUNDLE), CPU, [IMAGE], ["edema"], say=told.append)
    trial = next(trial for trial in tuning.trials if trial.means == Means("fp32", "dpm++", 5))
    editor = Editor.load(BUNDLE, "cpu")
    exact = editor.edit(IMAGE, "edema", EditConfig(compose="replace"))
    quick = editor.edit(IMAGE, "edema", EditConfig(compose="replace", solver="dpm++", calls=5))
    assert (exact.unet_calls, quick.unet_calls) == (20, 5)
    assert trial.psnr_db == pytest.approx(change_statistics(exact.decoded, quick.decoded).psnr_db)
    assert 0 < trial.seconds < tuning.exact_seconds
    assert len(told) == 1 + len(tuning.trials)


def test_the_wish_decides() -> None:
    bundle = read_bundle(BUNDLE)
    none = tune(bundle, CPU, [IMAGE], ["edema"], min_psnr=300.0)
    assert none.presets == {}
    trial = Trial(Means("int8"), psnr_db=45.0, worst_db=41.0, ssim=0.99, kept=1.0, farthest_kept=0.94, seconds=1.0)
    assert trial.holds("fast", 35.0)
    assert not trial.holds("balanced", 35.0)  # makes too little of the change
    assert replace(trial, farthest_kept=0.96).holds("balanced", 35.0)
    assert not replace(trial, farthest_kept=0.96, worst_db=39.9).holds("balanced", 35.0)
    assert not replace(trial, farthest_kept=1.2).holds("fast", 35.0)


@pytest.mark.parametrize(("device", "tried"), [(CPU, ["fp32", "int8"]), (CUDA, ["fp32", "fp16"])])
def test_a_card_tries_half_precision_and_a_processor_int8(
    device: Device, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no card here: the edits are the processor's, and float32 stands for every precision."""
    bundle = read_bundle(BUNDLE)
    full = bundle.manifest.networks["fp32"]
    every = replace(bundle.manifest, networks=dict.fromkeys(("fp32", "fp16", "int8"), full))
    opened: list[str] = []

    def load(folder: Path, name: str, precision: str) -> Editor:
        assert name == device.name
        opened.append(precision)
        editor = real(folder, "cpu", "fp32")
        editor.networks = replace(editor.networks, precision=precision)
        return editor

    real = Editor.load
    monkeypatch.setattr(Editor, "load", load)
    tuning = tune(replace(bundle, manifest=every), device, [IMAGE], ["edema"])
    assert opened == tried
    assert list(dict.fromkeys(trial.means.precision for trial in tuning.trials)) == tried
    assert Means(tried[1]) in [trial.means for trial in tuning.trials]


def test_the_first_step_without_text_is_shared() -> None:
    """One look at the network fewer for the edit without text: the first one is that of the edit with text."""
    editor = Editor.load(BUNDLE, "cpu")
    looks: list[int] = []
    predict = editor.networks.predict

    def spy(latents: np.ndarray, timestep: int, states: np.ndarray) -> np.ndarray:
        looks.extend([timestep] * len(latents))
        return predict(latents, timestep, states)

    object.__setattr__(editor.networks, "predict", spy)
    prepared = editor.prepare(IMAGE, EditConfig(steps=10))
    editor.apply(prepared, "edema")
    assert len(looks) == 3 * 4 - 1
    looks.clear()
    editor.apply(prepared, "hernia")
    assert len(looks) == 2 * 4 - 1
