"""Draw findings into a film: the same film with and without is the known perfect edit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .asked import Asked
from .edema import draw_edema
from .effusion import draw_effusion
from .emphysema import draw_emphysema
from .geometry import SIDES, Scene
from .heart import draw_cardiomegaly
from .hernia import draw_hernia
from .mass import draw_mass, draw_nodules
from .pneumonia import draw_pneumonia
from .tissue import Array, Mask

ORDER = ("emphysema", "cardiomegaly", "edema", "pneumonia", "mass", "nodules", "hernia", "effusion")
"""What changes shapes comes first, what covers others last."""


def draw(scene: Scene, asked: Iterable[Asked], seed: int) -> tuple[Array, dict[str, Mask]]:
    """Draw ``asked`` into the film of ``scene``; return it and where each finding lies, by key."""
    asked = tuple(asked)
    unknown = sorted({one.key for one in asked} - set(ORDER))
    if unknown:
        raise ValueError(f"unknown finding {', '.join(unknown)}: expected one of {', '.join(ORDER)}")
    image, masks = scene.image, {}
    for one in sorted(asked, key=lambda one: ORDER.index(one.key)):
        rng = np.random.default_rng([seed, ORDER.index(one.key)])
        image, masks[one.key] = _draw(scene, image, one, rng)
    return image, masks


def _draw(scene: Scene, image: Array, one: Asked, rng: np.random.Generator) -> tuple[Array, Mask]:
    if one.key == "cardiomegaly":
        return draw_cardiomegaly(scene, image, one.severity, rng)
    if one.key == "edema":
        return draw_edema(scene, image, one.severity, rng, butterfly=one.kind == "butterfly")
    if one.key == "effusion":
        return draw_effusion(scene, image, SIDES[one.side], one.severity, rng, kind=one.kind)
    if one.key == "pneumonia":
        return draw_pneumonia(scene, image, one.side, one.lobe, one.severity, rng)
    if one.key == "mass":
        return draw_mass(scene, image, one.side, one.lobe, one.severity, rng)
    if one.key == "nodules":
        return draw_nodules(scene, image, one.severity, rng, many=one.kind == "many")
    if one.key == "hernia":
        return draw_hernia(scene, image, one.severity, rng)
    return draw_emphysema(scene, image, one.severity, rng)
