"""How long something takes, for people."""

from __future__ import annotations

import pytest

from roentmod_fast.cli.duration import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "an unknown time"),
        (-3, "0 s"),
        (0, "0 s"),
        (0.4, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (3569, "59 min"),
        (3570, "1 h 0 min"),
        (5400, "1 h 30 min"),
        (86_399, "1 d 0 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
