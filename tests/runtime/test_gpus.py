"""What NVIDIA's driver says of its cards, asked of a stub of its library."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from roentmod_fast.runtime import gpus as nvidia
from tests.runtime.stub_runtime import ADA, HOPPER, StubNvml


def test_cards_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = StubNvml((ADA, HOPPER))
    monkeypatch.setattr(nvidia, "load_library", lambda name: nvml)
    assert nvidia.list_cards() == (ADA, HOPPER)
    assert nvml.open == 0, "the library was left open"


def test_a_machine_without_the_library_has_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(nvidia, "load_library", absent)
    assert nvidia.list_cards() == ()
    assert not nvidia.has_driver()


def test_the_library_of_the_driver_is_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(nvidia, "load_library", asked.append)
    assert nvidia.has_driver()
    assert asked == [nvidia.CUDA_LIBRARY]


@pytest.mark.parametrize(
    ("runs", "needed", "said"),
    [
        (12040, 13, "the NVIDIA driver runs CUDA 12.4, and CUDA 13 is needed"),
        (12040, 12, None),
        (13000, 13, None),
        (13020, 13, None),
    ],
)
def test_a_driver_that_is_too_old_is_known(
    monkeypatch: pytest.MonkeyPatch, runs: int, needed: int, said: str | None
) -> None:
    class Driver:
        def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
            version._obj.value = runs
            return 0

    monkeypatch.setattr(nvidia, "load_library", lambda name: Driver())
    assert nvidia.too_old(needed) == said


def test_a_driver_that_does_not_tell_is_not_called_old(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
            return 999

    monkeypatch.setattr(nvidia, "load_library", lambda name: Silent())
    assert nvidia.too_old() is None


def test_a_key_is_a_name_for_a_folder() -> None:
    assert ADA.key == "nvidia-geforce-rtx-4090-sm89-580.95.05"
    assert ADA.key != replace(ADA, driver="581.1").key
