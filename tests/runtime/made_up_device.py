"""A device of one file, which runs on ONNX Runtime's CPU provider; ``python -m`` runs the command line with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from roentmod_fast.runtime import backends
from roentmod_fast.runtime.backends.base import Backend, Log, Session, SessionSpec
from roentmod_fast.runtime.backends.cpu import CPU


class CountedSession:
    """A session of the CPU under another provider's name, which logs its first run."""

    def __init__(self, session: Session, spec: SessionSpec, log: Log) -> None:
        self._session, self._spec, self._log = session, spec, log
        self._runs = 0

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def get_outputs(self) -> Any:
        return self._session.get_outputs()

    def get_providers(self) -> list[str]:
        return [MADE_UP.provider]

    def run(self, names: list[str], arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        self._runs += 1
        if self._runs == 1:
            count = len(next(iter(arrays.values())))
            self._log(f"{self._spec.role} runs on a made-up device, {count} at once")
        return self._session.run(names, arrays)


class MadeUp(Backend):
    """A GPU that does not exist."""

    name = "made-up"
    provider = "MadeUpExecutionProvider"
    extra = "made-up"
    is_gpu = True

    def missing(self) -> str | None:
        return None

    def pip_line(self) -> str:
        return "pip install made-up"

    def open(self, spec: SessionSpec, log: Log = lambda note: None) -> Session:
        return CountedSession(CPU.open(spec), spec, log)


MADE_UP = MadeUp()

if __name__ == "__main__":
    backends.REGISTRY["made-up"] = "tests.runtime.made_up_device:MADE_UP"
    from roentmod_fast.cli import main

    main()
