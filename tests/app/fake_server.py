"""A server that does what the page of the app needs, without an engine: phantoms in, soft spots out, with delays."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import queue
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from PIL import Image

from roentmod_fast.app.page import policy, render
from roentmod_fast.errors import RoentmodError
from roentmod_fast.findings import FINDINGS, prompt_hint
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample
from roentmod_fast.radiograph.model import Radiograph
from roentmod_fast.radiograph.read import read_radiograph
from roentmod_fast.study.page.content import PageContent, edit_of, source_of
from tests.study.page.conftest import result_of

TOKEN = "5a" * 32
STEPS = 20
UNASKED = [{"key": "cardiomegaly", "rate": 0.46}]
DATA = {
    "version": "0.0",
    "engine": "phantom",
    "engines": ["phantom"],
    "notice": "Trained on phantoms alone: a demonstration.",
    "device": "cpu",
    "presets": [{"name": "exact", "seconds": 40.0}, {"name": "fast", "seconds": None}],
    "findings": [
        {
            "key": each.key,
            "prompt": each.prompt,
            "rate": each.paper_rate,
            "unasked": [{"key": "cardiomegaly", "rate": 0.46}],
        }
        for each in FINDINGS
    ],
    "defaults": {"strength": 0.4, "guidance": 4, "steps": 50, "seed": 0, "preset": "exact", "compose": "contrast"},
    "limits": {"bytes": 64_000_000},
    "demo": False,
}


def settings_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an edit as the server sends them, with the steps that the page does not choose."""
    return {name: job[name] for name in ("strength", "guidance", "seed", "preset", "compose")} | {"steps": 50}


@dataclass
class Film:
    """A film that is open; ``refused``: what the page gets of a refusal."""

    radiograph: Radiograph
    name: str
    refused: dict[str, Any] | None = None

    def facts(self, key: str) -> dict[str, Any]:
        rows, columns = self.radiograph.shape
        image = Image.fromarray(np.rint(self.radiograph.image * 255).astype(np.uint8))
        image.thumbnail((160, 160))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG")
        thumb = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        return {"id": key, "name": self.name, "rows": rows, "columns": columns, "thumb": thumb, "notes": []} | {
            "refused": self.refused
        }


@dataclass
class Sitting:
    """All that the page can ask for; ``delay``: seconds of a UNet evaluation; ``posts``: what was posted, by path."""

    folder: Path
    delay: float = 0.02
    films: dict[str, Film] = field(default_factory=dict)
    edits: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pages: list[queue.Queue[dict[str, Any] | None]] = field(default_factory=list)
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    work: queue.Queue[str | None] = field(default_factory=queue.Queue)
    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=lambda: dict(DATA))

    def publish(self, event: dict[str, Any]) -> None:
        if event:
            job = self.jobs[event["job"]]
            event = {**event, "prompt": job["prompt"], "settings": settings_of(job)}
        if event.get("type") in ("done", "failed", "stopped"):
            self.waiting.pop(event["job"], None)
        elif event:
            self.waiting[event["job"]] = event
        for page in list(self.pages):
            page.put(event)

    def open(self, name: str, body: bytes) -> list[dict[str, Any]]:
        if body[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                return [film for each in archive.namelist() for film in self.open(each, archive.read(each))]
        path = self.folder / f"{len(list(self.folder.iterdir()))}.bin"
        path.write_bytes(body)
        refused = None
        if "lateral" in name:
            refused = {"message": f"{name}: a lateral view: expected a frontal one", "doubts": ["view"]}
            refused["forcible"] = True
        if "color" in name:
            refused = {"message": f"{name}: in colour: expected grey", "doubts": [], "forcible": False}
        key = f"f{len(self.films)}"
        try:
            self.films[key] = Film(read_radiograph(path, force=True), name, refused)
        except RoentmodError as error:
            raise ValueError(str(error).replace(str(path), name)) from error
        return [self.films[key].facts(key)]

    def edit(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["prompt"] == "nonsense":
            raise ValueError("prompt 'nonsense': expected words of a report")
        key = f"j{len(self.jobs)}"
        self.jobs[key] = {**asked, "stop": False}
        waiting = self.work.qsize()
        self.publish({"type": "queued", "job": key, "film": asked["film"], "position": waiting})
        self.work.put(key)
        return {"job": key, "hint": prompt_hint(asked["prompt"]), "seconds": STEPS * self.delay}

    def run(self) -> None:
        while (key := self.work.get()) is not None:
            job = self.jobs[key]
            facts = {"job": key, "film": job["film"], "total": STEPS}
            self.publish({**facts, "type": "started", "done": 0, "left": STEPS * self.delay})
            for done in range(1, STEPS + 1):
                self.gate.wait(30)
                time.sleep(self.delay)
                if job["stop"]:
                    break
                self.publish({**facts, "type": "progress", "done": done, "left": (STEPS - done) * self.delay})
            if job["stop"]:
                self.publish({**facts, "type": "stopped"})
            elif "fails" in job["prompt"]:
                self.publish({**facts, "type": "failed", "message": "not enough memory for this edit"})
            else:
                self.publish({**facts, "type": "done", "edit": self.finish(key)})

    def finish(self, key: str) -> str:
        job = self.jobs[key]
        radiograph = self.films[job["film"]].radiograph
        result = result_of(radiograph, job["prompt"], 0.25 if len(self.edits) % 2 else -0.2)
        source = source_of(radiograph, "source")
        edit = edit_of(source, radiograph, result.image, result.provenance, "edit.dcm")
        [entry] = PageContent(source, "", [edit]).data()["edits"]
        name = f"e{len(self.edits)}"
        path = self.folder / f"{name}.dcm"
        result.save(path)
        self.edits[name] = {"edit": entry, "blob": edit.blob.text, "path": path, "film": job["film"]} | {
            "job": key,
            "settings": settings_of(job),
        }
        return name


class Server(ThreadingHTTPServer):
    """The server; ``down``: it answers nothing."""

    daemon_threads = True
    down = False

    def __init__(self, sitting: Sitting) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sitting = sitting


class Handler(BaseHTTPRequestHandler):
    """One request, by the contract of the app."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""

    def answer(self, value: Any, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.server.down:
            self.close_connection = True
            return
        sitting, path = self.server.sitting, urlsplit(self.path).path
        if path == f"/{TOKEN}/":
            headers = {"Content-Security-Policy": policy(), "Cache-Control": "no-store"}
            return self.answer(render(sitting.data), 200, "text/html; charset=utf-8", **headers)
        name, _, key = path.removeprefix(f"/{TOKEN}/api/").partition("/")
        if name == "events":
            return self.events()
        if name == "sitting":
            edits = [
                {
                    "edit": key,
                    "film": e["film"],
                    "prompt": e["edit"]["prompt"],
                    "job": e["job"],
                    "settings": e["settings"],
                }
                for key, e in sitting.edits.items()
            ]
            films = [film.facts(key) for key, film in sitting.films.items()]
            return self.answer({"films": films, "edits": edits, "jobs": list(sitting.waiting.values())})
        if name == "pixels":
            source = source_of(sitting.films[key].radiograph, "source")
            data = json.dumps(PageContent(source, "").data()).encode()
            body = len(data).to_bytes(4, "little") + data + source.values.astype("<u2").tobytes()
            return self.answer(body, 200, "application/octet-stream")
        if name == "result":
            return self.answer({part: sitting.edits[key][part] for part in ("edit", "blob")})
        if name == "command":
            return self.answer({"command": f"roentmod-fast edit film.dcm --prompt {key} --seed 0"})
        return self.answer({"error": "no such address"}, 404)

    def events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        page: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.server.sitting.pages.append(page)
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(b"retry: 100\n\n")
            while (event := page.get()) is not None:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.server.sitting.pages.remove(page)

    def do_POST(self) -> None:
        if self.server.down:
            self.close_connection = True
            return
        sitting, address = self.server.sitting, urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = address.path.removeprefix(f"/{TOKEN}/api/")
        if self.headers.get("X-Roentmod") != TOKEN:
            return self.answer({"error": "no token"}, 403)
        try:
            if name == "open":
                return self.answer({"films": sitting.open(unquote(parse_qs(address.query)["name"][0]), body)})
            asked = json.loads(body)
            sitting.posts.append((name, asked))
            if name == "demo":
                path = sitting.folder / "demo.dcm"
                write_sample(path, draw(160, 5).image, seed=5, overwrite=True)
                return self.answer({"films": sitting.open("phantom, seed 5", path.read_bytes())})
            if name == "force":
                sitting.films[asked["film"]].refused = None
                return self.answer(sitting.films[asked["film"]].facts(asked["film"]))
            if name == "edit":
                return self.answer(sitting.edit(asked))
            if name == "stop":
                sitting.jobs[asked["job"]]["stop"] = True
                return self.answer({})
            if name == "save":
                return self.save(asked)
            if name == "close":
                sitting.films.pop(asked["film"])
            return self.answer({})
        except ValueError as error:
            return self.answer({"error": str(error)}, 400)

    def save(self, asked: dict[str, Any]) -> None:
        endings = {"dicom": "dcm", "png": "png", "html": "html"}
        name = asked["edits"][-1]
        data = self.server.sitting.edits[name]["path"].read_bytes()
        shown = f'attachment; filename="{name}.{endings[asked["as"]]}"'
        self.answer(data, 200, "application/octet-stream", **{"Content-Disposition": shown})


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a sitting without a film."""
    server = Server(Sitting(folder))
    server.sitting.gate.set()
    threads = [threading.Thread(target=run, daemon=True) for run in (server.serve_forever, server.sitting.run)]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        server.sitting.gate.set()
        server.sitting.work.put(None)
        server.sitting.publish({})
        for page in list(server.sitting.pages):
            page.put(None)
        server.shutdown()
        server.server_close()


def address(server: Server) -> str:
    """Return the address of the page."""
    return f"http://127.0.0.1:{server.server_port}/{TOKEN}/"
