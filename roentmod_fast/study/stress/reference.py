"""The distribution of a model's scores on real radiographs, by which scores become percentiles.

The paper: "to control for variable calibration", each probability is compared with the model's predictions "on the
entire cohort". Here: mid-rank percentiles among real radiographs; edits are never among them. A reference is kept as
JSON with the model's hash, so that later runs compare on the same scale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.atomic import write_atomically
from roentmod_fast.errors import SettingError, SourceError
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.study.pairs import squared
from roentmod_fast.study.plan import Plan
from roentmod_fast.study.statistics import percentiles
from roentmod_fast.study.stress.scores import REFERENCE, ScoreFile

Values = NDArray[np.float64]
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Reference:
    """Sorted scores of real radiographs by finding, float64 (n,) each. ``model``: the SHA-256 of the model."""

    model: str
    scores: Mapping[str, Values]
    origin: str = ""

    @classmethod
    def of(cls, model: str, findings: Sequence[str], values: Values, origin: str) -> Reference:
        """Make a reference of scores, float64 (n, K)."""
        if len(values) == 0:
            raise SettingError("no real radiograph has scores: a reference needs at least one")
        return cls(model, {name: np.sort(values[:, at]) for at, name in enumerate(findings)}, origin)

    @property
    def count(self) -> int:
        """How many radiographs it has."""
        return len(next(iter(self.scores.values())))

    @property
    def sha256(self) -> str:
        """The hash of its scores."""
        digest = hashlib.sha256(self.model.encode())
        for name, values in sorted(self.scores.items()):
            digest.update(name.encode() + b"\0" + np.ascontiguousarray(values, "<f8").tobytes())
        return digest.hexdigest()

    def percentile(self, finding: str, values: Values) -> Values:
        """Return mid-rank percentiles of scores, from 0 to 100."""
        return percentiles(self.scores[finding], values)

    def write(self, path: Path) -> None:
        """Write it as JSON. Raises OutputError."""
        scores = {name: values.tolist() for name, values in self.scores.items()}
        raw = {"format": FORMAT, "model": self.model, "count": self.count, "sha256": self.sha256, "origin": self.origin}
        write_atomically(path, (json.dumps({**raw, "scores": scores}) + "\n").encode(), overwrite=True)

    @classmethod
    def read(cls, path: Path, model: str, findings: Sequence[str]) -> Reference:
        """Read a reference that was kept. Raises SettingError where it is damaged, or of another model."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            found = cls(
                raw["model"],
                {name: np.array(values, dtype=np.float64) for name, values in raw["scores"].items()},
                raw["origin"],
            )
            whole = raw["format"] == FORMAT and found.sha256 == raw["sha256"]
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise SettingError(f"{path}: damaged, or no reference: expected reference-MODEL.json of an earlier run")
        if found.model != model:
            raise SettingError(f"{path}: the reference of another model or version: make one for this model")
        if missing := [name for name in findings if name not in found.scores]:
            raise SettingError(f"{path}: has no scores of {missing[0]}")
        return found


def score_radiographs(file: ScoreFile, sources: Sequence[Source], plan: Plan) -> Iterator[tuple[str, Values | None]]:
    """Score further real radiographs, in the geometry in which the plan's edits are written.

    Yields each one's name, and its scores or None where it cannot be read. Scores that are kept are used again.
    """
    for source in sources:
        try:
            sha256 = hashlib.sha256(source.read()).hexdigest()
            kept = file.get(REFERENCE, sha256, sha256)
            if kept is None:
                radiograph = read_radiograph(source, force=frozenset(plan.force))
                image = squared(radiograph.image, radiograph.aspect)
                if plan.output.size is not None:
                    image = Letterbox.fit(image.shape, plan.output.size).apply(image)
                kept = file.scorer.score(image, (source.name,))
                assert kept is not None
                file.append([((sha256, REFERENCE, "", "", "", "", sha256), kept)])
        except SourceError as error:
            yield str(error), None
            continue
        yield source.name, kept
