"""A check-up of the machine: is all there that an edit needs, and what to type where it is not."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass

from roentmod_fast import telemetry
from roentmod_fast._version import __version__
from roentmod_fast.bundle.bundle import find_bundle, list_bundles, user_folder, verify_files
from roentmod_fast.errors import RoentmodError
from roentmod_fast.runtime import gpus as nvidia
from roentmod_fast.runtime.compiled import tensorrt_version
from roentmod_fast.runtime.devices import (
    CPU,
    CUDA,
    DEVICES,
    RTX,
    RTX_ARCHITECTURES,
    RTX_PACKAGE,
    RUNTIMES,
    TENSORRT,
    choose_device,
    cuda_major,
    extra_of,
    import_onnxruntime,
    missing_library,
    physical_cores,
    pip_line,
    preload_libraries,
    rtx_version,
    version_of,
    what_is_missing,
)

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


def examine() -> tuple[Observation, ...]:
    """Look at interpreter, packages, devices and engines; never raises for what it finds."""
    return (*_packages(), *_cards(), *_devices(), *_engines())


def _packages() -> Iterator[Observation]:
    yield Observation(
        "ok", "roentmod-fast", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    for name in ("numpy", "pydicom", "pillow", "click", "tokenizers"):
        version = version_of(name)
        if version is None:
            yield Observation("problem", name, "not installed", "pip install roentmod-fast")
        else:
            yield Observation("ok", name, version)
    for name, what in CODECS.items():
        version = version_of(name)
        if version is None:
            yield Observation("problem", name, f"not installed: {what} files cannot be read", f"pip install {name}")
        else:
            yield Observation("ok", name, f"{version} ({what})")
    present = {name: version for name in RUNTIMES if (version := version_of(name)) is not None}
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
    if present and telemetry.is_refused():
        yield Observation("ok", "telemetry", "off: the libraries report nothing to their makers")
    elif present:
        yield Observation("note", "telemetry", f"onnxruntime may report to Microsoft: {telemetry.VARIABLE} allows it")
    version = rtx_version()
    if version is not None:
        yield Observation("ok", RTX_PACKAGE, f"{version}, TensorRT for RTX {tensorrt_version()}")
    version = version_of("openvino")
    if version is not None:
        yield Observation("ok", "openvino", version)
    if version_of("torch") is not None:
        yield Observation("note", "torch", f"{version_of('torch')} is installed; the runtime does not use it")


def _cards() -> Iterator[Observation]:
    cards = nvidia.list_cards()
    if not nvidia.has_driver():
        what = "the driver does not work" if cards else "no NVIDIA driver"
        yield Observation("note", "NVIDIA driver", f"{nvidia.CUDA_LIBRARY} not found: {what}")
        return
    if not cards:
        remedy = "see what nvidia-smi says"
        yield Observation("note", "NVIDIA card", "there is a driver, but it shows no card to this process", remedy)
        return
    driver = f"{cards[0].driver or 'of an unknown version'}"
    old = nvidia.too_old(cuda_major())
    if old is not None:
        remedy = f"install NVIDIA's driver, version {nvidia.OLDEST_DRIVER} or later"
        yield Observation("problem", "NVIDIA driver", f"{driver}: {old}", remedy)
    else:
        yield Observation("ok", "NVIDIA driver", driver)
    for card in cards:
        yield Observation("ok", "NVIDIA card", f"{card.name}, {card.architecture}, {card.memory / 2**30:.0f} GiB")


def _devices() -> Iterator[Observation]:
    try:
        choose_device("auto")
    except RoentmodError as error:
        yield Observation("problem", "devices", str(error).split(":")[0], "pip install 'roentmod-fast[cpu]'")
        return
    if what_is_missing(CPU) is None:
        yield Observation("ok", "providers", ", ".join(import_onnxruntime().get_available_providers()))
    for name in DEVICES:
        try:
            device = choose_device(name)
        except RoentmodError as error:
            yield Observation("note", f"device {name}", str(error))
        else:
            detail = f"{physical_cores()} threads" if device.name == "cpu" else device.provider
            yield Observation("ok", f"device {name}", f"{device.name} ({detail})" if name == "auto" else detail)
    yield from _unused_cards()


def _unused_cards() -> Iterator[Observation]:
    """Say what keeps a card from being used: a package that is not there, or a library that a package needs."""
    if not nvidia.list_cards() or not nvidia.has_driver():
        return
    usable = [device for device in (RTX, CUDA, TENSORRT) if what_is_missing(device) is None]
    if not usable:
        fits_rtx = any(card.architecture in RTX_ARCHITECTURES for card in nvidia.list_cards())
        line = pip_line("rtx" if fits_rtx else "gpu")
        yield Observation("note", "NVIDIA card", "nothing that is installed here uses it", line)
    for device in usable:
        if device == RTX:
            continue
        preload_libraries(device)
        library = missing_library(device)
        if library is not None:
            # Whoever has installed onnxruntime-gpu wants cuda; classic TensorRT is asked for apart.
            level = "problem" if device == CUDA else "note"
            yield Observation(level, f"device {device.name}", f"{library} not found", pip_line(extra_of(device)))


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
