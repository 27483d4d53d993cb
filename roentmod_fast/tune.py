"""Measure what speed-ups cost an engine on this machine, and store those that are worth it as presets.

Radiographs are edited exactly, then with each candidate: fewer sampling steps by DPM-Solver++, and the precisions
beside float32 that may be fast on the device, where the bundle has them. A candidate is compared with the exact edit of
the same radiograph, prompt and seed. A precision that is no faster than float32 is not tried further.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.editor import Editor
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import EXACT, Preset, SpeedSettings
from roentmod_fast.radiograph.metrics import change_statistics
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.settings import EditConfig

Array = NDArray[np.float32]
logger = logging.getLogger(__name__)

CALLS = (3, 4, 5, 6, 8, 10)
"""Numbers of sampling steps that are tried."""

MIN_PSNR = 35.0
"""Lowest PSNR of the worst edit of ``fast`` to the exact edit, in dB."""

BALANCED_MARGIN = 5.0
"""How many dB ``balanced`` is closer."""

EFFECT_RATIO = {"fast": (0.9, 1.1), "balanced": (0.95, 1.05)}
"""Bounds of a preset's change over the exact edit's change; more is as wrong as less."""

PRECISIONS_ON_CPU = ("fp32", "bf16", "int8", "int8-bf16")
"""What is tried on a CPU, which computes half precision slower than float32."""

PERFECT_DB = 200.0
"""The PSNR of two images that are equal."""


@dataclass(frozen=True)
class Trial:
    """What was measured of one candidate over all edits.

    ``psnr_db``, ``worst_db``, ``ssim``: of its images against the exact ones, median and lowest; ``effect_ratio``: its
    change over the exact edit's change, median, and the value farthest from 1; ``seconds``: of one edit, median.
    """

    speed: SpeedSettings
    psnr_db: float
    worst_db: float
    ssim: float
    effect_ratio: float
    farthest_effect_ratio: float
    seconds: float

    def holds(self, name: str, min_psnr: float) -> bool:
        """Return whether it is good enough for the preset ``name``."""
        low, high = EFFECT_RATIO[name]
        least = min_psnr + (BALANCED_MARGIN if name == "balanced" else 0.0)
        return self.worst_db >= least and low <= self.farthest_effect_ratio <= high


@dataclass(frozen=True)
class _Exact:
    """An exact edit: ``decoded`` and the same without any edit, (S, S)."""

    image: Array
    prompt: str
    seed: int
    decoded: Array
    base: Array
    seconds: float


@dataclass(frozen=True)
class Tuning:
    """All trials, the seconds of an exact edit (median), and the presets that were chosen."""

    exact_seconds: float
    trials: tuple[Trial, ...]
    presets: dict[str, Preset]


def tune(
    bundle: Bundle,
    device: Backend,
    images: Sequence[Array],
    prompts: Sequence[str],
    *,
    precisions: Sequence[str] = (),
    min_psnr: float = MIN_PSNR,
    machine: str = "",
) -> Tuning:
    """Measure the candidates on ``images``, float32 (H, W) in [0, 1], each towards each prompt; choose presets.

    ``precisions``: to try, by default those that may pay; one is in memory at a time. Raises :class:`SettingError` for
    one that the engine or the device lacks, :class:`EngineError` and :class:`DeviceError` as ``Editor.load`` does.
    """
    available = device.precisions(bundle)
    lacking = [precision for precision in precisions if precision not in available]
    if lacking:
        raise SettingError(
            f"precision {lacking[0]!r} cannot be tried: engine {bundle.name} has {', '.join(available)} on {device}"
        )
    tried = precisions or (available if device.is_gpu else PRECISIONS_ON_CPU)
    editor = Editor.load(bundle.folder, device.name, "fp32")
    exact = [_edit_exactly(editor, image, prompt, seed) for seed, image in enumerate(images) for prompt in prompts]
    exact_seconds = statistics.median(edit.seconds for edit in exact)
    logger.info(f"exact: {exact_seconds:.2f} s")
    trials: list[Trial] = []
    in_float32: dict[int | None, float] = {None: exact_seconds}  # by number of calls
    for precision in [precision for precision in tried if precision in available]:
        if precision != editor.networks.precision:
            del editor
            editor = Editor.load(bundle.folder, device.name, precision)
            # What is done once in the first edit is not a cost of the precision.
            editor.edit(images[0], prompts[0], EditConfig(compose="replace", solver="dpm++", calls=2))
        for speed in _candidates(precision):
            trial = _try(editor, speed, exact)
            trials.append(trial)
            logger.info(describe(trial, exact_seconds))
            if precision == "fp32":
                in_float32[speed.calls] = trial.seconds
            elif trial.seconds >= in_float32.get(speed.calls, math.inf):
                logger.info(f"{precision} is no faster than fp32 here: not tried further")
                break
    presets = {}
    for name in EFFECT_RATIO:
        good = [trial for trial in trials if trial.holds(name, min_psnr) and trial.seconds < exact_seconds]
        if good:
            best = min(good, key=lambda trial: trial.seconds)
            measured = {
                "times_exact": round(exact_seconds / best.seconds, 2),
                "psnr_db": round(best.psnr_db, 1),
                "worst_db": round(best.worst_db, 1),
                "ssim": round(best.ssim, 4),
                "effect_ratio": round(best.effect_ratio, 3),
                "seconds": round(best.seconds, 3),
                "images": len(images),
                "prompts": len(prompts),
                "machine": machine,
            }
            presets[name] = Preset(name, best.speed, measured)
    return Tuning(exact_seconds, tuple(trials), presets)


def describe(trial: Trial, exact_seconds: float) -> str:
    """Return a trial as one line."""
    return (
        f"{trial.speed.describe()}: {trial.seconds:.2f} s, {exact_seconds / trial.seconds:.1f} times {EXACT}, "
        f"{trial.psnr_db:.1f} dB (worst {trial.worst_db:.1f}), SSIM {trial.ssim:.3f}, "
        f"{100 * trial.effect_ratio:.0f} % of the change (farthest {100 * trial.farthest_effect_ratio:.0f} %)"
    )


def _candidates(precision: str) -> Iterator[SpeedSettings]:
    for calls in CALLS:
        yield SpeedSettings(precision, "dpm++", calls)
    if precision != "fp32":
        yield SpeedSettings(precision)


def _edit_exactly(editor: Editor, image: Array, prompt: str, seed: int) -> _Exact:
    prepared = editor.prepare(image, EditConfig(seed=seed, compose="replace"))
    result = editor.apply(prepared, prompt)
    return _Exact(image, prompt, seed, result.decoded, editor.reconstruct(prepared), sum(result.seconds.values()))


def _try(editor: Editor, speed: SpeedSettings, exact: Sequence[_Exact]) -> Trial:
    psnr, ssim, ratios, seconds = [], [], [], []
    for edit in exact:
        config = EditConfig(seed=edit.seed, compose="replace", solver=speed.solver, calls=speed.calls)
        result = editor.edit(edit.image, edit.prompt, config)
        change = change_statistics(edit.decoded, result.decoded)
        psnr.append(PERFECT_DB if change.psnr_db is None else change.psnr_db)
        ssim.append(change.ssim)
        wanted, made = edit.decoded - edit.base, result.decoded - edit.base
        ratios.append(float((wanted * made).sum() / max(float((wanted * wanted).sum()), 1e-12)))
        seconds.append(sum(result.seconds.values()))
    return Trial(
        speed=speed,
        psnr_db=statistics.median(psnr),
        worst_db=min(psnr),
        ssim=statistics.median(ssim),
        effect_ratio=statistics.median(ratios),
        farthest_effect_ratio=max(ratios, key=lambda ratio: abs(ratio - 1)),
        seconds=statistics.median(seconds),
    )
