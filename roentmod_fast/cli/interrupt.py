"""Ctrl-C and SIGTERM stop a run in good order: what is made is written, and the run is accounted for."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

NOTE = b"\nstopping after this step; once more stops at once\n"


class StopRequest(threading.Event):
    """Set by a signal; ``signal_number`` says by which."""

    signal_number: int = 0

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program that a signal ended: 130 for Ctrl-C."""
        return 128 + self.signal_number


@contextlib.contextmanager
def heed_signals() -> Iterator[StopRequest]:
    """Yield what the first signal sets; the second one raises KeyboardInterrupt. A signal that is ignored stays so."""
    stop = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.signal_number = number
        stop.set()
        with contextlib.suppress(OSError):
            os.write(2, NOTE)  # the buffered stderr may be in use where the signal came

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
