"""The server: which address does what. It decides nothing of radiographs: the library does, and its words are shown.

Errors of the library are answered with status 4xx and ``{"error": line}``; a bug with 500 and no traceback. What takes
time runs in threads, so that the page and its events go on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from roentmod_fast.app.asked import Body, ask_of, film_of, names_of, saving_of
from roentmod_fast.app.command import MASK_NAME, arguments_of, command_line
from roentmod_fast.app.engine import Engine
from roentmod_fast.app.events import Events
from roentmod_fast.app.files import MAX_UPLOAD, TooLargeError, ascii_name, receive, save
from roentmod_fast.app.page import policy, render
from roentmod_fast.app.queue import EditQueue, log_bug
from roentmod_fast.app.security import Guard
from roentmod_fast.app.shown import facts
from roentmod_fast.app.sitting import Film, Sitting, UnknownError, plain, shown_settings
from roentmod_fast.errors import OutputError, RoentmodError, SettingError
from roentmod_fast.findings import prompt_hint
from roentmod_fast.phantom import draw
from roentmod_fast.radiograph.dicom.write import write_sample

MAX_JSON = 64 << 20
"""Bytes of a request in JSON: a mask is the longest."""

SAMPLE_NAME, SAMPLE_SIZE, SAMPLE_SEED = "sample.dcm", 1024, 0
"""The phantom of ``roentmod-fast sample``, with its defaults."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(eq=False)
class App:
    """One run of the app. ``quit``: called where a page asks for the end."""

    sitting: Sitting
    engine: Engine
    token: str
    hosts: tuple[str, ...]
    ticket: str = ""
    demo: bool = False
    quit: Callable[[], None] = lambda: None
    events: Events = field(default_factory=Events)
    queue: EditQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = EditQueue(self.engine, self.sitting, self.events.publish)

    def asgi(self) -> Guard:
        """Return the ASGI application; the queue runs, and is stopped, with it."""

        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            self.queue.start()
            try:
                yield
            finally:
                self.events.close()
                await run_in_threadpool(self.queue.close)
                self.sitting.folder.close()

        routes = [
            Route("/", _guarded(self.get_page), methods=["GET"]),
            Route("/api/film/{id}", _guarded(self.get_film), methods=["GET"]),
            Route("/api/pixels/{id}", _guarded(self.get_pixels), methods=["GET"]),
            Route("/api/result/{id}", _guarded(self.get_result), methods=["GET"]),
            Route("/api/command/{id}", _guarded(self.get_command), methods=["GET"]),
            Route("/api/sitting", _guarded(self.get_sitting), methods=["GET"]),
            Route("/api/events", _guarded(self.get_events), methods=["GET"]),
            Route("/api/open", _guarded(self.open), methods=["POST"]),
            Route("/api/force", _guarded(self.force), methods=["POST"]),
            Route("/api/demo", _guarded(self.open_demo), methods=["POST"]),
            Route("/api/edit", _guarded(self.edit), methods=["POST"]),
            Route("/api/stop", _guarded(self.stop), methods=["POST"]),
            Route("/api/save", _guarded(self.save), methods=["POST"]),
            Route("/api/close", _guarded(self.close), methods=["POST"]),
            Route("/api/quit", _guarded(self.end), methods=["POST"]),
        ]
        app = Starlette(
            routes=[Mount(f"/{self.token}", routes=routes)],
            lifespan=lifespan,
            exception_handlers={HTTPException: _http_error},
        )
        app.router.redirect_slashes = False
        return Guard(app, self.token, self.hosts, self.ticket)

    # --- what is shown ------------------------------------------------------------------------------------------------

    async def get_page(self, request: Request) -> Response:
        body = await run_in_threadpool(lambda: render(facts(self.engine, demo=self.demo)))
        return Response(body, media_type="text/html", headers={"Content-Security-Policy": policy()})

    async def get_film(self, request: Request) -> Response:
        film = self.sitting.film(request.path_params["id"])
        return _json(await run_in_threadpool(self._of_film, film, lambda: self.sitting.shown(film)))

    async def get_pixels(self, request: Request) -> Response:
        film = self.sitting.film(request.path_params["id"])
        data = await run_in_threadpool(self._of_film, film, lambda: self.sitting.pixels(film))
        return Response(data, media_type="application/octet-stream")

    async def get_result(self, request: Request) -> Response:
        version = self.sitting.version(request.path_params["id"])
        return _json(await run_in_threadpool(version.shown.read_bytes))

    async def get_command(self, request: Request) -> Response:
        version = self.sitting.version(request.path_params["id"])
        asked: dict[str, Any] = dict(request.query_params)
        asked["label"] = asked.get("label") in ("1", "true")
        arguments = arguments_of(version, self.engine, saving_of(asked))
        needs = [] if version.ask.mask is None else [MASK_NAME]
        return JSONResponse({"command": command_line(arguments), "needs": needs})

    async def get_sitting(self, request: Request) -> Response:
        jobs = self.queue.state()  # first: an edit that ends meanwhile is then in both
        films = [film.facts for film in list(self.sitting.films.values())]
        versions = [
            {
                "edit": version.id,
                "job": version.job,
                "film": version.ask.film.id,
                "prompt": version.ask.prompt,
                "settings": shown_settings(version.settings, version.ask.preset),
            }
            for version in list(self.sitting.versions.values())
        ]
        return JSONResponse({"films": films, "edits": versions, "jobs": jobs})

    async def get_events(self, request: Request) -> Response:
        return StreamingResponse(self.events.stream(self.queue.state), media_type="text/event-stream")

    # --- what changes something ---------------------------------------------------------------------------------------

    async def open(self, request: Request) -> Response:
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > MAX_UPLOAD:
            raise TooLargeError(f"longer than {MAX_UPLOAD >> 20} MiB: not a radiograph")
        path = self.sitting.folder.new()
        await receive(request.stream(), path, MAX_UPLOAD)
        name = request.query_params.get("name", "")
        return await run_in_threadpool(self._opened, lambda: self.sitting.open(path, name))

    async def open_demo(self, request: Request) -> Response:
        await _body(request)
        return await run_in_threadpool(self._opened, self.open_sample)

    def open_sample(self) -> tuple[list[Film], list[str]]:
        """Open the phantom that ``roentmod-fast sample`` writes."""
        path = self.sitting.folder.new()
        write_sample(path, draw(SAMPLE_SIZE, SAMPLE_SEED).image, seed=SAMPLE_SEED)
        return self.sitting.open(path, SAMPLE_NAME)

    def _opened(self, act: Callable[[], tuple[list[Film], list[str]]]) -> Response:
        films, notes = act()
        return JSONResponse({"films": [film.facts for film in films], "notes": notes})

    async def force(self, request: Request) -> Response:
        body = await _body(request)
        film = film_of(body, self.sitting)
        forced = await run_in_threadpool(
            self._of_film, film, lambda: self.sitting.force(film, names_of(body, "doubts"))
        )
        return JSONResponse(forced.facts)

    async def edit(self, request: Request) -> Response:
        body = await _body(request)
        film = film_of(body, self.sitting)
        ask = await run_in_threadpool(self._of_film, film, lambda: ask_of(body, self.sitting, self.engine))
        job, seconds = self.queue.submit(ask)
        return JSONResponse({"job": job.id, "hint": prompt_hint(ask.prompt), "seconds": seconds})

    async def stop(self, request: Request) -> Response:
        self.queue.stop((await _body(request)).get("job"))
        return JSONResponse({})

    async def save(self, request: Request) -> Response:
        body = await _body(request)
        versions = [self.sitting.version(key) for key in names_of(body, "edits")]
        if not versions:
            raise SettingError("edits: expected the names of the edits to save")
        film, mask = versions[0].ask.film, versions[0].ask.mask
        if body.get("as") == "mask":
            if mask is None:
                raise SettingError("this edit has no mask that was painted")
            return _file(await run_in_threadpool(mask.read_bytes), MASK_NAME)
        saving = saving_of(body)
        if len(versions) > 1 and (saving.kind != "html" or any(each.ask.film is not film for each in versions)):
            raise SettingError("several edits go into one page, and are of one film")
        prompts = [version.ask.prompt for version in versions]
        data, name = await run_in_threadpool(
            self._of_film,
            film,
            lambda: save(self.sitting.folder, film.source, prompts, map(self.sitting.result, versions), saving),
        )
        return _file(data, ascii_name(name))

    async def close(self, request: Request) -> Response:
        film = film_of(await _body(request), self.sitting)
        self.queue.stop_film(film)
        await run_in_threadpool(self.sitting.close, film)
        return JSONResponse({})

    async def end(self, request: Request) -> Response:
        await _body(request)
        self.events.close()
        self.quit()
        return JSONResponse({})

    @staticmethod
    def _of_film(film: Film, act: Callable[[], Any]) -> Any:
        """Call ``act``; an error names the film as the user does, and not by its path in the private folder."""
        try:
            return act()
        except RoentmodError as error:
            error.args = (plain(str(error), film), *error.args[1:])
            raise


def _guarded(handler: Handler) -> Handler:
    """Return a handler that turns errors into answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except RoentmodError as error:
            return JSONResponse({"error": str(error)}, _status_of(error))
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except FileNotFoundError:
            return JSONResponse({"error": "this film was closed meanwhile: open its file again"}, 404)
        except Exception as error:
            return JSONResponse({"error": log_bug(error)}, 500)

    return answer


def _status_of(error: RoentmodError) -> int:
    for kind, status in ((UnknownError, 404), (TooLargeError, 413), (OutputError, 409)):
        if isinstance(error, kind):
            return status
    return 422


async def _body(request: Request) -> Body:
    """Return the body of a request, a JSON object. Raises SettingError for any other, TooLargeError for a long one."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_JSON:
            raise TooLargeError(f"a request of more than {MAX_JSON >> 20} MiB")
    try:
        body = json.loads(bytes(data) or b"{}")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise SettingError("expected an object in JSON")
    return body


def _json(data: bytes) -> Response:
    return Response(data, media_type="application/json")


def _file(data: bytes, name: str) -> Response:
    # Never a type that a browser would show in the origin of the app.
    disposition = f'attachment; filename="{name}"'
    return Response(data, media_type="application/octet-stream", headers={"Content-Disposition": disposition})


def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": "nothing here" if status == 404 else "not possible here"}, status)
