"""What passes between the stages of an edit: placed, prepared and decoded radiographs, and their seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.diffusion.schedule import Timesteps
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.settings import EditSettings

Array = NDArray[np.float32]


@dataclass
class Stopwatch:
    """Seconds spent in each named stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the ``with`` block to ``stage``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - started)

    def add_share(self, seconds: Mapping[str, float], count: int) -> None:
        """Add to each stage one ``count``-th of its ``seconds``: what one of ``count`` equal parts of a batch took."""
        for stage, value in seconds.items():
            self._add(stage, value / count)

    def _add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass(eq=False)
class Placed:
    """A radiograph placed for the engine, before any network has seen it.

    ``square``: float32 (S, S) in [0, 1], in the engine's size. ``encoder_noise`` and ``noise``: the draw of the encoder
    and the noise that is added, (1, channels, s, s). ``region``: where to edit, float32 (H, W) in [0, 1], None for
    everywhere; ``latent_region``, float32 (1, 1, s, s), is 1 for the latents that it touches and 0 for those that are
    held to the source.
    """

    radiograph: Radiograph
    letterbox: Letterbox
    settings: EditSettings
    timesteps: Timesteps
    square: Array
    encoder_noise: Array
    noise: Array
    watch: Stopwatch
    region: Array | None
    latent_region: Array | None

    @property
    def latent_region_or_all(self) -> Array:
        """:attr:`latent_region`, or 1 everywhere."""
        shape = (1, 1, *self.noise.shape[2:])
        return np.ones(shape, dtype=np.float32) if self.latent_region is None else self.latent_region


@dataclass(eq=False)
class Prepared(Placed):
    """A radiograph made ready once for any number of prompts.

    ``x_0``: its scaled latents, (1, channels, s, s). ``reference``: what its edits are compared with when they are put
    back, decoded (S, S); made with the first edit, the same for all prompts.
    """

    x_0: Array
    reference: Array | None = None


@dataclass(frozen=True, eq=False)
class Decoded:
    """An edit as the engine made it, ``image`` (S, S) in [0, 1], not yet put into the source.

    The rest as in :class:`EditResult`, ``seconds`` up to here.
    """

    prepared: Prepared
    prompt: str
    image: Array
    seconds: dict[str, float]
    unet_calls: int
    truncated: str
