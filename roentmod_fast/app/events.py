"""What happens in a sitting, sent to every page that shows it: server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

Event = dict[str, Any]

MAX_WAITING = 500
"""Events that wait for one page. One that takes none for so long is cut off; the browser connects again."""

MAX_PAGES = 16
"""Pages that are connected at once; the one that has been connected longest makes room."""

ALIVE_SECONDS = 15.0
"""After so long without an event a comment is sent, by which a connection that is gone is noticed."""


class Events:
    """Hands events from the thread that edits to the pages, each in the event loop of its connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: dict[asyncio.Queue[Event | None], asyncio.AbstractEventLoop] = {}
        self._closed = False

    def __len__(self) -> int:
        """Return how many pages are connected."""
        return len(self._pages)

    def publish(self, event: Event) -> None:
        """Send an event to all pages; from any thread."""
        with self._lock:
            for queue, loop in self._pages.items():
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._put, queue, event)

    def close(self) -> None:
        """End all streams, and those to come."""
        with self._lock:
            self._closed = True
            for queue, loop in self._pages.items():
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._end, queue)

    def _put(self, queue: asyncio.Queue[Event | None], event: Event) -> None:
        if queue.qsize() >= MAX_WAITING:
            self._end(queue)
        else:
            queue.put_nowait(event)

    @staticmethod
    def _end(queue: asyncio.Queue[Event | None]) -> None:
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)

    async def stream(self, first: Callable[[], Sequence[Event]]) -> AsyncIterator[bytes]:
        """Yield the text of a stream: ``first``, where things stand, then what happens, until either side ends it."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        with self._lock:
            if self._closed:
                return
            while len(self._pages) >= MAX_PAGES:
                self._end(next(iter(self._pages)))
                self._pages.pop(next(iter(self._pages)))
            self._pages[queue] = asyncio.get_running_loop()
        try:
            yield b"retry: 1000\n\n"
            for event in first():
                yield _text(event)
            while True:
                try:
                    event_or_end = await asyncio.wait_for(queue.get(), ALIVE_SECONDS)
                except (TimeoutError, asyncio.TimeoutError):  # one and the same from Python 3.11 on
                    yield b": alive\n\n"
                    continue
                if event_or_end is None:
                    return
                yield _text(event_or_end)
        finally:
            with self._lock:
                self._pages.pop(queue, None)


def _text(event: Event) -> bytes:
    return f"data: {json.dumps(event, allow_nan=False)}\n\n".encode()
