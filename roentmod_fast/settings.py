"""How an edit is made: what the user asks for, and the same with every choice made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypedDict

from roentmod_fast.bundle.manifest import EditDefaults, Model
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import SpeedSettings

COMPOSE_MODES = ("contrast", "delta", "replace")
DEFAULT_COMPOSE = "contrast"


@dataclass(frozen=True)
class EditConfig:
    """Settings of an edit; ``None`` leaves the choice to the engine's manifest.

    ``strength``: share of the noise schedule that is run, in [0, 1]; 0 runs no step. ``guidance``: scale of
    classifier-free guidance, 1 or less is none. ``steps``: of the full schedule; ``strength`` of them are run.
    ``seed``: of the noise, 0 or more, taken modulo 2**32. ``compose``: how the decoded edit is put into the source, see
    :mod:`roentmod_fast.radiograph.compose`. ``solver`` and ``calls`` are two of the
    :class:`roentmod_fast.presets.SpeedSettings`; ``None`` is the preset's.
    """

    strength: float | None = None
    guidance: float | None = None
    steps: int | None = None
    seed: int = 0
    compose: str = DEFAULT_COMPOSE
    solver: str | None = None
    calls: int | None = None

    def replaced(self, settings: EditKeywords) -> EditConfig:
        """Return the same with ``settings`` that are not None in place of its own."""
        return replace(self, **{name: value for name, value in settings.items() if value is not None})  # type: ignore[arg-type]


class EditKeywords(TypedDict, total=False):
    """The fields of :class:`EditConfig` as keywords."""

    strength: float | None
    guidance: float | None
    steps: int | None
    seed: int | None
    compose: str | None
    solver: str | None
    calls: int | None


@dataclass(frozen=True)
class EditSettings:
    """An :class:`EditConfig` with every choice made and checked."""

    strength: float
    guidance: float
    steps: int
    seed: int
    compose: str
    speed: SpeedSettings

    @classmethod
    def of(cls, config: EditConfig, defaults: EditDefaults, model: Model, preset: SpeedSettings) -> EditSettings:
        """Fill in the engine's and the preset's. Raises :class:`SettingError` for a value that cannot be used."""
        named = {name: getattr(config, name) for name in ("solver", "calls")}
        speed = replace(preset, **{name: value for name, value in named.items() if value is not None})
        strength = defaults.strength if config.strength is None else config.strength
        guidance = defaults.guidance if config.guidance is None else config.guidance
        steps = defaults.steps if config.steps is None else config.steps
        if not math.isfinite(guidance):
            raise SettingError(f"guidance {guidance} is no number: give 1 for none, the paper's value is 4")
        if not 1 <= steps <= model.train_timesteps:
            raise SettingError(f"steps {steps} is outside 1 to {model.train_timesteps}: the usual number is 50")
        if config.seed < 0:
            raise SettingError(f"seed {config.seed} is negative: give 0 or more")
        if config.compose not in COMPOSE_MODES:
            raise SettingError(f"unknown compose mode {config.compose!r}: expected one of {', '.join(COMPOSE_MODES)}")
        return cls(float(strength), float(guidance), int(steps), int(config.seed), config.compose, speed)
