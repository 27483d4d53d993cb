"""Pulmonary edema: perihilar bat wings to diffuse haze, congested and blurred vessels, cuffs and septal lines."""

from __future__ import annotations

import numpy as np

from .geometry import LEFT, RIGHT, Scene
from .tissue import Array, Mask, bell, blur, cloud, denser, floats, line, step, with_grain


def wings(scene: Scene, severity: float, butterfly: bool, rng: np.random.Generator) -> Array:
    """Where the haze lies and how dense it is, 0 to 1: around both hila, wider with severity."""
    haze = np.zeros_like(scene.image)
    spread = 0.30 + (0.0 if butterfly else 0.28 * severity)
    for side in (RIGHT, LEFT):
        depth, height = scene.depth(side), scene.height(side)
        centre = 0.50 + rng.uniform(-0.03, 0.03)
        tall = (0.24 if butterfly else 0.22 + 0.14 * severity) * rng.uniform(0.9, 1.1)
        across = bell(np.maximum(depth - 0.22, 0) / (spread * rng.uniform(0.9, 1.1)))
        below = np.where(height > centre, 1.25, 1.0)
        part = across * bell((height - centre) / (tall * below))
        if not butterfly:
            # Diffuse edema is densest at the hila and the bases, thinnest at the apices.
            part = np.maximum(part, 0.55 * severity * step(height - 0.3, 0.5) * step(1.02 - depth, 0.5))
        haze = np.maximum(haze, part * scene.field(side, 0, 1.5))
    # What is dense already (heart, mediastinum) shows no haze.
    return floats(haze * np.clip(1.5 * scene.aeration, 0, 1))


def draw_edema(
    scene: Scene, image: Array, severity: float, rng: np.random.Generator, *, butterfly: bool = False
) -> tuple[Array, Mask]:
    """Add edema; return the film and where the haze lies."""
    size = scene.size
    haze = wings(scene, severity, butterfly, rng)
    # Congestion: the patient's own vessels grow wider and lose their sharp edges.
    ridges = np.maximum(blur(image, size / 320) - blur(image, size / 60), 0)
    lung = np.maximum(scene.field(RIGHT), scene.field(LEFT))
    vessels = blur(ridges, size / 256) * lung * np.clip(haze * 1.5 + 0.25, 0, 1)
    blurred = blur(image, size / 170)
    changed = image + np.clip(haze * 1.2, 0, 0.7) * severity * (blurred - image)
    patchy = 1 + 0.20 * cloud(rng, size, 0.16, 0.035, 1.4) + 0.10 * cloud(rng, size, 0.045, 0.012, 1.0)
    thickness = (0.45 + 1.1 * severity) * haze * np.clip(patchy, 0.35, 1.8)
    thickness += (1.0 + 2.2 * severity) * vessels / max(scene.contrast, 0.1)
    thickness += _lines(scene, severity, rng) * lung
    changed = denser(changed, thickness, scene.ceiling - 0.08 * scene.contrast)
    return with_grain(image, changed, scene.grain, rng), haze > 0.25


def _lines(scene: Scene, severity: float, rng: np.random.Generator) -> Array:
    """Septal lines at the lower periphery and cuffs around bronchi at the hila, as attenuation."""
    size = scene.size
    fine, cuffs = np.zeros_like(scene.image), np.zeros_like(scene.image)
    for side in (RIGHT, LEFT):
        outward = -1 if side == RIGHT else 1
        for _ in range(int(rng.integers(5, 9 + int(8 * severity)))):
            x, y = scene.point(side, rng.uniform(0.80, 0.95), rng.uniform(0.55, 0.9))
            reach = size * rng.uniform(0.015, 0.03)
            line(fine, (x - outward * reach, y + rng.uniform(-1, 1)), (x, y), 0.6 * size / 256, rng.uniform(0.5, 1.0))
        for _ in range(int(rng.integers(6, 12))):  # longer ones from the hilum
            x, y = scene.point(side, rng.uniform(0.15, 0.4), rng.uniform(0.35, 0.62))
            angle = rng.uniform(-1.1, 1.1)
            reach = size * rng.uniform(0.03, 0.07)
            end = (x + outward * reach * np.cos(angle), y + reach * np.sin(angle))
            line(fine, (x, y), end, 0.7 * size / 256, rng.uniform(0.3, 0.8))
        for _ in range(int(rng.integers(1, 4))):
            x, y = scene.point(side, rng.uniform(0.05, 0.3), rng.uniform(0.38, 0.55))
            radius = size * rng.uniform(0.009, 0.014)
            distance = np.hypot(scene.columns - x, scene.rows - y)
            cuffs += bell((distance - radius) / (size / 170)) - 0.5 * bell(distance / (0.6 * radius))
    return floats((0.12 + 0.14 * severity) * fine + 0.22 * severity * cuffs)
