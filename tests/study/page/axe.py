"""Check a page by axe-core (Deque Systems, MPL-2.0), which is fetched for tests only and is no part of the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.study.page.browser import Browser

AXE = Path(os.environ.get("AXE_CORE", Path(__file__).parents[3] / ".cache" / "axe-core" / "package" / "axe.min.js"))
needs_axe = pytest.mark.skipif(
    not AXE.is_file(), reason=f"needs axe-core: npm pack axe-core, unpacked to {AXE.parent}, or AXE_CORE=.../axe.min.js"
)


def faults(browser: Browser) -> list[str]:
    """Return what axe-core finds on the page as it stands: rule, impact and the first element of each violation."""
    found: list[dict[str, Any]] = browser.run(
        AXE.read_text(encoding="utf-8") + "; return axe.run(document).then(result => result.violations)"
    )
    return [f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:120]}" for each in found]
