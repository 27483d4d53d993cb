"""The engine of a sitting: known at the start, opened in the thread that makes the edits, when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from roentmod_fast.bundle.bundle import find_bundle
from roentmod_fast.diffusion.schedule import Schedule
from roentmod_fast.editor import Choice, Editor, choose, timesteps_of
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import EXACT, NAMES, read_measurements, tuned_path
from roentmod_fast.settings import EditConfig, EditSettings


@dataclass
class Pace:
    """What edits with a preset have taken in this sitting, in seconds: a UNet evaluation, and all the rest."""

    evaluation: float
    rest: float


class Engine:
    """An engine by name or folder, on a device, with the presets that were measured for both.

    Raises EngineError, DeviceError and SettingError as ``Editor.load`` does, but opens nothing.
    """

    def __init__(self, engine: str | None = None, device: str = "auto", preset: str = EXACT) -> None:
        self.bundle = find_bundle(engine)
        self.preset = preset
        self.paces: dict[str, Pace] = {}
        self.choices: Mapping[str, Choice] = {preset: choose(self.bundle, device, preset=preset)}
        for name in NAMES:
            if name != preset:
                try:
                    self.choices = {**self.choices, name: choose(self.bundle, device, preset=name)}
                except SettingError:  # nobody has measured it
                    continue
        self._name = engine
        self._opened: Editor | None = None

    @property
    def typed(self) -> str:
        """How the engine is called in a command."""
        return self.bundle.name if self._name is None else self._name

    @property
    def device(self) -> str:
        """The device on which the preset of the start runs."""
        return self.choices[self.preset].device.name

    def choice(self, preset: str) -> Choice:
        """Return how the engine runs with a preset. Raises SettingError for one that is not to be had."""
        if preset not in self.choices:
            raise SettingError(f"preset {preset!r}: expected one of {', '.join(self.choices)}")
        return self.choices[preset]

    def check(self, config: EditConfig, preset: str) -> tuple[EditSettings, int]:
        """Return the settings of an edit and how many UNet evaluations it takes, without the networks.

        Raises SettingError as ``Editor.settings`` does.
        """
        choice, manifest = self.choice(preset), self.bundle.manifest
        speed = replace(choice.preset.speed, precision=choice.precision)
        settings = EditSettings.of(config, manifest.edit, manifest.model, speed)
        return settings, len(timesteps_of(Schedule(**manifest.model.schedule), settings))

    def editor(self, preset: str) -> Editor:
        """Return the editor for a preset, opened at its first use; call it in one thread.

        The networks of one precision on one device are open at a time.
        """
        choice, opened = self.choice(preset), self._opened
        if opened is not None and opened.device is choice.device and opened.networks.precision == choice.precision:
            return opened if opened.preset == choice.preset else opened.with_preset(choice.preset)
        self._opened = opened = None
        self._opened = Editor.load(self._name, choice.device.name, preset=choice.preset)
        return self._opened

    def note_pace(self, preset: str, evaluations: int, seconds: float, whole: float) -> None:
        """Take down that an edit took ``whole`` seconds, of which the evaluations took ``seconds``."""
        if evaluations:
            self.paces[preset] = Pace(seconds / evaluations, max(whole - seconds, 0.0))

    def seconds(self, preset: str, evaluations: int) -> float | None:
        """Return what an edit will take: by this sitting, else by ``tune`` on this machine, else None."""
        pace = self.paces.get(preset)
        if pace is not None:
            return pace.rest + pace.evaluation * evaluations
        measured = read_measurements(tuned_path(self.bundle, self.choice(preset).device.name), self.bundle)
        seconds = None if measured is None else measured.seconds(preset)
        usual = self.check(EditConfig(), preset)[1]
        return None if seconds is None or not usual else seconds * evaluations / usual

    def facts(self) -> dict[str, Any]:
        """Return what the page shows of the engine."""
        edit = self.bundle.manifest.edit
        return {
            "engine": self.bundle.name,
            "notice": self.bundle.manifest.notice,
            "device": self.device,
            "presets": [
                {
                    "name": name,
                    "seconds": self.seconds(name, self.check(EditConfig(), name)[1]),
                    "price": self.choices[name].preset.price(),
                }
                for name in NAMES
                if name in self.choices
            ],
            "defaults": {
                "strength": edit.strength,
                "guidance": edit.guidance,
                "steps": edit.steps,
                "seed": EditConfig().seed,
                "preset": self.preset,
                "compose": EditConfig().compose,
            },
        }
