"""The page of the app, put together from its template, its style and its scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roentmod_fast.study.page.html import COMPARISON, STYLE, VIEWER, Template, assemble

_PACKAGE = "roentmod_fast.app.page"
_SCRIPTS = "requests", "area", "state", "films", "look", "where", "ask", "edits", "save", "start"
APP = Template(
    ("app.html", _PACKAGE),
    (STYLE, ("app.css", _PACKAGE)),
    (VIEWER, COMPARISON, *((f"{name}.js", _PACKAGE) for name in _SCRIPTS)),
    sources="img-src data: blob:; connect-src 'self'",
)


def render(data: Mapping[str, Any]) -> bytes:
    """Return the page as HTML; ``data``: what the server knows before anything is open."""
    return assemble(APP, "roentmod-fast", data, {})


def policy() -> str:
    """Return the Content-Security-Policy as a header; the page has the same but for ``frame-ancestors``."""
    return f"{APP.policy}; frame-ancestors 'none'"
