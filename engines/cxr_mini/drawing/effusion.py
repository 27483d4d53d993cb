"""Pleural effusion: fluid at the base with a meniscus, from a blunted angle to half the lung, or layered behind it."""

from __future__ import annotations

import numpy as np

from .geometry import Scene
from .tissue import Array, Mask, blur, cloud, denser, floats, step, with_grain


def surface(scene: Scene, side: int, severity: float, rng: np.random.Generator, *, subpulmonic: bool = False) -> Array:
    """Height of the fluid's upper edge in lung heights at each pixel (0 apex, 1 base): highest at the chest wall.

    A little fluid only blunts the lateral angle. ``subpulmonic``: below the lung, like a diaphragm that stands too high
    and has its dome too far out.
    """
    depth = np.clip(scene.depth(side), -0.3, 1.1)
    level = 0.97 - 0.44 * severity + rng.uniform(-0.02, 0.02)
    climb = rng.uniform(0.8, 1.15) * (0.10 + 0.19 * severity)
    if subpulmonic:
        dome = 0.10 * np.square((depth - rng.uniform(0.55, 0.75)) / 0.5)
        blunt = 0.6 * climb * np.exp(-np.maximum(1.0 - depth, 0) / 0.1)
        return floats(0.93 - 0.26 * severity + np.minimum(dome, 0.2) - blunt)
    wall = rng.uniform(0.22, 0.34) * (0.6 + 0.7 * severity)
    rise = climb * np.exp(-np.maximum(1.0 - depth, 0) / wall)
    # A little fluid climbs at the mediastinum as well.
    rise = rise + 0.3 * climb * np.exp(-np.maximum(depth, 0) / (0.6 * wall)) * severity
    return floats(level - rise)


def draw_effusion(
    scene: Scene, image: Array, side: int, severity: float, rng: np.random.Generator, *, kind: str = ""
) -> tuple[Array, Mask]:
    """Add fluid on ``side``; return the film and where the fluid lies.

    ``kind``: empty for fluid with a meniscus; "layered" where the patient lies, so that fluid veils the lung from
    behind, denser towards the base; "subpulmonic" for fluid below the lung.
    """
    size = scene.size
    height, rim = scene.height(side), scene.depth(side)
    # The field and what lies between its base and the lowest edge of the lung, not the chest wall.
    mask = scene.lungs[side].mask
    deeper = mask.copy()
    for shift in range(1, int(0.035 * size) + 1):
        deeper[shift:] |= mask[:-shift]
    field = step(blur(deeper, 1.2) - 0.35, 0.5)
    sulcus = step(height - 0.8, 0.1) * step(1.02 - height, 0.05) * step(rim - 0.1, 0.15) * step(0.97 - rim, 0.06)
    field = np.maximum(field, sulcus)
    edge = surface(scene, side, severity, rng, subpulmonic=kind == "subpulmonic")
    under = height - (edge + 0.010 * cloud(rng, size, 0.3, 0.06, 1.5))
    if kind == "layered":
        veil = np.clip((height - (0.8 - 0.75 * severity)) / 0.9, 0, 1)
        thickness = (0.9 + 1.0 * severity) * veil + 0.8 * step(under - 0.02, 0.14) * step(height - 0.7, 0.5)
    else:
        # Fluid is a wedge around the lung: thin at its upper edge, all of the depth of the chest further down.
        wedge = step(under, 0.05) * 0.45 + 0.55 * np.clip(under / (0.10 + 0.12 * severity), 0, 1)
        above = np.exp(np.minimum(under, 0) / (0.05 + 0.06 * severity))
        thickness = (1.5 + 0.7 * severity) * wedge + (0.18 + 0.22 * severity) * above * (under < 0)
        thickness = blur(thickness, size / 200)
    thickness = thickness * (1 + 0.06 * cloud(rng, size, 0.25, 0.04, 1.5))
    # Fluid tends to the density of the mediastinum and of what lies below the diaphragm of this film.
    under_mask = np.zeros_like(mask)
    drop = int(0.09 * size)
    under_mask[drop:] = deeper[:-drop]
    near = under_mask & ~deeper & (height > 0.7) & (np.abs(rim - 0.5) < 0.4)
    level = float(np.percentile(image[near], 40)) if near.sum() > 20 else scene.soft_level
    level = float(np.clip(level, scene.soft_level - 0.3 * scene.contrast, scene.soft_level + 0.1 * scene.contrast))
    ceiling = np.minimum(level, scene.ceiling) - 0.05 * scene.contrast * step(rim - 0.7, 0.4)
    thickness = thickness * np.clip(0.15 + 2.0 * scene.aeration, 0, 1)
    changed = denser(image, thickness * field, ceiling)
    if kind != "layered":
        # The dome drowns: inside the fluid nothing stays much brighter than its surroundings.
        deep = step(under - 0.08, 0.1) * field
        even = blur(changed, size / 50)
        changed = changed + 0.5 * deep * np.minimum(even - changed, 0)
    changed = with_grain(image, changed, scene.grain, rng)
    return floats(np.clip(changed, 0, 1)), (thickness * field * scene.aeration) > 0.4
