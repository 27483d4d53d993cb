"""Distances of embeddings in float64, partners of another patient, and the rank of the own source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK = 1024
"""Queries that are compared with the whole gallery at once."""

_ROUNDING = 1e-12
"""Differences of squared distances below this share of the squared lengths are ties: float64 rounds so."""


def squared_distance(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return the squared Euclidean distance of each row of (n, k) to the same row of another: (n,).

    It is the Frechet distance of two sets of one image each, whose covariance is 0 (Heusel et al. 2017, equation 6).
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return np.asarray(np.einsum("nk,nk->n", difference, difference))


def cosine(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return the cosine of each row of (n, k) with the same row of another: (n,), NaN for an embedding of zeros."""
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    products = np.einsum("nk,nk->n", one, two)
    shares = np.divide(products, lengths, out=np.full(len(lengths), np.nan), where=lengths > 0)
    return np.asarray(np.clip(shares, -1, 1))


def partners(patients: Sequence[int], rng: np.random.Generator) -> Integers:
    """Return for each item the index of one of another patient: (n,), by chance.

    ``patients``: (n,). It is a permutation without an item of the same patient, so each item is a partner once. Where
    one patient has more than half of the items there is none, and partners that do not fit are drawn anew. An item
    without any other patient gets -1.
    """
    codes = np.asarray(patients, np.int64)
    count = len(codes)
    if count == 0 or (codes == codes[0]).all():
        return np.full(count, -1, np.int64)
    mixed = rng.permutation(count)
    # Patients in an order by chance, the items of each together; a step of the largest group leaves each group.
    _, first, inverse, sizes = np.unique(codes[mixed], return_index=True, return_inverse=True, return_counts=True)
    order = mixed[np.argsort(first[inverse], kind="stable")]
    result = np.empty(count, np.int64)
    result[order] = np.roll(order, -int(sizes.max()))
    for item in np.flatnonzero(codes[result] == codes):
        result[item] = rng.choice(np.flatnonzero(codes != codes[item]))
    return result


@dataclass(frozen=True)
class Retrieval:
    """Where the own source stands among one radiograph of each patient, by distance.

    ``rank``: (n,), 1 is the nearest; the middle of the ranks that are tied. ``hit``: (n,), 1 where the own source is
    the nearest, the share of a draw where it is tied with others. ``gallery``: how many radiographs are compared.
    """

    rank: Floats
    hit: Floats
    gallery: int


def retrieve(queries: ArrayLike, own: Sequence[int], sources: ArrayLike, patients: Sequence[int]) -> Retrieval:
    """Rank the own source of each query among the sources, one of each other patient: the first.

    ``queries``: (n, k). ``own``: (n,), the row of the own source in ``sources``, (m, k); ``patients``: (m,).
    """
    gallery, codes = np.asarray(sources, np.float64), np.asarray(patients, np.int64)
    images, origin = np.asarray(queries), np.asarray(own, np.int64)
    _, first = np.unique(codes, return_index=True)
    others = gallery[first]
    lengths = np.einsum("mk,mk->m", others, others)
    rank, hit = np.empty(len(images)), np.empty(len(images))
    for start in range(0, len(images), _BLOCK):
        part = np.asarray(images[start : start + _BLOCK], np.float64)
        mine = origin[start : start + _BLOCK]
        own_distance = squared_distance(part, gallery[mine])
        square = np.einsum("nk,nk->n", part, part)
        scale = square[:, None] + lengths
        distance = scale - 2 * (part @ others.T)
        distance[codes[first] == codes[mine][:, None]] = np.inf
        slack = _ROUNDING * scale
        nearer = (distance < own_distance[:, None] - slack).sum(axis=1)
        tied = (np.abs(distance - own_distance[:, None]) <= slack).sum(axis=1)
        rank[start : start + _BLOCK] = 1 + nearer + tied / 2
        hit[start : start + _BLOCK] = np.where(nearer == 0, 1 / (1 + tied), 0.0)
    return Retrieval(rank, hit, len(first))
