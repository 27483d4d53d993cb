"""A page of edits that are on the disk: DICOM or PNG, in the source's own matrix or in another size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.findings import find_findings
from roentmod_fast.radiograph.metrics import change_statistics
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.page.content import Facts, PageEdit, displayed, upright_values
from roentmod_fast.study.page.edits import Page
from roentmod_fast.study.page.pixels import encode_edit
from roentmod_fast.study.pairs import in_size

Array = NDArray[np.float32]


@dataclass(frozen=True)
class EditFile:
    """An edit on the disk. ``name`` and ``facts`` are shown, so they must name no patient.

    ``facts``: settings and provenance as pairs of a name and a value. ``changed``: the share of pixels that changed,
    None to compute it.
    """

    path: Path
    name: str
    prompt: str
    facts: Facts = ()
    changed: float | None = None


def page_of_files(source: Radiograph, edits: Iterable[EditFile], title: str, name: str = "source") -> Page:
    """Make the page of a radiograph and its edits; a file is read when it is its turn.

    Edits that store values as the source does are shown in native depth. Others, such as PNG of a given size, are shown
    as they are displayed, with 12 bits and the source in their size, and so are all edits of that page; the first one
    decides. The edits are taken as the chest radiographs that they were made of, whatever their header says. Raises
    SettingError for no edit and for one whose shape fits neither, and as ``read_radiograph`` does.
    """
    page: Page | None = None
    shown = source
    native = True
    for edit in edits:
        # An edit of ours says in its header what the prompt was: "vertebral fracture" raises a doubt of its own.
        edited = read_radiograph(edit.path, force=True)
        if page is None:
            native = _same_values(source, edited)
            if not native:
                shown = displayed(in_size(source, edited.shape, edit.name, edited.aspect), "source")
            page = Page(shown, title, name)
        if native and not _same_values(source, edited):
            raise SettingError(f"{edit.name}: other stored values than its source: give edits of one kind a page")
        if edited.shape != shown.shape:
            raise SettingError(f"{edit.name}: another size than the edit before it: give edits of one size a page")
        after = edited if native else displayed(edited.image, edit.name)
        assert after.stored is not None
        changed = edit.changed
        if changed is None:
            changed = change_statistics(shown.image, edited.image).share_changed
        page.put(
            PageEdit(
                name=edit.name,
                prompt=edit.prompt,
                blob=encode_edit(upright_values(after, after.stored), page.content.source.values),
                facts=[("Edit", edit.name), ("Prompt", edit.prompt), *edit.facts],
                changed=changed,
                findings=find_findings(edit.prompt),
            ),
            edited.image,
        )
    if page is None:
        raise SettingError("a page without an edit: give at least one")
    return page


def _same_values(source: Radiograph, edited: Radiograph) -> bool:
    """Tell whether two radiographs store the same kind of value in the same matrix."""
    if source.grayscale is None or edited.grayscale is None:
        return False
    return (
        source.shape == edited.shape
        and source.grayscale.lowest == edited.grayscale.lowest
        and len(source.grayscale.table) == len(edited.grayscale.table)
        and (source.dataset is None) == (edited.dataset is None)
    )
