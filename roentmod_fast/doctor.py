"""Check the machine: what is installed, which devices and engines work, and what to type where they do not."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass

from roentmod_fast import telemetry
from roentmod_fast._version import __version__
from roentmod_fast.bundle.bundle import find_bundle, list_bundles, user_folder, verify_files
from roentmod_fast.errors import RoentmodError
from roentmod_fast.runtime import backends, gpus, host
from roentmod_fast.runtime.backends import choose_device
from roentmod_fast.runtime.backends.ort import cuda_major, has_onnxruntime, import_onnxruntime

CODECS = {
    "pylibjpeg-openjpeg": "JPEG 2000",
    "python-gdcm": "JPEG and JPEG-LS",
}


@dataclass(frozen=True)
class Check:
    """One check: ``level`` is ``ok``, ``note`` or ``problem``; a problem comes with a ``remedy``."""

    level: str
    subject: str
    text: str
    remedy: str = ""


def examine() -> tuple[Check, ...]:
    """Check interpreter, packages, devices and engines; never raises for what it finds."""
    return (*_packages(), *_gpus(), *_devices(), *_engines())


def _packages() -> Iterator[Check]:
    yield Check("ok", "roentmod-fast", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    for name, reads in {**dict.fromkeys(("numpy", "pydicom", "pillow", "click", "tokenizers"), ""), **CODECS}.items():
        version = host.version_of(name)
        if version is not None:
            yield Check("ok", name, f"{version} ({reads})" if reads else version)
        elif reads:
            yield Check("problem", name, f"not installed: {reads} files cannot be read", f"pip install {name}")
        else:
            yield Check("problem", name, "not installed", "pip install roentmod-fast")
    present = {name: version for name in host.RUNTIMES if (version := host.version_of(name)) is not None}
    listed = ", ".join(f"{name} {version}" for name, version in present.items())
    if len(present) > 1:
        yield Check(
            "problem",
            "onnxruntime",
            f"{listed} are installed over each other",
            f"pip uninstall {' '.join(present)} && pip install {next(iter(present))}",
        )
    elif present:
        yield Check("ok", "onnxruntime", listed)
    if present and telemetry.is_refused():
        yield Check("ok", "telemetry", "off: the libraries report nothing to their makers")
    elif present:
        yield Check("note", "telemetry", f"onnxruntime may report to Microsoft: {telemetry.VARIABLE} allows it")
    for device in backends.every():
        for name, version in device.packages():
            yield Check("ok", name, version)
    if host.version_of("torch") is not None:
        yield Check("note", "torch", f"{host.version_of('torch')} is installed; the runtime does not use it")


def _gpus() -> Iterator[Check]:
    found = gpus.list_gpus()
    if not gpus.has_driver():
        what = "the driver does not work" if found else "no NVIDIA driver"
        yield Check("note", "NVIDIA driver", f"{gpus.CUDA_LIBRARY} not found: {what}")
        return
    if not found:
        if gpus.has_nvml():
            text, remedy = "there is a driver, but it shows no GPU to this process", "see what nvidia-smi says"
        else:
            text, remedy = f"{gpus.NVML_PACKAGE} is not installed", f"pip install {gpus.NVML_PACKAGE}"
        yield Check("note", "NVIDIA GPU", text, remedy)
        return
    driver = f"{found[0].driver or 'of an unknown version'}"
    old = gpus.too_old(cuda_major())
    if old is not None:
        remedy = f"install NVIDIA's driver, version {gpus.OLDEST_DRIVER} or later"
        yield Check("problem", "NVIDIA driver", f"{driver}: {old}", remedy)
    else:
        yield Check("ok", "NVIDIA driver", driver)
    for gpu in found:
        yield Check("ok", "NVIDIA GPU", f"{gpu.name}, {gpu.architecture}, {gpu.memory / 2**30:.0f} GiB")


def _devices() -> Iterator[Check]:
    try:
        choose_device()
    except RoentmodError as error:
        yield Check("problem", "devices", str(error).split(":")[0], "pip install 'roentmod-fast[cpu]'")
        return
    if has_onnxruntime():
        yield Check("ok", "providers", ", ".join(import_onnxruntime().get_available_providers()))
    for name in backends.choices():
        try:
            device = choose_device(name)
        except RoentmodError as error:
            yield Check("note", f"device {name}", str(error))
        else:
            detail = device.describe()
            yield Check("ok", f"device {name}", f"{device.name} ({detail})" if name == backends.AUTO else detail)
    yield from _unused_gpus()


def _unused_gpus() -> Iterator[Check]:
    """Check what keeps a GPU from being used: a package that is not installed, or a library that one needs."""
    found = gpus.list_gpus()
    if not found or not gpus.has_driver():
        return
    for_gpus = [device for device in backends.every() if device.is_gpu]
    usable = [device for device in for_gpus if device.missing() is None]
    if not usable:
        automatic = [device for device in backends.automatic() if any(device.supports(gpu) for gpu in found)]
        yield Check("note", "NVIDIA GPU", "nothing that is installed here uses it", automatic[0].pip_line())
    for device in usable:
        library = device.missing_library()
        if library is not None:
            # Whoever installs the extra of a device that auto takes wants to use it; the others are named explicitly.
            level = "note" if device.auto_rank is None else "problem"
            yield Check(level, f"device {device.name}", f"{library} not found", device.pip_line())


def _engines() -> Iterator[Check]:
    for folder in list_bundles():
        try:
            bundle = find_bundle(folder)
            verify_files(bundle)
        except RoentmodError as error:
            remedy = "import or export the engine again, or remove its folder"
            yield Check("problem", f"engine {folder.name}", str(error), remedy)
        else:
            megabytes = sum(fact.bytes for fact in bundle.manifest.files.values()) / 1e6
            yield Check("ok", f"engine {folder.name}", f"{megabytes:.1f} MB, files match the manifest, {folder}")
    try:
        bundle = find_bundle()
    except RoentmodError as error:
        yield Check("problem", "default engine", str(error), f"import an engine into {user_folder()}")
        return
    yield Check("note" if bundle.manifest.notice else "ok", "default engine", bundle.name)
    if bundle.manifest.notice:
        yield Check("note", f"engine {bundle.name}", bundle.manifest.notice)
