"""Reads an edited film: which findings does it show that the source did not? By rules on its geometry, no classifier.

The reader knows the source, its lung fields and the edit, and looks at the change in regions that the geometry fixes;
it does not know what was asked. All amounts are in units of the film's own contrast between lung and soft tissue.
Limits were set on drawn findings in films of the training and validation parts (``--limits`` prints their readings),
before any edit was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roentmod_fast_engines.cxr_mini.drawing.geometry import LEFT, RIGHT, SIDES, Scene
from roentmod_fast_engines.cxr_mini.drawing.tissue import blur

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

LOBES = (("right", "upper"), ("right", "middle"), ("right", "lower"), ("left", "upper"), ("left", "lower"))


@dataclass(frozen=True)
class Reading:
    """Findings seen, each as (key, side, lobe), and the numbers behind them."""

    found: frozenset[tuple[str, str, str]]
    numbers: Mapping[str, float]

    @property
    def keys(self) -> set[str]:
        return {key for key, _, _ in self.found}


def _mean(change: Array, region: Mask) -> float:
    return float(change[region].mean()) if region.sum() > 8 else 0.0


def regions(scene: Scene) -> dict[str, Mask]:
    """Where to look in this film, each bool (size, size)."""
    result: dict[str, Mask] = {}
    for name, side in SIDES.items():
        depth, height, mask = scene.depth(side), scene.height(side), scene.lungs[side].mask
        lung = mask & (scene.aeration > 0.25)
        result[f"{name} wing"] = lung & (depth > 0.08) & (depth < 0.5) & (height > 0.28) & (height < 0.55)
        result[f"{name} rim"] = lung & (depth > 0.75) & (height > 0.15) & (height < 0.5)
        result[f"{name} apex"] = lung & (height > 0.08) & (height < 0.3)
        result[f"{name} base"] = lung & (depth > 0.45) & (height > 0.76)
        result[f"{name} upper"] = lung & (height > 0.08) & (height < 0.5)
        result[f"{name} lower"] = lung & (height > 0.58) & (depth > 0.1) & (height < 0.97)
        result[f"{name} lung"] = mask
    depth, height = scene.depth(RIGHT), scene.height(RIGHT)
    lung = scene.lungs[RIGHT].mask & (scene.aeration > 0.25)
    result["right middle"] = lung & (height > 0.52) & (height < 0.82) & (depth > 0.05) & (depth < 0.7)
    base = (scene.lungs[RIGHT].bottom + scene.lungs[LEFT].bottom) / 2
    top = (scene.lungs[RIGHT].top + scene.lungs[LEFT].top) / 2
    tall = base - top
    centre = base - 0.22 * tall
    middle = scene.midline[int(centre)] + 0.035 * scene.thorax_width
    across, down = np.abs(scene.columns - middle), scene.rows - centre
    sac = across < 0.075 * scene.thorax_width
    result["sac above"] = sac & (down < -0.025 * tall) & (down > -0.13 * tall)
    result["sac below"] = sac & (down > 0.025 * tall) & (down < 0.13 * tall)
    return result


def _gain(scene: Scene, edited: Scene, side: int) -> float:
    """How much further the heart reaches on one side: the median over its middle rows, in thoracic widths."""
    low = scene.heart_top + (scene.heart_bottom - scene.heart_top) // 3
    rows = slice(low, scene.heart_top + int((scene.heart_bottom - scene.heart_top) * 0.9))
    return float(np.median(edited.reach[side][rows] - scene.reach[side][rows])) / scene.thorax_width


def read(scene: Scene, masks: Mask, edited: Array) -> Reading:
    """Read ``edited``, float32 of the source's shape in [0, 1], against its source's ``scene`` and lung ``masks``."""
    size = scene.size
    change = blur(edited - scene.image, size / 128) / scene.contrast
    where = regions(scene)
    n: dict[str, float] = {name: _mean(change, mask) for name, mask in where.items()}
    try:
        after = Scene.of(edited, masks)
        n["ratio"], n["ratio before"] = after.heart_ratio, scene.heart_ratio
        n["right reach"], n["left reach"] = _gain(scene, after, RIGHT), _gain(scene, after, LEFT)
    except ValueError:
        n["ratio"] = n["ratio before"] = scene.heart_ratio
        n["right reach"] = n["left reach"] = 0.0
    found: set[tuple[str, str, str]] = set()

    gained = n["ratio"] - n["ratio before"]
    if n["ratio"] > 0.5 and gained > 0.03 and n["left reach"] > 0.01 and n["right reach"] > -0.01:
        found.add(("cardiomegaly", "", ""))
    wing = min(n["right wing"], n["left wing"])
    rim = max(n["right rim"], n["left rim"], 0.0)
    n["wing"] = wing
    if wing > LIMITS["edema"] and wing > 1.3 * rim:
        found.add(("edema", "", ""))
    for name, other in (("right", "left"), ("left", "right")):
        base, opposite = n[f"{name} base"], max(n[f"{other} base"], 0.0)
        # A grown heart reaches the base as well.
        least = LIMITS["effusion"] * (1.5 if ("cardiomegaly", "", "") in found else 1)
        if base > least and base > 2.5 * opposite and base > 0.8 * n[f"{name} lower"] and base > 2 * n[f"{name} upper"]:
            found.add(("effusion", name, ""))

    # One dense spot: a mass where it is round, small and stands out, a consolidation where it is wide and patchy.
    inside = where["right lung"] | where["left lung"]
    focus = blur(change, size / 64)
    spot = np.unravel_index(int(np.argmax(np.where(inside, focus, -1))), focus.shape)
    peak = float(focus[spot])
    side = "right" if where["right lung"][spot] else "left"
    height = float(scene.height(SIDES[side])[spot])
    distance = np.hypot(scene.rows - spot[0], scene.columns - spot[1]) / scene.thorax_width
    near = inside & (distance < 0.055)
    ring = inside & (distance > 0.16) & (distance < 0.24)
    n["peak"], n["near"], n["ring"] = peak, _mean(change, near), _mean(np.maximum(change, 0), ring)
    lobe = "upper" if height < 0.47 else "lower"
    if side == "right" and 0.42 < height < 0.72:
        lobe = "middle"
    half = inside & (focus > peak / 2)
    n["spread"] = float(half.sum()) / scene.thorax_width**2
    round_ = n["spread"] < 0.0155
    base = n[f"{side} base"]
    if peak > LIMITS["mass"] and n["ring"] < 0.3 * n["near"] and round_ and base < 0.6 * peak:
        found.add(("mass", side, lobe))
    lobes = {place: n[f"{place[0]} {place[1]}"] for place in LOBES}
    place = max(lobes, key=lambda one: lobes[one])
    mirrored = max(
        n["left lower" if place[1] == "middle" else f"{'left' if place[0] == 'right' else 'right'} {place[1]}"], 0.0
    )
    n["lobe"], n["lobe mirrored"] = lobes[place], mirrored
    wide = not any(key == "mass" for key, _, _ in found)
    if lobes[place] > LIMITS["pneumonia"] and lobes[place] > 2.2 * mirrored and wide:
        # Both lungs hazy is edema, a dense base is fluid, a lower spot beside a grown heart is the heart.
        fluid, heart = ("effusion", place[0], "") in found, ("cardiomegaly", "", "") in found
        if not fluid and not (heart and place[1] != "upper") and ("edema", "", "") not in found:
            found.add(("pneumonia", *place))
    n["level"] = n["sac below"] - n["sac above"]
    if n["level"] > LIMITS["hernia"] and n["sac below"] > 0.0:
        found.add(("hernia", "", ""))
    return Reading(frozenset(found), n)


LIMITS = {"edema": 0.10, "effusion": 0.15, "pneumonia": 0.08, "mass": 0.18, "hernia": 0.07}
"""About half of what a drawn finding of usual severity measures."""
