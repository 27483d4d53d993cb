"""What is open in a sitting: films, and the versions that edits made of them, in files of the private folder.

Memory stays as it is however many there are: one radiograph is cached, and of a version the engine's own image lies in
a file, from which all that can be saved is computed again, exactly, without the networks.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import threading
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from roentmod_fast.app.files import MAX_UPLOAD, TooLargeError, find_films, renamed, shown_name, thumbnail
from roentmod_fast.app.folder import PrivateFolder
from roentmod_fast.errors import OutputError, RefusedError, SettingError, SourceError
from roentmod_fast.findings import prompt_slug
from roentmod_fast.pipeline import FILES_LOCK
from roentmod_fast.radiograph.compose import compose
from roentmod_fast.radiograph.doubts import forced_doubts
from roentmod_fast.radiograph.letterbox import Letterbox
from roentmod_fast.radiograph.metrics import share_changed
from roentmod_fast.radiograph.model import Provenance, Radiograph
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.radiograph.region import Box, Region, region_of
from roentmod_fast.radiograph.sources import Source, find_sources
from roentmod_fast.result import Decoded, EditResult
from roentmod_fast.settings import EditConfig, EditSettings
from roentmod_fast.study.page.content import PageContent, edit_of, encode_source, source_of

MAX_FILMS = 200
"""Films that are open at once."""

SHOWN_SETTINGS = ("strength", "guidance", "steps", "seed", "compose")

logger = logging.getLogger(__name__)


class UnknownError(SettingError):
    """A film, edit or job that is not there, or no longer."""


@dataclass(eq=False)
class Film:
    """A film that is open. ``typed``: how its file is called in a command; ``force``: doubts that were set aside."""

    id: str
    source: Source
    typed: str
    force: frozenset[str] = frozenset()
    facts: dict[str, Any] = field(default_factory=dict)
    closed: bool = False


@dataclass(frozen=True)
class Ask:
    """An edit that is asked for. ``box`` and ``mask`` are in the matrix of the film's file, as ``edit`` takes them."""

    film: Film
    prompt: str
    config: EditConfig
    preset: str
    box: Box | None = None
    mask: Path | None = None

    @property
    def region(self) -> Region | None:
        """Where the edit acts, as the library takes it."""
        return self.box if self.mask is None else self.mask


@dataclass(frozen=True, eq=False)
class Version:
    """An edit that was made: how, and its files. ``decoded``: the engine's image; ``shown``: what the page fetches.

    ``job``: the one of the queue that made it.
    """

    id: str
    job: str
    ask: Ask
    settings: EditSettings
    provenance: Provenance
    truncated: str
    decoded: Path
    shown: Path


class Sitting:
    """The films and versions of one run of the app, for any number of pages that show them; safe in threads."""

    def __init__(self, folder: PrivateFolder) -> None:
        self.folder = folder
        self.films: dict[str, Film] = {}
        self.versions: dict[str, Version] = {}
        self._lock = threading.RLock()  # held for moments only: handlers ask for films on the event loop
        self._reading = threading.Lock()
        self._cached: tuple[Film, frozenset[str], Radiograph] | None = None

    def film(self, key: object) -> Film:
        """Return an open film. Raises UnknownError."""
        with self._lock:
            if not isinstance(key, str) or key not in self.films:
                raise UnknownError("this film is not open any more: open its file again")
            return self.films[key]

    def version(self, key: object) -> Version:
        """Return an edit that was made. Raises UnknownError."""
        with self._lock:
            if not isinstance(key, str) or key not in self.versions:
                raise UnknownError("this edit is not there any more: make it again")
            return self.versions[key]

    def open(self, path: Path, name: str, typed: str | None = None) -> tuple[list[Film], list[str]]:
        """Open a file of the private folder, a radiograph or an archive of some, under the name it had.

        Returns its films, also those that are refused, and lines on what is left out. A file that holds none is
        removed. ``typed``: its path in a command, where that is known. Raises SourceError.
        """
        name = shown_name(name)
        opened: list[Film] = []
        try:
            sources, left_out = find_films(path, name)
            if len(sources) + len(self.films) > MAX_FILMS:
                raise TooLargeError(f"{name}: more than {MAX_FILMS} films at once: close some, or open fewer files")
            for source in sources:
                # A member of an archive has to be unpacked before a command can name it.
                own = typed or name if source.member is None else shown_name(source.member)
                film = Film(secrets.token_hex(8), source, own)
                try:
                    self._read(film)
                except SourceError as error:
                    if len(sources) == 1:
                        raise
                    left_out.append(str(error))
                    continue
                opened.append(film)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if not opened:
            path.unlink(missing_ok=True)
        with self._lock:
            self.films |= {film.id: film for film in opened}
        return opened, left_out

    def open_given(self, given: Path) -> tuple[list[Film], list[str]]:
        """Open a path that stands in the command: a file, an archive, or a folder. What is opened is a copy."""
        paths, left_out = [given], list[str]()
        if given.is_dir():
            found = find_sources([given], force="synthetic")
            paths = [source.path for source in found.sources]
            left_out = found.skipped_lines() + [f"{name}: {reason}" for name, reason in found.unreadable.items()]
        opened: list[Film] = []
        for path in paths:
            if not path.is_file():
                raise SourceError(f"{path}: no such file or folder")
            if path.stat().st_size > MAX_UPLOAD:
                raise TooLargeError(f"{path}: longer than {MAX_UPLOAD >> 20} MiB: not a radiograph")
            copy = self.folder.new()
            try:
                shutil.copyfile(path, copy)
            except OSError as error:
                raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
            try:
                films, lines = self.open(copy, path.name, str(path))
            except SourceError as error:
                if path is given:
                    raise
                films, lines = [], [str(error)]
            opened += films
            left_out += lines
        return opened, left_out

    def force(self, film: Film, doubts: Collection[str]) -> Film:
        """Set doubts about a film aside, as ``--force`` does, and read it again. Raises SettingError."""
        if not doubts:
            raise SettingError("no doubt is named: name those of the refusal")
        film.force |= forced_doubts(doubts)
        self._read(film)
        return film

    def radiograph(self, film: Film) -> Radiograph:
        """Return a film's pixels; the film read last is cached. Raises as ``read_radiograph`` does."""
        with self._reading:
            cached = self._cached
            if cached is None or cached[0] is not film or cached[1] != film.force:
                self._cached = None  # the one before is released first
                with FILES_LOCK:
                    cached = film, film.force, read_radiograph(film.source, force=film.force)
                with self._lock:
                    self._cached = None if film.closed else cached
            return cached[2]

    def _read(self, film: Film) -> None:
        """Read a film and take down what is shown of it; of one that is refused too, as far as it can be read."""
        refused = None
        try:
            radiograph = self.radiograph(film)
        except RefusedError as error:
            refused = {"message": str(error), "doubts": list(error.doubts), "forcible": bool(error.doubts)}
            with FILES_LOCK:
                radiograph = read_radiograph(film.source, force=True)
        film.facts = {
            "id": film.id,
            "name": film.source.name,
            "rows": radiograph.shape[0],
            "columns": radiograph.shape[1],
            "thumb": thumbnail(radiograph),
            "notes": [] if refused else list(radiograph.notes),
            "refused": refused,
        }

    def shown(self, film: Film) -> bytes:
        """Return a film's pixels as the page takes them, as JSON. Raises RefusedError for one that is refused."""
        source = source_of(self.radiograph(film), "source")
        blob = encode_source(source, quick=True)
        data = {**PageContent(source, film.source.name).data(), "predictor": blob.predictor}
        return json.dumps({"data": data, "source": blob.text}, allow_nan=False).encode()

    def pixels(self, film: Film) -> bytes:
        """Return a film's pixels without an encoding, which takes longer than loopback does.

        The length of what JSON knows, 4 bytes, little-endian; that; and the values, uint16 (H, W), little-endian.
        Raises RefusedError for a film that is refused.
        """
        source = source_of(self.radiograph(film), "source")
        data = json.dumps(PageContent(source, film.source.name).data(), allow_nan=False).encode()
        return b"".join((len(data).to_bytes(4, "little"), data, source.values.astype("<u2").tobytes()))

    def add(self, job: str, ask: Ask, decoded: Decoded, result: EditResult) -> Version:
        """Take an edit over into files. Raises UnknownError where its film was closed, OutputError for a full disk."""
        name = f"{prompt_slug(ask.prompt)}, seed {result.settings.seed}"
        source = source_of(result.radiograph, "source")
        page_edit = edit_of(
            source, result.radiograph, result.image, result.provenance, name, truncated=result.truncated, quick=True
        )
        page_edit = replace(page_edit, changed=share_changed(result.radiograph.image, result.image))
        [entry] = PageContent(source, "", [page_edit]).data()["edits"]
        reference = decoded.prepared.reference
        version = Version(
            secrets.token_hex(8),
            job,
            ask,
            result.settings,
            result.provenance,
            result.truncated,
            self.folder.new(".npz"),
            self.folder.new(".json"),
        )
        try:
            with version.decoded.open("xb") as file:
                if reference is None:
                    np.savez(file, decoded=decoded.image)
                else:
                    np.savez(file, decoded=decoded.image, reference=reference)
            version.shown.write_bytes(
                json.dumps({"edit": entry, "blob": page_edit.blob.text}, allow_nan=False).encode()
            )
            with self._lock:
                self.film(ask.film.id)
                self.versions[version.id] = version
        except OSError as error:
            self._remove(version)
            raise OutputError(f"the edit cannot be stored: {error.strerror}: close some films") from error
        except UnknownError:
            self._remove(version)
            raise
        return version

    def result(self, version: Version) -> EditResult:
        """Return an edit as ``Editor.edit`` gave it, put into its source again."""
        radiograph = self.radiograph(version.ask.film)
        with FILES_LOCK:  # a mask is a file too
            region = region_of(radiograph, version.ask.region)
        with np.load(version.decoded) as arrays:
            decoded = arrays["decoded"]
            reference = arrays["reference"] if "reference" in arrays.files else None
        letterbox = Letterbox.fit(radiograph.shape, decoded.shape[0], radiograph.aspect)
        image = compose(radiograph.image, decoded, reference, letterbox, version.settings.compose, region)
        return EditResult(
            radiograph,
            image,
            decoded,
            version.ask.prompt,
            version.settings,
            version.provenance,
            seconds={},
            unet_calls=0,
            truncated=version.truncated,
        )

    def close(self, film: Film) -> None:
        """Close a film and remove its files and those of its versions."""
        with self._lock:
            film.closed = True
            self.films.pop(film.id, None)
            versions = [version for version in self.versions.values() if version.ask.film is film]
            for version in versions:
                del self.versions[version.id]
                self._remove(version)
            if self._cached is not None and self._cached[0] is film:
                self._cached = None
            if all(other.source.path != film.source.path for other in self.films.values()):
                film.source.path.unlink(missing_ok=True)

    @staticmethod
    def _remove(version: Version) -> None:
        for path in (version.decoded, version.shown, version.ask.mask):
            if path is not None:
                path.unlink(missing_ok=True)


def shown_settings(settings: EditSettings, preset: str) -> dict[str, Any]:
    """Return the settings of an edit as pages take them."""
    return {**{name: getattr(settings, name) for name in SHOWN_SETTINGS}, "preset": preset}


def plain(message: str, film: Film) -> str:
    """Return a message of the library without the path of the private folder."""
    return renamed(message, film.source.path, film.source.name)
