"""Presets: named trades of fidelity for time.

``exact`` is the reference and always there. ``balanced`` and ``fast`` belong to an engine and a machine: they are
measured (:mod:`roentmod_fast.tune`) and stored with what they cost, which is shown at each use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.bundle.manifest import BFLOAT16, PRECISIONS
from roentmod_fast.diffusion.denoise import SOLVERS
from roentmod_fast.errors import EngineError, SettingError
from roentmod_fast.folders import data_folder
from roentmod_fast.runtime import backends

FORMAT = 1
HALF_EDIT_DB = 60.0
"""The PSNR in dB from which fp16 is a GPU's default: a quarter of a grey level of 8 bit, root mean square."""

EXACT = "exact"
NAMES = (EXACT, "balanced", "fast")


@dataclass(frozen=True)
class SpeedSettings:
    """Settings that trade fidelity for speed; the defaults are exact.

    ``precision``: of the networks, None for the device's own. ``solver``: ``ddim`` or ``dpm++``, DPM-Solver++(2M).
    ``calls``: of the UNet for one edit, None for as many as steps and strength say; the noise level at the start does
    not depend on it. Raises :class:`SettingError` for a value that cannot be used.
    """

    precision: str | None = None
    solver: str = "ddim"
    calls: int | None = None

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISIONS:
            raise SettingError(f"unknown precision {self.precision!r}: expected one of {', '.join(PRECISIONS)}")
        if self.solver not in SOLVERS:
            raise SettingError(f"unknown solver {self.solver!r}: expected one of {', '.join(SOLVERS)}")
        if self.calls is not None and self.calls < 1:
            raise SettingError(f"calls {self.calls} is below 1: give a number such as 10")

    def describe(self) -> str:
        """Return the settings in a few words, empty for the defaults."""
        parts = [] if self.precision is None else [self.precision]
        if self.solver != "ddim" or self.calls is not None:
            parts.append(self.solver if self.calls is None else f"{self.solver} in {self.calls} steps")
        return ", ".join(parts)


@dataclass(frozen=True)
class Preset:
    """A name for speed settings, with what :mod:`roentmod_fast.tune` measured of them (empty for ``exact``)."""

    name: str
    speed: SpeedSettings
    measured: Mapping[str, Any] = field(default_factory=dict)

    def price(self) -> str:
        """Return its speed and fidelity as they were measured."""
        if not self.measured:
            return ""
        return (
            f"{self.measured['times_exact']:.1f} times as fast as exact and {self.measured['psnr_db']:.1f} dB from it "
            f"(median of {self.measured['images']} images on {self.measured['machine']}, default settings)"
        )


@dataclass(frozen=True)
class Measurements:
    """What was measured of an engine on a machine: presets by name, and the seconds of an exact edit, if known."""

    presets: Mapping[str, Preset]
    exact_seconds: float | None = None

    def seconds(self, name: str) -> float | None:
        """Return what an edit took with the preset ``name``, None where that was not measured."""
        if name == EXACT:
            return self.exact_seconds
        return self.presets[name].measured.get("seconds") if name in self.presets else None


def find_preset(bundle: Bundle, name: str = EXACT, device: str = "cpu", precision: str | None = None) -> Preset:
    """Return the preset ``name`` of an engine on ``device``.

    What this user has measured comes before what the engine was shipped with, and what was measured in a precision that
    the device lacks here is passed over, but where ``precision`` is run in place of it. Raises :class:`SettingError`
    for an unknown name and for one that is left with no measurement.
    """
    if name not in NAMES:
        raise SettingError(f"unknown preset {name!r}: expected one of {', '.join(NAMES)}")
    if name == EXACT:
        return Preset(EXACT, SpeedSettings(default_precision(bundle, device)))
    why = "was never measured"
    for path in (tuned_path(bundle, device), shipped_path(bundle, device)):
        found = read_measurements(path, bundle)
        if found is None or name not in found.presets:
            continue
        preset = found.presets[name]
        measured = preset.speed.precision
        if precision is not None or measured not in BFLOAT16 or not _lacks_bfloat16(device):
            return preset
        why = f"was measured in {measured}, which this machine does not compute,"
    raise SettingError(
        f"preset {name!r} {why} for engine {bundle.name} on {device}: type roentmod-fast tune "
        f"--engine {bundle.name} --device {device}"
    )


def _lacks_bfloat16(device: str) -> bool:
    """Tell whether a device that is here does not compute in bfloat16; one that is not is taken to."""
    backend = backends.get(device)
    return backend.missing() is None and backend.bfloat16_missing() is not None


def default_precision(bundle: Bundle, device: str) -> str:
    """Return the precision that an engine is run in on ``device`` unless another one is asked for.

    On a GPU that is fp16 where the parity of a whole edit is at least :data:`HALF_EDIT_DB`, else fp32.
    """
    psnr = half_edit_db(bundle)
    half = backends.get(device).fp16_by_default and psnr is not None and psnr >= HALF_EDIT_DB
    return "fp16" if half else "fp32"


def half_edit_db(bundle: Bundle) -> float | None:
    """Return the PSNR of a whole edit in fp16 to the checkpoint's, in dB, by the manifest; None where it has none."""
    if "fp16" not in bundle.manifest.networks:
        return None
    psnr = bundle.manifest.parity.get("fp16", {}).get("whole_edit", {}).get("psnr_db")
    return None if psnr is None else float(psnr)


def fastest_measured(bundle: Bundle, name: str, devices: Sequence[str]) -> str:
    """Return that of ``devices`` on which this user measured the preset ``name`` as fastest.

    The first where any of them was not measured. What an engine is shipped with was measured on another machine and is
    not asked.
    """
    if len(devices) == 1:
        return devices[0]
    found = {device: read_measurements(tuned_path(bundle, device), bundle) for device in devices}
    seconds = {device: values.seconds(name) for device, values in found.items() if values is not None}
    known = {device: value for device, value in seconds.items() if value is not None}
    return min(known, key=lambda device: known[device]) if len(known) == len(devices) else devices[0]


def tuned_path(bundle: Bundle, device: str) -> Path:
    """Return where this user's measurements of an engine are stored: by the hash of its manifest."""
    return data_folder() / "tuned" / f"{bundle.manifest_hash[:16]}.{device}.json"


def shipped_path(bundle: Bundle, device: str) -> Path:
    """Return where measurements lie that come with the engine."""
    return bundle.folder / f"presets.{device}.json"


def read_measurements(path: Path, bundle: Bundle) -> Measurements | None:
    """Read what was measured of an engine, None where there is no file.

    Raises :class:`EngineError` for a file that is damaged or belongs to another engine.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EngineError(f"{path}: cannot be read ({error}): remove it and tune again") from None
    try:
        if raw["format"] != FORMAT or raw["manifest_sha256"] != bundle.manifest_hash:
            raise EngineError(f"{path}: belongs to another engine or version: remove it and tune again")
        presets = {
            name: Preset(name, _speed_settings(values), values["measured"]) for name, values in raw["presets"].items()
        }
        seconds = raw.get("exact_seconds")
        return Measurements(presets, None if seconds is None else float(seconds))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineError(f"{path}: not as expected ({error}): remove it and tune again") from None


def render_presets(presets: Mapping[str, Preset], bundle: Bundle, evidence: Mapping[str, Any]) -> str:
    """Return the text that :func:`read_measurements` reads back; ``evidence`` is stored along with it."""
    values = {
        "format": FORMAT,
        "manifest_sha256": bundle.manifest_hash,
        "presets": {
            name: {"speed": asdict(preset.speed), "measured": dict(preset.measured)} for name, preset in presets.items()
        },
        **evidence,
    }
    return json.dumps(values, indent=1) + "\n"


def _speed_settings(preset: Mapping[str, Any]) -> SpeedSettings:
    """Return the speed settings of a stored preset, under ``speed``, in older files under ``means``."""
    values = preset["means"] if "speed" not in preset and "means" in preset else preset["speed"]
    unknown = values.keys() - {item.name for item in fields(SpeedSettings)}
    if unknown:
        raise KeyError(f"unknown speed setting {', '.join(sorted(unknown))}")
    return SpeedSettings(**values)
