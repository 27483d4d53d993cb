"""Doubts about a radiograph: reasons not to edit it, each of a named kind that can be forced on its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from roentmod_fast.errors import RefusedError, SettingError

DOUBTS = ("view", "body-part", "species", "modality", "content", "synthetic", "for-processing")
"""Names of all doubts: what ``force`` and ``--force`` take."""

ALL = "all"

Force = bool | str | Collection[str]
"""Doubts to go on with: True or ``all`` for any, False for none, a name, names with commas, or a collection."""


class Doubt(NamedTuple):
    """One reason against an edit. ``name``: one of :data:`DOUBTS`; ``reason``: a phrase free of the header's text."""

    name: str
    reason: str


def forced_doubts(force: Force) -> frozenset[str]:
    """Return the names of the doubts that ``force`` overrides. Raises SettingError for an unknown name."""
    if isinstance(force, bool):
        return frozenset(DOUBTS if force else ())
    listed = force.split(",") if isinstance(force, str) else [part for item in force for part in item.split(",")]
    names = {name.strip().lower() for name in listed if name.strip()}
    unknown = sorted(names - {*DOUBTS, ALL})
    if unknown:
        raise SettingError(f"force {unknown[0]!r}: expected {', '.join(DOUBTS)} or {ALL}")
    return frozenset(DOUBTS) if ALL in names else frozenset(names)


def override_doubts(name: str, doubts: Sequence[Doubt], force: Force) -> tuple[str, ...]:
    """Return notes on doubts that ``force`` overrides; ``name``: of the file.

    Raises RefusedError, with the option to type, for the others.
    """
    allowed = forced_doubts(force)
    left = [doubt for doubt in doubts if doubt.name not in allowed]
    if left:
        names = tuple(dict.fromkeys(doubt.name for doubt in left))
        reasons = "; ".join(doubt.reason for doubt in left)
        raise RefusedError(f"{name}: {reasons} (--force {','.join(names)} goes on)", names)
    return tuple(f"forced: {doubt.reason}" for doubt in doubts)
