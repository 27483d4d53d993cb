"""The noise schedule: how much of the image is left at each timestep, and which timesteps an edit visits.

``alpha_bar[t]`` is the share of signal in the noised latents, x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise
(Ho et al. 2020, eq. 4). The facts come from the checkpoint, the number of steps and the strength from the user. Numbers
and timesteps are those of diffusers' ``DDIMScheduler`` and ``StableDiffusionImg2ImgPipeline.get_timesteps``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError

Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
TIMESTEP_SPACINGS = ("leading", "trailing", "linspace")
PREDICTIONS = ("epsilon", "v_prediction")

CALLS_POWER = 1.5
"""How the timesteps of a given number of calls are spread: the n-th of N from the end is at (n / N) to this power.

With DPM-Solver++ in 4 to 6 calls it comes nearer to all steps than even spacing does (``benchmarks/settings.py``).
"""


@dataclass(frozen=True)
class Timesteps:
    """The timesteps of a run: each step leads from ``t`` to ``t_prev``, both int64, descending, of one length.

    A ``t_prev`` below 0 is the finished latents.
    """

    t: Int64Array
    t_prev: Int64Array

    @property
    def start(self) -> int:
        """The timestep that the source is noised to."""
        return int(self.t[0])

    def __len__(self) -> int:
        return len(self.t)


@dataclass(frozen=True)
class Schedule:
    """The facts of one checkpoint's noise schedule; the defaults are Stable Diffusion's.

    ``alpha_bar``: float32 (train_timesteps,), read-only, falling from nearly 1 to nearly 0. ``final_alpha_bar``: what
    the last step arrives at. Raises ``ValueError`` for a fact that is not known here.
    """

    train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    set_alpha_to_one: bool = False
    steps_offset: int = 1
    timestep_spacing: str = "leading"
    prediction: str = "epsilon"
    alpha_bar: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, known in (
            ("beta_schedule", BETA_SCHEDULES),
            ("timestep_spacing", TIMESTEP_SPACINGS),
            ("prediction", PREDICTIONS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown: expected one of {', '.join(known)}")
        alphas = np.float32(1) - _betas(self)
        # torch.cumprod keeps its running product of float32 values in float64.
        alpha_bar = np.cumprod(alphas, dtype=np.float64).astype(np.float32)
        alpha_bar.flags.writeable = False
        object.__setattr__(self, "alpha_bar", alpha_bar)

    @property
    def final_alpha_bar(self) -> np.float32:
        """The ``alpha_bar`` of the finished latents: 1, or that of timestep 0 as Stable Diffusion was trained."""
        final: np.float32 = np.float32(1) if self.set_alpha_to_one else self.alpha_bar[0]
        return final

    def alpha_bar_at(self, timestep: int) -> np.float32:
        """Return ``alpha_bar`` at ``timestep``; below 0 lie the finished latents."""
        alpha_bar: np.float32 = self.alpha_bar[timestep] if timestep >= 0 else self.final_alpha_bar
        return alpha_bar

    def timesteps(self, steps: int) -> Int64Array:
        """Return the timesteps of a whole run of ``steps`` steps, int64, descending (Lin et al. 2024, table 2).

        Raises :class:`SettingError` for steps outside [1, train_timesteps].
        """
        if not 1 <= steps <= self.train_timesteps:
            raise SettingError(f"steps {steps} is outside [1, {self.train_timesteps}]: use a number in it, such as 50")
        if self.timestep_spacing == "leading":
            stride = self.train_timesteps // steps
            return np.arange(steps, dtype=np.int64)[::-1] * stride + self.steps_offset
        if self.timestep_spacing == "trailing":
            descending = np.arange(self.train_timesteps, 0, -self.train_timesteps / steps).round() - 1
        else:
            descending = np.linspace(0, self.train_timesteps - 1, steps)[::-1].round()
        return np.asarray(descending, dtype=np.int64)

    def partial(self, steps: int, strength: float) -> Int64Array:
        """Return the timesteps of an edit: the last ``int(steps * strength)`` of a whole run, int64, descending.

        The first of them is the timestep that the source is noised to; strength 0 gives none. Raises
        :class:`SettingError` for a strength that is not in [0, 1] or, above 0, gives no step, and for steps that begin
        above the last trained timestep.
        """
        if not 0 <= strength <= 1:  # also NaN
            raise SettingError(f"strength {strength:g} is outside [0, 1]: use a number in it, such as 0.4")
        whole = self.timesteps(steps)
        # Rounded down from the float product, as in diffusers: 50 steps at strength 0.58 are 28, not 29.
        count = int(steps * strength)
        if strength == 0:
            return whole[:0]
        if count == 0:
            least = math.ceil(1000 / steps) / 1000
            raise SettingError(
                f"strength {strength:g} with {steps} steps gives no step: use a strength of at least {least:g}"
            )
        # Counted from the front, also as there: rounding can make a whole run under trailing spacing longer.
        part: Int64Array = whole[steps - count :]
        if part[0] >= self.train_timesteps:
            raise SettingError(
                f"steps {steps} begins at timestep {part[0]}, above the last one trained, {self.train_timesteps - 1}: "
                f"use at most {self.train_timesteps - self.steps_offset} steps"
            )
        return part

    def timesteps_for(self, steps: int, strength: float) -> Timesteps:
        """Return the timesteps of an edit as diffusers' ``DDIMScheduler`` takes them. Raises as :meth:`partial`.

        ``t_prev`` is a fixed stride below ``t``, and so not always the next timestep: under ``trailing`` and
        ``linspace`` spacing these are rounded.
        """
        timesteps = self.partial(steps, strength)
        return Timesteps(timesteps, timesteps - self.train_timesteps // steps)

    def timesteps_for_calls(self, start: int, calls: int, power: float = CALLS_POWER) -> Timesteps:
        """Return ``calls`` steps from ``start`` to the finished latents, each leading to where the next one begins.

        The noise level at the start, and so the strength, does not depend on the number of calls. Steps grow shorter
        towards the end, by ``power``, see :data:`CALLS_POWER`; 1 is even. Raises :class:`SettingError` for calls
        that need more timesteps than there are.
        """
        shares = (np.arange(1, calls + 1) / max(calls, 1)) ** power
        timesteps: Int64Array = np.unique((start * shares).round().astype(np.int64))[::-1]
        if calls < 1 or len(timesteps) < calls or timesteps[-1] < 1:
            raise SettingError(f"calls {calls} cannot be spread over {start} timesteps: use a number such as 5")
        return Timesteps(timesteps, np.append(timesteps[1:], -1))


def _betas(facts: Schedule) -> Array:
    """Return the noise added at each timestep, float32 (train_timesteps,)."""
    count, low, high = facts.train_timesteps, facts.beta_start, facts.beta_end
    if facts.beta_schedule == "linear":
        return _linspace(low, high, count)
    if facts.beta_schedule == "scaled_linear":
        return np.square(_linspace(math.sqrt(low), math.sqrt(high), count))

    def signal(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    # Nichol & Dhariwal 2021, eq. 17, each beta capped below 1.
    betas = [min(1 - signal((i + 1) / count) / signal(i / count), 0.999) for i in range(count)]
    return np.array(betas, dtype=np.float32)


def _linspace(low: float, high: float, count: int) -> Array:
    """Return what ``torch.linspace`` gives in float32: counted from both ends, rounded once by a fused multiply-add.

    ``np.linspace`` differs in the last bit of every third value, and a running product would keep that.
    """
    first, last = np.float32(low), np.float32(high)
    step = np.float64((last - first) / np.float32(max(count - 1, 1)))
    index = np.arange(count)
    # The product is exact in float64, so that the one rounding is the last.
    values = np.where(index < count // 2, first + step * index, last - step * (count - 1 - index))
    return np.asarray(values, dtype=np.float32)
