"""Before, after and difference as a person sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roentmod_fast.errors import OutputError, RefusedError
from roentmod_fast.radiograph.model import Provenance
from roentmod_fast.radiograph.preview import PANEL, preview, write_preview
from roentmod_fast.radiograph.read import read_radiograph

BEFORE = np.full((400, 300), 0.4, dtype=np.float32)


def test_three_panels_with_the_difference_in_colour() -> None:
    after = BEFORE.copy()
    after[100:200, 50:150] += 0.2
    after[250:350, 50:150] -= 0.2
    page = np.asarray(preview(BEFORE, after, "pulmonary edema")).astype(int)
    height, width = PANEL, 480
    assert page.shape[1] == 4 * 12 + 3 * width
    top = 12 * 2 + 26 + 22
    panels = [page[top : top + height, 12 + n * (width + 12) :][:, :width] for n in range(3)]
    assert (np.ptp(panels[0], axis=2) == 0).all()
    denser, less, same = (panels[2][round(y * 1.6), 160] for y in (150, 300, 30))
    assert denser[0] > denser[2] + 50 and less[2] > less[0] + 50 and np.ptp(same) == 0
    assert page[:top].max() > 200, "the title is drawn"


def test_a_long_title_is_cut_and_a_narrow_image_still_fits() -> None:
    narrow = np.zeros((600, 60), dtype=np.float32)
    page = preview(narrow, narrow, "edema, " * 200)
    assert page.size[0] == 4 * 12 + 3 * 200


def test_the_file_is_marked(tmp_path: Path, provenance: Provenance) -> None:
    path = tmp_path / "preview.png"
    write_preview(path, BEFORE, BEFORE, "edema", provenance=provenance)
    with Image.open(path) as opened:
        assert opened.text["Description"] == "SYNTHETIC - not for diagnosis"  # type: ignore[attr-defined]
    with pytest.raises(RefusedError):
        read_radiograph(path)
    with pytest.raises(OutputError, match="already exists"):
        write_preview(path, BEFORE, BEFORE, "edema")


def test_images_of_different_shapes() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        preview(BEFORE, BEFORE[:100], "edema")


@pytest.mark.parametrize(
    ("aspect", "height", "width"), [(1.0, 640, 480), (2.0, 640, 240), (0.5, 427, 640), (5.0, 640, 96)]
)
def test_the_proportions_are_the_patients(aspect: float, height: int, width: int) -> None:
    page = preview(BEFORE, BEFORE, "edema", aspect=aspect)
    assert page.size == (4 * 12 + 3 * max(width, 200), 12 * 2 + 26 + 22 + height + 34)
    panel = np.asarray(page)[72 : 72 + height, 12 : 12 + width]
    assert (panel == panel[0, 0]).all() and (np.asarray(page)[72:90, 12 + width + 2] != panel[0, 0]).any()


def test_a_circle_stays_round() -> None:
    y, x = np.mgrid[:200, :400]
    after = np.where((2 * (y - 100)) ** 2 + (x - 200) ** 2 < 150**2, 1, 0).astype(np.float32)
    page = np.asarray(preview(after * 0, after, "circle", aspect=2.0))[:, :, 0]
    disc = page[72 : 72 + 640, 12 + 652 : 12 + 652 + 640] > 128
    height, width = np.ptp(np.flatnonzero(disc.any(axis=1))), np.ptp(np.flatnonzero(disc.any(axis=0)))
    assert abs(height - width) <= 4 and width > 400


@pytest.mark.parametrize("aspect", [0.0, -1.0, float("nan"), float("inf")])
def test_an_aspect_that_is_none(aspect: float) -> None:
    with pytest.raises(ValueError, match="times as high as wide"):
        preview(BEFORE, BEFORE, "edema", aspect=aspect)
