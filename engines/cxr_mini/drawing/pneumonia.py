"""Pneumonia of a lobe: patchy consolidation with soft edges, air in the bronchi, borders at fissures."""

from __future__ import annotations

import numpy as np

from .geometry import RIGHT, SIDES, Scene
from .tissue import Array, Mask, blur, cloud, denser, floats, line, step, with_grain

CENTRES = {
    ("right", "upper"): (0.50, 0.28),
    ("right", "middle"): (0.30, 0.68),
    ("right", "lower"): (0.52, 0.80),
    ("left", "upper"): (0.48, 0.30),
    ("left", "lower"): (0.58, 0.78),
}
"""Depth and height of the middle of each lobe as seen from the front."""

REACH = {"upper": (0.40, 0.165), "middle": (0.38, 0.15), "lower": (0.42, 0.165)}
"""Half width and half height of a lobe's consolidation at full severity."""


def lobe_region(scene: Scene, side: str, lobe: str) -> Array:
    """Where a lobe lies, 0 to 1, soft at the fissures."""
    index = SIDES[side]
    height, depth = scene.height(index), scene.depth(index)
    field = scene.field(index)
    if lobe == "upper":
        # The minor fissure is level; on the left the lobes overlap.
        low = 0.47 if side == "right" else 0.56
        return floats(field * step(low - height, 0.03 if side == "right" else 0.12))
    if lobe == "middle":
        return floats(field * step(height - 0.47, 0.05) * step(0.95 - depth, 0.3))
    return floats(field * step(height - 0.5, 0.16))


def draw_pneumonia(
    scene: Scene, image: Array, side: str, lobe: str, severity: float, rng: np.random.Generator
) -> tuple[Array, Mask]:
    """Consolidate a part of a lobe; return the film and where."""
    size, index = scene.size, SIDES[side]
    depth, height = scene.depth(index), scene.height(index)
    centre_d, centre_h = CENTRES[side, lobe]
    centre_d += rng.uniform(-0.08, 0.08)
    centre_h += rng.uniform(-0.04, 0.04)
    wide, tall = REACH[lobe]
    grow = 0.6 + 0.5 * severity
    shape = np.zeros_like(image)
    for k in range(int(rng.integers(2, 5))):
        d = centre_d + (0 if k == 0 else rng.uniform(-0.5, 0.5) * wide)
        h = centre_h + (0 if k == 0 else rng.uniform(-0.5, 0.5) * tall)
        scale = grow * (1.0 if k == 0 else rng.uniform(0.45, 0.8))
        shape = np.maximum(
            shape,
            (1.0 if k == 0 else 0.9) - np.hypot((depth - d) / (wide * scale), (height - h) / (tall * scale)) * 0.9,
        )
    ragged = 0.13 * cloud(rng, size, 0.18, 0.045, 1.6) + 0.03 * cloud(rng, size, 0.06, 0.015, 1.2)
    patch = step(shape - 0.18 + ragged, 0.75) * lobe_region(scene, side, lobe)
    patchy = np.clip(1 + 0.14 * cloud(rng, size, 0.12, 0.03, 1.5) + 0.05 * cloud(rng, size, 0.03, 0.010, 1.0), 0.4, 1.7)
    air = _bronchi(scene, side, (centre_d, centre_h), rng)
    thickness = (0.5 + 0.95 * severity) * patch * patchy * (1 - 0.55 * air)
    # Consolidated lung hides its vessels: a little blur under the opacity.
    changed = image + 0.45 * patch * (blur(image, size / 200) - image)
    changed = denser(changed, thickness, scene.ceiling - 0.12 * scene.contrast)
    return with_grain(image, changed, scene.grain, rng), patch > 0.3


def _bronchi(scene: Scene, side: str, centre: tuple[float, float], rng: np.random.Generator) -> Array:
    """Air in bronchi: a few thin branches that come from the hilum, 0 to 1."""
    size, index = scene.size, SIDES[side]
    outward = -1 if index == RIGHT else 1
    canvas = np.zeros_like(scene.image)
    hilum = np.array(scene.point(index, 0.05, 0.46))
    middle = np.array(scene.point(index, *centre))
    for _ in range(int(rng.integers(2, 4))):
        start = hilum + 0.35 * (middle - hilum) + rng.normal(0, 0.012 * size, 2)
        end = middle + np.array([outward * rng.uniform(0.0, 0.05), rng.uniform(-0.05, 0.05)]) * size
        bend = (start + end) / 2 + rng.normal(0, 0.01 * size, 2)
        line(canvas, start, bend, 0.9 * size / 256, 1.0)
        line(canvas, bend, end, 0.8 * size / 256, 0.8)
    return canvas
