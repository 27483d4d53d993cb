"""How long something takes, for people."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Return a time in its two largest units, such as ``3 d 4 h``; below 90 seconds in seconds."""
    if seconds is None:
        return "an unknown time"
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
