"""Values of an axis, as they are typed."""

from __future__ import annotations

import numpy as np
import pytest

from roentmod_fast.errors import SettingError
from roentmod_fast.study.sweep.axes import numbers, whole_numbers, words
from roentmod_fast.study.sweep.plan import GUIDANCES, STRENGTHS


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.4", (0.4,)),
        ("0.2,0.4,0.2", (0.2, 0.4)),
        ("0.2..1:5", (0.2, 0.4, 0.6, 0.8, 1.0)),
        ("1,1.5..10:2,20", (1.0, 1.5, 10.0, 20.0)),
        (" 0.1 , .2..4e-1:3", (0.1, 0.2, 0.3, 0.4)),
        ("-1..1:3", (-1.0, 0.0, 1.0)),
        ("10..1.5:2", (10.0, 1.5)),
    ],
)
def test_numbers(text: str, values: tuple[float, ...]) -> None:
    assert numbers("--strength", text) == pytest.approx(values)


def test_the_papers_grid_is_that_of_numpy() -> None:
    assert numbers("s", STRENGTHS) == pytest.approx(np.linspace(0.2, 1, 10).tolist(), abs=1e-9)
    assert numbers("g", GUIDANCES) == pytest.approx(np.linspace(1.5, 10, 10).tolist(), abs=1e-9)


@pytest.mark.parametrize(
    ("text", "values"),
    [("0..3", (0, 1, 2, 3)), ("10..50:5", (10, 20, 30, 40, 50)), ("7", (7,)), ("1,5..6,1", (1, 5, 6)), ("3..3", (3,))],
)
def test_whole_numbers(text: str, values: tuple[int, ...]) -> None:
    assert whole_numbers("--seed", text) == values


@pytest.mark.parametrize(
    "text",
    ["", "a", "0.2..1", "0.2..1:1", "0.2..1:0", "0.2..1:x", "..", "1..", "nan", "inf", "0..inf:3", "1,,2", "0..1:9999"],
)
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(SettingError, match="--strength"):
        numbers("--strength", text)


@pytest.mark.parametrize("text", ["1.5", "0..1:3", "3..0", "0..100000", "a..b"])
def test_whole_numbers_that_are_none(text: str) -> None:
    with pytest.raises(SettingError, match="--seed"):
        whole_numbers("--seed", text)


def test_words() -> None:
    assert words("--solver", "dpm++, ddim,ddim", ("ddim", "dpm++")) == ("dpm++", "ddim")
    with pytest.raises(SettingError, match="euler"):
        words("--solver", "euler", ("ddim", "dpm++"))
