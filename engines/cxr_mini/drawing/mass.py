"""Masses and nodules: balls of soft tissue, smooth, lobulated or spiculated."""

from __future__ import annotations

import numpy as np

from .geometry import LEFT, RIGHT, SIDES, Scene
from .tissue import Array, Mask, blur, cloud, denser, floats, with_grain

CENTRES = {
    ("right", "upper"): (0.50, 0.27),
    ("right", "middle"): (0.45, 0.62),
    ("right", "lower"): (0.55, 0.80),
    ("left", "upper"): (0.50, 0.27),
    ("left", "lower"): (0.62, 0.78),
}


def ball(scene: Scene, x: float, y: float, radius: float, border: str, rng: np.random.Generator) -> Array:
    """Thickness of a ball, 0 to 1, seen from the front. ``border``: smooth, lobulated or spiculated."""
    du, dv = scene.columns - x, scene.rows - y
    angle, distance = np.arctan2(dv, du), np.hypot(du, dv)
    wave = {"smooth": 0.03, "lobulated": 0.11, "spiculated": 0.07}[border]
    edge = np.ones_like(distance)
    for k in range(2, 7):
        edge = edge + wave / np.sqrt(k - 1) * rng.normal(0, 0.8) * np.sin(k * angle + rng.uniform(0, 2 * np.pi))
    squash = rng.uniform(0.82, 1.0)
    turn = rng.uniform(0, np.pi)
    distance = np.hypot(du * np.cos(turn) + dv * np.sin(turn), (dv * np.cos(turn) - du * np.sin(turn)) / squash)
    inside = distance / (radius * np.clip(edge, 0.6, 1.4))
    thick = np.sqrt(np.clip(1 - inside * inside, 0, 1)) ** 1.25
    if border == "spiculated":
        spikes = np.zeros_like(thick)
        for _ in range(int(rng.integers(9, 16))):
            at = rng.uniform(0, 2 * np.pi)
            off = np.abs(np.angle(np.exp(1j * (angle - at)))) * distance
            reach = radius * rng.uniform(0.25, 0.7)
            spikes = np.maximum(
                spikes,
                np.exp(-np.square(off / (0.0045 * scene.size)))
                * np.exp(-np.maximum(distance - radius * 0.9, 0) / reach),
            )
        thick = np.maximum(thick, 0.4 * spikes * (inside > 0.8))
    return blur(thick, scene.size / 300)


def add_ball(
    scene: Scene, image: Array, x: float, y: float, radius: float, density: float, border: str, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Add one ball at (x, y); return the film and the ball's thickness."""
    thick = ball(scene, x, y, radius, border, rng)
    inner = np.clip(1 + 0.10 * cloud(rng, scene.size, 0.05, 0.012, 1.2), 0.6, 1.4)
    row = int(np.clip(round(y), 0, scene.size - 1))
    column = int(np.clip(round(x), 0, scene.size - 1))
    ceiling = max(
        float(scene.ceiling[row, 0]) - 0.1 * scene.contrast,
        float(blur(image, scene.size / 60)[row, column]) + 0.2 * scene.contrast,
    )
    return denser(image, density * thick * inner, min(0.97, ceiling)), thick


def inside(scene: Scene, side: int, depth: float, height: float, radius: float) -> tuple[float, float]:
    """The pixel at ``depth`` and ``height``, moved so far inward that a ball of ``radius`` stays in the lung."""
    x, y = scene.point(side, depth, height)
    row = int(np.clip(round(y), 0, scene.size - 1))
    low, high = sorted((float(scene.lungs[side].medial[row]), float(scene.lungs[side].lateral[row])))
    margin = min(radius * 0.9, (high - low) / 2)
    return float(np.clip(x, low + margin, high - margin)), y


def draw_mass(
    scene: Scene, image: Array, side: str, lobe: str, severity: float, rng: np.random.Generator
) -> tuple[Array, Mask]:
    """Add a mass (over 3 cm) to a lobe; return the film and where."""
    depth, height = CENTRES[side, lobe]
    # A thorax is about 30 cm wide: 1 cm is a thirtieth of it.
    radius = scene.thorax_width / 30 * (1.7 + 1.5 * severity + rng.uniform(-0.1, 0.1))
    border = str(rng.choice(["smooth", "lobulated", "lobulated", "spiculated"]))
    x, y = inside(scene, SIDES[side], depth + rng.uniform(-0.03, 0.03), height + rng.uniform(-0.02, 0.02), radius)
    changed, thick = add_ball(scene, image, x, y, radius, 1.05 + 0.35 * severity, border, rng)
    return with_grain(image, changed, scene.grain, rng), thick > 0.15


def draw_nodules(
    scene: Scene, image: Array, severity: float, rng: np.random.Generator, *, many: bool
) -> tuple[Array, Mask]:
    """Add one nodule (under 3 cm) or many; return the film and where."""
    count = int(rng.integers(6, 10 + int(6 * severity))) if many else 1
    changed, where = image, np.zeros(image.shape, dtype=bool)
    for _ in range(count):
        side = RIGHT if rng.random() < 0.5 else LEFT
        centimetre = scene.thorax_width / 30
        radius = centimetre * (rng.uniform(0.55, 1.0) if many else 0.75 + 0.55 * severity)
        x, y = inside(scene, side, rng.uniform(0.25, 0.85), rng.uniform(0.15, 0.85), radius)
        changed, thick = add_ball(scene, changed, x, y, radius, 0.9 + 0.3 * severity, "smooth", rng)
        where |= thick > 0.15
    return with_grain(image, floats(changed), scene.grain, rng), where
