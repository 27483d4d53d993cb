"""Run the cells of a sweep: the radiograph is encoded once, and cells that share their steps share a loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.diffusion.denoise import SOLVERS, denoise, held_outside
from roentmod_fast.diffusion.noise import sample_latents, to_channels, to_grey
from roentmod_fast.diffusion.solvers import add_noise, guide
from roentmod_fast.editor import Editor
from roentmod_fast.radiograph.compose import compose
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.radiograph.region import Region, region_of
from roentmod_fast.result import Placed, provenance_of
from roentmod_fast.study.sweep.plan import Cell, Group, rows_of

Array = NDArray[np.float32]
Tick = Callable[[int], None]
"""Called with the number of items that the UNet has evaluated since the last call."""


@dataclass(eq=False)
class SweepRun:
    """One radiograph in one engine, ready for any group of cells.

    ``region``: where change is measured as inside, as for ``Editor.edit``; the edit itself is not confined to it.
    """

    editor: Editor
    radiograph: Radiograph
    region: Region | None = None
    protect_markers: bool = True

    @cached_property
    def letterbox(self) -> Letterbox:
        """Where the radiograph lies in the engine's square."""
        return Letterbox.fit(self.radiograph.shape, self.editor.model.image_size, self.radiograph.aspect)

    @cached_property
    def window(self) -> Letterbox:
        """The same for what of the square holds the radiograph, at the engine's own resolution."""
        box = self.letterbox
        return Letterbox((box.height, box.width), box.size, box.top, box.left, box.height, box.width)

    @cached_property
    def source(self) -> Array:
        """The radiograph as the engine sees it, float32 (height, width) in [0, 1], with square pixels."""
        return np.array(self.letterbox.crop(self.letterbox.apply(self.radiograph.image)))

    @cached_property
    def inside(self) -> NDArray[np.bool_] | None:
        """Where change counts as inside, bool of the shape of :attr:`source`; None where no region was given."""
        region = region_of(self.radiograph, self.region, protect_markers=False)
        return None if region is None else np.asarray(self.letterbox.crop(self.letterbox.apply(region)) > 0.5)

    @cached_property
    def _edited_region(self) -> Array | None:
        return region_of(self.radiograph, None, protect_markers=self.protect_markers)

    @cached_property
    def _encoded(self) -> tuple[Array, Array]:
        square = self.letterbox.apply(self.radiograph.image)
        return self.editor.networks.encode_image(to_channels([square]))

    def provenance(self, cell: Cell) -> Provenance:
        """Return how a cell's image was made."""
        settings = self.editor.settings(cell.config)
        return provenance_of(self.editor.bundle, self.editor.device.name, cell.prompt, settings)

    def run(self, group: Group, tick: Tick = lambda count: None) -> dict[int, Array]:
        """Make the cells of a group; return their images by number, each of the shape of :attr:`source`.

        With ``compose`` ``replace`` an image is what ``Editor.edit`` decodes for the same settings, within float
        rounding, its padding cut off.
        """
        placed = self.editor.place(
            self.radiograph, group.cells[0].config, region=self._edited_region, protect_markers=False
        )
        x_0 = sample_latents(*self._encoded, placed.encoder_noise, self.editor.model.latent_scaling)
        rows = rows_of(group.cells)
        latents = self._denoise(placed, x_0, rows, tick)
        plain = any(cell.config.compose == "delta" for cell in group.cells)
        decoded = self._decode(np.concatenate([latents, x_0]) if plain else latents)
        image_of = dict(zip(rows, decoded, strict=False))
        region = placed.region
        mask = None if region is None else self.letterbox.crop(self.letterbox.apply(region))
        images = {}
        for cell in group.cells:
            mode = cell.config.compose
            reference = {"delta": decoded[-1], "contrast": image_of.get((None, 1.0)), "replace": None}[mode]
            scale = max(cell.config.guidance or 0.0, 1.0)
            images[cell.number] = compose(self.source, image_of[cell.prompt, scale], reference, self.window, mode, mask)
        return images

    def _denoise(self, placed: Placed, x_0: Array, rows: list[tuple[str | None, float]], tick: Tick) -> Array:
        """Denoise all rows of a loop; return scaled latents (rows, channels, s, s)."""
        editor, timesteps = self.editor, placed.timesteps
        texts = editor.encode_texts(text for text, _ in rows if text is not None)
        texts[None] = editor.empty_text

        def predict(x_t: Array, timestep: int) -> Array:
            at_start = timestep == timesteps.start
            inputs: dict[tuple[int, str | None], tuple[Array, Array]] = {}
            for index, (text, scale) in enumerate(rows):
                owner = 0 if at_start else index
                for each in (None, text) if scale > 1 else (text,):
                    inputs[owner, each] = x_t[owner], texts[each]
            latents, states = (np.stack(parts) for parts in zip(*inputs.values(), strict=True))
            found = dict(zip(inputs, editor.networks.predict(latents, timestep, states), strict=True))
            tick(len(inputs))
            outputs = []
            for index, (text, scale) in enumerate(rows):
                owner = 0 if at_start else index
                conditional = found[owner, text]
                outputs.append(guide(found[owner, None], conditional, scale) if scale > 1 else conditional)
            return np.stack(outputs)

        noised = add_noise(x_0, placed.noise, editor.schedule.alpha_bar_at(timesteps.start))
        x_t = np.repeat(noised, len(rows), axis=0)
        solver = SOLVERS[placed.settings.speed.solver](len(timesteps))
        if placed.latent_region is not None:
            solver = held_outside(placed.latent_region, x_0, placed.noise, solver)
        return deque(denoise(x_t, editor.schedule, timesteps, predict, solver), maxlen=1).pop()

    def _decode(self, latents: Array) -> Array:
        return to_grey(self.editor.networks.decode(latents / np.float32(self.editor.model.latent_scaling)))
