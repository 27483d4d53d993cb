"""A check-up of the machine: is all there that an edit needs, and what to type where it is not."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass

from roentmod_fast._version import __version__
from roentmod_fast.engine.bundle import find_bundle, list_bundles, user_folder, verify_files
from roentmod_fast.engine.devices import DEVICES, choose_device, import_onnxruntime, physical_cores
from roentmod_fast.errors import RoentmodError

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Distributions that all own the module ``onnxruntime``: two of them at once break each other."""

CODECS = {
    "pylibjpeg-openjpeg": "JPEG 2000",
    "python-gdcm": "JPEG and JPEG-LS",
}


@dataclass(frozen=True)
class Observation:
    """One thing seen: ``level`` is ``ok``, ``note`` or ``problem``; a problem comes with a ``remedy``."""

    level: str
    subject: str
    text: str
    remedy: str = ""


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def examine() -> tuple[Observation, ...]:
    """Look at interpreter, packages, devices and engines; never raises for what it finds."""
    return (*_packages(), *_devices(), *_engines())


def _packages() -> Iterator[Observation]:
    yield Observation(
        "ok", "roentmod-fast", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    for name in ("numpy", "pydicom", "pillow", "click", "tokenizers"):
        version = _version(name)
        if version is None:
            yield Observation("problem", name, "not installed", "pip install roentmod-fast")
        else:
            yield Observation("ok", name, version)
    for name, what in CODECS.items():
        version = _version(name)
        if version is None:
            yield Observation("problem", name, f"not installed: {what} files cannot be read", f"pip install {name}")
        else:
            yield Observation("ok", name, f"{version} ({what})")
    present = {name: version for name in RUNTIMES if (version := _version(name)) is not None}
    said = ", ".join(f"{name} {version}" for name, version in present.items())
    if len(present) > 1:
        yield Observation(
            "problem",
            "onnxruntime",
            f"{said} are installed over each other",
            f"pip uninstall {' '.join(present)} && pip install {next(iter(present))}",
        )
    elif present:
        yield Observation("ok", "onnxruntime", said)
    if _version("torch") is not None:
        yield Observation("note", "torch", f"{_version('torch')} is installed; the runtime does not use it")


def _devices() -> Iterator[Observation]:
    try:
        runtime = import_onnxruntime()
    except RoentmodError as error:
        yield Observation("problem", "devices", str(error).split(":")[0], "pip install 'roentmod-fast[cpu]'")
        return
    yield Observation("ok", "providers", ", ".join(runtime.get_available_providers()))
    for name in DEVICES:
        try:
            device = choose_device(name)
        except RoentmodError as error:
            yield Observation("note", f"device {name}", str(error))
        else:
            detail = f"{physical_cores()} threads" if device.name == "cpu" else device.provider
            yield Observation("ok", f"device {name}", f"{device.name} ({detail})" if name == "auto" else detail)


def _engines() -> Iterator[Observation]:
    for folder in list_bundles():
        try:
            bundle = find_bundle(folder)
            verify_files(bundle)
        except RoentmodError as error:
            remedy = "import or export the engine again, or remove its folder"
            yield Observation("problem", f"engine {folder.name}", str(error), remedy)
        else:
            megabytes = sum(fact.bytes for fact in bundle.manifest.files.values()) / 1e6
            yield Observation(
                "ok", f"engine {folder.name}", f"{megabytes:.1f} MB, files as the manifest says, {folder}"
            )
    try:
        bundle = find_bundle()
    except RoentmodError as error:
        yield Observation("problem", "default engine", str(error), f"import an engine into {user_folder()}")
        return
    yield Observation("note" if bundle.manifest.notice else "ok", "default engine", bundle.name)
    if bundle.manifest.notice:
        yield Observation("note", f"engine {bundle.name}", bundle.manifest.notice)
