"""Reads in the input format of iMRMC, the FDA's program for studies of several readers and cases.

Free text, the counts N0, N1, NR and NM, the line ``BEGIN DATA:``, then rows ``readerID,caseID,modalityID,score``; the
truth of each case is a row of the reader ``truth``. Source: iMRMC user manual 4.1.1 (study raw data) and 4.1.3
(formatting errors), and the data frame of the R package (``dfMRMC_example``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.study.readers.rates import REALISM, realism_scores
from roentmod_fast.study.readers.score import Read, Reads
from roentmod_fast.study.readers.sheet import UNSURE


def imrmc_files(reads: Reads) -> dict[str, str]:
    """Return the content of each file by its name: ``imrmc.txt`` of telling synthetic from real, one a finding.

    Findings of which one of the two truths is missing have no file. Second readings by a reader are left out, as the
    program takes one score a reader and case.
    """
    own = [read for read in reads.firsts if read.row.realism is not None]
    files = {}
    if own:
        text = "Score: how far an image was taken for synthetic, 0 to 1. Truth: 1 synthetic, 0 real."
        scores = 1 - realism_scores(own)
        files["imrmc.txt"] = _render(reads, own, scores, lambda read: int(not read.image.real), REALISM, text)
    for name in reads.key.findings:
        own = [read for read in reads.firsts if read.row.findings.get(name) is not None]
        text = f"Score: {name} seen, 1, unsure, 0.5, or not, 0. Truth: 1 asked for or in the source, else 0."

        # A control whose labels do not say has no truth.
        own = [read for read in own if name in read.image.asked or not read.image.real or read.image.labels.get(name)]
        values = [read.row.findings[name] or 0 for read in own]
        scores = np.array([0.5 if value == UNSURE else float(value) for value in values])

        def truth(read: Read, name: str = name) -> int:
            return int(name in read.image.asked or read.image.labels.get(name) == "1")

        if {truth(read) for read in own} == {0, 1}:
            files[f"imrmc-{name}.txt"] = _render(reads, own, scores, truth, name, text)
    return files


def _render(
    reads: Reads,
    own: Sequence[Read],
    scores: NDArray[np.float64],
    truth_of: Callable[[Read], int],
    modality: str,
    text: str,
) -> str:
    truth = {read.image.case: truth_of(read) for read in own}
    positive = sum(truth.values())
    readers = len({read.image.reader for read in own})
    lines = [
        f"Reader study {reads.key.study}, synthetic radiographs, not for diagnosis",
        text,
        *(f"N0: {len(truth) - positive}", f"N1: {positive}", f"NR: {readers}", "NM: 1"),
        "BEGIN DATA:",
        *(f"truth,{case},truth,{value}" for case, value in sorted(truth.items())),
        *(
            f"reader{read.image.reader},{read.image.case},{modality},{score:g}"
            for read, score in zip(own, scores, strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"
