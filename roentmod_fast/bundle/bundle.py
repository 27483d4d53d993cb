"""Engine bundles on disk: where they are looked for, and whether their files match the manifest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from roentmod_fast.bundle.manifest import (
    FILE_NAME,
    Manifest,
    parse_manifest,
    sha256_of,
    stored_as,
)
from roentmod_fast.errors import EngineError
from roentmod_fast.folders import data_folder

BUILT_IN = "cxr-mini"
SEARCH_VARIABLE = "ROENTMOD_ENGINES"


@dataclass(frozen=True)
class Bundle:
    """An engine bundle: its folder, its manifest, and the SHA-256 (hex) of the manifest, its identity."""

    folder: Path
    manifest: Manifest
    manifest_hash: str

    @property
    def name(self) -> str:
        return self.manifest.name

    def path(self, file: str) -> Path:
        return self.folder / file

    def networks_of(self, precision: str) -> Mapping[str, str]:
        """Return the file of each network for ``precision``. Raises :class:`EngineError` where the bundle has none."""
        stored = stored_as(precision)
        networks = self.manifest.networks.get(stored)
        if networks is None:
            has = ", ".join(self.manifest.networks)
            raise EngineError(f"{self.folder}: has no {stored} networks, only {has}: choose one of these")
        return networks

    def computes_in_fp16(self, role: str, precision: str) -> bool:
        """Return whether a network computes in fp16: an autoencoder may stay in float32 among fp16 ones."""
        networks = self.manifest.networks
        full = networks.get("fp32", {}).get(role, f"{role}.onnx")
        return precision == "fp16" and networks[precision][role] != full


def read_bundle(folder: Path) -> Bundle:
    """Read the manifest of the bundle in ``folder``; files are checked by :func:`verify_files`.

    Raises :class:`EngineError` where there is no readable manifest.
    """
    path = folder / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise EngineError(f"{folder}: no engine bundle (it has no {FILE_NAME})") from None
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror})") from None
    return Bundle(folder, parse_manifest(data.decode("utf-8", "replace"), str(path)), sha256_of(path))


def verify_files(bundle: Bundle, names: Iterable[str] | None = None) -> None:
    """Check size and SHA-256 of the named files, by default of all.

    Raises :class:`EngineError` for the first that does not match the manifest.
    """
    inside = bundle.folder.resolve()
    for name in bundle.manifest.files if names is None else names:
        path, fact = bundle.path(name), bundle.manifest.files[name]
        if not path.is_file():
            raise EngineError(f"{path}: missing: import or export the engine again")
        if not path.resolve().is_relative_to(inside):
            raise EngineError(f"{path}: leads out of the bundle's folder: refused")
        size = path.stat().st_size
        if size != fact.bytes:
            raise EngineError(
                f"{path}: altered ({size} bytes, the manifest says {fact.bytes}): import or export the engine again"
            )
        if sha256_of(path) != fact.sha256:
            raise EngineError(f"{path}: altered (its SHA-256 is not the manifest's): import or export the engine again")


# --- where bundles are looked for -------------------------------------------------------------------------------------


def user_folder() -> Path:
    """Return the folder of the bundles that this user has imported; it need not exist."""
    return data_folder() / "engines"


def built_in_folder() -> Path:
    """Return the folder of the bundles that are shipped with the package."""
    return Path(str(resources.files("roentmod_fast_engines")))


def search_folders() -> tuple[Path, ...]:
    """Return where names are looked for, in order: ``$ROENTMOD_ENGINES``, the user's folder, the built-in bundles."""
    listed = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    return (*listed, user_folder(), built_in_folder())


def list_bundles() -> tuple[Path, ...]:
    """Return the folders of all bundles that a name would find; an earlier one hides a later one of the same name."""
    found: dict[str, Path] = {}
    for parent in search_folders():
        if parent.is_dir():
            for folder in sorted(parent.iterdir()):
                if (folder / FILE_NAME).is_file():
                    found.setdefault(folder.name, folder)
    return tuple(found.values())


def find_bundle(engine: str | Path | None = None) -> Bundle:
    """Find a bundle by folder or name; ``None`` is the only one the user has imported, else the built-in one.

    Raises :class:`EngineError` naming what there is, and where it cannot be looked at.
    """
    try:
        return _find(engine)
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise EngineError(f"{engine}: cannot be read: {error.strerror}: give an engine's folder or name") from error


def _find(engine: str | Path | None) -> Bundle:
    if engine is None:
        imported = [folder for folder in list_bundles() if folder.parent != built_in_folder()]
        return read_bundle(imported[0] if len(imported) == 1 else built_in_folder() / BUILT_IN)
    if isinstance(engine, Path) or os.sep in engine or "/" in engine or (Path(engine) / FILE_NAME).is_file():
        folder = Path(engine)
        if not folder.is_dir():
            raise EngineError(f"{folder}: no such folder: give an engine bundle's folder or name")
        return read_bundle(folder)
    for folder in list_bundles():
        if folder.name == engine:
            return read_bundle(folder)
    names = ", ".join(folder.name for folder in list_bundles()) or "none"
    raise EngineError(f"no engine named {engine!r}: found {names}; see 'roentmod-fast engines list'")
