"""The edit, from a radiograph and a prompt to an edited radiograph: the one path to read first.

    editor = Editor.load("cxr-mini", device="cpu")
    result = editor.edit("chest.dcm", "edema", strength=0.4, guidance=4, seed=0)
    result.save("chest.edema.dcm")

The steps are those of Stable Diffusion's image-to-image pipeline as RoentMod uses it (Cooke et al., 2025): encode the
radiograph, add noise up to ``strength``, denoise towards the prompt with classifier-free guidance, decode. With the
same weights, settings and seed, ``result.decoded`` is what diffusers' ``StableDiffusionImg2ImgPipeline`` with its
``DDIMScheduler`` gives for ``torch.Generator("cpu").manual_seed(seed)``.

:meth:`Editor.edit` is four stages in turn: :meth:`Editor.place` and :meth:`Editor.finish` need no network and may run
in other threads; :meth:`Editor.encode` and :meth:`Editor.run` are the networks, over one edit or several at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.bundle.bundle import Bundle, find_bundle
from roentmod_fast.bundle.manifest import BFLOAT16, TOKENIZER_NAME, Model
from roentmod_fast.bundle.tokenizer import Tokenizer
from roentmod_fast.diffusion.denoise import SOLVERS, denoise, held_outside
from roentmod_fast.diffusion.noise import edit_noise, latents_touched, sample_latents, to_channels, to_grey
from roentmod_fast.diffusion.schedule import Schedule, Timesteps
from roentmod_fast.diffusion.solvers import add_noise, guide
from roentmod_fast.errors import SettingError
from roentmod_fast.presets import EXACT, Preset, default_precision, fastest_measured, find_preset, half_edit_db
from roentmod_fast.radiograph.compose import compose
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.read import RadiographLike, as_radiograph
from roentmod_fast.radiograph.region import Region, region_of
from roentmod_fast.result import Decoded, EditResult, Placed, Prepared, Stopwatch, provenance_of
from roentmod_fast.runtime.backends import usable_devices
from roentmod_fast.runtime.backends.base import Backend
from roentmod_fast.runtime.networks import Networks
from roentmod_fast.settings import EditConfig, EditKeywords, EditSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

Array = NDArray[np.float32]
logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called after each step with the number of steps done and that of all steps."""


class StopRequestedError(Exception):
    """Raised by a ``Progress`` to leave the denoising loop where a run is asked to stop."""


@dataclass(frozen=True)
class Choice:
    """How an engine is opened: on which device, in which precision, with which preset."""

    device: Backend
    precision: str
    preset: Preset


def choose(bundle: Bundle, device: str = "auto", precision: str | None = None, preset: str | Preset = EXACT) -> Choice:
    """Return how :meth:`Editor.load` opens an engine; arguments and errors as there. Nothing is opened."""
    devices = usable_devices(device)
    given = preset.speed.precision if isinstance(preset, Preset) else None
    chosen = devices[0]
    if (precision or given) not in BFLOAT16:
        name = preset.name if isinstance(preset, Preset) else preset
        fastest = fastest_measured(bundle, name, [item.name for item in devices])
        chosen = next(item for item in devices if item.name == fastest)
    named = preset if isinstance(preset, Preset) else find_preset(bundle, preset, chosen.name, precision)
    return Choice(chosen, precision or named.speed.precision or default_precision(bundle, chosen.name), named)


def timesteps_of(schedule: Schedule, settings: EditSettings) -> Timesteps:
    """Return the timesteps of an edit. Raises :class:`SettingError` where there are none."""
    timesteps = schedule.timesteps_for(settings.steps, settings.strength)
    if settings.speed.calls is None or not timesteps:
        return timesteps
    return schedule.timesteps_for_calls(timesteps.start, settings.speed.calls)


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
        self.schedule = Schedule(**bundle.manifest.model.schedule)

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
        preset's. By default it is float32, on a GPU fp16 where the manifest's parity allows it. The engine's
        notice, what a device does at its first start and what it does without is logged. ``batch``: the most
        edits that will be asked for at once; ``graphs``: use CUDA graphs, on the devices cuda and rtx; ``keep``: keep
        networks that the device compiles in the user's cache folder, for the next start. Of two CPU devices
        ``auto`` takes the one that this user has measured as the quicker, for bfloat16 the one that has it. Raises
        :class:`EngineError` for a bundle that is missing, altered or does not keep its contract, :class:`DeviceError`
        for a device that is absent or lacks the precision, :class:`SettingError` for a preset that is not known.
        """
        bundle = find_bundle(engine)
        choice = choose(bundle, device, precision, preset)
        networks = Networks.open(bundle, choice.device, choice.precision, batch=batch, graphs=graphs, keep=keep)
        edit_db = half_edit_db(bundle)
        if networks.precision == "fp16" and precision is None and edit_db is not None:
            logger.info(f"fp16: a whole edit is {edit_db:.0f} dB from the checkpoint; see --precision fp32")
        if bundle.manifest.notice:
            logger.warning(bundle.manifest.notice)
        tokenizer = Tokenizer.load(bundle.path(TOKENIZER_NAME), bundle.manifest.model.max_tokens)
        return cls(bundle, networks, tokenizer, choice.device, choice.preset, batch)

    def with_preset(self, preset: Preset) -> Editor:
        """Return an editor over the same opened networks. Raises :class:`SettingError` for one of other precision."""
        if preset.speed.precision not in (None, self.networks.precision):
            raise SettingError(f"preset {preset.name!r} is {preset.speed.precision}, open is {self.networks.precision}")
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
        region: Region | None = None,
        protect_markers: bool = True,
        noise: Array | None = None,
        progress: Progress | None = None,
        **settings: Unpack[EditKeywords],
    ) -> EditResult: ...

    @overload
    def edit(
        self,
        image: RadiographLike,
        prompt: Sequence[str],
        config: EditConfig | None = None,
        *,
        region: Region | None = None,
        protect_markers: bool = True,
        noise: Array | None = None,
        progress: Progress | None = None,
        **settings: Unpack[EditKeywords],
    ) -> Iterator[EditResult]: ...

    def edit(
        self,
        image: RadiographLike,
        prompt: str | Sequence[str],
        config: EditConfig | None = None,
        *,
        region: Region | None = None,
        protect_markers: bool = True,
        noise: Array | None = None,
        progress: Progress | None = None,
        **settings: Unpack[EditKeywords],
    ) -> EditResult | Iterator[EditResult]:
        """Edit a radiograph towards a prompt; of several prompts an iterator of results, ``batch`` made at a time.

        ``image``: a :class:`Radiograph`, the path of a DICOM, PNG or JPEG file, an image of Pillow's, or an array
        (H, W), bright = dense: uint8, uint16, or floats in [0, 1]. ``settings``: the fields of :class:`EditConfig` as
        keywords, such as ``strength=0.4, seed=1``; they replace those of ``config``. ``region``: where to edit, an
        array float (H, W) in [0, 1], a box (x0, y0, x1, y1) in the source's pixels or the path of a mask; where it is 0
        the image stays exactly. ``protect_markers``: leave burned-in side markers and text alone. ``noise``: float32
        (2, channels, s, s), standard normal, instead of the seed's: the encoder's draw, then the noise that is added.

        Raises :class:`SettingError` for a value that cannot be used, :class:`SourceError` for a file that cannot be
        read, :class:`RefusedError` for one that should not be edited; ``read_radiograph(path, force=...)`` goes on.
        """
        chosen = (EditConfig() if config is None else config).replaced(settings)
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        if not all(text.strip() for text in prompts):
            raise SettingError("a prompt is empty: say what to add, such as edema")
        prepared = self.prepare(image, chosen, region=region, protect_markers=protect_markers, noise=noise)
        results = self._batches(prepared, prompts, progress)
        return next(results) if isinstance(prompt, str) else results

    def _batches(self, prepared: Prepared, prompts: Sequence[str], progress: Progress | None) -> Iterator[EditResult]:
        for start in range(0, len(prompts), self.batch):
            pairs = [(prepared, prompt) for prompt in prompts[start : start + self.batch]]
            yield from self.apply_batch(pairs, progress=progress)

    def settings(self, config: EditConfig | None = None) -> EditSettings:
        """Return ``config`` with the engine's defaults filled in. Raises :class:`SettingError`."""
        chosen = EditConfig() if config is None else config
        speed = replace(self.preset.speed, precision=self.networks.precision)
        settings = EditSettings.of(chosen, self.bundle.manifest.edit, self.model, speed)
        self.timesteps(settings)
        return settings

    def timesteps(self, settings: EditSettings) -> Timesteps:
        """Return the timesteps of an edit. Raises :class:`SettingError` where there are none."""
        return timesteps_of(self.schedule, settings)

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
        timesteps = self.timesteps(settings)
        radiograph = as_radiograph(image)
        watch = Stopwatch()
        with watch.measure("letterbox"):
            letterbox = Letterbox.fit(radiograph.shape, self.model.image_size, radiograph.aspect)
            square = letterbox.apply(radiograph.image)
            touched = region_of(radiograph, region, protect_markers=protect_markers)
            latent_region = None if touched is None else latents_touched(letterbox.apply(touched), self.model.vae_scale)
        latent_shape = (self.model.latent_channels, self.model.latent_size, self.model.latent_size)
        first, second = edit_noise(latent_shape, settings.seed, noise)
        return Placed(radiograph, letterbox, settings, timesteps, square, first, second, watch, touched, latent_region)

    def encode(self, placed: Sequence[Placed]) -> list[Prepared]:
        """Encode placed images in one call of the network, each square once however often it comes."""
        if not placed:
            return []
        watch = Stopwatch()
        squares = {id(item.square): item.square for item in placed}
        with watch.measure("vae_encoder"):
            mean, log_variance = self.networks.encode_image(to_channels(list(squares.values())))
        places = [list(squares).index(id(item.square)) for item in placed]
        draw = np.concatenate([item.encoder_noise for item in placed])
        x_0 = sample_latents(mean[places], log_variance[places], draw, self.model.latent_scaling)
        prepared = []
        for item, latents in zip(placed, x_0, strict=True):
            # A watch of its own: what is placed may be encoded more than once.
            own = Stopwatch(dict(item.watch.seconds))
            own.add_share(watch.seconds, len(placed))
            prepared.append(Prepared(**{**vars(item), "watch": own}, x_0=latents[None]))
        return prepared

    def apply(self, prepared: Prepared, prompt: str, *, progress: Progress | None = None) -> EditResult:
        """Edit a prepared image towards one prompt."""
        [result] = self.apply_batch([(prepared, prompt)], progress=progress)
        return result

    def apply_batch(
        self, pairs: Sequence[tuple[Prepared, str]], *, progress: Progress | None = None
    ) -> list[EditResult]:
        """Edit prepared images, each towards its prompt, all at once; an image may come with several prompts.

        They are of one setting but for the seed; a network takes as many at once as it was opened for. What an edit
        gives does not depend on what it is made with, within float rounding. Raises :class:`SettingError` for pairs
        that cannot be one batch.
        """
        return [self.finish(decoded) for decoded in self.run(pairs, progress=progress)]

    def run(self, pairs: Sequence[tuple[Prepared, str]], *, progress: Progress | None = None) -> list[Decoded]:
        """Do of :meth:`apply_batch` what needs the networks; :meth:`finish` does the rest.

        An edit that is composed by ``contrast`` is compared with the edit of the empty prompt: one more row of the same
        loop, which the first edit of an image brings with it.
        """
        if not pairs:
            return []
        # The seed shows in the noise alone, which each image brings with it.
        if len({replace(prepared.settings, seed=0) for prepared, _ in pairs}) > 1:
            raise SettingError("edits of different settings in one batch: make a batch of each setting")
        compose_mode, calls = pairs[0][0].settings.compose, len(pairs[0][0].timesteps)
        new = [image for image in dict.fromkeys(image for image, _ in pairs) if image.reference is None]
        compared = new if compose_mode == "contrast" else []
        rows: list[tuple[Prepared, str | None]] = [*pairs, *((image, None) for image in compared)]

        watch = Stopwatch()
        latents = self._denoise(rows, progress, watch)
        if compose_mode == "delta":
            latents = np.concatenate([latents, *(image.x_0 for image in new)])
        decoded = self._decode(latents, watch)
        for image, reference in zip([] if compose_mode == "replace" else new, decoded[len(pairs) :], strict=True):
            image.reference = reference

        edits, unaccounted = [], set(compared)
        for (prepared, prompt), image in zip(pairs, decoded, strict=False):
            own = prepared.watch
            own.add_share(watch.seconds, len(pairs))
            evaluations = calls * (2 if prepared in unaccounted else 1)
            edits.append(Decoded(prepared, prompt, image, own.seconds, evaluations, self._tokenizer.truncated(prompt)))
            # What is shared by the prompts of an image counts for the first.
            prepared.watch = Stopwatch()
            unaccounted.discard(prepared)
        return edits

    def count_calls(self, pairs: Sequence[tuple[Prepared, str]]) -> int:
        """Return how often :meth:`run` will report progress: once a step."""
        return len(pairs[0][0].timesteps)

    def finish(self, decoded: Decoded) -> EditResult:
        """Put an edit into its source. Needs no network: it may run in another thread."""
        prepared, watch = decoded.prepared, Stopwatch(dict(decoded.seconds))
        with watch.measure("compose"):
            image = compose(
                prepared.radiograph.image,
                decoded.image,
                prepared.reference,
                prepared.letterbox,
                prepared.settings.compose,
                prepared.region,
            )
        return EditResult(
            radiograph=prepared.radiograph,
            image=image,
            decoded=decoded.image,
            prompt=decoded.prompt,
            settings=prepared.settings,
            provenance=provenance_of(self.bundle, self.device.name, decoded.prompt, prepared.settings),
            seconds=watch.seconds,
            unet_calls=decoded.unet_calls,
            truncated=decoded.truncated,
        )

    def reconstruct(self, prepared: Prepared) -> Array:
        """Return the source as the autoencoder gives it back, float32 (S, S) in [0, 1]."""
        image: Array = self._decode(prepared.x_0, prepared.watch)[0]
        return image

    def _denoise(
        self, rows: Sequence[tuple[Prepared, str | None]], progress: Progress | None, watch: Stopwatch
    ) -> Array:
        """Noise and denoise all rows in one loop; return scaled latents (N, channels, s, s).

        A row is an image and a prompt; ``None`` is the empty prompt, which needs no guidance.
        """
        images = [image for image, _ in rows]
        settings, timesteps = images[0].settings, images[0].timesteps
        x_0 = np.concatenate([image.x_0 for image in images])
        if not timesteps:
            return x_0
        with watch.measure("text_encoder"):
            texts = self.encode_texts([prompt for _, prompt in rows if prompt is not None])
            texts[None] = self.empty_text

        def predict(x_t: Array, timestep: int) -> Array:
            with watch.measure("unet"):
                return self._predict(rows, texts, x_t, timestep)

        noise = np.concatenate([image.noise for image in images])
        x_t = add_noise(x_0, noise, self.schedule.alpha_bar_at(timesteps.start))
        solver = SOLVERS[settings.speed.solver](len(timesteps))
        if any(image.latent_region is not None for image in images):
            solver = held_outside(np.concatenate([image.latent_region_or_all for image in images]), x_0, noise, solver)
        for done, latents in enumerate(denoise(x_t, self.schedule, timesteps, predict, solver), 1):
            x_t = latents
            if progress is not None:
                progress(done, len(timesteps))
        return x_t

    def _predict(
        self,
        rows: Sequence[tuple[Prepared, str | None]],
        texts: Mapping[str | None, Array],
        x_t: Array,
        timestep: int,
    ) -> Array:
        """Return the guided prediction for all rows, (N, channels, s, s), by one call of the UNet."""
        settings, timesteps = rows[0][0].settings, rows[0][0].timesteps
        # As in diffusers: a scale of 1 or less is the prompt alone, unguided.
        guided = settings.guidance > 1
        # At the start all rows of an image have the same latents, and share the evaluation without a text.
        at_start = timestep == timesteps.start
        owners = [image if at_start else index for index, (image, _) in enumerate(rows)]
        inputs: dict[tuple[Prepared | int, str | None], tuple[Array, Array]] = {}
        for owner, latents, (_, prompt) in zip(owners, x_t, rows, strict=True):
            for text in (None, prompt) if guided else (prompt,):
                inputs[owner, text] = latents, texts[text]
        latents, states = (np.stack(parts) for parts in zip(*inputs.values(), strict=True))
        outputs = dict(zip(inputs, self.networks.predict(latents, timestep, states), strict=True))
        return np.stack(
            [
                outputs[owner, prompt]
                if prompt is None or not guided
                else guide(outputs[owner, None], outputs[owner, prompt], settings.guidance)
                for owner, (_, prompt) in zip(owners, rows, strict=True)
            ]
        )

    @cached_property
    def empty_text(self) -> Array:
        """The states of the empty prompt, (max_tokens, width): the same for all edits."""
        states: Array = self.encode_texts([""])[""]
        return states

    def encode_texts(self, texts: Iterable[str]) -> dict[str | None, Array]:
        """Return the states of each text, (max_tokens, width); a text that comes again is encoded once."""
        different = list(dict.fromkeys(texts))
        if not different:
            return {}
        tokens = np.concatenate([self._tokenizer.encode(text) for text in different])
        return dict(zip(different, self.networks.encode_text(tokens), strict=True))

    def _decode(self, latents: Array, watch: Stopwatch) -> Array:
        """Scaled latents (N, channels, s, s) -> images (N, S, S) in [0, 1]: the mean of the three channels."""
        with watch.measure("vae_decoder"):
            image = self.networks.decode(latents / np.float32(self.model.latent_scaling))
        return to_grey(image)
