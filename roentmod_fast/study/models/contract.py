"""The contract of a model: how an image becomes its input, and what its outputs are.

It is a JSON file beside the ONNX file, ``model.onnx`` and ``model.json``. Nothing in it is guessed: a key that is
missing, unknown or out of range is an error.

    {"format": 1, "name": "densenet121-res224-all", "kind": "classifier",
     "input": {"size": [224, 224], "channels": 1, "range": [-1024, 1024], "fit": "crop", "filter": "bilinear-skimage"},
     "output": {"values": "probabilities", "findings": ["atelectasis", null, "effusion"]},
     "source": "where the weights are from, and their licence"}
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roentmod_fast.errors import SettingError

FORMAT = 1
KINDS = ("classifier", "embedder")
FITS = ("crop", "pad", "stretch", "resize-crop")
"""``crop``: the centre square; ``pad``: black around; ``stretch``: the whole image, whatever its proportions;
``resize-crop``: the shorter side is resampled to the size, then the centre is cut out, as torchvision does."""

FILTERS = ("nearest", "box", "bilinear", "bicubic", "lanczos", "bilinear-torch", "bilinear-skimage")
"""Pillow's filters, which are antialiased; ``torch.nn.functional.interpolate`` without antialiasing; and
``skimage.transform.resize``, a Gaussian and then bilinear."""

VALUES = {"classifier": ("probabilities", "logits"), "embedder": ("embedding",)}
MOST_SIDE, MOST_CHANNELS = 4096, 16


@dataclass(frozen=True)
class Contract:
    """What :mod:`.preprocess` and :mod:`.network` need to know of a model.

    ``size``: height and width of the input. ``range``: of the values that stand for black and white. ``quantize``:
    round to 8 bits after resampling, as pipelines do that store images in between. ``mean`` and ``std``: by channel,
    subtracted and divided by at the end. ``findings``: of the outputs in order, None for one that is not used; empty
    for an embedder. ``unit_norm``: embeddings are scaled to length 1. ``input_name`` and ``output_name``: of the
    network, None where it has one. ``sha256``: of the ONNX file with its weights
    (:func:`~.network.whole_hash`), None where it is not checked.
    """

    name: str
    kind: str
    size: tuple[int, int]
    channels: int
    range: tuple[float, float]
    fit: str
    filter: str
    values: str
    findings: tuple[str | None, ...] = ()
    quantize: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    unit_norm: bool = False
    input_name: str | None = None
    output_name: str | None = None
    source: str = ""
    sha256: str | None = None

    @classmethod
    def read(cls, path: Path) -> Contract:
        """Read a contract. Raises SettingError naming the file and the key."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingError(
                f"{path}: no such file: a model needs its contract beside it, see docs/stress.md"
            ) from None
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError:
            raise SettingError(f"{path}: no JSON: expected the contract of a model, see docs/stress.md") from None
        return cls.parse(raw, str(path))

    @classmethod
    def parse(cls, raw: Any, name: str) -> Contract:
        """Return the contract that JSON holds; ``name`` stands in errors. Raises SettingError."""
        whole = _Keys(raw, name, "")
        if whole.take("format", int) != FORMAT:
            raise SettingError(f"{name}: format is not {FORMAT}: a contract of another version")
        title, kind = whole.take("name", str), whole.choice("kind", KINDS)
        source, sha256 = whole.take("source", str, ""), whole.take("sha256", str, None)
        entry, result = (
            _Keys(whole.take("input", dict), name, "input."),
            _Keys(whole.take("output", dict), name, "output."),
        )
        whole.close()
        height, width = entry.numbers("size", 2, whole=True)
        if not 1 <= min(height, width) <= max(height, width) <= MOST_SIDE:
            raise SettingError(f"{name}: input.size is {height:g} x {width:g}: expected sides from 1 to {MOST_SIDE}")
        channels = entry.take("channels", int)
        if not 1 <= channels <= MOST_CHANNELS:
            raise SettingError(f"{name}: input.channels is {channels}: expected 1 or 3")
        low, high = entry.numbers("range", 2)
        if low == high:
            raise SettingError(f"{name}: input.range is [{low:g}, {high:g}]: expected the values of black and white")
        fit, method = entry.choice("fit", FITS), entry.choice("filter", FILTERS)
        quantize = entry.take("quantize", bool, False)
        mean, std = entry.numbers("mean", channels, missing=None), entry.numbers("std", channels, missing=None)
        if std is not None and 0 in std:
            raise SettingError(f"{name}: input.std holds 0: expected what each channel is divided by")
        input_name = entry.take("name", str, None)
        entry.close()
        values = result.choice("values", VALUES[kind])
        findings = _findings(result.take("findings", list), name) if kind == "classifier" else ()
        unit_norm = result.take("unit_norm", bool, False) if kind == "embedder" else False
        output_name = result.take("name", str, None)
        result.close()
        return cls(
            name=title,
            kind=kind,
            size=(int(height), int(width)),
            channels=channels,
            range=(low, high),
            fit=fit,
            filter=method,
            values=values,
            findings=findings,
            quantize=quantize,
            mean=mean,
            std=std,
            unit_norm=unit_norm,
            input_name=input_name,
            output_name=output_name,
            source=source,
            sha256=sha256,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the contract as JSON knows it; :meth:`parse` reads it back."""
        entry: dict[str, Any] = {"name": self.input_name, "size": list(self.size), "channels": self.channels}
        entry |= {"range": list(self.range), "fit": self.fit, "filter": self.filter, "quantize": self.quantize}
        entry |= {"mean": self.mean and list(self.mean), "std": self.std and list(self.std)}
        result: dict[str, Any] = {"name": self.output_name, "values": self.values}
        result |= {"findings": list(self.findings)} if self.kind == "classifier" else {"unit_norm": self.unit_norm}
        whole = {"format": FORMAT, "name": self.name, "kind": self.kind, "input": entry, "output": result}
        return {**whole, "source": self.source, "sha256": self.sha256}

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the contract as JSON. Raises OutputError."""
        from roentmod_fast.atomic import write_atomically

        write_atomically(path, (json.dumps(self.to_json(), indent=1) + "\n").encode(), overwrite=overwrite)


def _findings(values: list[Any], name: str) -> tuple[str | None, ...]:
    for value in values:
        if value is not None and not (isinstance(value, str) and value.strip() == value != ""):
            raise SettingError(f"{name}: output.findings holds {value!r}: expected names such as edema, or null")
    named = [value for value in values if value is not None]
    if not named:
        raise SettingError(f"{name}: output.findings names none: expected a name for each output, null for unused ones")
    if twice := sorted({value for value in named if named.count(value) > 1}):
        raise SettingError(f"{name}: output.findings names {twice[0]} twice: name each output once")
    return tuple(values)


_REQUIRED: Any = object()


class _Keys:
    """Takes the keys of a JSON object one by one; what is left at the end is unknown."""

    def __init__(self, raw: Any, name: str, within: str) -> None:
        if not isinstance(raw, Mapping):
            raise SettingError(f"{name}: {within.rstrip('.') or 'it'} is no JSON object: see docs/stress.md")
        self._left, self._name, self._within = dict(raw), name, within

    def take(self, key: str, kind: type, missing: Any = _REQUIRED) -> Any:
        value = self._left.pop(key, None)
        if value is None:
            if missing is _REQUIRED:
                raise SettingError(
                    f"{self._name}: {self._within}{key} is missing: a contract says it, nothing is guessed"
                )
            return missing
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise SettingError(f"{self._name}: {self._within}{key} is {value!r}: expected {_NAMES[kind]}")
        return value

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        value: str = self.take(key, str)
        if value not in known:
            raise SettingError(f"{self._name}: {self._within}{key} is {value!r}: expected one of {', '.join(known)}")
        return value

    def numbers(self, key: str, count: int, *, whole: bool = False, missing: Any = _REQUIRED) -> Any:
        values = self.take(key, list, missing)
        if values is None:
            return None
        kinds = int if whole else (int, float)
        good = [isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) for value in values]
        if len(values) != count or not all(good):
            what = "whole numbers" if whole else "numbers"
            raise SettingError(f"{self._name}: {self._within}{key} is {values!r}: expected {count} {what}")
        return tuple(map(float, values))

    def close(self) -> None:
        if self._left:
            key = next(iter(self._left))
            raise SettingError(f"{self._name}: {self._within}{key} is no key of a contract: see docs/stress.md")


_NAMES = {int: "a whole number", str: "a text", bool: "true or false", list: "a list", dict: "an object"}
