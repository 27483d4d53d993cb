"""The device ``openvino``: OpenVINO's own runtime on CPUs of any maker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from roentmod_fast.bundle.bundle import Bundle
from roentmod_fast.bundle.manifest import BFLOAT16, stored_as
from roentmod_fast.errors import EngineError
from roentmod_fast.runtime import host
from roentmod_fast.runtime.backends.base import Backend, Log, Session
from roentmod_fast.runtime.backends.openvino_session import (
    PROVIDER,
    TIMESTEPS,
    OpenVINOSession,
    cache_key,
    find_cached,
    import_openvino,
    openvino_missing,
)
from roentmod_fast.runtime.session_spec import SessionSpec


class OpenVINO(Backend):
    """The CPU by OpenVINO; of an int8 engine the compiled networks are cached."""

    name = "openvino"
    provider = PROVIDER
    extra = "openvino"
    auto_rank = 2  # before cpu: it is faster on most machines

    def missing(self) -> str | None:
        return openvino_missing()

    def pip_line(self) -> str:
        return host.pip_line(self.extra)

    def packages(self) -> Iterator[tuple[str, str]]:
        version = host.version_of("openvino")
        if version is not None:
            yield "openvino", version

    def bfloat16_missing(self) -> str | None:
        if "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return "OpenVINO does not compute in bfloat16 on this CPU"
        return None

    def check_precision(self, bundle: Bundle, precision: str) -> None:
        super().check_precision(bundle, precision)
        if precision in BFLOAT16 and bundle.manifest.model.train_timesteps > TIMESTEPS:
            raise EngineError(f"{bundle.folder}: has more than {TIMESTEPS} timesteps: {precision} cannot be had")

    def plan(self, bundle: Bundle, role: str, precision: str, cache: Path, batch: int = 1) -> SessionSpec:
        spec = super().plan(bundle, role, precision, cache, batch)
        if stored_as(precision) != "int8":
            return spec
        # At full size this keeps an int8 process at 2.7 GB instead of 3.2 and makes decoding half as slow again. In
        # other precisions it gains little beside the weights; a UNet is called too often.
        spec = replace(spec, release_memory=precision == "int8" and role != "unet")
        target = cache / cache_key(bundle.networks_of(precision)[role], spec.bfloat16)
        cached = find_cached(target)
        if cached is not None:
            return replace(spec, path=cached, files=(), compiled=True)
        return replace(spec, compile_to=target, note=f"{role} is compiled for this CPU, once")

    def open(self, spec: SessionSpec, log: Log = lambda note: None) -> Session:
        return OpenVINOSession(spec.path, spec.compile_to, bfloat16=spec.bfloat16)

    def release_memory(self, session: Session) -> None:
        assert isinstance(session, OpenVINOSession)
        session.release_memory()


OPENVINO = OpenVINO()
