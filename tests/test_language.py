"""Code and docs use the terms of the glossary in CONTRIBUTING.md: no retired word comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("roentmod_fast", "export", "train", "engines", "benchmarks", "docs", "tests", ".github")

RETIRED = {
    r"wish(es|ed)?": "args, options, settings",
    r"looks? at the unet|looks_at_unet": "UNet evaluations",
    r"(is|are|was|were|be|been|being) told": "is an argument, is printed, is logged",
    r"(is|are|was|were|be|been|being) said": "is printed, is logged, is noted",
    r"told": "reported, given, logged",
    r"pictures?": "image, radiograph",
    r"(?<!model[ _-])cards?(?!\.md)": "GPU, model card",
    r"processors?": "CPU",
    r"drawn radiographs?|radiographs? that is drawn": "phantom",
    r"hollow": "stub (CUDA library)",
    r"likeness(es)?": "parity",
    r"verdicts?": "parity",
    r"judg(e|es|ed|ing)": "compare, parity",
    r"checkup": "doctor, check",
    r"complain(t|ts|s|ed)?": "error summary",
    r"spared?|with_?spare": "float32 fallback, unused bits",
    r"short cuts?": "lossy speed-up, speed setting",  # a shortcut is what a classifier learns in place of a finding
    r"strangers": "unassigned nodes",
    r"hushed": "quiet",
    r"frugal": "release_memory",
    r"oversized": "engine_max_batch",
    r"arrivals|short_?course|full_course": "timesteps",
    r"means\.(py|json)|class means|import means": "settings",
    r"bound_?session": "IoBindingSession",
    r"set_aside": "quarantine",
    r"reason_of": "summarize",
    r"settle_autoencoder": "fall_back_to_fp32",
    r"class opening|opening\(": "SessionSpec",
    r"class placement|placements?": "letterbox",
    r"get rid of|be rid of": "clear, remove",
    r"in half precision|half-precision": "fp16",
}
"""What a retired word matches, in any case and as a part of a name with underscores, and the terms to use."""

STILL_BEING_RENAMED: tuple[str, ...] = ()
"""Patterns of :data:`RETIRED` whose renaming is under way: delete an entry when its test reports that none is left."""

ALLOWED = {
    r"processors?": (  # a maker's name, a key of the report, names of libraries, Linux's words
        r"\(R\) (Xeon|Core)\(R\) Processor|['\"]processor['\"]|platform\.processor"
        r"|(image|post|attention|attn)_processor|Attn_?Processor|\"processor\\t|Some Processor"
    ),
    r"(?<!model[ _-])cards?(?!\.md)": r"CARD\.md|model_card",
    r"drawn radiographs?|radiographs? that is drawn": r"trained on drawn radiographs",  # phantom's notice
    r"pictures?": r"made from a picture file without a header",  # a value in DICOM files
    r"class placement|placements?": r"LINE PLACEMENT",  # a description in a test
    r"checkup": r"Annual checkup",  # a description in a test
}
"""Where a retired word is right: what is taken out of a line before it is searched."""


def pattern(word: str) -> re.Pattern[str]:
    """Return what finds a retired word: not within another word; parts of a name count as words."""
    return re.compile(rf"(?<![a-z])(?:{word})(?![a-z])", re.IGNORECASE)


def apart(text: str) -> str:
    """Return a text with the words of CamelCase apart."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)


@cache
def pages() -> dict[str, tuple[str, ...]]:
    """Return the lines of all code and docs by path, CamelCase apart, without the glossary and this file."""
    paths = [*ROOT.glob("*.md")]
    for folder in FOLDERS:
        for kind in ("*.py", "*.md"):
            paths += (ROOT / folder).rglob(kind)
    found = {}
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        if name == "tests/test_language.py" or "build/" in name:
            continue
        text = path.read_text(encoding="utf-8")
        if name == "CONTRIBUTING.md":
            before, _, after = text.partition("## Language")
            text = before + "## " + after.partition("\n## ")[2]
        found[name] = tuple(apart(text).splitlines())
    return found


def uses(word: str) -> Iterator[str]:
    """Yield each line that uses a retired word, with its place."""
    finds, allowed = pattern(word), re.compile(ALLOWED.get(word, r"(?!)"))
    for name, lines in pages().items():
        if not finds.search("\n".join(lines)):
            continue
        for number, line in enumerate(lines, 1):
            if finds.search(allowed.sub("", line)):
                yield f"{name}:{number}: {line.strip()[:100]}"


@pytest.mark.parametrize("word", [word for word in RETIRED if word not in STILL_BEING_RENAMED])
def test_no_retired_word_is_used(word: str) -> None:
    found = list(uses(word))
    assert not found, f"use {RETIRED[word]} instead, {len(found)} lines:\n" + "\n".join(found[:20])


def test_what_is_still_being_renamed_is_still_used() -> None:
    done = [word for word in STILL_BEING_RENAMED if not any(uses(word))]
    assert done == [], "none is left of these: delete them from STILL_BEING_RENAMED"


def test_every_exception_is_of_a_retired_word() -> None:
    assert set(STILL_BEING_RENAMED) | set(ALLOWED) <= set(RETIRED)


@pytest.mark.parametrize(
    ("line", "word", "found"),
    [
        ("wishes = parser.parse_args()", r"wish(es|ed)?", True),
        ("our_wishes", r"wish(es|ed)?", True),
        ("a_wish", r"wish(es|ed)?", True),
        ("The Wishes.", r"wish(es|ed)?", True),
        ("Wishart", r"wish(es|ed)?", False),
        ("discard the cardiac silhouette", r"(?<!model[ _-])cards?(?!\.md)", False),
        ("on a card", r"(?<!model[ _-])cards?(?!\.md)", True),
        ("list_cards()", r"(?<!model[ _-])cards?(?!\.md)", True),
        ("the model card, CARD.md", r"(?<!model[ _-])cards?(?!\.md)", False),
        ("untold", r"told", False),
        ("SpareBits", r"spared?|with_?spare", True),
    ],
)
def test_words_are_found_in_names_and_not_within_words(line: str, word: str, found: bool) -> None:
    assert bool(pattern(word).search(apart(line))) is found


def test_the_glossary_and_all_rooms_are_read() -> None:
    names = pages()
    assert {"README.md", "CONTRIBUTING.md", "docs/engines.md", "roentmod_fast/editor.py"} <= set(names)
    assert not any("look at the UNet" in line for line in names["CONTRIBUTING.md"])
    assert any("## Python versions" in line for line in names["CONTRIBUTING.md"])
