"""The instructions that lie in a reader's folder: plain text, the same for all readers but for the number of images."""

from __future__ import annotations

from collections.abc import Sequence

from roentmod_fast.study.readers.blinding import MARK
from roentmod_fast.study.readers.key import IMAGES, SHEET
from roentmod_fast.study.readers.sheet import COLUMNS

_TEXT = """{title}
{line}

{mark}. Study {study}, {count} images.

You read chest radiographs. Some are as they were taken, some were changed by a computer program; nobody but the
people who run the study knows which. Some images may come twice. Please read alone, and do not compare images with
each other.

Where a file read.html lies beside this one, open it in a browser: it shows the images, asks what follows, and gives
you the sheet to return. Otherwise:

How to read

1. Images are in the folder {images}. Read them in the order of the column "order" of {sheet}.
2. Fill in one row an image. For each finding type

       1   present
       0   absent
       2   unsure

   Please fill in every finding of an image that you read: an empty cell counts as not read, and never as absent.
3. realism: 1 if you take the image for a real radiograph, 0 if for a synthetic one, 2 if you are unsure.
4. extra: another finding that you see and that has no column, in a few words. Leave it empty where there is none: any
   text counts as another finding.
5. confidence: how sure you are of your answers, from 1 (a guess) to 5 (certain).
6. notes: whatever else is worth noting.
7. seconds and read_at: leave them empty if you do not measure them.
8. status: type "read" when you are done with an image.

You may stop at any time: a sheet that is filled in half counts for what it holds. Do not change the columns "study" and
"image", nor the images. Save the sheet as CSV (UTF-8) and return it alone.

Findings: {findings}.

Columns: {columns}.
"""


def instructions(title: str, study: str, count: int, findings: Sequence[str]) -> str:
    """Return the content of a reader's README.txt."""
    return _TEXT.format(
        title=title,
        line="=" * len(title),
        mark=MARK,
        study=study,
        count=count,
        images=IMAGES,
        sheet=SHEET,
        findings=", ".join(findings),
        columns=", ".join(COLUMNS(findings)),
    )
