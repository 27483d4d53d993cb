"""Reads an edited phantom: which findings does it show? By rules on the known geometry, without any network.

The reader knows the patient (the phantom's anatomy) and both images, source and edit. It examines where the edit
changed the image and how, in regions fixed by the anatomy; it does not know what was asked. Each limit is about
half of what a drawn finding measures (``python benchmarks/phantom_reader.py`` prints the truth's readings), and was
set on drawn findings, before any edit was read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.findings import BY_KEY
from roentmod_fast.phantom import CARDIOMEGALY_RATIO, Anatomy, Phantom, draw, positions

Array = NDArray[np.float32]


def smooth(image: Array, sigma: float) -> Array:
    """Blur with a Gaussian of ``sigma`` pixels."""
    reach = max(1, int(3 * sigma + 0.5))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(image, reach, mode="edge")
    rows = np.apply_along_axis(np.convolve, 1, padded, kernel, mode="valid")
    return np.asarray(np.apply_along_axis(np.convolve, 0, rows, kernel, mode="valid"), dtype=np.float32)


class Regions:
    """Where to look in this patient, each bool (size, size)."""

    def __init__(self, source: Phantom) -> None:
        a: Anatomy = source.anatomy
        size = source.image.shape[0]
        u, v = positions(size, a)
        side = u - a.midline
        out = np.abs(side)
        lungs = source.lungs
        half = a.half_thorax
        heart_right = a.heart_ratio * 2 * half * a.heart_right_share
        # Above the widest part of the heart, so that an enlarged one is not taken for haze.
        perihilar = (out > a.mediastinum + 0.02) & (out < 0.62 * half) & (np.abs(v - a.hilum + 0.03) < 0.07) & lungs
        self.side, self.v, self.anatomy = side, v, a
        self.right_wing, self.left_wing = perihilar & (side < 0), perihilar & (side > 0)
        self.periphery = lungs & (out > 0.78 * half) & (v < a.right_dome - 0.1)
        patch = (
            (out > heart_right + 0.02) & (out < heart_right + 0.5 * half) & (np.abs(v - a.right_dome + 0.105) < 0.06)
        )
        self.right_patch, self.left_patch = patch & lungs & (side < 0), patch & lungs & (side > 0)
        base = (out > 0.55 * half) & (v > a.right_dome - 0.06) & lungs
        self.right_base, self.left_base = base & (side < 0), base & (side > 0)
        self.right_apex = lungs & (side < 0) & (v < a.hilum)
        sac = np.hypot(side - 0.035, v - a.right_dome + 0.03)
        self.sac_top = (sac < 0.055) & (v < a.right_dome - 0.045)
        self.sac_bottom = (sac < 0.055) & (v > a.right_dome - 0.015)
        self.left_upper = lungs & (side > 0.25 * half) & (v < a.hilum - 0.05)
        self.left_lung = lungs & (side > 0)


def heart_reach(image: Array, regions: Regions) -> tuple[float, float]:
    """Measure how far the heart reaches to the patient's right and left of the midline, as a reader does.

    Both in half thoracic widths, so that half their sum is the cardiothoracic ratio.
    """
    a, side, v = regions.anatomy, regions.side, regions.v
    smoothed = smooth(image, image.shape[0] / 170)
    lung = np.median(smoothed[regions.left_upper])
    heart_zone = (np.abs(side - 0.02) < 0.03) & (np.abs(v - a.right_dome + 0.08) < 0.05)
    limit = 0.5 * (lung + np.median(smoothed[heart_zone]))
    reach = {-1: 0.0, 1: 0.0}
    rows = np.flatnonzero(np.abs(v[:, v.shape[1] // 2] - a.right_dome + 0.08) < 0.05)  # clear of the diaphragm
    for row in rows:
        for sign in reach:
            outward = sign * side[row]
            order = np.argsort(outward)
            order = order[outward[order] > 0.03]
            below = np.flatnonzero(smoothed[row, order] < limit)
            if below.size:
                reach[sign] = max(reach[sign], float(outward[order[below[0]]]))
    return reach[-1] / a.half_thorax, reach[1] / a.half_thorax


def read(source: Phantom, edited: Array) -> tuple[set[str], dict[str, float]]:
    """Return the findings that ``edited`` shows and the numbers that say so.

    ``edited``: float32 of the source's shape in [0, 1].
    """
    regions = Regions(source)
    change = smooth(edited - source.image, source.image.shape[0] / 128)

    def mean(region: NDArray[np.bool_]) -> float:
        return float(change[region].mean()) if region.any() else 0.0

    right_reach, left_reach = heart_reach(edited, regions)
    usual_left = heart_reach(source.image, regions)[1]
    ratio = (right_reach + left_reach) / 2
    wings = (mean(regions.right_wing), mean(regions.left_wing))
    right_patch, left_patch = mean(regions.right_patch), mean(regions.left_patch)
    right_base, left_base = mean(regions.right_base), mean(regions.left_base)
    level = mean(regions.sac_bottom) - mean(regions.sac_top)
    focus = smooth(change, source.image.shape[0] / 64)
    where = np.unravel_index(np.argmax(np.where(regions.left_lung, focus, -1)), focus.shape)
    peak = float(focus[where])
    distance = np.hypot(regions.side - regions.side[where], regions.v - regions.v[where])
    around = float(np.median(change[regions.left_lung & (distance > 0.09)]))

    rules: dict[str, Callable[[], bool]] = {
        # Fluid or a consolidation at the right hides that border, so the left one must have moved too.
        "cardiomegaly": lambda: ratio > CARDIOMEGALY_RATIO and left_reach > usual_left + 0.05,
        "edema": lambda: min(wings) > 0.04 and min(wings) > 2 * mean(regions.periphery),
        "pneumonia": lambda: (
            right_patch > 0.06
            and right_patch > 2.5 * max(left_patch, mean(regions.right_apex), 0)
            and right_patch > 1.5 * right_base
        ),
        "effusion": lambda: right_base > 0.15 and right_base > 3 * max(left_base, 0),
        "hernia": lambda: level > 0.05 and mean(regions.sac_bottom) > 0.02,
        "mass": lambda: bool(regions.left_upper[where]) and peak > 0.10 and around < peak / 3,
    }
    numbers = {
        "heart_ratio": ratio,
        "left_reach_gained": left_reach - usual_left,
        "wing": min(wings),
        "periphery": mean(regions.periphery),
        "right_patch": right_patch,
        "left_patch": left_patch,
        "right_base": right_base,
        "left_base": left_base,
        "sac_level": level,
        "mass_peak": peak,
        "mass_around": around,
    }
    return {key for key, rule in rules.items() if rule()}, numbers


def main() -> None:
    """Print how the reader reads the truth: rows what is drawn, columns the share in which each finding is read."""
    seeds = range(1000, 1000 + (int(sys.argv[1]) if len(sys.argv) > 1 else 50))
    sources = {seed: draw(256, seed) for seed in seeds}
    print(f"{'drawn':<14}" + "".join(f"{key[:12]:>13}" for key in BY_KEY))
    for drawn in ("", *BY_KEY):
        rows = [read(sources[seed], draw(256, seed, (drawn,) if drawn else ()).image) for seed in seeds]
        shares = (np.mean([key in found for found, _ in rows]) for key in BY_KEY)
        print(f"{drawn or 'nothing':<14}" + "".join(f"{share:13.0%}" for share in shares))
        names = rows[0][1]
        said = (
            f"{name} {np.percentile([numbers[name] for _, numbers in rows], [2, 50, 98]).round(3)}" for name in names
        )
        print("    " + "; ".join(said))


if __name__ == "__main__":
    main()
