"""Write preprocess.npz: what clean-fid, torchvision and torchxrayvision make of a small pattern.

By hand, where they are installed: ``python tests/goldens/preprocess.py``. Recorded with clean-fid 0.1.35, torchvision
0.29.1, torch 2.14.1, torchxrayvision 1.5.7, scikit-image and Pillow of the versions in the file's ``versions``. Every
:data:`EVERY`-th row and column is stored. Tolerance 1e-4 of the range: float32 of another order of sums. CLIP's is a
grey level of 8 bits, as Pillow rounds to 8 bits between rows and columns and we at the end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("preprocess.npz")
SHAPES = ((37, 31), (420, 360), (361, 420), (300, 401), (224, 224))
"""Smaller and larger than the inputs, odd and even, high and wide, and just right."""

EVERY = 19


def pattern(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a pattern with waves, an edge and grain, uint8 (H, W), the same everywhere."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = 110 + 50 * np.sin(x / 9) + 40 * np.cos(y / 6) + 40 * (x > y)
    return np.clip(waves + (x * 37 + y * 101) % 23 - 11, 0, 255).astype(np.uint8)


def main() -> None:
    """Record the file."""
    from importlib.metadata import version

    import torchvision
    from cleanfid.resize import build_resizer
    from PIL import Image
    from torchxrayvision import datasets

    found: dict[str, NDArray[np.float32]] = {}
    for shape in SHAPES:
        image, name = pattern(shape), f"{shape[0]}x{shape[1]}"
        clean = build_resizer("clean")(np.repeat(image[:, :, None], 3, axis=2))[..., 0]
        found[f"clean_fid {name}"] = (clean - 128) / 128
        bicubic = torchvision.transforms.InterpolationMode.BICUBIC
        crop = torchvision.transforms.Compose(
            [torchvision.transforms.Resize(224, bicubic), torchvision.transforms.CenterCrop(224)]
        )
        found[f"clip {name}"] = np.asarray(crop(Image.fromarray(image))) / 255
        scaled = (2 * (image.astype(np.float32) / 255) - 1.0) * 1024  # torchxrayvision.utils.normalize
        cropped = datasets.XRayCenterCrop()(scaled[None])
        found[f"torchxrayvision {name}"] = datasets.XRayResizer(224)(cropped)[0]
    stored = {name: values[::EVERY, ::EVERY].astype(np.float32) for name, values in found.items()}
    packages = ("clean-fid", "torchvision", "torch", "torchxrayvision", "scikit-image", "pillow")
    np.savez_compressed(FILE, versions=[f"{each} {version(each)}" for each in packages], **stored)


if __name__ == "__main__":
    main()
