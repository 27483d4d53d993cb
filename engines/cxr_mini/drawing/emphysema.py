"""Emphysema: dark, large lungs with few vessels, low flat domes and a narrow heart."""

from __future__ import annotations

import numpy as np

from .geometry import LEFT, RIGHT, Scene
from .tissue import Array, Mask, bell, blur, cloud, floats, step, thinner


def draw_emphysema(scene: Scene, image: Array, severity: float, rng: np.random.Generator) -> tuple[Array, Mask]:
    """Add emphysema; return the film and the lungs."""
    size = scene.size
    base = (scene.lungs[RIGHT].bottom + scene.lungs[LEFT].bottom) / 2
    top = (scene.lungs[RIGHT].top + scene.lungs[LEFT].top) / 2
    # The domes move down, most at their tops, and with them what lies below; apices and film edges stay.
    along = (scene.rows - top) / max(base - top, 1)
    shift = size * (0.015 + 0.03 * severity) * bell(np.where(along < 0.95, (along - 0.95) / 0.5, (along - 0.95) / 0.35))
    rows = np.clip(scene.rows - shift, 0, size - 1.001)
    low = rows.astype(np.int64)
    part = floats(rows - low)
    columns = np.arange(size)[None, :]
    moved = image[low, columns] * (1 - part) + image[np.minimum(low + 1, size - 1), columns] * part
    lung = np.maximum(scene.field(RIGHT, 0, 1.5), scene.field(LEFT, 0, 1.5)) * np.clip(scene.aeration * 1.6, 0, 1)
    # Fewer vessels: the fine detail fades, more in the upper zones.
    upper = np.clip(1.1 - 0.5 * along, 0.4, 1)
    faded = moved - (0.25 + 0.35 * severity) * lung * upper * (blur(moved, size / 300) - blur(moved, size / 70))
    uneven = np.clip(1 + 0.15 * cloud(rng, size, 0.3, 0.08, 1.6), 0.5, 1.5)
    soft = blur(lung, size / 90)
    changed = thinner(
        faded, (0.18 + 0.25 * severity) * soft * upper * uneven, blur(faded, size / 60) - 0.8 * scene.contrast
    )
    return floats(np.clip(changed, 0, 1)), (lung > 0.5) & (step(1.2 - along, 0.1) > 0.5)
