"""Burned-in marks found and protected, anatomy left to the edit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from roentmod_fast import phantom
from roentmod_fast.radiograph.markers import marker_mask
from roentmod_fast.radiograph.read import read_radiograph


def with_text(
    image: np.ndarray, text: str, at: tuple[float, float], share: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy with ``text`` burned in in white, and where."""
    rows, columns = image.shape
    layer = Image.new("L", (columns, rows), 0)
    font = ImageFont.load_default(size=max(6, int(share * max(rows, columns))))
    ImageDraw.Draw(layer).text((int(at[0] * columns), int(at[1] * rows)), text, font=font, fill=255)
    ink = np.asarray(layer).astype(np.float32) / 255
    return np.maximum(image, ink), ink > 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("text", "at"), [("L", (0.88, 0.08)), ("R", (0.05, 0.1)), ("PA ERECT", (0.7, 0.02)), ("AP", (0.02, 0.02))]
)
def test_text_near_the_edge_is_found_whole(seed: int, text: str, at: tuple[float, float]) -> None:
    image, ink = with_text(phantom.draw(512, seed).image, text, at, 0.035 if len(text) > 2 else 0.05)
    mask = marker_mask(image)
    assert (mask & ink).sum() > 0.9 * ink.sum()
    assert mask.mean() < 0.05


@pytest.mark.parametrize(
    "finding", [(), ("mass",), ("hernia",), ("effusion",), ("edema",), ("pneumonia",), ("cardiomegaly",)]
)
def test_anatomy_and_findings_are_no_markers(finding: tuple[str, ...]) -> None:
    for seed in range(2):
        assert not marker_mask(phantom.draw(384, seed, finding).image).any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (40, 40), (2500, 2000)])
def test_any_shape(shape: tuple[int, int]) -> None:
    mask = marker_mask(np.full(shape, 0.5, dtype=np.float32))
    assert mask.shape == shape and mask.dtype == bool and not mask.any()


def test_real_markers(real_files: Path) -> None:
    # Where the L of the RSNA file and the PA of the DX file stand, as shares of height and width.
    for name, (top, bottom, left, right) in {
        "rsna-pa-mono2-jpeg8.dcm": (0.02, 0.13, 0.84, 0.9),
        "966-dx-pa-inverse-12bit-j2k.dcm": (0.97, 1.0, 0.96, 1.0),
        "pairs/demo0007.jpg": (0.09, 0.16, 0.85, 0.9),  # over the shoulder, in an image whose bones are sharpened
    }.items():
        mask = marker_mask(read_radiograph(real_files / name).image)
        rows, columns = mask.shape
        assert mask[int(top * rows) : int(bottom * rows), int(left * columns) : int(right * columns)].mean() > 0.4
        assert mask.mean() < 0.03
