"""The user's own engines: a bundle is imported from a folder or a zip, and removed.

A workstation without network gets its engine on a stick: one file, checked against its own hashes on the way in.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from roentmod_fast.bundle.bundle import Bundle, read_bundle, user_folder, verify_files
from roentmod_fast.bundle.manifest import FILE_NAME
from roentmod_fast.errors import EngineError, OutputError

SIDE_FILES = ("CARD.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "presets.*.json")
"""Patterns of files that are copied too although the manifest does not list them."""


def import_bundle(source: Path, *, overwrite: bool = False) -> Bundle:
    """Copy a bundle, a folder or a zip of one, into the user's folder under its name; return the copy.

    Only what the manifest lists, a model card, a licence and presets are copied, and every hash is checked. Raises
    :class:`EngineError` for what is no whole bundle, :class:`OutputError` where one of this name is there already or
    the disk is full.
    """
    if source.is_dir():
        return _install(source, overwrite)
    if not zipfile.is_zipfile(source):
        what = "no such file or folder" if not source.exists() else "neither a folder nor a zip archive"
        raise EngineError(f"{source}: {what}: give an engine bundle")
    with tempfile.TemporaryDirectory(prefix="roentmod-fast-") as folder:
        return _install(_unpack(source, Path(folder)), overwrite)


def _unpack(source: Path, folder: Path) -> Path:
    """Unpack a zip into ``folder``; return the folder in it that holds the manifest."""
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.namelist():
                path = PurePosixPath(member)
                if path.is_absolute() or ".." in path.parts or "\\" in member:
                    raise EngineError(f"{source}: its member {member!r} leaves the folder: refused")
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise EngineError(f"{source}: a damaged zip archive ({error}): copy it again") from None
    except OSError as error:
        raise OutputError(f"{source}: cannot be unpacked to {folder}: {error.strerror}") from None
    found = sorted(folder.rglob(FILE_NAME))
    if len(found) != 1:
        raise EngineError(f"{source}: holds {len(found)} files named {FILE_NAME}, expected one")
    return found[0].parent


def _install(source: Path, overwrite: bool) -> Bundle:
    bundle = read_bundle(source)
    verify_files(bundle)
    target = user_folder() / _folder_name(bundle)
    if target.exists() and not overwrite:
        raise OutputError(f"{target}: exists: give --overwrite to replace it")
    beside = [path.name for pattern in SIDE_FILES for path in sorted(source.glob(pattern)) if path.is_file()]
    names = [FILE_NAME, *bundle.manifest.files, *beside]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".importing-") as folder:
            copy = Path(folder) / target.name
            for name in dict.fromkeys(names):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, copy / name)
            verify_files(read_bundle(copy))
            if target.exists():
                shutil.rmtree(target)
            copy.rename(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from None
    return read_bundle(target)


def _folder_name(bundle: Bundle) -> str:
    name = bundle.name
    if not name or name != Path(name).name or name.startswith(".") or "\\" in name or ":" in name:
        raise EngineError(f"{bundle.folder}: its name {name!r} cannot be a folder's name: export it under another one")
    return name


def remove_bundle(name: str) -> Path:
    """Remove an imported bundle; return the folder that was removed. The built-in ones stay.

    Raises :class:`EngineError` where the user has imported none of this name.
    """
    folder = user_folder() / name
    if name != Path(name).name or not (folder / FILE_NAME).is_file():
        raise EngineError(f"no imported engine named {name!r}: only those in {user_folder()} can be removed")
    shutil.rmtree(folder)
    return folder
