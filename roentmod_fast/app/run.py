"""Run the app: listen on loopback, open the browser, and leave nothing behind, whatever ends it."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from roentmod_fast.app.engine import Engine
from roentmod_fast.app.folder import PrivateFolder
from roentmod_fast.app.security import LOOPBACK, hosts_of, loopback_address, new_token
from roentmod_fast.app.server import App
from roentmod_fast.app.sitting import Sitting
from roentmod_fast.errors import SettingError

logger = logging.getLogger(__name__)

END_SECONDS = 3
"""How long requests that are on their way may take at the end."""


class Server(uvicorn.Server):
    """A server that ends its streams of events when a signal asks it to end: they would keep it waiting."""

    ending: Callable[[], None] = staticmethod(lambda: None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal down; called by uvicorn."""
        self.ending()
        super().handle_exit(sig, frame)


def listen(address: str = LOOPBACK, port: int = 0) -> socket.socket:
    """Return a socket that listens on this machine alone. Raises SettingError for an address or a port that cannot be.

    ``port``: 0 is any that is free.
    """
    address = loopback_address(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "not a port"
        raise SettingError(f"--port {port}: cannot listen on {address}: {reason}: give another one") from error


def run(
    files: Sequence[Path] = (),
    *,
    engine: str | None = None,
    device: str = "auto",
    preset: str = "exact",
    address: str = LOOPBACK,
    port: int = 0,
    demo: bool = False,
    browser: bool = True,
    ready: Callable[[str], None] = lambda address: None,
) -> int:
    """Serve the app until it is asked to quit or a signal ends it; return the exit status.

    ``files``: opened at the start; ``demo``: the phantom is. ``browser``: open the page there. ``ready`` is called with
    the address once it is served. Raises SettingError, EngineError, DeviceError, SourceError and OutputError.
    """
    chosen = Engine(engine, device, preset)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ending_signals())
        listening = stack.enter_context(contextlib.closing(listen(address, port)))
        name, number = listening.getsockname()[:2]
        hosts = hosts_of(name, number)
        folder = PrivateFolder()
        stack.callback(folder.close)
        app = App(Sitting(folder), chosen, new_token(), hosts, ticket=new_token(), demo=demo)
        for path in files:
            for line in app.sitting.open_given(path)[1]:
                logger.warning(line)
        if demo:
            app.open_sample()
        server = server_of(app)
        url = f"http://{hosts[0]}"
        watch = threading.Thread(
            target=_when_started,
            args=(server, lambda: _open(url, app, ready, browser)),
            name="start",
            daemon=True,
        )
        watch.start()
        with _noted_signals(server) as noted:
            server.run(sockets=[listening])
        return 128 + noted[-1] if noted else 0


def server_of(app: App) -> Server:
    """Return the server of an app, which ends where a page asks for it."""
    # Addresses hold the token, and names of files: no access log, whatever else logs in this process.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app.asgi(),
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=END_SECONDS,
    )
    server = Server(config)
    server.ending = app.events.close

    def end() -> None:
        server.should_exit = True

    app.quit = end
    return server


@contextlib.contextmanager
def _ending_signals() -> Iterator[None]:
    """Let SIGTERM end the process by SystemExit, which removes what was written, and a closed terminal do the same."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would end the removal
        raise SystemExit(128 + number)

    with contextlib.ExitStack() as stack:
        stack.enter_context(_handled(end, signal.SIGTERM))
        hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
        if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:  # as nohup has it
            stack.enter_context(_handled(lambda number, frame: signal.raise_signal(signal.SIGTERM), hang_up))
        yield


@contextlib.contextmanager
def _noted_signals(server: uvicorn.Server) -> Iterator[list[int]]:
    """Yield the numbers of signals that ended the server: it raises them once more when it has ended."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        server.should_exit = True  # where it has not taken the signals over yet

    with _handled(note, signal.SIGINT, signal.SIGTERM):
        yield noted


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: int) -> Iterator[None]:
    """Handle signals; in the main thread alone, as others cannot."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _when_started(server: uvicorn.Server, act: Callable[[], None]) -> None:
    wait = threading.Event()
    while not server.started:
        if server.should_exit or wait.wait(0.02):
            return
    act()


def _open(url: str, app: App, ready: Callable[[str], None], browser: bool) -> None:
    ready(f"{url}/{app.token}/")
    if browser and not webbrowser.open(f"{url}/{app.ticket}"):
        logger.warning("no browser could be opened: open the address above")
