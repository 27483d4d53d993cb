"""The edit, from a picture and a prompt to an edited picture: the one path to read first.

    editor = Editor.load("phantom", device="cpu")
    result = editor.edit(image, "edema", EditConfig(strength=0.4, guidance=4.0, seed=0))

The steps are those of Stable Diffusion's image-to-image pipeline as RoentMod uses it (Cooke et al., 2025): encode the
radiograph, add noise up to ``strength``, denoise towards the prompt with classifier-free guidance, decode. With the
same weights, settings and seed, ``result.decoded`` is what diffusers' ``StableDiffusionImg2ImgPipeline`` with its
``DDIMScheduler`` gives for ``torch.Generator("cpu").manual_seed(seed)``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast._version import __version__
from roentmod_fast.diffusion import SOLVERS, Course, Schedule, TorchNoise, add_noise, denoise, guide
from roentmod_fast.diffusion.denoise import Solver
from roentmod_fast.diffusion.solvers import Scalar
from roentmod_fast.engine.bundle import Bundle, find_bundle
from roentmod_fast.engine.devices import Device, choose_device
from roentmod_fast.engine.manifest import TOKENIZER_NAME, EditDefaults, Model
from roentmod_fast.engine.networks import Networks
from roentmod_fast.engine.tokenizer import Tokenizer
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import EXACT, Means, Preset, find_preset
from roentmod_fast.radiograph.compose import ChangeStatistics, change_statistics, compose
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.placement import Placement

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called after each UNet call with the number of calls done and the number of all calls of this edit."""

COMPOSE_MODES = ("contrast", "delta", "replace")
DEFAULT_COMPOSE = "contrast"

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""To what diffusers' ``DiagonalGaussianDistribution`` clips the encoder's log-variance before it draws."""


@dataclass(frozen=True)
class EditConfig:
    """What the user wishes; ``None`` leaves the choice to the engine's manifest.

    ``strength``: share of the noise schedule that is run, in [0, 1]. ``guidance``: scale of classifier-free guidance,
    1 or less
    is none. ``steps``: of the full schedule; ``strength`` of them are run. ``seed``: of the noise, 0 or more, taken
    modulo 2**32. ``compose``: how the decoded edit is put into the source, see :mod:`roentmod_fast.radiograph.compose`.
    ``solver`` and ``calls`` are among the means of :class:`roentmod_fast.presets.Means`; ``None`` is the preset's.
    """

    strength: float | None = None
    guidance: float | None = None
    steps: int | None = None
    seed: int = 0
    compose: str = DEFAULT_COMPOSE
    solver: str | None = None
    calls: int | None = None


@dataclass(frozen=True)
class EditSettings:
    """An :class:`EditConfig` with every choice made and checked."""

    strength: float
    guidance: float
    steps: int
    seed: int
    compose: str
    means: Means

    @classmethod
    def of(cls, config: EditConfig, defaults: EditDefaults, model: Model, preset: Means) -> EditSettings:
        """Fill in the engine's and the preset's. Raises :class:`SettingError` for a value that cannot be used."""
        named = {name: getattr(config, name) for name in ("solver", "calls")}
        means = replace(preset, **{name: value for name, value in named.items() if value is not None})
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
        return cls(float(strength), float(guidance), int(steps), int(config.seed), config.compose, means)


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
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started


@dataclass
class Prepared:
    """A radiograph made ready once for any number of prompts.

    ``source``: float32 (H, W) in [0, 1]; ``x_0`` its scaled latents and ``noise`` the noise, (1, channels, s, s).
    ``region``: where to edit, float32 (H, W) in [0, 1], None for everywhere; ``latent_region`` is 1 for the latents
    that it touches and 0 for those that are held to the source. ``reference`` is what the edit is compared with when it
    is put back, decoded (S, S), made when first needed; ``empty_text`` are the states of the empty prompt, and
    ``first_unconditional`` is what the UNet sees with them at the first step, the same for all prompts.
    """

    source: Array
    placement: Placement
    settings: EditSettings
    course: Course
    x_0: Array
    noise: Array
    watch: Stopwatch
    region: Array | None = None
    latent_region: Array | None = None
    reference: Array | None = None
    empty_text: Array | None = None
    first_unconditional: Array | None = None
    unet_calls: int = 0


@dataclass(frozen=True)
class EditResult:
    """One edited radiograph.

    ``image``: float32 (H, W) in [0, 1], the source with the edit in it, at the source's size. ``decoded``: float32
    (S, S) in [0, 1], the engine's own picture. ``seconds`` by stage and ``unet_calls`` are those of this edit; what it
    shares with others of the same radiograph counts for the first. ``truncated`` is the end of the prompt that did not
    fit, or empty.
    """

    image: Array
    decoded: Array
    prompt: str
    settings: EditSettings
    provenance: Provenance
    change: ChangeStatistics
    seconds: dict[str, float]
    unet_calls: int
    truncated: str


class Editor:
    """An engine, opened once and used for many edits. It holds no state that one edit could leave for the next."""

    def __init__(
        self, bundle: Bundle, networks: Networks, tokenizer: Tokenizer, device: Device, preset: Preset
    ) -> None:
        self.bundle = bundle
        self.networks = networks
        self.device = device
        self.preset = preset
        self._tokenizer = tokenizer
        model = bundle.manifest.model
        self.schedule = Schedule(
            train_timesteps=model.train_timesteps,
            beta_start=model.beta_start,
            beta_end=model.beta_end,
            beta_schedule=model.beta_schedule,
            set_alpha_to_one=model.set_alpha_to_one,
            steps_offset=model.steps_offset,
            timestep_spacing=model.timestep_spacing,
            prediction=model.prediction,
        )

    @classmethod
    def load(
        cls,
        engine: str | Path | None = None,
        device: str = "auto",
        precision: str | None = None,
        preset: str | Preset = EXACT,
        say: Callable[[str], None] = lambda note: None,
        *,
        batch: int = 1,
        graphs: bool = True,
    ) -> Editor:
        """Open an engine by folder or name; ``None`` is the user's only imported one, else the built-in one.

        ``preset``: ``exact``, or one that was measured for this engine and device; ``precision`` goes before the
        preset's. ``say`` is told what a device does at its first start, and what it does without. ``batch``: how many
        pictures will be edited together; ``graphs``: use CUDA graphs, on the device cuda. Raises :class:`EngineError`
        for a bundle that is missing, altered or does not keep its contract, :class:`DeviceError` for a device that is
        absent, :class:`SettingError` for a preset that is not known.
        """
        chosen = choose_device(device)
        bundle = find_bundle(engine)
        named = preset if isinstance(preset, Preset) else find_preset(bundle, preset, chosen.name)
        networks = Networks.open(bundle, chosen, precision or named.means.precision, say, batch=batch, graphs=graphs)
        tokenizer = Tokenizer.load(bundle.path(TOKENIZER_NAME), bundle.manifest.model.max_tokens)
        return cls(bundle, networks, tokenizer, chosen, named)

    @property
    def model(self) -> Model:
        return self.bundle.manifest.model

    def edit(
        self,
        image: Array,
        prompt: str,
        config: EditConfig | None = None,
        *,
        noise: Array | None = None,
        region: Array | None = None,
        progress: Progress | None = None,
    ) -> EditResult:
        """Edit ``image``, float32 (H, W) in [0, 1] with bright = dense, towards ``prompt``.

        ``noise``: float32 (2, channels, s, s), standard normal, instead of the seed's: first the draw of the encoder,
        then the noise that is added. ``region``: float32 (H, W) in [0, 1], how much of the edit each pixel takes; where
        it is 0 the image stays exactly. Raises :class:`SettingError` for a value that cannot be used.
        """
        return self.apply(self.prepare(image, config, noise=noise, region=region), prompt, progress=progress)

    def edit_prompts(
        self,
        image: Array,
        prompts: Sequence[str],
        config: EditConfig | None = None,
        *,
        noise: Array | None = None,
        region: Array | None = None,
        progress: Progress | None = None,
    ) -> Iterator[EditResult]:
        """Edit one image towards several prompts in turn, sharing all that does not depend on the prompt."""
        prepared = self.prepare(image, config, noise=noise, region=region)
        for prompt in prompts:
            yield self.apply(prepared, prompt, progress=progress)

    def settings(self, config: EditConfig | None = None) -> EditSettings:
        """Return ``config`` with the engine's defaults filled in. Raises :class:`SettingError`."""
        wishes = EditConfig() if config is None else config
        means = replace(self.preset.means, precision=self.networks.precision)
        settings = EditSettings.of(wishes, self.bundle.manifest.edit, self.model, means)
        self._course(settings)
        return settings

    def _course(self, settings: EditSettings) -> Course:
        """Return the timesteps of an edit. Raises :class:`SettingError` where there are none."""
        course = self.schedule.course(settings.steps, settings.strength)
        if settings.means.calls is None:
            return course
        return self.schedule.short_course(course.start, settings.means.calls)

    def prepare(
        self,
        image: Array,
        config: EditConfig | None = None,
        *,
        noise: Array | None = None,
        region: Array | None = None,
        aspect: float = 1.0,
    ) -> Prepared:
        """Do what all prompts share: place the image, encode it, draw the noise.

        ``noise`` and ``region`` as in :meth:`edit`; ``aspect``: height of a pixel over its width.
        """
        settings = self.settings(config)
        course = self._course(settings)
        if image.ndim != 2 or not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
            raise SettingError(f"image of shape {image.shape}: expected (H, W), finite, in [0, 1]")
        watch = Stopwatch()
        source = np.asarray(image, dtype=np.float32)
        with watch.measure("placement"):
            placement = Placement.fit((source.shape[0], source.shape[1]), self.model.image_size, aspect)
            square = placement.place(source)
        latent_shape = (1, self.model.latent_channels, self.model.latent_size, self.model.latent_size)
        if noise is None:
            generator = TorchNoise(settings.seed)
            first, second = generator.normal(latent_shape), generator.normal(latent_shape)
        elif noise.shape == (2, *latent_shape[1:]):
            first, second = np.asarray(noise[:1], dtype=np.float32), np.asarray(noise[1:], dtype=np.float32)
        else:
            raise SettingError(f"noise of shape {noise.shape}: expected {(2, *latent_shape[1:])}")
        with watch.measure("vae_encoder"):
            mean, log_variance = self.networks.encode_image(_to_network(square))
        deviation = np.exp(0.5 * np.clip(log_variance, *LOG_VARIANCE_RANGE))
        x_0 = np.asarray((mean + deviation * first) * np.float32(self.model.latent_scaling), dtype=np.float32)
        prepared = Prepared(source, placement, settings, course, x_0, second, watch)
        if region is not None:
            if region.shape != source.shape or not (region.min() >= 0 and region.max() <= 1):
                raise SettingError(f"region of shape {region.shape}: expected {source.shape}, in [0, 1]")
            prepared.region = np.asarray(region, dtype=np.float32)
            prepared.latent_region = self._touched(placement.place(prepared.region))
        return prepared

    def apply(self, prepared: Prepared, prompt: str, *, progress: Progress | None = None) -> EditResult:
        """Edit a prepared image towards one prompt."""
        settings, watch = prepared.settings, prepared.watch
        needs_reference = settings.compose != "replace" and prepared.reference is None
        runs = 2 if settings.compose == "contrast" and needs_reference else 1
        tell = _Counter(runs * len(prepared.course), progress)

        if needs_reference and settings.compose == "contrast":
            prepared.reference = self._run(prepared, None, tell)
        elif needs_reference:
            prepared.reference = self.reconstruct(prepared)
        decoded = self._run(prepared, prompt, tell)

        with watch.measure("compose"):
            image = compose(
                prepared.source,
                decoded,
                prepared.reference,
                prepared.placement,
                settings.compose,
                prepared.region,
            )
        change = change_statistics(prepared.source, image)
        seconds, calls = dict(watch.seconds), prepared.unet_calls
        # What was shared is counted once: the next prompt starts from zero.
        prepared.watch, prepared.unet_calls = Stopwatch(), 0
        return EditResult(
            image=image,
            decoded=decoded,
            prompt=prompt,
            settings=settings,
            provenance=self._provenance(prompt, settings),
            change=change,
            seconds=seconds,
            unet_calls=calls,
            truncated=self._tokenizer.truncated(prompt),
        )

    def reconstruct(self, prepared: Prepared) -> Array:
        """Return the source as the autoencoder gives it back, float32 (S, S) in [0, 1]."""
        return self._decode(prepared.x_0, prepared.watch)

    def _run(self, prepared: Prepared, prompt: str | None, tell: _Counter) -> Array:
        """Noise, denoise and decode; ``None`` is the empty prompt, which needs no guidance. (S, S) in [0, 1]."""
        settings, watch = prepared.settings, prepared.watch
        # As in diffusers: a scale of 1 or less is the prompt alone, unguided.
        guided = prompt is not None and settings.guidance > 1
        with watch.measure("text_encoder"):
            if prepared.empty_text is None:
                prepared.empty_text = self._encode_text("")
            empty = prepared.empty_text
            text = empty if prompt is None else self._encode_text(prompt)

        def look(x_t: Array, timestep: int, states: Array) -> Array:
            """Call the UNet; with the empty prompt at the first step only once for all prompts."""
            shared = states is empty and timestep == prepared.course.start
            if shared and prepared.first_unconditional is not None:
                return prepared.first_unconditional
            output = self.networks.predict(x_t, timestep, states)
            if shared:
                prepared.first_unconditional = output
            return output

        def predict(x_t: Array, timestep: int) -> Array:
            with watch.measure("unet"):
                output = look(x_t, timestep, text)
                if guided:
                    output = guide(look(x_t, timestep, empty), output, settings.guidance)
            prepared.unet_calls += 1
            tell.call()
            return output

        x_t = add_noise(prepared.x_0, prepared.noise, self.schedule.alpha_bar_at(prepared.course.start))
        solver = _held(prepared, SOLVERS[settings.means.solver](len(prepared.course)))
        for step in denoise(x_t, self.schedule, prepared.course, predict, solver):
            x_t = step.x_t
        return self._decode(x_t, watch)

    def _encode_text(self, text: str) -> Array:
        """Return the states of one prompt, (1, max_tokens, width)."""
        return self.networks.encode_text(self._tokenizer.encode(text))

    def _decode(self, latents: Array, watch: Stopwatch) -> Array:
        """Scaled latents (1, channels, s, s) -> picture (S, S) in [0, 1]: the mean of the three channels."""
        with watch.measure("vae_decoder"):
            image = self.networks.decode(latents / np.float32(self.model.latent_scaling))
        return np.asarray(np.clip(image[0] / 2 + 0.5, 0, 1).mean(axis=0), dtype=np.float32)

    def _touched(self, square: Array) -> Array:
        """Return 1 for each latent whose pixels a region (S, S) touches, else 0: float32 (1, 1, s, s)."""
        s, scale = self.model.latent_size, self.model.vae_scale
        touched = square.reshape(s, scale, s, scale).max(axis=(1, 3)) > 0
        return np.asarray(touched[None, None], dtype=np.float32)

    def _provenance(self, prompt: str, settings: EditSettings) -> Provenance:
        return Provenance(
            prompt=prompt,
            strength=settings.strength,
            guidance=settings.guidance,
            steps=settings.steps,
            seed=settings.seed,
            compose=settings.compose,
            engine_name=self.bundle.name,
            engine_hash=self.bundle.manifest_hash,
            software_version=__version__,
            device=self.device.name,
            means=settings.means.describe(),
        )


class _Counter:
    """Counts UNet calls for a progress report."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0

    def call(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _held(prepared: Prepared, solver: Solver) -> Solver:
    """Return the solver's step, after which latents outside the region are those of the source, noised as far."""
    inside = prepared.latent_region
    if inside is None:
        return solver

    def step(x_t: Array, eps: Array, alpha_bar_t: Scalar, alpha_bar_prev: Scalar) -> Array:
        free = solver(x_t, eps, alpha_bar_t, alpha_bar_prev)
        held = add_noise(prepared.x_0, prepared.noise, alpha_bar_prev)
        return np.asarray(inside * free + (1 - inside) * held, dtype=np.float32)

    return step


def _to_network(square: Array) -> Array:
    """(S, S) in [0, 1] -> (1, 3, S, S) in [-1, 1]."""
    return np.ascontiguousarray(np.broadcast_to(square * 2 - 1, (1, 3, *square.shape)), dtype=np.float32)
