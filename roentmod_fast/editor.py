"""The edit, from a picture and a prompt to an edited picture: the one path to read first.

    editor = Editor.load("phantom", device="cpu")
    result = editor.edit(image, "edema", EditConfig(strength=0.4, guidance=4.0, seed=0))

The steps are those of Stable Diffusion's image-to-image pipeline as RoentMod uses it (Cooke et al., 2025): encode the
radiograph, add noise up to ``strength``, denoise towards the prompt with classifier-free guidance, decode. With the
same weights, settings and seed, ``result.decoded`` is what diffusers' ``StableDiffusionImg2ImgPipeline`` with its
``DDIMScheduler`` gives for ``torch.Generator("cpu").manual_seed(seed)``.

An edit has four stages, and :meth:`Editor.edit` is all of them in turn: :meth:`Editor.place` and :meth:`Editor.finish`
need no network and may run in other threads; :meth:`Editor.encode` and :meth:`Editor.run` are the networks, over one
edit or several at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from roentmod_fast.engine.devices import CPU, OPENVINO, Device, choose_device, what_is_missing
from roentmod_fast.engine.manifest import TOKENIZER_NAME, EditDefaults, Model
from roentmod_fast.engine.networks import Networks
from roentmod_fast.engine.precisions import BFLOAT16
from roentmod_fast.engine.tokenizer import Tokenizer
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import EXACT, Means, Preset, find_preset, quicker_processor
from roentmod_fast.radiograph.compose import ChangeStatistics, change_statistics, compose
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.placement import Placement

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called after each UNet call with the number of calls done and the number of all calls of this edit, or batch."""

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

    ``source``: float32 (H, W) in [0, 1]; ``square``: the same in the engine's size, (S, S). ``encoder_noise`` and
    ``noise``: the draw of the encoder and the noise that is added, (1, channels, s, s). ``region``: where to edit,
    float32 (H, W) in [0, 1], None for everywhere; ``latent_region``, float32 (1, 1, s, s), is 1 for the latents that it
    touches and 0 for those that are held to the source.
    """

    source: Array
    placement: Placement
    settings: EditSettings
    course: Course
    square: Array
    encoder_noise: Array
    noise: Array
    watch: Stopwatch
    region: Array | None
    latent_region: Array | None


@dataclass(eq=False)
class Prepared(Placed):
    """A radiograph made ready once for any number of prompts.

    ``x_0``: its scaled latents, (1, channels, s, s). ``empty_text``: the states of the empty prompt, (max_tokens,
    width). ``reference`` is what the edit is compared with when it is put back, decoded (S, S), and
    ``first_unconditional`` what the UNet sees at the first step with the empty prompt, (channels, s, s): both are made
    when first needed, the same for all prompts.
    """

    x_0: Array
    empty_text: Array
    reference: Array | None = None
    first_unconditional: Array | None = None
    unet_calls: int = 0


@dataclass(frozen=True, eq=False)
class Decoded:
    """An edit as the engine made it, ``picture`` (S, S) in [0, 1], not yet put into the source.

    The rest as in :class:`EditResult`, ``seconds`` up to here.
    """

    prepared: Prepared
    prompt: str
    picture: Array
    seconds: dict[str, float]
    unet_calls: int
    truncated: str


@dataclass(frozen=True)
class EditResult:
    """One edited radiograph.

    ``image``: float32 (H, W) in [0, 1], the source with the edit in it, at the source's size. ``decoded``: float32
    (S, S) in [0, 1], the engine's own picture. ``seconds`` by stage and ``unet_calls`` are those of this edit; what it
    shares with others of the same radiograph counts for the first. The seconds of a network that ran for a batch are
    shared evenly by those it ran for; ``unet_calls`` are as many as without a batch. ``truncated`` is the end of the
    prompt that did not fit, or empty.
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
        self,
        bundle: Bundle,
        networks: Networks,
        tokenizer: Tokenizer,
        device: Device,
        preset: Preset,
        batch: int = 1,
    ) -> None:
        self.bundle = bundle
        self.networks = networks
        self.device = device
        self.preset = preset
        self.batch = batch
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
        *,
        batch: int = 1,
        graphs: bool = True,
        keep: bool = True,
    ) -> Editor:
        """Open an engine by folder or name; ``None`` is the user's only imported one, else the built-in one.

        ``preset``: ``exact``, or one that was measured for this engine and device; ``precision`` goes before the
        preset's. What a device does at its first start, and what it does without, is logged. ``batch``: the most
        edits that will be asked for at once; ``graphs``: use CUDA graphs, on the devices cuda and rtx; ``keep``: keep
        networks that the device compiles in the user's cache folder, for the next start. Of two processor devices
        ``auto`` takes the one that this user has measured as the quicker, for bfloat16 the one that has it. Raises
        :class:`EngineError` for a bundle that is missing, altered or does not keep its contract, :class:`DeviceError`
        for a device that is absent or lacks the precision, :class:`SettingError` for a preset that is not known.
        """
        chosen = choose_device(device)
        bundle = find_bundle(engine)
        given = preset.means.precision if isinstance(preset, Preset) else None
        either = device == "auto" and chosen == OPENVINO and what_is_missing(CPU) is None
        if either and (precision or given) not in BFLOAT16:
            name = preset.name if isinstance(preset, Preset) else preset
            chosen = choose_device(quicker_processor(bundle, name, (OPENVINO.name, CPU.name)))
        named = preset if isinstance(preset, Preset) else find_preset(bundle, preset, chosen.name)
        wish = precision or named.means.precision
        networks = Networks.open(bundle, chosen, wish, batch=batch, graphs=graphs, keep=keep)
        tokenizer = Tokenizer.load(bundle.path(TOKENIZER_NAME), bundle.manifest.model.max_tokens)
        return cls(bundle, networks, tokenizer, chosen, named, batch)

    def with_preset(self, preset: Preset) -> Editor:
        """Return an editor over the same opened networks. Raises :class:`SettingError` for one of other precision."""
        if preset.means.precision not in (None, self.networks.precision):
            raise SettingError(f"preset {preset.name!r} is {preset.means.precision}, open is {self.networks.precision}")
        return Editor(self.bundle, self.networks, self._tokenizer, self.device, preset, self.batch)

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
        """Edit one image towards several prompts, ``batch`` at a time; what does not depend on the prompt is shared."""
        prepared = self.prepare(image, config, noise=noise, region=region)
        for start in range(0, len(prompts), self.batch):
            pairs = [(prepared, prompt) for prompt in prompts[start : start + self.batch]]
            yield from self.apply_batch(pairs, progress=progress)

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
        """Do what all prompts share: place the image, draw the noise, encode it; arguments as for :meth:`place`."""
        [prepared] = self.encode([self.place(image, config, noise=noise, region=region, aspect=aspect)])
        return prepared

    def place(
        self,
        image: Array,
        config: EditConfig | None = None,
        *,
        noise: Array | None = None,
        region: Array | None = None,
        aspect: float = 1.0,
    ) -> Placed:
        """Bring an image to the engine's size and draw its noise. Needs no network: it may run in another thread.

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
        latent_region = None
        if region is not None:
            if region.shape != source.shape or not (region.min() >= 0 and region.max() <= 1):
                raise SettingError(f"region of shape {region.shape}: expected {source.shape}, in [0, 1]")
            region = np.asarray(region, dtype=np.float32)
            latent_region = self._touched(placement.place(region))
        return Placed(source, placement, settings, course, square, first, second, watch, region, latent_region)

    def encode(self, placed: Sequence[Placed]) -> list[Prepared]:
        """Encode placed images, at most ``batch`` of them, in one call of the network."""
        if not placed:
            return []
        self._check_batch(len(placed))
        watch = Stopwatch()
        with watch.measure("vae_encoder"):
            mean, log_variance = self.networks.encode_image(_to_network([item.square for item in placed]))
        with watch.measure("text_encoder"):
            empty_text = self._encode_texts([""])[""]
        deviation = np.exp(0.5 * np.clip(log_variance, *LOG_VARIANCE_RANGE))
        draw = np.concatenate([item.encoder_noise for item in placed])
        x_0 = np.asarray((mean + deviation * draw) * np.float32(self.model.latent_scaling), dtype=np.float32)
        prepared = []
        for item, latents in zip(placed, x_0, strict=True):
            # A watch of its own: what is placed may be encoded more than once.
            own = Stopwatch(dict(item.watch.seconds))
            own.add_share(watch.seconds, len(placed))
            prepared.append(Prepared(**{**vars(item), "watch": own}, x_0=latents[None], empty_text=empty_text))
        return prepared

    def apply(self, prepared: Prepared, prompt: str, *, progress: Progress | None = None) -> EditResult:
        """Edit a prepared image towards one prompt."""
        [result] = self.apply_batch([(prepared, prompt)], progress=progress)
        return result

    def apply_batch(
        self, pairs: Sequence[tuple[Prepared, str]], *, progress: Progress | None = None
    ) -> list[EditResult]:
        """Edit prepared images, each towards its prompt, all at once; an image may come with several prompts.

        At most ``batch`` pairs, of one setting but for the seed. What an edit gives does not depend on what it is made
        with, within float rounding. Raises :class:`SettingError` for pairs that cannot be one batch.
        """
        return [self.finish(decoded) for decoded in self.run(pairs, progress=progress)]

    def run(self, pairs: Sequence[tuple[Prepared, str]], *, progress: Progress | None = None) -> list[Decoded]:
        """Do of :meth:`apply_batch` what needs the networks; :meth:`finish` does the rest."""
        if not pairs:
            return []
        self._check_batch(len(pairs))
        # The seed shows in the noise alone, which each image brings with it.
        if len({replace(prepared.settings, seed=0) for prepared, _ in pairs}) > 1:
            raise SettingError("edits of different settings in one batch: make a batch of each setting")
        tell = _Counter(self.count_calls(pairs), progress)
        compose_mode, calls = pairs[0][0].settings.compose, len(pairs[0][0].course)

        missing = _without_reference(pairs)
        if missing:
            watch = Stopwatch()
            if compose_mode == "contrast":
                references = self._run([(prepared, None) for prepared in missing], tell, watch)
            else:
                references = self._decode(np.concatenate([prepared.x_0 for prepared in missing]), watch)
            for prepared, reference in zip(missing, references, strict=True):
                prepared.reference = reference
                prepared.watch.add_share(watch.seconds, len(missing))
                prepared.unet_calls += calls if compose_mode == "contrast" else 0

        watch = Stopwatch()
        pictures = self._run(pairs, tell, watch)
        edits = []
        for (prepared, prompt), picture in zip(pairs, pictures, strict=True):
            prepared.watch.add_share(watch.seconds, len(pairs))
            seconds, unet_calls = prepared.watch.seconds, prepared.unet_calls + calls
            # What was shared is counted once: the next prompt starts from zero.
            prepared.watch, prepared.unet_calls = Stopwatch(), 0
            truncated = self._tokenizer.truncated(prompt)
            edits.append(Decoded(prepared, prompt, picture, seconds, unet_calls, truncated))
        return edits

    def count_calls(self, pairs: Sequence[tuple[Prepared, str]]) -> int:
        """Return how often :meth:`run` will call the UNet, and so how often it tells of its progress."""
        first = pairs[0][0]
        runs = 2 if first.settings.compose == "contrast" and _without_reference(pairs) else 1
        return runs * len(first.course)

    def finish(self, decoded: Decoded) -> EditResult:
        """Put an edit into its source. Needs no network: it may run in another thread."""
        prepared, watch = decoded.prepared, Stopwatch(dict(decoded.seconds))
        with watch.measure("compose"):
            image = compose(
                prepared.source,
                decoded.picture,
                prepared.reference,
                prepared.placement,
                prepared.settings.compose,
                prepared.region,
            )
        return EditResult(
            image=image,
            decoded=decoded.picture,
            prompt=decoded.prompt,
            settings=prepared.settings,
            provenance=self._provenance(decoded.prompt, prepared.settings),
            change=change_statistics(prepared.source, image),
            seconds=watch.seconds,
            unet_calls=decoded.unet_calls,
            truncated=decoded.truncated,
        )

    def reconstruct(self, prepared: Prepared) -> Array:
        """Return the source as the autoencoder gives it back, float32 (S, S) in [0, 1]."""
        picture: Array = self._decode(prepared.x_0, prepared.watch)[0]
        return picture

    def _check_batch(self, count: int) -> None:
        if count > self.batch:
            raise SettingError(f"{count} edits at once, the editor was loaded for {self.batch}: give Editor.load batch")

    def _run(self, pairs: Sequence[tuple[Prepared, str | None]], tell: _Counter, watch: Stopwatch) -> Array:
        """Noise, denoise and decode all pairs in one loop; ``None`` is the empty prompt, which needs no guidance.

        Returns (N, S, S) in [0, 1].
        """
        images = [prepared for prepared, _ in pairs]
        settings, course = images[0].settings, images[0].course
        with watch.measure("text_encoder"):
            texts = self._encode_texts([prompt for _, prompt in pairs if prompt is not None])

        def predict(x_t: Array, timestep: int) -> Array:
            with watch.measure("unet"):
                output = self._look(pairs, texts, x_t, timestep)
            tell.call()
            return output

        x_0 = np.concatenate([prepared.x_0 for prepared in images])
        noise = np.concatenate([prepared.noise for prepared in images])
        x_t = add_noise(x_0, noise, self.schedule.alpha_bar_at(course.start))
        solver = _held(images, x_0, noise, SOLVERS[settings.means.solver](len(course)))
        for step in denoise(x_t, self.schedule, course, predict, solver):
            x_t = step.x_t
        return self._decode(x_t, watch)

    def _look(
        self, pairs: Sequence[tuple[Prepared, str | None]], texts: Mapping[str, Array], x_t: Array, timestep: int
    ) -> Array:
        """Return what the UNet gives for all pairs, guided, (N, channels, s, s): one call, however many they are.

        For each pair first with the empty prompt, then with the text, as in diffusers.
        """
        settings, course = pairs[0][0].settings, pairs[0][0].course
        # As in diffusers: a scale of 1 or less is the prompt alone, unguided.
        guided = settings.guidance > 1
        # At the start all prompts of one image see the same latents, and so share what they would see without a text.
        at_start = timestep == course.start
        owners: list[Prepared | int] = [item if at_start else index for index, (item, _) in enumerate(pairs)]
        looks: dict[tuple[Prepared | int, str | None], tuple[Array, Array]] = {}
        for owner, latents, (prepared, prompt) in zip(owners, x_t, pairs, strict=True):
            if guided or prompt is None:
                looks[owner, None] = latents, prepared.empty_text
            if prompt is not None:
                looks[owner, prompt] = latents, texts[prompt]
        seen: dict[tuple[Prepared | int, str | None], Array] = {}
        for prepared, _ in pairs:
            if at_start and prepared.first_unconditional is not None:
                seen[prepared, None] = prepared.first_unconditional
        new = [look for look in looks if look not in seen]
        if new:
            latents, states = (np.stack(parts) for parts in zip(*(looks[look] for look in new), strict=True))
            seen.update(zip(new, self.networks.predict(latents, timestep, states), strict=True))
        if at_start:
            for prepared, _ in pairs:
                prepared.first_unconditional = seen.get((prepared, None))
        return np.stack(
            [
                guide(seen[owner, None], seen[owner, prompt], settings.guidance)
                if guided and prompt is not None
                else seen[owner, prompt]
                for owner, (_, prompt) in zip(owners, pairs, strict=True)
            ]
        )

    def _encode_texts(self, texts: Iterable[str]) -> dict[str, Array]:
        """Return the states of each text, (max_tokens, width); a text that comes again is encoded once."""
        different = list(dict.fromkeys(texts))
        if not different:
            return {}
        tokens = np.concatenate([self._tokenizer.encode(text) for text in different])
        return dict(zip(different, self.networks.encode_text(tokens), strict=True))

    def _decode(self, latents: Array, watch: Stopwatch) -> Array:
        """Scaled latents (N, channels, s, s) -> pictures (N, S, S) in [0, 1]: the mean of the three channels."""
        with watch.measure("vae_decoder"):
            image = self.networks.decode(latents / np.float32(self.model.latent_scaling))
        return np.asarray(np.clip(image / 2 + 0.5, 0, 1).mean(axis=1), dtype=np.float32)

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


def _without_reference(pairs: Sequence[tuple[Prepared, str]]) -> list[Prepared]:
    """Return the images, each once, that still lack what their edits are compared with."""
    images = dict.fromkeys(prepared for prepared, _ in pairs)
    return [item for item in images if item.settings.compose != "replace" and item.reference is None]


def _held(images: Sequence[Prepared], x_0: Array, noise: Array, solver: Solver) -> Solver:
    """Return the solver's step, after which latents outside the region are those of the source, noised as far."""
    regions = [item.latent_region for item in images]
    if all(region is None for region in regions):
        return solver
    everywhere = np.ones((1, 1, *x_0.shape[2:]), dtype=np.float32)
    inside = np.concatenate([everywhere if region is None else region for region in regions])

    def step(x_t: Array, eps: Array, alpha_bar_t: Scalar, alpha_bar_prev: Scalar) -> Array:
        free = solver(x_t, eps, alpha_bar_t, alpha_bar_prev)
        held = add_noise(x_0, noise, alpha_bar_prev)
        return np.asarray(inside * free + (1 - inside) * held, dtype=np.float32)

    return step


def _to_network(squares: Sequence[Array]) -> Array:
    """N times (S, S) in [0, 1] -> (N, 3, S, S) in [-1, 1]."""
    grey = np.stack(squares)[:, None] * 2 - 1
    return np.ascontiguousarray(np.repeat(grey, 3, axis=1), dtype=np.float32)
