"""The queue: one edit at a time, in one thread, with progress, time left and a way to stop."""

from __future__ import annotations

import logging
import secrets
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roentmod_fast.app.engine import Engine
from roentmod_fast.app.events import Event
from roentmod_fast.app.sitting import Ask, Film, Sitting, UnknownError, Version, plain, shown_settings
from roentmod_fast.editor import StopRequestedError
from roentmod_fast.errors import RoentmodError, SettingError
from roentmod_fast.pipeline import FILES_LOCK
from roentmod_fast.radiograph.region import region_of

logger = logging.getLogger(__name__)

MAX_JOBS = 50
"""Edits that wait at once."""


@dataclass(eq=False)
class Job:
    """An edit on its way. ``total``: UNet evaluations, of which ``done`` are made; ``left``: seconds to its end."""

    ask: Ask
    settings: dict[str, Any]
    total: int
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    done: int = 0
    left: float | None = None
    running: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def event(self, kind: str, position: int = 0, **more: Any) -> Event:
        """Return an event of this job as pages take it."""
        facts: Event = {"type": kind, "job": self.id, "film": self.ask.film.id, "prompt": self.ask.prompt}
        facts["settings"] = self.settings
        left = None if self.left is None else round(self.left, 1)
        return {**facts, "done": self.done, "total": self.total, "left": left, "position": position, **more}


class EditQueue:
    """Makes edits one after the other in a thread of its own; ``publish`` takes what happens."""

    def __init__(self, engine: Engine, sitting: Sitting, publish: Callable[[Event], None]) -> None:
        self._engine = engine
        self._sitting = sitting
        self._publish = publish
        self._waiting: deque[Job] = deque()
        self._job: Job | None = None
        self._changed = threading.Condition(threading.RLock())
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="edit", daemon=True)

    def start(self) -> None:
        """Start the thread, which opens the engine first."""
        self._thread.start()

    def submit(self, ask: Ask) -> tuple[Job, float | None]:
        """Queue an edit; return it and the seconds until it is made, where they are known.

        Raises SettingError for settings that cannot be used and for a queue that is full.
        """
        settings, evaluations = self._engine.check(ask.config, ask.preset)
        job = Job(ask, shown_settings(settings, ask.preset), evaluations)
        job.left = self._engine.seconds(ask.preset, evaluations)
        with self._changed:
            if len(self._waiting) >= MAX_JOBS or self._closed:
                raise SettingError(f"{len(self._waiting)} edits are waiting: stop some, or wait")
            before = [each.left for each in ([self._job] if self._job else []) + list(self._waiting)]
            self._waiting.append(job)
            self._publish(job.event("queued", len(before)))
            self._changed.notify_all()
        known = [each for each in (*before, job.left) if each is not None]
        return job, sum(known) if len(known) == len(before) + 1 else None

    def stop(self, key: object) -> None:
        """Stop an edit: one that waits leaves the queue, one that runs ends after its current UNet evaluation.

        Raises UnknownError for one that has ended.
        """
        with self._changed:
            for job in self._waiting:
                if job.id == key:
                    self._leave(job)
                    return
            if self._job is None or self._job.id != key:
                raise UnknownError("this edit is not on its way: it has ended")
            self._job.stop.set()

    def stop_film(self, film: Film) -> None:
        """Stop all edits of a film."""
        with self._changed:
            for job in [job for job in self._waiting if job.ask.film is film]:
                self._leave(job)
            if self._job is not None and self._job.ask.film is film:
                self._job.stop.set()

    def _leave(self, job: Job) -> None:
        self._waiting.remove(job)
        _forget_mask(job)
        self._publish(job.event("stopped"))
        self._publish_positions()

    def _publish_positions(self) -> None:
        for position, job in enumerate(self._waiting, 1 if self._job else 0):
            self._publish(job.event("queued", position))

    def state(self) -> list[Event]:
        """Return where each edit stands, as events for a page that has just connected."""
        with self._changed:
            running = [] if self._job is None else [self._job.event("progress" if self._job.done else "started")]
            first = 1 if self._job else 0
            return running + [job.event("queued", position) for position, job in enumerate(self._waiting, first)]

    def close(self, seconds: float = 30.0) -> None:
        """Stop all edits and the thread; wait for it at most so long, as one UNet evaluation may take long."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            if self._job is not None:
                self._job.stop.set()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._engine.editor(self._engine.preset)
        except RoentmodError as error:
            logger.error(str(error))  # and again with the first edit, which tries once more
        except Exception as error:
            log_bug(error)
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._job = job = self._waiting.popleft()
                self._publish(job.event("started"))
                self._publish_positions()
            ending = self._end_of(job)
            with self._changed:
                self._job = None
            self._publish(ending)

    def _end_of(self, job: Job) -> Event:
        """Make an edit; return the event of its end, whatever that is."""
        try:
            version = self._make(job)
            return job.event("done", edit=version.id)
        except StopRequestedError:
            ending = job.event("stopped")
        except RoentmodError as error:
            message = plain(str(error), job.ask.film)
            ending = job.event("stopped" if job.stop.is_set() else "failed", message=message)
        except MemoryError:
            ending = job.event("failed", message="not enough memory for this edit: close other programs")
        except Exception as error:
            ending = job.event("failed", message=log_bug(error))
        _forget_mask(job)
        return ending

    def _make(self, job: Job) -> Version:
        """Make an edit as ``edit`` makes it: by itself, so that its values do not depend on others."""
        ask = job.ask
        editor = self._engine.editor(ask.preset)
        opened = time.monotonic()
        radiograph = self._sitting.radiograph(ask.film)
        with FILES_LOCK:
            region = region_of(radiograph, ask.region)
        placed = editor.place(radiograph, ask.config, region=region, protect_markers=False)
        if job.stop.is_set():
            raise StopRequestedError
        [prepared] = editor.encode([placed])
        if job.stop.is_set():
            raise StopRequestedError
        started = last = time.monotonic()
        pace = self._engine.paces.get(ask.preset)

        def progress(done: int, total: int) -> None:
            nonlocal last
            last = time.monotonic()
            job.done, job.total = done, total
            job.left = (last - started) / done * (total - done) + (pace.rest if pace else 0.0)
            self._publish(job.event("progress"))
            if job.stop.is_set() and done < total:
                raise StopRequestedError

        [decoded] = editor.run([(prepared, ask.prompt)], progress=progress)
        version = self._sitting.add(job.id, ask, decoded, editor.finish(decoded))
        job.left = 0.0
        self._engine.note_pace(ask.preset, job.done, last - started, time.monotonic() - opened)
        return version


def _forget_mask(job: Job) -> None:
    mask: Path | None = job.ask.mask
    if mask is not None:
        mask.unlink(missing_ok=True)


def log_bug(error: Exception) -> str:
    """Log where an error that is a bug was raised, without its text, which may hold a name; return a line for users."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-6:]))
    logger.error(f"a bug: {type(error).__name__} at {places}: please report it")
    return f"a bug of roentmod-fast ({type(error).__name__}): its place is in the terminal, please report it"
