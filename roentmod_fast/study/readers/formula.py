"""Free text in a sheet: a spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula.

Such a text gets an apostrophe before it, and loses it when the sheet is read; ``sheet.js`` does the same. A text that
begins with apostrophes before such a sign gets one more, so every text comes back as it was (OWASP, CSV Injection).
"""

from __future__ import annotations

import re

_FORMULA = re.compile("['\\s]*[=+\\-@\uff1d\uff0b\uff0d\uff20]")


def guarded(text: str) -> str:
    """Return a text as it may stand in a cell."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return the text of a cell that :func:`guarded` made; any other text as it is."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
