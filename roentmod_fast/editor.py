"""The edit, from a radiograph and a prompt to an edited radiograph: the one path to read first.

    editor = Editor.load("phantom", device="cpu")
    result = editor.edit("chest.dcm", "edema", strength=0.4, guidance=4, seed=0)
    result.save("chest.edema.dcm")

The steps are those of Stable Diffusion's image-to-image pipeline as RoentMod uses it (Cooke et al., 2025): encode the
radiograph, add noise up to ``strength``, denoise towards the prompt with classifier-free guidance, decode. With the
same weights, settings and seed, ``result.decoded`` is what diffusers' ``StableDiffusionImg2ImgPipeline`` with its
``DDIMScheduler`` gives for ``torch.Generator("cpu").manual_seed(seed)``.

An edit has four stages, and :meth:`Editor.edit` is all of them in turn: :meth:`Editor.place` and :meth:`Editor.finish`
need no network and may run in other threads; :meth:`Editor.encode` and :meth:`Editor.run` are the networks, over one
edit or several at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from roentmod_fast._version import __version__
from roentmod_fast.bundle.bundle import Bundle, find_bundle
from roentmod_fast.bundle.manifest import TOKENIZER_NAME, Model
from roentmod_fast.bundle.precisions import BFLOAT16
from roentmod_fast.bundle.tokenizer import Tokenizer
from roentmod_fast.diffusion import SOLVERS, Course, Schedule, TorchNoise, add_noise, denoise, guide
from roentmod_fast.diffusion.denoise import Solver
from roentmod_fast.diffusion.solvers import Scalar
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import EXACT, Preset, default_precision, fastest_measured, find_preset, half_edit_db
from roentmod_fast.radiograph.compose import compose
from roentmod_fast.radiograph.letterbox import Placement
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.radiograph.read import RadiographLike, as_radiograph
from roentmod_fast.radiograph.region import Region, region_of
from roentmod_fast.result import EditResult
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.devices import usable_devices
from roentmod_fast.runtime.networks import Networks
from roentmod_fast.settings import EditConfig, EditSettings

Array = NDArray[np.float32]
logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called after each UNet call with the number of calls done and the number of all calls of this edit, or batch."""

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""To what diffusers' ``DiagonalGaussianDistribution`` clips the encoder's log-variance before it draws."""


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


class Editor:
    """An engine, opened once and used for many edits. It holds no state that one edit could leave for the next."""

    def __init__(
        self,
        bundle: Bundle,
        networks: Networks,
        tokenizer: Tokenizer,
        device: Backend,
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
        preset's. By default it is float32, on a GPU half precision where the export's verdict allows it. The engine's
        notice, what a device does at its first start and what it does without is logged. ``batch``: the most
        edits that will be asked for at once; ``graphs``: use CUDA graphs, on the devices cuda and rtx; ``keep``: keep
        networks that the device compiles in the user's cache folder, for the next start. Of two processor devices
        ``auto`` takes the one that this user has measured as the quicker, for bfloat16 the one that has it. Raises
        :class:`EngineError` for a bundle that is missing, altered or does not keep its contract, :class:`DeviceError`
        for a device that is absent or lacks the precision, :class:`SettingError` for a preset that is not known.
        """
        devices = usable_devices(device)
        bundle = find_bundle(engine)
        given = preset.means.precision if isinstance(preset, Preset) else None
        chosen = devices[0]
        if (precision or given) not in BFLOAT16:
            name = preset.name if isinstance(preset, Preset) else preset
            fastest = fastest_measured(bundle, name, [item.name for item in devices])
            chosen = next(item for item in devices if item.name == fastest)
        named = preset if isinstance(preset, Preset) else find_preset(bundle, preset, chosen.name)
        wish = precision or named.means.precision or default_precision(bundle, chosen.name)
        networks = Networks.open(bundle, chosen, wish, batch=batch, graphs=graphs, keep=keep)
        verdict = half_edit_db(bundle)
        if networks.precision == "fp16" and precision is None and verdict is not None:
            logger.info(
                f"fp16 is {verdict:.0f} dB from the checkpoint in a whole edit; --precision fp32 is the reference"
            )
        if bundle.manifest.notice:
            logger.warning(bundle.manifest.notice)
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

    @overload
    def edit(  # type: ignore[overload-overlap]  # a str is a sequence of str as well
        self,
        image: RadiographLike,
        prompt: str,
        config: EditConfig | None = None,
        *,
        strength: float | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int | None = None,
        compose: str | None = None,
        solver: str | None = None,
        calls: int | None = None,
        region: Region | None = None,
        protect_markers: bool = True,
        noise: Array | None = None,
        progress: Progress | None = None,
    ) -> EditResult: ...

    @overload
    def edit(
        self,
        image: RadiographLike,
        prompt: Sequence[str],
        config: EditConfig | None = None,
        *,
        strength: float | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int | None = None,
        compose: str | None = None,
        solver: str | None = None,
        calls: int | None = None,
        region: Region | None = None,
        protect_markers: bool = True,
        noise: Array | None = None,
        progress: Progress | None = None,
    ) -> Iterator[EditResult]: ...

    def edit(
        self,
        image: RadiographLike,
        prompt: str | Sequence[str],
        config: EditConfig | None = None,
        *,
        strength: float | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int | None = None,
        compose: str | None = None,
        solver: str | None = None,
        calls: int | None = None,
        region: Region | None = None,
        protect_markers: bool = True,
        noise: Array | None = None,
        progress: Progress | None = None,
    ) -> EditResult | Iterator[EditResult]:
        """Edit a radiograph towards a prompt; of several prompts an iterator of results, ``batch`` made at a time.

        ``image``: a :class:`Radiograph`, the path of a DICOM, PNG or JPEG file, an image of Pillow's, or an array
        (H, W), bright = dense: uint8, uint16, or floats in [0, 1]. Settings are keywords or an :class:`EditConfig`, in
        which keywords replace values. ``region``: where to edit, an array float (H, W) in [0, 1], a box
        (x0, y0, x1, y1) in the source's pixels or the path of a mask; where it is 0 the image stays exactly.
        ``protect_markers``: leave burned-in side markers and text alone. ``noise``: float32 (2, channels, s, s),
        standard normal, instead of the seed's: first the draw of the encoder, then the noise that is added.

        Raises :class:`SettingError` for a value that cannot be used, :class:`SourceError` for a file that cannot be
        read, :class:`RefusedError` for one that should not be edited: read it with ``read_radiograph(path, force=...)``
        to go on.
        """
        given = {
            "strength": strength,
            "guidance": guidance,
            "steps": steps,
            "seed": seed,
            "compose": compose,
            "solver": solver,
            "calls": calls,
        }
        named = {name: value for name, value in given.items() if value is not None}
        chosen = replace(EditConfig() if config is None else config, **named)  # type: ignore[arg-type]
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        for text in prompts:
            if not text.strip():
                raise SettingError("a prompt is empty: say what to add, such as edema")
        prepared = self.prepare(image, chosen, region=region, protect_markers=protect_markers, noise=noise)
        results = self._in_batches(prepared, prompts, progress)
        return next(results) if isinstance(prompt, str) else results

    def _in_batches(
        self, prepared: Prepared, prompts: Sequence[str], progress: Progress | None
    ) -> Iterator[EditResult]:
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
        if settings.means.calls is None or not course:
            return course
        return self.schedule.short_course(course.start, settings.means.calls)

    def prepare(
        self,
        image: RadiographLike,
        config: EditConfig | None = None,
        *,
        region: Region | None = None,
        protect_markers: bool = True,
        noise: Array | None = None,
    ) -> Prepared:
        """Do what all prompts share: place the image, draw the noise, encode it; arguments as for :meth:`edit`."""
        placed = self.place(image, config, region=region, protect_markers=protect_markers, noise=noise)
        [prepared] = self.encode([placed])
        return prepared

    def place(
        self,
        image: RadiographLike,
        config: EditConfig | None = None,
        *,
        region: Region | None = None,
        protect_markers: bool = True,
        noise: Array | None = None,
    ) -> Placed:
        """Bring an image to the engine's size and draw its noise; arguments as for :meth:`edit`.

        Needs no network: it may run in another thread.
        """
        settings = self.settings(config)
        course = self._course(settings)
        radiograph = as_radiograph(image)
        watch = Stopwatch()
        with watch.measure("placement"):
            placement = Placement.fit(radiograph.shape, self.model.image_size, radiograph.aspect)
            square = placement.place(radiograph.image)
            touched = region_of(radiograph, region, protect_markers=protect_markers)
            latent_region = None if touched is None else self._touched(placement.place(touched))
        latent_shape = (1, self.model.latent_channels, self.model.latent_size, self.model.latent_size)
        if noise is None:
            generator = TorchNoise(settings.seed)
            first, second = generator.normal(latent_shape), generator.normal(latent_shape)
        elif noise.shape == (2, *latent_shape[1:]):
            first, second = np.asarray(noise[:1], dtype=np.float32), np.asarray(noise[1:], dtype=np.float32)
        else:
            raise SettingError(f"noise of shape {noise.shape}: expected {(2, *latent_shape[1:])}")
        return Placed(radiograph, placement, settings, course, square, first, second, watch, touched, latent_region)

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
                prepared.radiograph.image,
                decoded.picture,
                prepared.reference,
                prepared.placement,
                prepared.settings.compose,
                prepared.region,
            )
        return EditResult(
            radiograph=prepared.radiograph,
            image=image,
            decoded=decoded.picture,
            prompt=decoded.prompt,
            settings=prepared.settings,
            provenance=self._provenance(decoded.prompt, prepared.settings),
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
        if not course:
            return self._decode(x_0, watch)
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
