"""Token ids against those of transformers' ``CLIPTokenizer`` with CLIP's own vocabulary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roentmod_fast.bundle.tokenizer import Tokenizer
from roentmod_fast.errors import EngineError

GOLDENS = Path(__file__).parents[1] / "goldens"
ENTRIES: list[dict[str, Any]] = json.loads((GOLDENS / "tokens.json").read_text(encoding="utf-8"))
MAX_TOKENS = 77
START, END = 49406, 49407


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(GOLDENS / "tokenizer_sd1.json", MAX_TOKENS)


@pytest.mark.parametrize("layout", ["sd1", "sd2"])
def test_ids_are_those_of_clip(layout: str) -> None:
    tokenizer = Tokenizer.load(GOLDENS / f"tokenizer_{layout}.json", MAX_TOKENS)
    for entry in ENTRIES:
        tokens = tokenizer.encode(entry["text"])
        assert (tokens.shape, tokens.dtype) == ((1, MAX_TOKENS), np.int64)
        assert tokens[0].tolist() == entry[layout], entry["text"]


def test_known_ids() -> None:
    """CLIP's ids as published, so that the goldens themselves are held to something."""
    first = Tokenizer.load(GOLDENS / "tokenizer_sd1.json", MAX_TOKENS)
    second = Tokenizer.load(GOLDENS / "tokenizer_sd2.json", MAX_TOKENS)
    assert first.encode("")[0].tolist() == [START] + [END] * 76
    assert second.encode("")[0].tolist() == [START, END] + [0] * 75
    assert first.encode("a photo of a cat")[0, :7].tolist() == [START, 320, 1125, 539, 320, 2368, END]


def test_a_long_text_keeps_its_end_token_and_says_what_is_cut(tokenizer: Tokenizer) -> None:
    fits, too_long = "mass " * 75, "mass " * 76
    assert tokenizer.truncated(fits) == ""
    assert tokenizer.truncated(too_long).strip() == "mass"
    tokens = tokenizer.encode(too_long)[0]
    assert (tokens[0], tokens[-1]) == (START, END)
    assert END not in tokens[:-1]


def test_what_is_cut_is_reported_in_the_users_own_letters(tokenizer: Tokenizer) -> None:
    text = "Œdème " * 60
    cut = tokenizer.truncated(text)
    assert cut
    assert text.endswith(cut)
    kept = text[: len(text) - len(cut)]
    np.testing.assert_array_equal(tokenizer.encode(kept), tokenizer.encode(text))


def test_case_and_space_do_not_count(tokenizer: Tokenizer) -> None:
    np.testing.assert_array_equal(tokenizer.encode("  EDEMA\n,hernia"), tokenizer.encode("edema, hernia"))


def test_the_file_decides_the_padding(tmp_path: Path) -> None:
    facts = json.loads((GOLDENS / "tokenizer_sd1.json").read_text(encoding="utf-8"))
    facts["padding"]["pad_id"] = 7
    facts["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(facts), encoding="utf-8")
    tokens = Tokenizer.load(tmp_path / "tokenizer.json", 20).encode("right pleural effusion, edema")[0]
    assert len(tokens) == 20
    assert tokens[-1] == 7
    assert (tokens != 7).sum() > 5  # a length set in the file is not ours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding": None}, "does not say how it pads"),
        ({"post_processor": None}, "does not put a start and an end token"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}, "no tokenizer.json"),
    ],
)
def test_a_file_that_leaves_something_open_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    facts = json.loads((GOLDENS / "tokenizer_sd1.json").read_text(encoding="utf-8"))
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**facts, **change}), encoding="utf-8")
    with pytest.raises(EngineError, match=message) as caught:
        Tokenizer.load(path, MAX_TOKENS)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b"[]", b"\xff\xfe\x00", b'{"padding": {"pad_id": 0}}'])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"no tokenizer\.json of the tokenizers package") as caught:
        Tokenizer.load(path, MAX_TOKENS)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(EngineError, match="cannot be read") as caught:
        Tokenizer.load(path, MAX_TOKENS)
    assert str(path) in str(caught.value)


def test_an_encoder_without_room_for_text_is_refused() -> None:
    with pytest.raises(EngineError, match="max_tokens 2 leaves no room"):
        Tokenizer.load(GOLDENS / "tokenizer_sd1.json", 2)


def test_importing_it_does_not_import_the_package() -> None:
    script = "import sys, roentmod_fast.bundle.tokenizer; sys.exit('tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
