"""The app served on loopback by uvicorn, in a thread, with the tiny engine; and requests as a page sends them."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from roentmod_fast.app.engine import Engine
from roentmod_fast.app.folder import PrivateFolder
from roentmod_fast.app.run import listen, server_of
from roentmod_fast.app.security import hosts_of, new_token
from roentmod_fast.app.server import App
from roentmod_fast.app.sitting import Sitting
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from tests.cli.conftest import roentmod

__all__ = ["roentmod"]  # a fixture of the command line's tests, here too

TINY = Path(__file__).parents[1] / "goldens" / "tiny_bundle"
QUICK = {"steps": 5, "strength": 0.4}
"""Two UNet evaluations."""


@dataclass(frozen=True)
class Answer:
    """What the server answered; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A served app, and the page's side of it."""

    def __init__(self, app: App, port: int) -> None:
        self.app, self.port, self.token = app, port, app.token
        self.folder = app.sitting.folder.path

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def own_headers(self) -> dict[str, str]:
        """Return the headers of a request of the page itself."""
        return {"X-Roentmod": self.token, "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}

    def request(self, method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None) -> Answer:
        """Send a request with these headers alone."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def get(self, path: str) -> Answer:
        """Send a GET as the page does."""
        return self.request("GET", f"/{self.token}/{path}", headers={"Sec-Fetch-Site": "same-origin"})

    def post(self, path: str, body: Any) -> Answer:
        """Send a POST as the page does: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", f"/{self.token}/{path}", data, self.own_headers())

    def open(self, data: bytes | Path, name: str = "chest.dcm") -> dict[str, Any]:
        """Open a file that holds one film."""
        content = data.read_bytes() if isinstance(data, Path) else data
        answer = self.post(f"api/open?name={name}", content)
        assert answer.status == 200, answer.body
        [film] = answer.json()["films"]
        return dict(film)

    @contextlib.contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """Connect as a page does and yield what happens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", f"/{self.token}/api/events")
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.readline() == b"retry: 1000\n"

            def lines() -> Iterator[dict[str, Any]]:
                while line := answer.readline():
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])

            yield lines()

    def edit(self, film: str, prompt: str = "edema", **settings: Any) -> str:
        """Make an edit and wait for it; return its key."""
        with self.events() as events:
            answer = self.post("api/edit", {"film": film, "prompt": prompt, **QUICK, **settings})
            assert answer.status == 200, answer.body
            for event in events:
                if event["job"] == answer.json()["job"] and event["type"] in ("done", "failed", "stopped"):
                    assert event["type"] == "done", event
                    return str(event["edit"])
        raise AssertionError("no end of the edit")

    def files(self) -> set[str]:
        """Return the names of the files in the private folder."""
        return {path.name for path in self.folder.iterdir()} - {"owner"}


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@contextlib.contextmanager
def serve(parent: Path, engine: Path = TINY) -> Iterator[Served]:
    """Serve an app whose private folder lies in ``parent``."""
    with contextlib.closing(listen()) as listening:
        port = listening.getsockname()[1]
        sitting = Sitting(PrivateFolder(parent))
        app = App(sitting, Engine(str(engine), "cpu"), new_token(), hosts_of("127.0.0.1", port), ticket=new_token())
        server = server_of(app)
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
        thread.start()
        try:
            eventually(lambda: server.started)
            yield Served(app, port)
        finally:
            app.events.close()
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()
            assert not sitting.folder.path.exists()


@pytest.fixture(scope="package")
def one_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One app for all tests that leave it as it was."""
    with serve(tmp_path_factory.mktemp("private")) as served:
        yield served


@pytest.fixture
def served(one_app: Served) -> Iterator[Served]:
    """The app; films that a test opened are closed after it, and then nothing is left of them."""
    yield one_app
    for film in list(one_app.app.sitting.films):
        one_app.post("api/close", {"film": film})
    eventually(lambda: not one_app.app.queue.state())
    eventually(lambda: one_app.files() == set())


@pytest.fixture(scope="package")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom of 160 pixels as DICOM."""
    path = tmp_path_factory.mktemp("study") / "chest.dcm"
    write_sample(path, draw(160, 3).image, seed=3, findings=())
    return path
