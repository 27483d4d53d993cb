"""What the benchmarks of fidelity share: the measure, and where their tables stand in a model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def psnr(a: Array, b: Array, where: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two images in [0, 1], over ``where``."""
    error = np.square(a - b) if where is None else np.square(a - b)[where]
    return float(-10 * np.log10(max(float(error.mean()), 1e-12)))


def write_model_card(model_card: Path, text: str, writer: str) -> None:
    """Put ``text`` between the marks of ``writer``, a file of this folder, in an engine's model card."""
    begin, end = f"<!-- fidelity: written by benchmarks/{writer} -->", "<!-- end of fidelity -->"
    head, rest = model_card.read_text(encoding="utf-8").split(begin)
    tail = rest.split(end)[1]
    model_card.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}", encoding="utf-8")
