"""Lung fields of all films: trained on masks drawn by hand and on phantoms, then on its own checked predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from roentmod_fast import phantom

from .films import SIZE, Film
from .learning import Length
from .masks import dice, faults_of, largest_part, split_sides
from .pairs import fields_of, to_bytes
from .segment import LungNet, find_lungs, train_segmenter

Masks = NDArray[np.bool_]


def phantom_fields(seeds: range) -> tuple[NDArray[np.uint8], Masks]:
    """Draw phantoms with their lung fields, the part behind the heart included."""
    drawn = [phantom.draw(SIZE, seed) for seed in seeds]
    return np.stack([to_bytes(one.image) for one in drawn]), np.stack([fields_of(one) for one in drawn])


def train_lungs(
    films: list[Film],
    squares: NDArray[np.uint8],
    hand: dict[int, Masks],
    work: Path,
    device: torch.device,
    lengths: tuple[Length, Length],
    *,
    first_seed: int,
) -> tuple[LungNet, dict[str, object]]:
    """Train in two rounds; return the network and its figures.

    The second round adds the first one's predictions for films of the training part, where no rule refuses them.
    """
    by_hand = [i for i in hand if films[i].part == "train"]
    drawn, drawn_masks = phantom_fields(range(first_seed, first_seed + 40))
    images = np.concatenate([squares[by_hand], drawn])
    masks = np.concatenate([np.stack([split_sides(hand[i]) for i in by_hand]), drawn_masks])
    weights = np.array([1.0] * len(by_hand) + [0.1] * len(drawn), dtype=np.float32)
    network = train_segmenter("lungs-first", images, masks, weights, work, device, lengths[0])
    own = [i for i, film in enumerate(films) if film.part == "train" and i not in hand]
    found = find_lungs(network, squares[own], device)
    kept = [k for k, why in enumerate(faults_of(found)) if not why]
    if kept:
        images = np.concatenate([images, squares[[own[k] for k in kept]]])
        checked = np.stack([np.stack([largest_part(one > 0.5) for one in found[k]]) for k in kept])
        masks = np.concatenate([masks, checked])
        share = 0.8 * weights.sum() / len(kept)
        weights = np.concatenate([weights, np.full(len(kept), share, dtype=np.float32)])
    network = train_segmenter(
        "lungs-second", images, masks, weights, work, device, lengths[1], seed=1, rate=1.2e-3,
        start=network.state_dict(),
    )  # fmt: skip
    figures: dict[str, object] = {"own predictions used": len(kept), "of": len(own)}
    figures.update(lung_figures(network, films, squares, hand, device))
    return network, figures


def lung_figures(
    network: LungNet, films: list[Film], squares: NDArray[np.uint8], hand: dict[int, Masks], device: torch.device
) -> dict[str, object]:
    """Return the Dice coefficients of both lungs on the masks drawn by hand that training did not see."""
    figures: dict[str, object] = {}
    for part in ("validation", "classifier", "test"):
        some = [i for i in hand if films[i].part == part]
        if some:
            masks_found = find_lungs(network, squares[some], device).max(1) > 0.5
            figures[f"dice {part}"] = [round(dice(a, hand[i]), 4) for a, i in zip(masks_found, some, strict=True)]
    return figures
