"""A stress test from a cohort to its results.

test = StressTest(cohort, [open_scorer("model.onnx")], Path("stress/"))
for done in test.score(): ...
write_results(test.analyse(), Path("stress/"))
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from roentmod_fast.errors import DeviceError, EngineError, SettingError
from roentmod_fast.radiograph.sources import Source
from roentmod_fast.study.datasets import NO_FINDING
from roentmod_fast.study.labels import asked_findings
from roentmod_fast.study.output import file_name
from roentmod_fast.study.pairs import CohortPairs
from roentmod_fast.study.plan import Cohort
from roentmod_fast.study.stress.controls import RoundTrip
from roentmod_fast.study.stress.reference import Reference, score_radiographs
from roentmod_fast.study.stress.scorers import Scorer, TableScorer
from roentmod_fast.study.stress.scores import Scored, ScoreFile, Scoring
from roentmod_fast.study.stress.shifts import Cell, Difference, ModelPairs, Options, analyse, collect, compare

logger = logging.getLogger(__name__)

SOME = 50
"""Round trips that are made by default where the cohort has the normal prompt, which is the control then."""

OWN_SOURCES = (
    "percentiles are among the cohort's sources alone; where these have no findings, small changes of a probability"
    " are many points: --reference gives the whole real cohort"
)


@dataclass(frozen=True, eq=False)
class Results:
    """What a stress test found. ``left_out``: pairs that could not be read, by reason; ``missing``: by state."""

    cohort: Cohort
    findings: tuple[str, ...]
    scorers: Sequence[Scorer]
    references: Sequence[Reference]
    cells: Sequence[Cell]
    differences: Sequence[Difference]
    options: Options
    left_out: Counter[str]
    missing: Counter[str]
    unknown: Counter[str]
    notes: Sequence[str]


@dataclass
class StressTest:
    """Scores a cohort by one or more models and analyses the shifts.

    ``folder``: for scores and references, which later runs use again. ``findings``: to look at, None for those that the
    prompts ask for. ``round_trip``: score what the autoencoder makes of each source; None where edits hold its trace,
    those composed by ``replace``, and of :data:`SOME` sources beside the normal prompt. ``radiographs``: further real
    ones for the reference, in place of the cohort's sources; ``kept``: references of earlier runs, by their place in
    ``scorers``.
    """

    cohort: Cohort
    scorers: Sequence[Scorer]
    folder: Path
    options: Options = field(default_factory=Options)
    findings: Sequence[str] | None = None
    root: Path | None = None
    round_trip: bool | None = None
    radiographs: Sequence[Source] = ()
    kept: Sequence[Path | None] = ()
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.scorers:
            raise SettingError("no model: give --model FILE")
        names = [scorer.name for scorer in self.scorers]
        if twice := [name for name in names if [file_name(n) for n in names].count(file_name(name)) > 1]:
            raise SettingError(f"two models are called {twice[0]}: change the name in one contract, or of the file")
        if self.radiographs and (blind := [scorer.name for scorer in self.scorers if not scorer.looks]):
            raise SettingError(
                f"model {blind[0]}: a table of predictions scores no radiographs: put theirs into the table, with"
                " reference in the column kind, and leave --reference out"
            )
        self.pairs = CohortPairs(self.cohort, self.root)
        self.notes: list[str] = []
        self._findings = self._chosen()
        self._scored: list[list[Scored]] = []
        self._more: list[list[np.ndarray[tuple[int], np.dtype[np.float64]]]] = [[] for _ in self.scorers]

    @property
    def count(self) -> int:
        """How many sources and further radiographs there are to score."""
        return len(self.pairs) + len(self.radiographs) * sum(scorer.looks for scorer in self.scorers)

    def score(self) -> Iterator[int]:
        """Score all images, each read once; yield how many sources are done. Scores that are kept are used again.

        Raises SettingError, EngineError and DeviceError; what is scored by then stays.
        """
        files = [ScoreFile.open(self.folder, each, self.cohort, overwrite=self.overwrite) for each in self.scorers]
        trip = self._trip()
        scoring = Scoring(self.pairs, files, trip, frozenset() if trip is None else self._round_trips())
        self._unknown = scoring.unknown
        for done, found in enumerate(scoring.run(), 1):
            if found:
                self._scored.append(found)
            yield done
        done = len(self.pairs)
        for at, file in enumerate(files):
            if not file.scorer.looks:
                continue
            for _, values in score_radiographs(file, self.radiographs, self.cohort.plan):
                if values is None:
                    self.pairs.left_out["radiograph of the reference cannot be read"] += 1
                else:
                    self._more[at].append(values)
                done += 1
                yield done

    def analyse(self) -> Results:
        """Return the shifts, after :meth:`score`. Raises SettingError where there is nothing to compare."""
        all_pairs, references, cells = list[ModelPairs](), list[Reference](), list[Cell]()
        for at, scorer in enumerate(self.scorers):
            scored = [found[at] for found in self._scored]
            if not any(item.edits and item.source is not None for item in scored):
                raise SettingError(f"model {scorer.name}: no pair of a source and an edit has scores")
            reference = self._reference(at, scored)
            found = collect(scorer.name, scorer.findings, self._findings, scored, reference)
            references.append(reference)
            all_pairs.append(found)
            cells += analyse(found, self.options)
        differences = [each for other in all_pairs[1:] for each in compare(all_pairs[0], other, self.options)]
        return Results(
            self.cohort,
            self._findings,
            self.scorers,
            references,
            cells,
            differences,
            self.options,
            self.pairs.left_out,
            self.pairs.pending,
            self._unknown,
            self.notes,
        )

    def _chosen(self) -> tuple[str, ...]:
        """Return the findings to look at. Raises SettingError for one that no model knows."""
        known = list(dict.fromkeys(name for scorer in self.scorers for name in scorer.findings))
        if self.findings is not None:
            for name in self.findings:
                if name not in known:
                    raise SettingError(f"finding {name!r}: no model has it: expected some of {', '.join(known)}")
            if not self.findings:
                raise SettingError(f"no finding: name some of {', '.join(known)} with --findings")
            return self._checked(tuple(dict.fromkeys(self.findings)))
        asked = [
            name for text in self.cohort.plan.prompts for name in asked_findings(text, known) if name != NO_FINDING
        ]
        asked = list(dict.fromkeys(asked))
        found = tuple(name for name in asked if name in known)
        if not found:
            raise SettingError(
                f"no model knows a finding of the cohort ({', '.join(asked) or 'none'}): outputs are"
                f" {', '.join(known)}: name them as the cohort does, or give --findings"
            )
        return self._checked(found, asked)

    def _checked(self, found: tuple[str, ...], asked: Sequence[str] = ()) -> tuple[str, ...]:
        """Note what a model lacks. Raises SettingError for a model that knows none of the findings."""
        for scorer in self.scorers:
            if not set(found) & set(scorer.findings):
                raise SettingError(
                    f"model {scorer.name}: has no output of {', '.join(found)}: leave it out; its outputs are"
                    f" {', '.join(scorer.findings)}"
                )
            if lacking := [name for name in asked or found if name not in scorer.findings]:
                self.notes.append(f"{scorer.name} has no output of {', '.join(lacking)}: these cells stay empty")
        return found

    def _trip(self) -> RoundTrip | None:
        looks = any(scorer.looks for scorer in self.scorers)
        composed = self.cohort.plan.settings["compose"]
        if self.round_trip is False or not looks:
            return None
        if composed != "replace":
            if self.round_trip:
                raise SettingError(
                    f"edits composed by {composed} hold no trace of the autoencoder: leave the option out"
                )
            return None
        try:
            return RoundTrip(self.cohort)
        except (EngineError, DeviceError) as error:
            raise type(error)(f"{error}: or go without the autoencoder's control by --no-round-trip") from error

    def _round_trips(self) -> frozenset[str]:
        """Return the keys of the sources whose round trip is scored: all, or :data:`SOME` beside the normal prompt."""
        keys = sorted(source.key for source, _ in self.pairs.items)
        normal = any(asked_findings(prompt) == (NO_FINDING,) for prompt in self.cohort.plan.prompts)
        return frozenset(keys[:SOME] if normal and not self.round_trip else keys)

    def _reference(self, at: int, scored: Sequence[Scored]) -> Reference:
        scorer = self.scorers[at]
        own = [name for name in self._findings if name in scorer.findings]
        kept = self.kept[at] if at < len(self.kept) else None
        if kept is not None:
            return Reference.read(kept, scorer.sha256, own)
        values = [item.source for item in scored if item.source is not None]
        origin = f"{len(values)} sources of the cohort"
        if not self.radiographs and not (isinstance(scorer, TableScorer) and len(scorer.table.reference)):
            self.notes.append(f"{scorer.name}: {OWN_SOURCES}")
        if self.radiographs:
            if not self._more[at]:
                raise SettingError(f"--reference: none of {len(self.radiographs)} radiographs can be read")
            values, origin = self._more[at], f"{len(self._more[at])} radiographs"
        if isinstance(scorer, TableScorer) and len(scorer.table.reference):
            values, origin = list(scorer.table.reference), f"{len(scorer.table.reference)} rows of the table"
        reference = Reference.of(scorer.sha256, scorer.findings, np.stack(values), origin)
        reference.write(self.folder / f"reference-{file_name(scorer.name)}.json")
        return reference
