"""The browsers that open the pages in tests: a page works in each, or its test says why it is for one alone."""

from __future__ import annotations

import pytest

from tests.study.page.chromium import MISSING, REASON, chromium
from tests.study.page.firefox import FIREFOX, firefox

BROWSERS = (
    pytest.param(chromium, id="chromium", marks=pytest.mark.skipif(bool(MISSING), reason=REASON)),
    pytest.param(firefox, id="firefox", marks=pytest.mark.skipif(FIREFOX is None, reason="needs Firefox, not found")),
)
"""Parameters of a fixture: each opens a browser, ``with request.param() as browser``."""
