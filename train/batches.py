"""Which samples make a batch: a pure function of seed and epoch, so that a resumed run takes the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.study.samples import REAL, SYNTHETIC, TRAIN, SampleSet
from roentmod_fast_train.settings import TrainSettings

Places = NDArray[np.int64]


class Batches:
    """The batches of every epoch, as places of samples of the split ``train``.

    ``natural``: each image once an epoch. A mix R:S: each batch has real and synthetic images in this proportion, and
    an epoch ends when the real ones have come once; the other kind is drawn anew for each epoch, without repetition
    until all have come. ``pairs``: each batch is made of sources, each with edits of its own, S / R of them; real
    images without an edit are left out. Raises SettingError where that leaves nothing.
    """

    def __init__(self, data: SampleSet, settings: TrainSettings) -> None:
        self._settings = settings
        self._real = np.array(data.of(TRAIN, REAL), dtype=np.int64)
        self._synthetic = np.array(data.of(TRAIN, SYNTHETIC), dtype=np.int64)
        self._edits: dict[str, list[int]] = {}
        for at in self._synthetic.tolist():
            self._edits.setdefault(data.samples[at].source, []).append(at)
        self._sources = [data.samples[at].source for at in self._real.tolist()]
        pairs, mix = settings.batches == "pairs", settings.mix
        if not len(self._real) and (pairs or (isinstance(mix, tuple) and mix[0])):
            raise SettingError("no real image with a label in the split train: add --real, or take --mix natural")
        if pairs and self._edits.keys().isdisjoint(self._sources):
            raise SettingError(
                "batches of pairs: no labelled source in the split train has an edit: label the sources (y_no_finding"
                " of 1 is enough), or take --batches free"
            )

    @property
    def unpaired(self) -> int:
        """How many real images are left out, as they have no edit."""
        return sum(source not in self._edits for source in self._sources) if self._settings.batches == "pairs" else 0

    def of_epoch(self, epoch: int) -> list[Places]:
        """Return the batches of an epoch; the last may be smaller."""
        rng = np.random.default_rng([self._settings.seed, 1, epoch])
        if self._settings.batches == "pairs":
            return self._pairs(rng)
        if isinstance(self._settings.mix, str):
            return self._cut(rng.permutation(np.concatenate([self._real, self._synthetic])))
        share_real, share_synthetic = self._settings.mix
        if share_synthetic == 0:
            return self._cut(rng.permutation(self._real))
        if share_real == 0:
            return self._cut(rng.permutation(self._synthetic))
        real = max(1, round(self._settings.batch * share_real / (share_real + share_synthetic)))
        synthetic = max(1, self._settings.batch - real)
        count = -(-len(self._real) // real)
        first = rng.permutation(self._real)
        second = self._endless(self._synthetic, count * synthetic, epoch)
        return [
            np.concatenate([first[at * real : (at + 1) * real], second[at * synthetic : (at + 1) * synthetic]])
            for at in range(count)
        ]

    def _endless(self, places: Places, need: int, epoch: int) -> Places:
        """Return the epoch's part of an endless row of permutations, so that all come before one comes again."""
        start, parts, have = epoch * need, list[Places](), 0
        turn = start // len(places)
        skip = start % len(places)
        while have < need + skip:
            parts.append(np.random.default_rng([self._settings.seed, 2, turn]).permutation(places))
            have += len(places)
            turn += 1
        return np.concatenate(parts)[skip : skip + need]

    def _pairs(self, rng: np.random.Generator) -> list[Places]:
        mix = self._settings.mix
        with_edits = [at for at, source in enumerate(self._sources) if source in self._edits]
        rows: list[list[int]] = []
        for at in rng.permutation(np.array(with_edits, dtype=np.int64)).tolist():
            edits = rng.permutation(np.array(self._edits[self._sources[at]], dtype=np.int64)).tolist()
            wanted = len(edits) if isinstance(mix, str) else max(1, round(mix[1] / mix[0]))
            rows.append([int(self._real[at]), *edits[:wanted]])
        batches, batch = list[Places](), list[int]()
        for row in rows:
            if batch and len(batch) + len(row) > self._settings.batch:
                batches.append(np.array(batch, dtype=np.int64))
                batch = []
            batch += row
        return [*batches, np.array(batch, dtype=np.int64)] if batch else batches

    def _cut(self, order: Places) -> list[Places]:
        size = self._settings.batch
        return [order[start : start + size] for start in range(0, len(order), size)]


def without_last_of_one(batches: Sequence[Places]) -> list[Places]:
    """Return batches of at least two: batch normalisation has no variance of one image."""
    kept = list(batches)
    if len(kept) > 1 and len(kept[-1]) == 1:
        kept[-2:] = [np.concatenate(kept[-2:])]
    return kept
