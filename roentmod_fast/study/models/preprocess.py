"""An image becomes a model's input, as its contract says.

In this order: fit, resample in float32, clip to black and white, round to 8 bits where asked, scale to the range, mean
and standard deviation, copy to the channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod_fast.radiograph.letterbox import Letterbox, resample
from roentmod_fast.study.models.contract import Contract

Array = NDArray[np.float32]

_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(image: Array, contract: Contract) -> Array:
    """Return the model's input for one image: float32 (C, H, W).

    ``image``: float32 (h, w) in [0, 1], bright = dense, its pixels square.
    """
    low, high = contract.range
    # skimage takes what is beyond the edges for 0 of the model's range, and that is not always black.
    beyond = -low / (high - low)
    fitted = np.clip(_fit(image, contract, beyond), 0, 1)
    if contract.quantize:
        fitted = np.rint(fitted * np.float32(255)) / np.float32(255)
    scaled = (fitted * np.float32(high - low) + np.float32(low)).astype(np.float32)
    result = np.repeat(scaled[None], contract.channels, axis=0)
    if contract.mean is not None:
        result = result - np.asarray(contract.mean, np.float32)[:, None, None]
    if contract.std is not None:
        result = result / np.asarray(contract.std, np.float32)[:, None, None]
    return np.ascontiguousarray(result, dtype=np.float32)


def _fit(image: Array, contract: Contract, beyond: float) -> Array:
    rows, columns = image.shape
    height, width = contract.size
    if contract.fit == "stretch":
        return _resample(image, contract.size, contract.filter, beyond)
    if contract.fit == "resize-crop":
        scale = max(height / rows, width / columns)
        # As torchvision.transforms.Resize: the longer side is cut to a whole number.
        large = max(height, int(rows * scale + 1e-9)), max(width, int(columns * scale + 1e-9))
        scaled = _resample(image, large, contract.filter, beyond)
        # Halves to the even number, as torchvision.transforms.CenterCrop.
        return _cut(scaled, round((large[0] - height) / 2), round((large[1] - width) / 2), contract.size)
    scale = min(rows / height, columns / width)
    if contract.fit == "crop":
        part = round(height * scale), round(width * scale)
        # As torchxrayvision's XRayCenterCrop.
        cropped = _cut(image, rows // 2 - part[0] // 2, columns // 2 - part[1] // 2, part)
        return _resample(cropped, contract.size, contract.filter, beyond)
    side = max(height, width)
    place = Letterbox.fit((rows, columns), side, 1.0) if height == width else _inside((rows, columns), contract.size)
    result = np.zeros(contract.size, dtype=np.float32)
    inside = _resample(image, (place.height, place.width), contract.filter, beyond)
    result[place.top : place.top + place.height, place.left : place.left + place.width] = inside
    return result


def _inside(shape: tuple[int, int], size: tuple[int, int]) -> Letterbox:
    scale = min(size[0] / shape[0], size[1] / shape[1])
    height, width = (min(most, max(1, round(each * scale))) for each, most in zip(shape, size, strict=True))
    return Letterbox(shape, max(size), (size[0] - height) // 2, (size[1] - width) // 2, height, width)


def _cut(image: Array, top: int, left: int, size: tuple[int, int]) -> Array:
    return image[top : top + size[0], left : left + size[1]]


def _resample(image: Array, shape: tuple[int, int], method: str, beyond: float) -> Array:
    if method in _PILLOW:
        return resample(image, shape, _PILLOW[method])
    if method == "bilinear-torch":
        rows, columns = (_linear(new, old, clamp=True) for new, old in zip(shape, image.shape, strict=True))
        return np.asarray(rows @ image @ columns.T, dtype=np.float32)
    if image.shape == shape:
        return np.array(image, dtype=np.float32)
    # skimage.transform.resize(order=1, mode="constant", cval=0, anti_aliasing=True): what is beyond counts as 0 of the
    # model's range, so the difference from it is resampled.
    rows, columns = (_gaussian_linear(new, old) for new, old in zip(shape, image.shape, strict=True))
    return np.asarray(rows @ (image - np.float32(beyond)) @ columns.T + beyond, dtype=np.float32)


def _linear(new: int, old: int, *, clamp: bool) -> NDArray[np.float64]:
    """Return the (new, old) matrix of linear interpolation at the centres of the new pixels, without antialiasing.

    ``clamp``: beyond the edges is the edge's value, else 0.
    """
    matrix = np.zeros((new, old))
    centre = (np.arange(new) + 0.5) * (old / new) - 0.5
    lower = np.floor(centre).astype(np.int64)
    share = centre - lower
    for step, weight in ((0, 1 - share), (1, share)):
        column = lower + step
        keep = np.ones(new, bool) if clamp else (column >= 0) & (column < old)
        np.add.at(matrix, (np.arange(new)[keep], np.clip(column, 0, old - 1)[keep]), weight[keep])
    return matrix


def _gaussian_linear(new: int, old: int) -> NDArray[np.float64]:
    """Return the matrix of a Gaussian of (old / new - 1) / 2 pixels, cut at 4 of them, then linear interpolation."""
    sigma = max(0.0, (old / new - 1) / 2)
    linear = _linear(new, old, clamp=False)
    reach = int(4 * sigma + 0.5)
    if reach == 0:
        return linear
    offset = np.arange(-reach, reach + 1)
    weight = np.exp(-0.5 * (offset / sigma) ** 2)
    weight /= weight.sum()
    blur = np.zeros((old, old))
    for step, value in zip(offset, weight, strict=True):
        blur += value * np.eye(old, k=int(step))
    return np.asarray(linear @ blur)
