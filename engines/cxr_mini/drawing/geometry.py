"""Where things are in a frontal film: from its pixels and its lung fields to borders, heart, hila, lobes.

Positions are in pixels, x from left to right, y from top to bottom; the patient's right is at the film's left. The
lung fields hold the part behind the heart and reach down to the lowest visible edge of the lung.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .tissue import Array, Mask, blur, blur_rows, floats, step

RIGHT, LEFT = 0, 1
SIDES = {"right": RIGHT, "left": LEFT}


@dataclass(frozen=True)
class Lung:
    """One lung field. ``medial`` and ``lateral``: x of its borders at each row, float32 (size,), also past its ends.

    ``top`` and ``bottom``: its first and last row. ``mask``: bool (size, size). ``height`` in pixels.
    """

    mask: Mask
    medial: Array
    lateral: Array
    top: int
    bottom: int

    @property
    def height(self) -> int:
        return self.bottom - self.top + 1

    @classmethod
    def of(cls, mask: Mask, side: int) -> Lung:
        size = mask.shape[0]
        rows = np.flatnonzero(mask.any(1))
        if rows.size < size // 8:
            raise ValueError("a lung field of a few rows: no lung")
        top, bottom = int(rows[0]), int(rows[-1])
        first = np.array([np.flatnonzero(mask[row])[0] if mask[row].any() else -1 for row in range(size)], np.float32)
        last = np.array([np.flatnonzero(mask[row])[-1] if mask[row].any() else -1 for row in range(size)], np.float32)
        for curve in (first, last):
            known = curve >= 0
            curve[:] = np.interp(np.arange(size), np.flatnonzero(known), curve[known])
        first, last = (blur_rows(curve, size / 128) for curve in (first, last))
        medial, lateral = (last, first) if side == RIGHT else (first, last)
        return cls(mask, medial, lateral, top, bottom)


@dataclass(frozen=True)
class Scene:
    """A film and its geometry.

    ``image``: float32 (size, size) in [0, 1]. ``lungs``: the patient's right and left. ``midline``: x at each row.
    ``lung_level`` and ``soft_level``: brightness of aerated lung and of soft tissue (heart, below the diaphragm).
    ``reach``: distance of the heart's right and left border from the midline at each row, the ends' own
    beyond ``heart_top`` and ``heart_bottom``.
    ``grain``: standard deviation of the film's noise.
    """

    image: Array
    lungs: tuple[Lung, Lung]
    midline: Array
    lung_level: float
    soft_level: float
    reach: tuple[Array, Array]
    heart_top: int
    heart_bottom: int
    grain: float

    @property
    def size(self) -> int:
        return self.image.shape[0]

    @classmethod
    def of(cls, image: Array, masks: Mask) -> Scene:
        """Measure a film. ``masks``: bool (2, size, size), the patient's right lung first.

        Raises ``ValueError`` where the lung fields are no pair of lungs.
        """
        size = image.shape[0]
        lungs = (Lung.of(masks[RIGHT], RIGHT), Lung.of(masks[LEFT], LEFT))
        rows = np.arange(size, dtype=np.float32)
        top, bottom = max(lung.top for lung in lungs), min(lung.bottom for lung in lungs)
        if bottom - top < size // 8:
            raise ValueError("the lungs share too few rows")
        between = (lungs[RIGHT].medial + lungs[LEFT].medial) / 2
        # The mediastinum is most even in the upper half, where the heart pushes nothing aside.
        part = slice(top + (bottom - top) // 10, top + int((bottom - top) * 0.5))
        slope, offset = np.polyfit(rows[part], between[part], 1)
        slope = float(np.clip(slope, -0.15, 0.15))
        offset = float(np.mean(between[part]) - slope * np.mean(rows[part]))
        midline = floats(offset + slope * rows)
        if not (lungs[RIGHT].lateral[part].max() < midline[part].min() < lungs[LEFT].lateral[part].min()):
            raise ValueError("the midline lies outside the lungs")

        smooth = blur(image, size / 100)
        upper = np.zeros_like(masks[0])
        for lung in lungs:
            upper[lung.top : lung.top + int(lung.height * 0.6)] |= lung.mask[
                lung.top : lung.top + int(lung.height * 0.6)
            ]
        lung_level = float(np.percentile(smooth[upper], 25))
        low = np.zeros_like(upper)
        width = int(0.05 * size)
        for row in range(top + int((bottom - top) * 0.55), min(size, bottom + size // 16)):
            centre = int(np.clip(midline[row] + 0.02 * size, width, size - width - 1))
            low[row, centre - width : centre + width] = True
        soft_level = float(np.percentile(smooth[low], 60))
        if soft_level - lung_level < 0.06:
            raise ValueError("no contrast between lungs and heart")
        reach, heart_top, heart_bottom = _heart(smooth, lungs, midline, lung_level, soft_level)
        detail = image - blur(image, 1.0)
        inside = masks.any(0)
        grain = float(np.median(np.abs(detail[inside])) * 1.48)
        return cls(image, lungs, midline, lung_level, soft_level, reach, heart_top, heart_bottom, grain)

    # --- coordinates ---

    @cached_property
    def rows(self) -> Array:
        return floats(np.arange(self.size)[:, None] * np.ones((1, self.size)))

    @cached_property
    def columns(self) -> Array:
        return floats(np.arange(self.size)[None, :] * np.ones((self.size, 1)))

    @cached_property
    def from_midline(self) -> Array:
        """Signed distance from the midline in pixels, negative at the patient's right."""
        return floats(self.columns - self.midline[:, None])

    def depth(self, side: int) -> Array:
        """0 at the medial border of a lung, 1 at its lateral border, along each row."""
        lung = self.lungs[side]
        width = lung.lateral - lung.medial
        width = np.where(np.abs(width) < 3, np.sign(width) * 3 + (width == 0), width)
        return floats((self.columns - lung.medial[:, None]) / width[:, None])

    def height(self, side: int) -> Array:
        """0 at the apex of a lung, 1 at its base."""
        lung = self.lungs[side]
        return floats((self.rows - lung.top) / lung.height)

    def point(self, side: int, depth: float, height: float) -> tuple[float, float]:
        """The pixel (x, y) at ``depth`` and ``height`` of a lung."""
        lung = self.lungs[side]
        y = lung.top + height * lung.height
        row = int(np.clip(round(y), 0, self.size - 1))
        return float(lung.medial[row] + depth * (lung.lateral[row] - lung.medial[row])), float(y)

    def field(self, side: int, widen: float = 0.0, soft: float = 1.2) -> Array:
        """A lung field with soft edges, 0 to 1, ``widen`` pixels wider."""
        # Where a blurred straight border of the mask has fallen to this share, ``widen`` pixels outside it.
        sigma = soft + abs(widen)
        level = 0.5 - 0.4 * np.tanh(widen / sigma)
        return step(blur(self.lungs[side].mask, sigma) - level, 1.6 * min(level, 1 - level))

    @cached_property
    def aeration(self) -> Array:
        """1 in aerated lung, 0 in soft tissue, from the film's brightness."""
        smooth = blur(self.image, self.size / 100)
        return floats(np.clip((self.soft_level - smooth) / (self.soft_level - self.lung_level), 0, 1))

    @cached_property
    def ceiling(self) -> Array:
        """Brightness that much added density tends to, float32 (size, 1): the mediastinum's in each row."""
        width = max(2, int(0.05 * self.thorax_width))
        level = np.empty(self.size, dtype=np.float32)
        for row in range(self.size):
            centre = int(np.clip(self.midline[row], width, self.size - width - 1))
            level[row] = np.median(self.image[row, centre - width : centre + width + 1])
        level = blur_rows(level, self.size / 16)
        return np.clip(level, self.lung_level + 0.5 * self.contrast, 0.97)[:, None].astype(np.float32)

    @property
    def contrast(self) -> float:
        """Brightness between lung and soft tissue, positive."""
        return self.soft_level - self.lung_level

    # --- the heart ---

    @property
    def half_thorax(self) -> Array:
        """Distance of the chest's inner wall from the midline: float32 (2, size), the patient's right first."""
        return floats(np.stack([self.midline - self.lungs[RIGHT].lateral, self.lungs[LEFT].lateral - self.midline]))

    @property
    def thorax_width(self) -> float:
        """The widest distance between the lungs' lateral borders, in pixels."""
        top, bottom = max(lung.top for lung in self.lungs), min(lung.bottom for lung in self.lungs)
        return float((self.lungs[LEFT].lateral - self.lungs[RIGHT].lateral)[top : bottom + 1].max())

    @property
    def heart_ratio(self) -> float:
        """Cardiothoracic ratio: the heart's widest reach to both sides over the thorax's width."""
        part = slice(self.heart_top, self.heart_bottom + 1)
        return float((self.reach[RIGHT][part].max() + self.reach[LEFT][part].max()) / self.thorax_width)


def _heart(
    smooth: Array, lungs: tuple[Lung, Lung], midline: Array, lung_level: float, soft_level: float
) -> tuple[tuple[Array, Array], int, int]:
    """Find the heart's borders: where brightness falls halfway to the lung's, outward from the midline.

    Limited to what hearts measure, so that a dense lung does not become a heart.
    """
    size = smooth.shape[0]
    height = (lungs[RIGHT].height + lungs[LEFT].height) / 2
    base = (lungs[RIGHT].bottom + lungs[LEFT].bottom) / 2
    heart_top = int((lungs[RIGHT].top + lungs[LEFT].top) / 2 + 0.42 * height)
    heart_bottom = int(min(size - 1, base))
    reaches = []
    for side in (RIGHT, LEFT):
        sign = -1 if side == RIGHT else 1
        lung = lungs[side]
        wall = np.abs(lung.lateral - midline)
        low, high = (0.12, 0.55) if side == RIGHT else (0.24, 0.84)
        raw = np.zeros(size, dtype=np.float32)
        for row in range(heart_top, heart_bottom + 1):
            most = int(wall[row] * high)
            x = np.clip((midline[row] + sign * np.arange(most + 1)).round().astype(int), 0, size - 1)
            profile = smooth[row, x]
            # Spine and heart inside, lung outside, each of this row: the film is not equally dark from top to bottom.
            core = profile[: max(3, int(wall[row] * 0.15))]
            rest = profile[min(int(wall[row] * 0.3), most - 1) :]
            inside = min(float(np.median(core)), soft_level + 0.1 * (soft_level - lung_level))
            outside = max(float(np.percentile(rest, 15)), lung_level - 0.3 * (soft_level - lung_level))
            dark = profile < outside + 0.36 * max(inside - outside, 0.3 * (soft_level - lung_level))
            below = np.flatnonzero(dark[:-2] & dark[1:-1] & dark[2:])
            below = below[below > low * wall[row]]
            raw[row] = below[0] if below.size else most
        part = raw[heart_top : heart_bottom + 1]
        # A running median takes single rows out in which a rib or a line stopped the search.
        reach_half = max(2, size // 40)
        median = np.array(
            [np.median(part[max(0, i - reach_half) : i + reach_half + 1]) for i in range(len(part))], np.float32
        )
        # Near the diaphragm the search meets the abdomen: keep the widest row above it.
        last = int(len(median) * 0.8)
        median[last:] = np.minimum(median[last:], np.median(median[max(0, last - 5) : last + 1]) * 1.03)
        # Above and below the heart the curve goes on with its own end.
        ends = (heart_top, size - 1 - heart_bottom)
        reaches.append(blur_rows(np.pad(median, ends, mode="edge"), size / 80))
    return (reaches[0], reaches[1]), heart_top, heart_bottom
