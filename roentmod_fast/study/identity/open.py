"""Open the embedders that a command names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roentmod_fast.errors import SettingError
from roentmod_fast.study.models.network import Model, open_model
from roentmod_fast.study.output import file_name


def open_embedders(paths: Sequence[Path], device: str = "auto") -> list[Model]:
    """Open embedders, all before any is run.

    Raises SettingError for a classifier and for two of one name, and as :func:`~.network.open_model` does.
    """
    models = list[Model]()
    for path in paths:
        model = open_model(path, device=device)
        if model.contract.kind != "embedder":
            raise SettingError(f"{path}: its contract says classifier: identity needs an embedder; is it for stress?")
        if any(file_name(model.name) == file_name(other.name) for other in models):
            raise SettingError(f"{path}: a second model called {model.name}: give each contract a name of its own")
        models.append(model)
    return models
