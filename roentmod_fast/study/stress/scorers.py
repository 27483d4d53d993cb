"""What scores an image: a network with a contract, a function, or a table of predictions."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.errors import SettingError
from roentmod_fast.study.models.network import Model, open_model
from roentmod_fast.study.models.table import PredictionTable

Image = NDArray[np.float32]
Values = NDArray[np.float64]


class Scorer(Protocol):
    """A classifier. ``sha256`` tells versions of it apart; ``findings`` are those of its outputs in order.

    ``looks``: it scores images; else it knows them by name alone.
    """

    @property
    def name(self) -> str: ...

    @property
    def findings(self) -> tuple[str, ...]: ...

    @property
    def sha256(self) -> str: ...

    @property
    def looks(self) -> bool: ...

    def score(self, image: Image | None, names: Sequence[str]) -> Values | None:
        """Return a probability for each finding, None for an image that it does not know.

        ``image``: float32 (H, W) in [0, 1]; ``names``: of an edit its id, of a source its key and name.
        """


@dataclass(frozen=True, eq=False)
class NetworkScorer:
    """An ONNX classifier."""

    model: Model
    looks: bool = True

    def __post_init__(self) -> None:
        if self.model.contract.kind != "classifier":
            raise SettingError(
                f"{self.model.path}: its contract says {self.model.contract.kind}: expected a classifier"
            )

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(name for name in self.model.contract.findings if name is not None)

    @property
    def sha256(self) -> str:
        facts = repr(sorted(self.model.contract.to_json().items(), key=str))
        return hashlib.sha256(f"{self.model.sha256} {facts}".encode()).hexdigest()

    def score(self, image: Image | None, names: Sequence[str]) -> Values | None:
        assert image is not None
        return self.model.look(image)[[name is not None for name in self.model.contract.findings]]


@dataclass(frozen=True, eq=False)
class FunctionScorer:
    """A Python function from an image, float32 (H, W) in [0, 1], to a probability for each of ``findings``.

    ``version``: tells versions of the function apart; scores that are kept are used again for the same one.
    """

    function: Callable[[Image], Sequence[float]]
    findings: tuple[str, ...]
    name: str
    version: str = ""
    looks: bool = True

    @property
    def sha256(self) -> str:
        try:
            text = inspect.getsource(self.function)
        except (OSError, TypeError):
            text = ""
        return hashlib.sha256(f"{self.name}\0{self.version}\0{self.findings}\0{text}".encode()).hexdigest()

    def score(self, image: Image | None, names: Sequence[str]) -> Values | None:
        assert image is not None
        values = np.asarray(self.function(image), dtype=np.float64).ravel()
        if len(values) != len(self.findings):
            raise SettingError(f"model {self.name}: gave {len(values)} values for {len(self.findings)} findings")
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise SettingError(f"model {self.name}: gave {values}: expected probabilities from 0 to 1")
        return values


@dataclass(frozen=True, eq=False)
class TableScorer:
    """A table of predictions."""

    table: PredictionTable
    looks: bool = False

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def findings(self) -> tuple[str, ...]:
        return self.table.findings

    @property
    def sha256(self) -> str:
        return self.table.sha256

    def score(self, image: Image | None, names: Sequence[str]) -> Values | None:
        return self.table.find(names)


def open_scorer(text: str, device: str = "auto") -> Scorer:
    """Open what the command line names: ``NAME.onnx``, its contract ``NAME.json``, a table ``NAME.csv``, or a
    function ``module:name``, which has the attribute ``findings``.

    Raises SettingError, EngineError and DeviceError.
    """
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".json"):
        return NetworkScorer(open_model(path, device=device))
    if suffix == ".csv":
        return TableScorer(PredictionTable.read(path))
    module, colon, attribute = text.partition(":")
    if not colon or not attribute.isidentifier():
        raise SettingError(f"model {text}: expected a file .onnx, .json or .csv, or a Python function module:name")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a script's own folder stands there in place of the user's
    try:
        function = getattr(importlib.import_module(module), attribute)
        findings = tuple(function.findings)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"model {text}: {error}: expected a function with the attribute findings") from None
    return FunctionScorer(function, findings, attribute, str(getattr(function, "version", "")))
