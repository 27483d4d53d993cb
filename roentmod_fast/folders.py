"""This user's folders, where each system keeps such; neither need exist."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path, user_data_path

NAME = "roentmod-fast"


def data_folder() -> Path:
    """Return the folder of what must stay: imported engines, measurements, the key of the pseudonyms."""
    return user_data_path(NAME, appauthor=False)


def cache_folder() -> Path:
    """Return the folder of what can be made again: networks compiled for this machine. It is absolute."""
    return user_cache_path(NAME, appauthor=False).absolute()
