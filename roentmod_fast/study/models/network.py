"""A model as an ONNX file with a contract, run by whatever runtime is installed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.bundle.manifest import sha256_of
from roentmod_fast.errors import DeviceError, EngineError, NotFiniteError, SettingError
from roentmod_fast.runtime.backends import choose_device
from roentmod_fast.runtime.backends.base import Session, SessionSpec
from roentmod_fast.runtime.ort_errors import summarize
from roentmod_fast.study.models.contract import Contract
from roentmod_fast.study.models.preprocess import preprocess

Array = NDArray[np.float32]
FLOAT32 = "tensor(float)"


@dataclass(frozen=True, eq=False)
class Model:
    """An opened network. ``sha256``: of the ONNX file and of the weights beside it. ``device``: where it runs."""

    contract: Contract
    path: Path
    sha256: str
    device: str
    _session: Session
    _input: str
    _output: str

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        return self.contract.name

    def run(self, batch: Array) -> NDArray[np.float64]:
        """Return the outputs for inputs, float32 (N, C, H, W), one at a time: float64 (N, K).

        Probabilities of a classifier, embeddings of an embedder. Raises NotFiniteError where a value is not finite,
        SettingError where probabilities are none or outputs are not as many as the contract names.
        """
        return np.stack([self._one(item[None]) for item in batch])

    def look(self, image: Array) -> NDArray[np.float64]:
        """Return the outputs for one image, float32 (h, w) in [0, 1]: float64 (K,)."""
        return self._one(preprocess(image, self.contract)[None])

    def _one(self, item: Array) -> NDArray[np.float64]:
        try:
            [found] = self._session.run([self._output], {self._input: item})
        except Exception as error:  # onnxruntime raises classes of its own, none of them public
            raise EngineError(f"{self.path}: it cannot be run: {summarize(error)}") from error
        values = np.asarray(found, dtype=np.float64)
        if values.shape[0] != 1:
            raise SettingError(
                f"{self.path}: {values.shape[0]} rows for one image: expected a first dimension of 1 or a free one"
            )
        values = values.ravel()
        if not np.isfinite(values).all():
            raise NotFiniteError(f"{self.path}: its output {self._output} holds NaN or infinity: its scores are none")
        contract = self.contract
        if contract.kind == "embedder":
            return self._unit(values) if contract.unit_norm else values
        if len(values) != len(contract.findings):
            raise SettingError(
                f"{self.path}: {len(values)} outputs, its contract names {len(contract.findings)}:"
                " give a name or null for each"
            )
        if contract.values == "logits":
            return np.asarray(1 / (1 + np.exp(-np.clip(values, -700, 700))))
        used = [value for value, name in zip(values, contract.findings, strict=True) if name is not None]
        if min(used) < 0 or max(used) > 1:
            raise SettingError(
                f"{self.path}: an output is {min(used) if min(used) < 0 else max(used):g}: its contract says"
                " probabilities, from 0 to 1; are they logits?"
            )
        return values

    def _unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        length = float(np.linalg.norm(values))
        if length == 0:
            raise NotFiniteError(f"{self.path}: its output {self._output} is all 0: it has no direction")
        return values / length


def open_model(path: Path, contract: Path | None = None, device: str = "auto") -> Model:
    """Open an ONNX file with the contract beside it, or with another one.

    Raises SettingError for a contract that is none or does not fit, EngineError for a file that is no network,
    DeviceError.
    """
    if path.suffix.lower() == ".json" and contract is None:
        path, contract = path.with_suffix(".onnx"), path
    facts = Contract.read(path.with_suffix(".json") if contract is None else contract)
    if not path.is_file():
        raise SettingError(f"{path}: no such file: expected an ONNX file")
    digest = whole_hash(path)
    if facts.sha256 not in (None, digest):
        raise SettingError(f"{path}: not the file of its contract: the SHA-256 differs")
    backend = choose_device(device)
    spec = SessionSpec("model", path)
    try:
        session = backend.open(spec)
        inputs, outputs = list(session.get_inputs()), list(session.get_outputs())
    except (EngineError, DeviceError):
        raise
    except Exception as error:  # OpenVINO's, of a network whose height and width are free
        raise EngineError(f"{path}: it cannot be opened on {backend.name}: {summarize(error)}") from error
    entry = _port(inputs, facts.input_name, "input", path)
    result = _port(outputs, facts.output_name, "output", path)
    if entry.type != FLOAT32:
        raise SettingError(f"{path}: its input is {entry.type}: expected {FLOAT32}")
    expected = (facts.channels, *facts.size)
    shape = tuple(entry.shape)
    if len(shape) != 4 or any(isinstance(a, int) and a != b for a, b in zip(shape[1:], expected, strict=True)):
        raise SettingError(f"{path}: its input is {_written(shape)}: its contract says N x {_written(expected)}")
    return Model(facts, path, digest, backend.name, session, entry.name, result.name)


def _port(ports: list[Any], name: str | None, what: str, path: Path) -> Any:
    """Return the port that a contract names; without a name there must be one."""
    found = [port for port in ports if name is None or port.name == name]
    if len(found) == 1:
        return found[0]
    names = ", ".join(port.name for port in ports)
    raise SettingError(f"{path}: {what}s {names}: name one of them in the contract, {what}.name")


def _written(shape: Iterable[object]) -> str:
    return " x ".join("N" if side is None else str(side) for side in shape)


def whole_hash(path: Path) -> str:
    """Return the SHA-256 of an ONNX file; of its hash and that of its weights where PyTorch wrote them beside it."""
    weights = path.with_name(f"{path.name}.data")
    if not weights.is_file():
        return sha256_of(path)
    return hashlib.sha256(f"{sha256_of(path)} {sha256_of(weights)}".encode()).hexdigest()
