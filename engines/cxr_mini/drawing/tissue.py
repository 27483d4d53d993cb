"""How density is added to a film: blur, clouds, attenuation, grain. Arrays are float32 (size, size)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


def floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float32)


def step(x: ArrayLike, width: float) -> Array:
    """A smooth 0 to 1 step of ``width`` around x = 0."""
    t = np.clip(floats(x) / np.float32(width) + np.float32(0.5), 0, 1)
    return floats(t * t * (3 - 2 * t))


def bell(x: ArrayLike) -> Array:
    return floats(np.exp(-np.square(floats(x))))


@lru_cache(maxsize=64)
def _blur_matrix(size: int, sigma: float) -> Array:
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    kernel = np.exp(-0.5 * np.square(distance / max(sigma, 1e-3)))
    kernel[np.abs(distance) > 4 * sigma + 1] = 0
    return floats(kernel / kernel.sum(1, keepdims=True))


def blur(image: ArrayLike, sigma: float) -> Array:
    """Blur with a Gaussian of ``sigma`` pixels; at the edge the kernel is cut and renormalised."""
    image = floats(image)
    down, across = _blur_matrix(image.shape[0], float(sigma)), _blur_matrix(image.shape[1], float(sigma))
    return floats(down @ image @ across.T)


def blur_rows(values: ArrayLike, sigma: float) -> Array:
    """Blur a curve, float32 (n,), with a Gaussian of ``sigma`` samples."""
    values = floats(values)
    return floats(_blur_matrix(len(values), float(sigma)) @ values)


def cloud(rng: np.random.Generator, size: int, coarse: float, fine: float, slope: float = 1.6) -> Array:
    """Noise of zero mean and unit variance whose structures are ``fine`` to ``coarse`` (fractions of the side) wide."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * size
    band = np.exp(-np.square(frequency * fine)) * (1 - np.exp(-np.square(frequency * coarse)))
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * band / np.maximum(frequency, 1) ** slope
    field = np.fft.irfft2(spectrum, s=(size, size))
    return floats((field - field.mean()) / (field.std() + 1e-9))


def denser(image: Array, thickness: ArrayLike, ceiling: ArrayLike) -> Array:
    """Add attenuation: the way from each pixel to ``ceiling`` shrinks by exp(-thickness); brighter pixels stay."""
    top = np.maximum(floats(ceiling), image)
    return floats(top - (top - image) * np.exp(-floats(thickness)))


def thinner(image: Array, share: ArrayLike, floor: ArrayLike) -> Array:
    """Take attenuation away: each pixel goes ``share`` of the way down to ``floor``; darker pixels stay."""
    low = np.minimum(floats(floor), image)
    return floats(image - floats(share) * (image - low))


def with_grain(image: Array, changed: Array, sigma: float, rng: np.random.Generator) -> Array:
    """Give ``changed`` the grain of the film back where density was added and took contrast away."""
    if sigma <= 0:
        return changed
    noise = blur(rng.standard_normal(image.shape), 0.6)
    noise /= noise.std() + 1e-9
    share = np.clip(np.abs(changed - image) / 0.25, 0, 1)
    return floats(changed + np.float32(0.7 * sigma) * np.sqrt(share) * noise)


def sample_rows(image: Array, columns: Array) -> Array:
    """Sample each row of ``image`` at fractional ``columns``, float32 (size, size), linearly."""
    size = image.shape[1]
    x = np.clip(columns, 0, size - 1.001)
    low = x.astype(np.int64)
    part = floats(x - low)
    rows = np.arange(image.shape[0])[:, None]
    return floats(image[rows, low] * (1 - part) + image[rows, low + 1] * part)


def line(canvas: Array, start: ArrayLike, end: ArrayLike, radius: float, strength: float) -> None:
    """Draw a soft line into ``canvas`` (the larger value stays); positions (x, y) and ``radius`` in pixels."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    margin = 3 * radius + 1
    low = np.floor(np.minimum(a, b) - margin).astype(int)
    high = np.ceil(np.maximum(a, b) + margin).astype(int) + 1
    size = canvas.shape[0]
    (left, top), (right, bottom) = np.clip(low, 0, size), np.clip(high, 0, size)
    if right <= left or bottom <= top:
        return
    x, y = np.meshgrid(np.arange(left, right) - a[0], np.arange(top, bottom) - a[1])
    along = b - a
    t = np.clip((x * along[0] + y * along[1]) / max(float(along @ along), 1e-6), 0, 1)
    distance = np.hypot(x - t * along[0], y - t * along[1])
    window = canvas[top:bottom, left:right]
    np.maximum(window, floats(strength * np.exp(-np.square(distance / radius))), out=window)
