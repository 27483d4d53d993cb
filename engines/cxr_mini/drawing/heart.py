"""Cardiomegaly: the heart's borders move outward, ribs and lines stay where they are."""

from __future__ import annotations

import numpy as np

from .geometry import LEFT, RIGHT, Scene
from .tissue import Array, Mask, bell, blur, floats, sample_rows, step


def target_ratio(scene: Scene, severity: float, rng: np.random.Generator) -> float:
    """Cardiothoracic ratio to draw: 0.55 to 0.68, and always well above the film's own."""
    wanted = 0.55 + 0.12 * severity + rng.uniform(-0.01, 0.01)
    own = scene.heart_ratio
    return float(min(0.72, own + 0.2, max(wanted, own + 0.05 + 0.05 * severity)))


def enlarged(scene: Scene, ratio: float) -> tuple[Array, Array]:
    """Return the heart's reach to the right and to the left of the midline at each row for a cardiothoracic ratio."""
    rows = np.arange(scene.size, dtype=np.float32)
    grown = []
    for side in (RIGHT, LEFT):
        reach = scene.reach[side]
        # Two thirds of the growth go to the left, the apex drops and rounds.
        share = 0.30 if side == RIGHT else 0.70
        widest = float(reach[scene.heart_top : scene.heart_bottom + 1].max())
        own = scene.heart_ratio * scene.thorax_width
        more = (ratio * scene.thorax_width - own) * share
        along = (rows - scene.heart_top) / max(1, scene.heart_bottom - scene.heart_top)
        centre = 0.62 if side == RIGHT else 0.74
        power = 0.85 if side == RIGHT else 1.15
        shape = floats(np.clip(np.sin(np.pi * 0.88 * np.clip(along, 0, 1.1) ** power), 0, 1))
        shape = np.maximum(shape, bell((along - centre) / (0.4 if side == RIGHT else 0.3)))
        shape *= step(along - 0.15, 0.4)
        shape /= max(float(shape.max()), 1e-6)
        wall = np.abs(scene.half_thorax[side])
        outline = np.minimum(reach + more * shape, np.maximum(0.93 * wall, reach))
        grown.append(floats(np.minimum(np.maximum(outline, reach), widest + more)))
    return grown[0], grown[1]


def draw_cardiomegaly(scene: Scene, image: Array, severity: float, rng: np.random.Generator) -> tuple[Array, Mask]:
    """Enlarge the heart; return the film and the region that belongs to the new heart only."""
    size = scene.size
    new = enlarged(scene, target_ratio(scene, severity, rng))
    sigma = size / 60
    low = blur(image, sigma)
    detail = image - low
    x = scene.from_midline
    source = scene.columns.copy()
    old_border = np.zeros_like(image)
    gained = np.zeros(image.shape, dtype=bool)
    rows = np.arange(size, dtype=np.float32)
    # Below the base of the lungs the shift fades out, so that the abdomen stays.
    fade = 1 - step(rows - (scene.heart_bottom + 0.02 * size), 0.06 * size)
    for side in (RIGHT, LEFT):
        sign = -1.0 if side == RIGHT else 1.0
        out = np.maximum(sign * x, 0)
        old = scene.reach[side]
        # Below the last row the new border goes on with its own end.
        grown = np.where(rows > scene.heart_bottom, old + (new[side] - old)[scene.heart_bottom], new[side])
        shift = ((grown - old) * fade)[:, None]
        wall = np.maximum(np.abs(scene.half_thorax[side]), grown + 3)[:, None]
        edge, start = grown[:, None], 0.25 * old[:, None]
        rising = np.clip((out - start) / np.maximum(edge - start, 1), 0, 1)
        falling = np.clip((wall - out) / np.maximum(wall - edge, 1), 0, 1)
        weight = np.where(out <= edge, rising * rising * (3 - 2 * rising), falling * falling * (3 - 2 * falling))
        source -= np.where(sign * x > 0, sign * shift * weight, 0)
        border = bell((out - old[:, None]) / (size / 45)) * (shift > 0.5) * (sign * x > 0)
        old_border = np.maximum(old_border, border)
        gained |= (sign * x > 0) & (out < edge) & (out > old[:, None]) & (shift > 0.5)
    warped = sample_rows(low, source)
    moved = sample_rows(detail, source)
    # The detail stays where it is (ribs, lines), but that of the old border goes with the border.
    changed = warped + (1 - old_border) * detail + old_border * moved
    # The new part is as dense as the heart beside it, its lung markings fainter.
    rest = blur(gained.astype(np.float32), size / 170)
    changed = warped + (1 - 0.45 * rest) * (changed - warped)
    level = scene.soft_level - 0.2 * scene.contrast
    changed = changed + 0.75 * rest * np.maximum(level - blur(changed, sigma), 0)
    touched = np.abs(source - scene.columns) > 0.05
    changed = np.where(touched | (rest > 0.01), changed, image)
    soft = blur((touched | (rest > 0.01)).astype(np.float32), size / 130)
    return floats(np.clip(image + soft * (changed - image), 0, 1)), gained
