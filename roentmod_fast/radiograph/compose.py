"""Put an edit back into the radiograph it was made of, at the radiograph's own size."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.metrics import HALF_LEVEL

Array = NDArray[np.float32]
Mode = Literal["delta", "contrast", "replace"]


def compose(
    source: Array,
    decoded: Array,
    reference: Array | None,
    letterbox: Letterbox,
    mode: str,
    mask: Array | None = None,
) -> Array:
    """Return the edited radiograph at the source's size: float32 (H, W) in [0, 1].

    ``source``: float32 (H, W) in [0, 1]. ``decoded``: the engine's image of the edit, float32 (S, S) in [0, 1], and
    ``reference`` that of what the edit is compared with: the decoded source for ``delta``, the decoded edit of the
    empty prompt for ``contrast``, None for ``replace``. ``letterbox``: where the source lies in the square. ``mask``:
    float32 (H, W) in [0, 1], how much of the edit each pixel takes; where it is 0 the source stays exactly.

    ``replace`` gives the decoded image itself, its padding cut off. ``delta`` and ``contrast`` add
    ``decoded - reference`` to the source, which keeps the source's resolution and depth; a change below half a grey
    level of 8 bit is left out.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"compose {mode!r}: expected one of {', '.join(get_args(Mode))}")
    if (reference is None) != (mode == "replace"):
        raise ValueError(f"compose {mode}: {'no' if mode == 'replace' else 'a'} reference is expected")
    if mask is not None and mask.shape != source.shape:
        raise ValueError(f"mask of shape {mask.shape}, expected {source.shape}")
    if reference is None:
        change = np.clip(letterbox.invert(decoded), 0, 1) - source
    else:
        change = letterbox.invert_smooth(decoded - reference)
    if mask is not None:
        change = change * np.clip(mask, 0, 1)
    if reference is not None:
        change = np.where(np.abs(change) < HALF_LEVEL, np.float32(0), change)
    edited = np.clip(source + change, 0, 1)
    return np.asarray(np.where(change == 0, source, edited), dtype=np.float32)
