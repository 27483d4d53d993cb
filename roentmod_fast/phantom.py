"""An analytic frontal chest radiograph with known truth.

``draw(seed=3, findings=("edema",))`` gives an image and what is true of it. The same seed is the same patient: with
and without a finding only the finding differs, so the perfect edit of a phantom is known pixel by pixel.

The image is made the way a radiograph is: tissues along each ray add up to an attenuation, and one film curve turns
attenuation into brightness (bright = dense). Positions are fractions of the image: ``u`` runs from left to right,
``v`` from top to bottom. By the convention of radiology the patient's right is at the image's left.

The phantom is for demonstration and measurement. It is no model of disease and carries no patient's data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, get_type_hints

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roentmod_fast.findings import BY_KEY

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Truth = dict[str, float]

CARDIOMEGALY_RATIO = 0.55
"""Cardiothoracic ratio above which the phantom's heart counts as enlarged (the usual limit of 0.5 plus a margin)."""

_MASK_LEVEL = 0.02
"""A pixel belongs to a finding's mask where the finding changes the image by more than this share of its range."""


@dataclass(frozen=True)
class Anatomy:
    """One patient: all that varies from seed to seed, as fractions of the image's side.

    Each is drawn evenly from its range, in this order.
    ``half_thorax`` is half the inner width of the thorax at its widest; ``heart_ratio`` the cardiothoracic ratio;
    ``right_dome`` and ``left_dome`` the tops of the diaphragm (the right one higher, that is smaller).
    """

    right_dome: Annotated[float, 0.66, 0.74]
    midline: Annotated[float, 0.48, 0.52]
    tilt: Annotated[float, -0.03, 0.03]
    zoom: Annotated[float, 0.93, 1.05]
    half_thorax: Annotated[float, 0.34, 0.39]
    apex: Annotated[float, 0.09, 0.14]
    left_dome: Annotated[float, 0.015, 0.04]  # below the right dome
    dome_height: Annotated[float, 0.05, 0.10]
    mediastinum: Annotated[float, 0.055, 0.075]
    heart_ratio: Annotated[float, 0.40, 0.49]
    heart_right_share: Annotated[float, 0.30, 0.38]
    heart_top: Annotated[float, 0.36, 0.41]
    heart_bottom: Annotated[float, 0.13, 0.17]  # below the right dome
    hilum: Annotated[float, 0.42, 0.46]
    arch: Annotated[float, 0.27, 0.31]
    spine_width: Annotated[float, 0.030, 0.038]
    vertebra: Annotated[float, 0.055, 0.065]
    rib_spacing: Annotated[float, 0.066, 0.078]
    rib_phase: Annotated[float, 0.0, 1.0]
    rib_contrast: Annotated[float, 0.6, 1.2]
    clavicle: Annotated[float, 0.15, 0.19]
    clavicle_slope: Annotated[float, 0.10, 0.28]
    body_width: Annotated[float, 0.46, 0.52]
    shoulder: Annotated[float, 0.10, 0.17]
    stomach: Annotated[float, 0.0, 1.0]
    vessel_contrast: Annotated[float, 0.7, 1.3]
    film_centre: Annotated[float, 0.66, 0.76]
    film_width: Annotated[float, 0.22, 0.29]
    noise: Annotated[float, 0.004, 0.010]
    collimation: Annotated[float, -0.03, 0.03]

    @classmethod
    def of(cls, seed: int) -> Anatomy:
        """Draw the patient of ``seed``, an integer of at least 0."""
        rng = np.random.default_rng([seed, 0])
        ranges = get_type_hints(cls, include_extras=True)
        drawn = {name: float(rng.uniform(*hint.__metadata__)) for name, hint in ranges.items()}
        for below in ("left_dome", "heart_bottom"):
            drawn[below] += drawn["right_dome"]
        return cls(**drawn)


@dataclass(frozen=True)
class Phantom:
    """A computed radiograph and its truth.

    ``image``: float32 (size, size) in [0, 1], bright = dense. ``masks``: for each finding, where it changes the
    image, bool (size, size). ``truth``: for each finding the numbers behind it, positions and lengths as fractions
    of the side. ``lungs``: bool (size, size), the lung fields of the patient without findings.
    """

    image: Array
    seed: int
    findings: tuple[str, ...]
    anatomy: Anatomy
    masks: dict[str, Mask]
    truth: dict[str, Truth]
    lungs: Mask

    @property
    def mask(self) -> Mask:
        """Where any finding changes the image, bool (size, size)."""
        result = np.zeros(self.image.shape, dtype=bool)
        for mask in self.masks.values():
            result |= mask
        return result


def draw(size: int = 512, seed: int = 0, findings: Iterable[str] = ()) -> Phantom:
    """Draw the patient of ``seed`` with ``findings`` (keys of :data:`roentmod_fast.findings.BY_KEY`).

    Raises ``ValueError`` for an unknown finding, a size under 32 or a negative seed.
    """
    keys = tuple(key for key in BY_KEY if key in set(findings))
    unknown = sorted(set(findings) - set(keys))
    if unknown:
        raise ValueError(f"unknown finding {', '.join(unknown)}: expected some of {', '.join(BY_KEY)}")
    if size < 32:
        raise ValueError(f"size {size} is too small: expected at least 32")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative: expected 0 or more")

    chest = _Chest(size, Anatomy.of(seed), seed)
    clean = chest.film(())
    if not keys:
        image, masks = clean, {}
    else:
        # Alone, each finding's own mask is what it changes; together they may overlap.
        alone = {key: chest.film((key,)) for key in keys}
        image = alone[keys[0]] if len(keys) == 1 else chest.film(keys)
        masks = {key: np.abs(found - clean) > _MASK_LEVEL for key, found in alone.items()}
    noisy = np.clip(image + chest.noise(), 0.0, 1.0).astype(np.float32)
    truth = {key: chest.truth(key) for key in keys}
    return Phantom(noisy, seed, keys, chest.anatomy, masks, truth, chest.lung_field() > 0.35)


def positions(size: int, anatomy: Anatomy) -> tuple[Array, Array]:
    """Return ``u`` and ``v`` of the patient at each pixel: the image turned by the tilt and scaled by the zoom.

    Both float32 (size, size). All positions in :class:`Anatomy` and in a phantom's truth are in these coordinates.
    """
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x, y = axis[None, :] - 0.5, axis[:, None] - 0.5
    u = ((x + anatomy.tilt * y) / anatomy.zoom + 0.5).astype(np.float32)
    v = ((y - anatomy.tilt * x) / anatomy.zoom + 0.5).astype(np.float32)
    return u, v


# --- the drawing ----------------------------------------------------------------------------------------------------


def _float(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float32)


def _step(x: Array, width: float) -> Array:
    """Return a smooth 0 to 1 step of ``width`` around x = 0."""
    t = x * np.float32(1 / width)
    t += np.float32(0.5)
    np.clip(t, 0, 1, out=t)
    rest = 3 - 2 * t
    t *= t
    t *= rest
    return _float(t)


def _bell(x: Array) -> Array:
    return _float(np.exp(-x * x))


def _arch(t: Array) -> Array:
    return _float(np.maximum(np.sin(np.float32(np.pi) * t), 0))


def _ramp(length: int, nodes: int) -> Array:
    """Return the (length, nodes) matrix that interpolates linearly between ``nodes`` values."""
    position = np.linspace(0, nodes - 1, length, dtype=np.float32)
    return _float(np.maximum(0, 1 - np.abs(position[:, None] - np.arange(nodes, dtype=np.float32))))


class _Chest:
    """The tissues of one patient on one pixel grid; anatomy without findings is drawn once and reused."""

    def __init__(self, size: int, anatomy: Anatomy, seed: int) -> None:
        self.size = size
        self.anatomy = anatomy
        self.seed = seed
        self.u, self.v = positions(size, anatomy)
        self.side = self.u - np.float32(anatomy.midline)  # negative at the patient's right
        self.out = np.abs(self.side)
        self.body = self._body()
        self.outer = self._outer()
        self.own_heart = self.heart(anatomy.heart_ratio)
        self.right, self.left = self._lung(right=True), self._lung(right=False)
        self.fixed = self._fixed()
        self.vessels = self._vessels()

    # Each tissue: (size, size) float32, in units of attenuation or as a share from 0 to 1.

    def _body(self) -> Array:
        a = self.anatomy
        neck, slope = 0.10, 0.42
        reach = np.clip(neck + np.maximum(self.v - a.shoulder * 0.45, 0) * (slope / a.shoulder), 0, a.body_width + 0.05)
        reach = np.where(self.v > 0.25, a.body_width + 0.05 * np.clip(1 - (self.v - 0.25) * 2, 0, 1), reach)
        inside = np.clip(1 - np.square(self.out / reach), 0, 1)
        return _float(inside**0.35)

    def _outer(self) -> Array:
        """Distance of the chest's inner wall from the midline at each pixel's ``v``."""
        a, v = self.anatomy, self.v
        belly = 0.62
        rise = np.clip((belly - v) / (belly - a.apex), 0, 1)
        taper = 1 - 0.05 * np.clip((v - belly) / 0.2, 0, 1)
        return _float(a.half_thorax * np.sqrt(np.clip(1 - rise**3, 0, 1)) * taper)

    def _dome(self, right: bool) -> Array:
        """Height of the diaphragm at each pixel's ``u``."""
        a = self.anatomy
        top = a.right_dome if right else a.left_dome
        across = (self.out - a.half_thorax * 0.45) / (a.half_thorax * 0.55)
        return _float(top + a.dome_height * across * across)

    def _lung(self, right: bool) -> Array:
        a = self.anatomy
        inner = a.mediastinum + 0.02 * np.clip((self.v - 0.35) / 0.3, 0, 1)
        if not right:
            inner = inner + 0.028 * _bell((self.v - a.arch) / 0.035)
        across = np.clip((self.out - inner) / np.maximum(self.outer - inner, 1e-3), 0, 1)
        # A lung is thick in the middle and ends steeply at the ribs and at the mediastinum.
        depth = np.sqrt(np.clip(4 * across * (1 - across), 0, 1)) * _step(self.outer - inner - 0.03, 0.06)
        depth *= _step(self._dome(right) - self.v, 0.02)
        return _float(depth * (self.side < 0 if right else self.side >= 0))

    def heart(self, ratio: float) -> Array:
        """Share of each pixel covered by a heart of this cardiothoracic ratio."""
        a = self.anatomy
        width = ratio * 2 * a.half_thorax
        along = np.clip((self.v - a.heart_top) / (a.heart_bottom - a.heart_top), 0, 1)
        right_reach = width * a.heart_right_share * _arch(along**1.1) ** 0.5
        left_reach = width * (1 - a.heart_right_share) * _arch(along**1.45) ** 0.62
        return _step(np.minimum(self.side + right_reach, left_reach - self.side), 0.014)

    def _fixed(self) -> Array:
        """Bones, mediastinum and abdomen: what no finding moves."""
        a = self.anatomy
        u, v, out = self.u, self.v, self.out
        total = np.zeros_like(u)

        # Spine: a column with one disc space a vertebra, pedicles at both sides.
        phase = np.mod(v / a.vertebra, 1)
        column = _step(a.spine_width - out, 0.012)
        total += column * (0.13 + 0.05 * _step(np.abs(phase - 0.5) - 0.36, 0.1) * -1)
        total += 0.05 * _bell((out - a.spine_width * 0.72) / 0.008) * _bell((phase - 0.4) / 0.16)

        # Ribs, as two families of evenly spaced curves: posterior ones arch, anterior ones descend to the midline.
        d = out / a.half_thorax
        posterior = (v - 0.11 + 0.075 * (1 - d) - 0.12 * np.maximum(d - 0.55, 0) ** 2 * 4) / a.rib_spacing + a.rib_phase
        anterior = (v - 0.30 - 0.33 * (1 - d)) / (a.rib_spacing * 1.25) + a.rib_phase
        cage = _step(self.outer * 1.05 - out, 0.03) * _step(v - a.apex + 0.02, 0.05)
        lower = 1 - 0.6 * _step(v - a.left_dome, 0.06) - 0.4 * _step(v - a.left_dome - 0.16, 0.1)
        total += 0.085 * a.rib_contrast * _rib(posterior) * cage * lower * _step(out - a.spine_width, 0.02)
        total += 0.065 * a.rib_contrast * _rib(anterior) * cage * _step(d - 0.42, 0.15) * _step(0.62 - v, 0.08)

        # Clavicles: a bar a side, its medial end at the sternum.
        bar = a.clavicle + 0.035 - a.clavicle_slope * out + 0.5 * np.maximum(out - 0.22, 0) ** 2
        shaft = _step(0.014 - np.abs(v - bar), 0.008) * (0.6 + 0.6 * _bell((np.abs(v - bar) - 0.011) / 0.004))
        total += 0.075 * shaft * _step(out - 0.035, 0.02) * _step(0.40 - out, 0.03)

        # Scapulae and humeral heads, half out of the image.
        blade = (
            _step(0.055 - np.abs(out - 0.40 - 0.12 * (v - 0.3)), 0.02) * _step(v - 0.16, 0.05) * _step(0.44 - v, 0.12)
        )
        total += 0.06 * blade

        # Mediastinum: trachea dark, aortic knob, both hila.
        total += 0.13 * _step(a.mediastinum + 0.008 - out, 0.03) * _step(v - 0.12, 0.1)
        trachea = _step(0.016 - np.abs(self.side + 0.004), 0.008) * _step(a.hilum - 0.05 - v, 0.04)
        total -= 0.09 * trachea
        knob = np.hypot(self.side - a.mediastinum * 0.75, v - a.arch)
        total += 0.08 * _step(0.045 - knob, 0.012) * (self.side > 0)
        for sign, low in ((-1.0, 0.02), (1.0, 0.0)):
            hilum = np.hypot(self.side - sign * (a.mediastinum + 0.03), (v - a.hilum - low) * 0.65)
            total += 0.07 * _bell(hilum / 0.035)

        # Abdomen: liver dense, a bubble of air in the stomach.
        bubble = np.hypot(self.side - a.half_thorax * 0.55, (v - a.left_dome - a.dome_height * 0.3 - 0.05) * 1.6)
        below = _step(v - self._dome(right=False), 0.012) * (self.side > 0)
        if a.stomach > 0.4:
            total -= 0.15 * a.stomach * _step(0.055 - bubble, 0.02) * below
        total += 0.05 * _step(v - self._dome(right=True), 0.02) * (self.side < 0)
        return total.astype(np.float32)

    def _vessels(self) -> Array:
        """Branching arteries: trees that start at both hila and thin out."""
        a = self.anatomy
        rng = np.random.default_rng([self.seed, 90])
        canvas = np.zeros((self.size, self.size), dtype=np.float32)
        for sign in (-1.0, 1.0):
            root = np.array([a.midline + sign * (a.mediastinum + 0.025), a.hilum + (0.02 if sign < 0 else 0.0)])
            for angle in np.linspace(-1.25, 1.3, 7) + rng.uniform(-0.12, 0.12, 7):
                reach = a.half_thorax * rng.uniform(0.24, 0.32)
                self._grow(canvas, rng, root, sign, float(angle), reach, 0.0075, depth=3)
        return canvas * np.maximum(self.left, self.right)

    def _grow(
        self,
        canvas: Array,
        rng: np.random.Generator,
        start: NDArray[np.float64],
        sign: float,
        angle: float,
        reach: float,
        radius: float,
        depth: int,
    ) -> None:
        end = start + reach * np.array([sign * np.cos(angle), np.sin(angle)])
        self._segment(canvas, start, end, radius)
        if depth > 1:
            for turn in (rng.uniform(-0.55, -0.15), rng.uniform(0.15, 0.55)):
                branch = reach * rng.uniform(0.6, 0.85)
                self._grow(canvas, rng, end, sign, angle + float(turn), branch, radius * 0.66, depth - 1)

    def _segment(self, canvas: Array, start: NDArray[np.float64], end: NDArray[np.float64], radius: float) -> None:
        """Add a blurred line between two points of the patient to ``canvas``, inside a window around it."""
        a, size = self.anatomy, self.size
        margin = 3 * radius + 0.03
        low, high = np.minimum(start, end) - margin, np.maximum(start, end) + margin
        corners = (np.stack([low, high]) - 0.5) * a.zoom + 0.5
        (left, top), (right, bottom) = np.clip((corners * size).astype(int), 0, size)
        if right <= left or bottom <= top:
            return
        u, v = self.u[top:bottom, left:right], self.v[top:bottom, left:right]
        along = end - start
        length = float(np.hypot(*along))
        du, dv = u - np.float32(start[0]), v - np.float32(start[1])
        t = np.clip((du * np.float32(along[0]) + dv * np.float32(along[1])) / np.float32(length**2), 0, 1)
        distance = np.square(du - t * np.float32(along[0])) + np.square(dv - t * np.float32(along[1]))
        thickness = radius * (1 - 0.3 * t)
        line = np.exp(-distance / np.square(thickness)) * (thickness * (16.0 * a.vessel_contrast))
        np.maximum(canvas[top:bottom, left:right], line, out=canvas[top:bottom, left:right])

    def _texture(self, stream: int, nodes: int) -> Array:
        """Return smooth noise of zero mean and unit variance with ``nodes`` values a side; the same at any size."""
        grid = np.random.default_rng([self.seed, stream]).standard_normal((nodes, nodes)).astype(np.float32)
        ramp = _ramp(self.size, nodes)
        return _float(ramp @ grid @ ramp.T)

    def truth(self, key: str) -> Truth:
        """Draw how ``key`` looks in this patient; it does not depend on which other findings are drawn.

        Cardiomegaly: the cardiothoracic ``ratio`` drawn, and the patient's own. Pneumonia, and one wing of edema:
        centre, horizontal and vertical radius, ``density`` added. Effusion: height of its ``level`` over the image, and
        how far the ``meniscus`` climbs at the chest wall. Hernia and mass: a disc, ``level`` the air-fluid level of a
        hernia and the lower edge of a mass.
        """
        anatomy = self.anatomy
        rng = np.random.default_rng([self.seed, 1 + list(BY_KEY).index(key)])

        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        mid, half = anatomy.midline, anatomy.half_thorax
        if key == "cardiomegaly":
            return {"ratio": between(0.58, 0.68), "usual_ratio": anatomy.heart_ratio}
        if key == "edema":
            return {
                "centre_u": mid,
                "centre_v": anatomy.hilum + between(0.02, 0.05),
                "radius_u": half * between(0.36, 0.44),
                "radius_v": between(0.13, 0.17),
                "density": between(0.17, 0.26),
            }
        if key == "pneumonia":
            heart_right = anatomy.heart_ratio * 2 * half * anatomy.heart_right_share
            return {
                "centre_u": mid - heart_right - half * between(0.12, 0.2),
                "centre_v": anatomy.right_dome - between(0.09, 0.12),
                "radius_u": half * between(0.26, 0.33),
                "radius_v": between(0.065, 0.085),
                "density": between(0.20, 0.28),
            }
        if key == "effusion":
            level = anatomy.right_dome - between(0.03, 0.12)
            return {"level": level, "meniscus": between(0.08, 0.16), "meniscus_width": between(0.03, 0.05)}
        if key == "hernia":
            radius = between(0.065, 0.085)
            centre_v = anatomy.right_dome - radius * between(0.2, 0.6)
            centre_u, level, density = mid + between(0.02, 0.05), centre_v + radius * between(-0.1, 0.25), 0.22
        else:
            radius = between(0.045, 0.065)
            centre_v = between(0.26, 0.33)
            centre_u, level, density = mid + half * between(0.5, 0.62), centre_v + radius, between(0.3, 0.4)
        return {"centre_u": centre_u, "centre_v": centre_v, "radius": radius, "level": level, "density": density}

    def lung_field(self) -> Array:
        """Aerated lung of the patient without findings, as a share from 0 to 1."""
        return np.maximum(self.left, self.right) * (1 - self.own_heart)

    def film(self, keys: tuple[str, ...]) -> Array:
        """Return the image with these findings, without noise: float32 (size, size) in [0, 1]."""
        a = self.anatomy
        truths = {key: self.truth(key) for key in keys}
        lungs = np.maximum(self.left, self.right)
        heart = self.heart(truths["cardiomegaly"]["ratio"]) if "cardiomegaly" in truths else self.own_heart
        above = _step(np.float32(a.right_dome + 0.05) - self.v + 0.12 * self.side, 0.05)

        air = lungs * (1 - 0.93 * heart)
        dense = np.zeros_like(air)
        if "effusion" in truths:
            fluid, wall = truths["effusion"], np.maximum(self.outer - self.out, 0)
            surface = fluid["level"] - fluid["meniscus"] * np.exp(-wall / np.float32(fluid["meniscus_width"]))
            air = air * (1 - 0.95 * _step(self.v - surface, 0.02) * (self.side < 0))
        if "edema" in truths:
            dense += self._wings(truths["edema"]) * air
        if "pneumonia" in truths:
            dense += self._patch(truths["pneumonia"]) * lungs * (self.side < 0)
        if "mass" in truths:
            dense += self._mass(truths["mass"])
        if "hernia" in truths:
            dense += self._sac(truths["hernia"])

        soft = 0.92 * self.body + 0.04 * self._texture(91, 10) * self.body
        attenuation = soft - 0.58 * air + self.fixed + (0.16 * heart) * above * (1 - 0.3 * self.out / a.half_thorax)
        attenuation += self.vessels * air + dense
        image = _film_curve(attenuation, a.film_centre, a.film_width) * self._shutter()
        return _float(image * (self.body > 0))

    def _wings(self, wings: Truth) -> Array:
        """Bat-wing haze: both perihilar regions, cloudy, the periphery clear."""
        a = self.anatomy
        reach = a.mediastinum + wings["radius_u"] * 0.6
        haze = _bell((self.out - reach) / wings["radius_u"]) * _bell((self.v - wings["centre_v"]) / wings["radius_v"])
        cloud = np.clip(1 + 0.35 * self._texture(92, 22) + 0.25 * self._texture(93, 48), 0.2, 2)
        return _float(wings["density"] * 1.25 * haze * cloud)

    def _patch(self, patch: Truth) -> Array:
        """Patchy consolidation in an ellipse."""
        distance = np.hypot(
            (self.u - patch["centre_u"]) / patch["radius_u"], (self.v - patch["centre_v"]) / patch["radius_v"]
        )
        cloud = np.clip(1 + 0.35 * self._texture(94, 26) + 0.2 * self._texture(95, 60), 0.3, 1.8)
        return _float(patch["density"] * _step(1.0 - distance, 0.7) * cloud)

    def _mass(self, mass: Truth) -> Array:
        """A ball: thickest in the middle, its edge slightly lobed."""
        du, dv = self.u - mass["centre_u"], self.v - mass["centre_v"]
        edge = mass["radius"] * (1 + 0.08 * np.sin(3 * np.arctan2(dv, du) + self.seed))
        return _float(mass["density"] * np.sqrt(np.clip(1 - (du * du + dv * dv) / (edge * edge), 0, 1)))

    def _sac(self, sac: Truth) -> Array:
        """A herniated stomach behind the heart: a wall, fluid below a level, air above it."""
        distance = np.hypot(self.u - sac["centre_u"], self.v - sac["centre_v"])
        inside = _step(sac["radius"] - distance, 0.008)
        wall = _bell((distance - sac["radius"]) / 0.007) * 0.09
        fluid = _step(self.v - sac["level"], 0.008)
        return _float(inside * (sac["density"] * fluid - 0.20 * (1 - fluid)) + wall)

    def _shutter(self) -> Array:
        """The collimator's black border, where it shows."""
        a, edge = self.anatomy, np.float32(0.006)
        if a.collimation <= 0:
            return np.float32(1) * np.ones_like(self.u)
        axis = (np.arange(self.size, dtype=np.float32) + np.float32(0.5)) / np.float32(self.size)
        open_ = _step(np.minimum(axis, 1 - axis) - np.float32(a.collimation), float(edge))
        return open_[:, None] * open_[None, :]

    def noise(self) -> Array:
        """Quantum noise: white, so unlike the anatomy it depends on the size."""
        rng = np.random.default_rng([self.seed, 99])
        grain = rng.standard_normal((self.size, self.size), dtype=np.float32)
        return _float(np.float32(self.anatomy.noise) * grain * (self.body > 0) * self._shutter())


def _rib(phase: Array) -> Array:
    """Profile of a rib across its width: a band with brighter (cortical) edges, once a period."""
    across = _float(np.abs(np.mod(phase, 1) - 0.5))
    return _step(0.2 - across, 0.08) * (0.55 + 0.45 * _bell((across - 0.17) / 0.05))


def _film_curve(attenuation: Array, centre: float, width: float) -> Array:
    """Turn attenuation into brightness: an S-shaped characteristic curve that is 0 at no attenuation."""
    floor = 1 / (1 + np.exp(centre / width))
    curve = 1 / (1 + np.exp((centre - attenuation) * np.float32(1 / width)))
    return _float(np.clip((curve - floor) / (1 - floor), 0, 1))
