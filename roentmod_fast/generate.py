"""Radiographs from a text alone: the engine's own, without a source.

    for image in generate(editor, "no acute cardiopulmonary process", count=3):
        image.save(f"{image.seed}.dcm")

As Stable Diffusion's text-to-image pipeline does it: pure noise, the whole schedule, decode. With the same weights,
settings and seed, ``image`` is what diffusers' ``StableDiffusionPipeline`` with its ``DDIMScheduler`` gives for
``torch.Generator("cpu").manual_seed(seed)``. An edit at strength 1 is something else: at the first timestep 7 % of the
source is left in the latents.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.diffusion.noise import TorchNoise
from roentmod_fast.editor import Editor, Progress
from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.model import GENERATED, Provenance
from roentmod_fast.radiograph.read import as_radiograph
from roentmod_fast.result import Prepared, Stopwatch, provenance_of
from roentmod_fast.settings import EditConfig, EditSettings

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GeneratedImage:
    """One generated radiograph.

    ``image``: float32 (S, S) in [0, 1], bright = dense, in the engine's size; it has no detail finer than that. The
    rest as of an ``EditResult``.
    """

    image: Array
    prompt: str
    settings: EditSettings
    provenance: Provenance
    seconds: Mapping[str, float]
    unet_calls: int
    truncated: str

    @property
    def seed(self) -> int:
        """The seed of its noise."""
        return self.settings.seed

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        file_format: str | None = None,
        transfer_syntax: str = "explicit",
        label: bool = False,
        overwrite: bool = False,
    ) -> str | None:
        """Write the image as DICOM or PNG, marked as synthetic; return the SOP Instance UID of a DICOM.

        ``file_format``: ``dicom`` or ``png``, by default what the name says. ``label``: burn SYNTHETIC into a corner.
        Raises OutputError and SettingError.
        """
        from roentmod_fast.radiograph.dicom.generated import write_generated_dicom
        from roentmod_fast.radiograph.label import burn_label
        from roentmod_fast.radiograph.raster import write_png
        from roentmod_fast.radiograph.write import SUFFIXES, format_of

        chosen = format_of(path) if file_format is None else file_format
        if chosen not in SUFFIXES:
            raise SettingError(f"format {chosen!r}: expected one of {', '.join(SUFFIXES)}")
        shown = np.clip(burn_label(self.image) if label else self.image, 0, 1)
        if chosen == "png":
            write_png(path, as_radiograph(shown), shown, self.provenance, overwrite=overwrite)
            return None
        return write_generated_dicom(
            path, shown, self.provenance, transfer_syntax=transfer_syntax, labelled=label, overwrite=overwrite
        )

    def _repr_png_(self) -> bytes:
        """Return the image with SYNTHETIC burned in as PNG: what IPython shows."""
        buffer = io.BytesIO()
        self.preview().save(buffer, format="PNG")
        return buffer.getvalue()

    def preview(self) -> Image.Image:
        """Return the image with SYNTHETIC burned in, 8 bits."""
        from PIL import Image

        from roentmod_fast.radiograph.label import burn_label

        return Image.fromarray(np.rint(burn_label(self.image) * 255).astype(np.uint8))


def generate(
    editor: Editor,
    prompt: str | Sequence[str],
    config: EditConfig | None = None,
    *,
    count: int = 1,
    noise: Array | None = None,
    progress: Progress | None = None,
) -> Iterator[GeneratedImage]:
    """Generate ``count`` images of each prompt; yield them prompt by prompt, ``editor.batch`` made at a time.

    ``config``: guidance, steps, solver and seed, the other settings have no meaning here. The n-th image of each prompt
    has the seed ``config.seed + n``, so it does not depend on ``count`` or the batch. ``noise``: float32 (1, channels,
    s, s), standard normal, in place of the seeds'. Raises SettingError for a value that cannot be used.
    """
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    first = config.seed if config is not None else 0
    seeds = [(text, first + n) for text in prompts for n in range(count)]
    return generate_each(editor, seeds, config, noise=noise, progress=progress)


def generate_each(
    editor: Editor,
    pairs: Sequence[tuple[str, int]],
    config: EditConfig | None = None,
    *,
    noise: Array | None = None,
    progress: Progress | None = None,
) -> Iterator[GeneratedImage]:
    """Generate an image of each prompt and seed; arguments as for :func:`generate`."""
    if not all(text.strip() for text, _ in pairs):
        raise SettingError("a prompt is empty: say what to show, such as edema")
    whole = replace(config or EditConfig(), strength=1.0, compose="replace")
    editor.settings(whole)  # checked before the first image is asked for
    return _batches(editor, pairs, whole, noise, progress)


def _batches(
    editor: Editor,
    pairs: Sequence[tuple[str, int]],
    config: EditConfig,
    noise: Array | None,
    progress: Progress | None,
) -> Iterator[GeneratedImage]:
    for start in range(0, len(pairs), editor.batch):
        part = pairs[start : start + editor.batch]
        begun = {seed: _from_noise(editor, replace(config, seed=seed), noise) for _, seed in part}
        for made in editor.run([(begun[seed], text) for text, seed in part], progress=progress):
            settings = replace(made.prepared.settings, compose=GENERATED)
            yield GeneratedImage(
                image=made.image,
                prompt=made.prompt,
                settings=settings,
                provenance=provenance_of(editor.bundle, editor.device.name, made.prompt, settings),
                seconds=made.seconds,
                unet_calls=made.unet_calls,
                truncated=made.truncated,
            )


def _from_noise(editor: Editor, config: EditConfig, given: Array | None) -> Prepared:
    """Return what the denoising loop begins with: latents that are noise and nothing else.

    The loop adds noise to ``x_0``, so x_t = sqrt(1 - alpha_bar) noise for an ``x_0`` of zero; the noise is divided by
    that factor beforehand, which is undone within a rounding of float32.
    """
    model = editor.model
    shape = (1, model.latent_channels, model.latent_size, model.latent_size)
    drawn = TorchNoise(config.seed).normal(shape) if given is None else np.asarray(given, dtype=np.float32)
    if drawn.shape != shape:
        raise SettingError(f"noise of shape {drawn.shape}: expected {shape}")
    settings = editor.settings(config)
    blank = np.zeros((model.image_size, model.image_size), dtype=np.float32)
    nothing = np.zeros(shape, dtype=np.float32)
    timesteps = editor.timesteps(settings)
    sigma = np.float32(math.sqrt(1 - float(editor.schedule.alpha_bar_at(timesteps.start))))
    return Prepared(
        radiograph=as_radiograph(blank),
        letterbox=Letterbox.fit(blank.shape, model.image_size),
        settings=settings,
        timesteps=timesteps,
        square=blank,
        encoder_noise=nothing,
        noise=drawn / sigma,
        watch=Stopwatch(),
        region=None,
        latent_region=None,
        x_0=nothing,
    )
