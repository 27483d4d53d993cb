"""Hiatal hernia: a round part of the stomach behind the heart, air over fluid."""

from __future__ import annotations

import numpy as np

from .geometry import LEFT, RIGHT, Scene
from .tissue import Array, Mask, bell, cloud, denser, floats, step, thinner, with_grain


def draw_hernia(scene: Scene, image: Array, severity: float, rng: np.random.Generator) -> tuple[Array, Mask]:
    """Add a hernia behind the heart; return the film and where."""
    size = scene.size
    wide = scene.thorax_width * (0.105 + 0.06 * severity + rng.uniform(-0.008, 0.008))
    tall = wide * rng.uniform(0.80, 0.98)
    base = (scene.lungs[RIGHT].bottom + scene.lungs[LEFT].bottom) / 2
    middle = (scene.lungs[RIGHT].top + scene.lungs[LEFT].top) / 2
    # The dome lies over the lowest edge of the lungs; the sac stands on it.
    y = base - 0.13 * (base - middle) - 0.55 * tall + rng.uniform(-0.01, 0.01) * size
    x = scene.midline[int(np.clip(y, 0, size - 1))] + scene.thorax_width * rng.uniform(0.025, 0.045)
    du, dv = (scene.columns - x) / wide, (scene.rows - y) / tall
    angle = np.arctan2(dv, du)
    edge = 1 + 0.05 * np.sin(2 * angle + rng.uniform(0, 6.3)) + 0.035 * np.sin(3 * angle + rng.uniform(0, 6.3))
    distance = np.hypot(du, dv) / edge
    thick = np.sqrt(np.clip(1 - distance * distance, 0, 1))
    # The fluid's upper edge is level; above it gas, which fills the sac but for its wall.
    level = y + tall * rng.uniform(-0.08, 0.08)
    under = step(scene.rows - level, size / 90)
    room = np.clip(1 - np.square(distance / 0.88), 0, 1)
    gas = room**0.7 * (1 - under)
    wall = bell((distance - 0.97) / 0.08) * (1 - under)
    folds = np.clip(1 + 0.15 * cloud(rng, size, 0.08, 0.02, 1.4), 0.5, 1.5)
    ceiling = np.minimum(0.96, scene.ceiling + 0.12 * scene.contrast)
    changed = denser(image, ((0.28 + 0.22 * severity) * thick * under + 0.16 * wall) * folds, ceiling)
    # Beside the heart the sac shows as an opacity of its own, gas or not.
    beside = thick**0.8 * scene.aeration
    changed = denser(
        changed, (0.8 + 0.3 * severity) * beside * (1 - 0.55 * gas), scene.soft_level - 0.1 * scene.contrast
    )
    floor = scene.lung_level + 0.1 * scene.contrast
    changed = thinner(changed, (0.30 + 0.14 * severity) * gas * (1 - 0.7 * scene.aeration) * folds, floor)
    near = step(1.2 - distance, 0.25)
    changed = image + near * (changed - image)
    return with_grain(image, floats(np.clip(changed, 0, 1)), scene.grain, rng), thick > 0.1
