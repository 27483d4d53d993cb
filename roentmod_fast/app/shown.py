"""What the page has to know before anything is open: the engine, its presets and defaults, and the paper's findings."""

from __future__ import annotations

from typing import Any

from roentmod_fast._version import __version__
from roentmod_fast.app.engine import Engine
from roentmod_fast.app.files import MAX_UPLOAD
from roentmod_fast.bundle.bundle import list_bundles
from roentmod_fast.findings import FINDINGS, NORMAL_PROMPT
from roentmod_fast.radiograph.dicom.marks import WARNING
from roentmod_fast.study.labels import read_rates


def facts(engine: Engine, *, demo: bool) -> dict[str, Any]:
    """Return what the page has to know."""
    return {
        "version": __version__,
        "warning": WARNING,
        "engines": [folder.name for folder in list_bundles()],
        **engine.facts(),
        "findings": findings(),
        "limits": {"bytes": MAX_UPLOAD},
        "demo": demo,
    }


def findings() -> list[dict[str, Any]]:
    """Return the paper's findings: the prompt, how often its readers saw it, and what they saw unasked, and how often.

    The normal prompt comes first, of which nobody measured that. Shares that the paper's text does not give are absent.
    """
    rates = read_rates()
    normal: dict[str, Any] = {"key": "normal", "prompt": NORMAL_PROMPT, "rate": None, "unasked": []}
    return [normal] + [
        {
            "key": finding.key,
            "prompt": finding.prompt,
            "rate": finding.paper_rate,
            "unasked": [
                {"key": key, "rate": rate} for key, rate in rates.get(finding.key, {}).items() if key != finding.key
            ],
        }
        for finding in FINDINGS
    ]
