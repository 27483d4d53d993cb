"""A source in the size of its edit, also where its pixels are no squares."""

from __future__ import annotations

import numpy as np
import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.study.pairs import in_size, squared

IMAGE = np.random.default_rng(3).random((40, 40), dtype=np.float32)


@pytest.mark.parametrize("aspect", [1.5, 0.5])
def test_a_square_edit_of_a_square_matrix_has_black_beside_it(aspect: float) -> None:
    source = Radiograph(IMAGE, "film", aspect=aspect)
    shown = in_size(source, (40, 40), "film")
    assert np.array_equal(shown, Letterbox.fit((40, 40), 40, aspect).apply(IMAGE))
    assert (shown[:, 0] == 0).all() == (aspect > 1) and (shown[0] == 0).all() == (aspect < 1)


@pytest.mark.parametrize("aspect", [1.5, 1.0, 0.5])
def test_an_edit_of_the_source_s_matrix(aspect: float) -> None:
    source = Radiograph(IMAGE[:, :30], "film", aspect=aspect)
    assert in_size(source, (40, 30), "film", aspect) is source.image
    square = squared(source.image, aspect)
    assert np.allclose(in_size(source, (square.shape[0], square.shape[1]), "film"), square)


def test_a_matrix_with_other_pixels_is_refused() -> None:
    with pytest.raises(SettingError, match="expected the source's proportions or a square"):
        in_size(Radiograph(IMAGE[:, :30], "film", aspect=1.5), (40, 30), "film")
    with pytest.raises(SettingError, match="expected the source's proportions or a square"):
        in_size(Radiograph(IMAGE, "film"), (40, 40), "film", 1.5)
