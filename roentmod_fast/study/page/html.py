"""Put a page together: template, style, script, data and pixels in one file that requests nothing.

The Content-Security-Policy allows the script and the style of the template by their hashes, images that stand in the
page, and nothing else. Every text goes in as JSON, and is shown as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from roentmod_fast._version import __version__
from roentmod_fast.errors import OutputError
from roentmod_fast.radiograph.dicom.marks import MANUFACTURER, WARNING


@dataclass(frozen=True)
class Template:
    """The files of a kind of page, each as name and package; ``mark``: what its header and title say of all images.

    Scripts are put together in their order, and so are styles. ``sources``: directives of the policy beside those of
    script and style, for what the page may load.
    """

    page: tuple[str, str]
    styles: tuple[tuple[str, str], ...]
    scripts: tuple[tuple[str, str], ...]
    mark: str = WARNING
    sources: str = "img-src data:"

    @property
    def style(self) -> str:
        """All styles in one."""
        return "".join(template(*part) for part in self.styles)

    @property
    def script(self) -> str:
        """All scripts in one, without lines of comment and indentation: no text in them has more than one line."""
        return re.sub(r"(?m)^[ \t]*(?://.*)?\n?", "", "".join(template(*part) for part in self.scripts))

    @property
    def policy(self) -> str:
        """The Content-Security-Policy: script and style by their hashes, ``sources``, and nothing else."""
        return (
            f"default-src 'none'; script-src {source_hash(self.script)}; style-src {source_hash(self.style)};"
            f" {self.sources}; base-uri 'none'; form-action 'none'"
        )


SHARED = "roentmod_fast.study.page"
STYLE = "page.css", SHARED
VIEWER = "viewer.js", SHARED
COMPARISON = "compare.js", SHARED
EDITS = Template(("page.html", SHARED), (STYLE,), (VIEWER, COMPARISON, ("page.js", SHARED)))
INDEX = Template(("index.html", SHARED), (STYLE,), (("index.js", SHARED),))


@cache
def template(name: str, package: str = SHARED) -> str:
    """Return a file of a template; ``{{head}}`` in it is what all pages begin with."""
    text = files(package).joinpath(name).read_text(encoding="utf-8")
    return text.replace("{{head}}", template("head.html")) if "{{head}}" in text else text


def assemble(
    kind: Template, title: str, data: Mapping[str, Any], blobs: Mapping[str, str], first: bytes = b""
) -> bytes:
    """Return a page as a file.

    ``data``: what JSON knows. ``blobs``: base64 by name. ``first``: a JPEG to show until the script has decoded the
    pixels.
    """
    facts = {**data, "warning": kind.mark, "made": f"{MANUFACTURER} {__version__}"}
    parts = {
        "policy": kind.policy,
        "title": html.escape(f"{title} - {kind.mark}"),
        "warning": html.escape(kind.mark),
        "style": kind.style,
        "script": kind.script,
        "data": embedded(facts),
        "first": f"data:image/jpeg;base64,{base64.b64encode(first).decode('ascii')}" if first else "data:,",
        "blobs": "\n".join(
            f'<script type="text/plain" id="{html.escape(name)}">{text}</script>' for name, text in blobs.items()
        ),
    }
    return fill(template(*kind.page), parts)


def fill(page: str, parts: Mapping[str, str]) -> bytes:
    """Return a template with its parts, ``{{name}}``, put in; what is put in is never searched for names of parts."""
    pieces = page.split("{{")
    result = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        result += [parts[name], rest]
    return "".join(result).encode("utf-8", "replace")


def read_data(path: Path) -> dict[str, Any] | None:
    """Return what JSON knows in a page that :func:`assemble` made, None for any other file.

    No more of the file is read than comes before its pixels. Raises OutputError where it cannot be read.
    """
    head, begin, end = b"", b'<script type="application/json" id="data">', b"</script>"
    try:
        with path.open("rb") as file:
            while more := file.read(1 << 20):
                head += more
                start = head.find(begin)
                stop = -1 if start < 0 else head.find(end, start)
                if stop >= 0:
                    found = json.loads(head[start + len(begin) : stop])
                    ours = isinstance(found, dict) and str(found.get("made", "")).startswith(MANUFACTURER)
                    return found if ours else None
                if not head.startswith(b"<!DOCTYPE html>"):
                    return None
    except ValueError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    return None


def embedded(value: Any) -> str:
    """Return a value as JSON that no HTML parser takes for markup (``<!--``, ``</script``)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def source_hash(text: str) -> str:
    """Return the source expression of an inline script or style (CSP level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
