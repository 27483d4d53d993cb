"""Which requests are answered: those of the one page that has the token, and of no other page, host or program.

The server listens on loopback, which any page in any browser of the machine, and any user of it, can reach. So:

- ``Host`` must be ours. A page of another name that resolves to 127.0.0.1 (DNS rebinding) sends its own name.
- ``Origin``, where it is sent, must be ours, and so must ``Sec-Fetch-Site`` but for opening the page itself.
- The first part of the path must be the token, 32 random bytes, which is compared in constant time.
- A change of state is a POST that carries the token in a header too. Other origins cannot set it without a preflight
  request, which is refused (CSRF).

Every answer forbids caching, sniffing, framing and referrers (Fetch Metadata; CSP level 3; OWASP CSRF cheat sheet).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from roentmod_fast.app.peer import is_own
from roentmod_fast.errors import SettingError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-roentmod"
"""The header that repeats the token in requests that change something."""

LOOPBACK = "127.0.0.1"

TICKET_SECONDS = 60.0
"""How long a browser may take to start."""

PASSIVE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of all answers but the page, which shows itself by more."""

_ALWAYS = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


def new_token() -> str:
    """Return 32 random bytes in hex."""
    return secrets.token_hex(32)


def loopback_address(name: str) -> str:
    """Return an address to listen on. Raises SettingError for one that other machines could reach."""
    try:
        address = ipaddress.ip_address(LOOPBACK if name.strip().lower() == "localhost" else name.strip())
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise SettingError(
            f"--listen-on {name!r}: the app has no accounts and shows patients' files, so it listens on this machine"
            f" alone: give {LOOPBACK}, ::1 or localhost"
        )
    return str(address)


def hosts_of(address: str, port: int) -> tuple[str, ...]:
    """Return the values of ``Host`` that a browser sends which opened the page on this machine."""
    name = f"[{address}]" if ":" in address else address
    hosts = [f"{name}:{port}", f"localhost:{port}"]
    return tuple(hosts + [host.removesuffix(":80") for host in hosts] if port == 80 else hosts)


def same(given: bytes, expected: bytes) -> bool:
    """Compare two secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(given, expected)


class Guard:
    """ASGI middleware that answers what may not be answered otherwise.

    ``token``: of this run. ``hosts``: values of ``Host``, see :func:`hosts_of`. ``ticket``: a path that leads to the
    page once, within :data:`TICKET_SECONDS`. It is what another program, the browser, is given on its command line,
    which all users of a machine see: a connection of another one of them does not redeem it, see :func:`is_own`.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str], ticket: str = "") -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = frozenset(host.encode() for host in hosts)
        self._origins = frozenset(b"http://" + host for host in self._hosts)
        self._ticket = ticket.encode()
        self._ticket_ends = time.monotonic() + TICKET_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(send, *refusal)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _guarded(message["headers"])}
            await send(message)

        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str, dict[bytes, bytes]] | None:
        headers = scope["headers"]
        if _only(headers, b"host") not in self._hosts:
            return _refuse(HTTPStatus.FORBIDDEN, "this address is not the app's: open the one that it printed")
        if any(value not in self._origins for name, value in headers if name == b"origin"):
            return _refuse(HTTPStatus.FORBIDDEN, "a request of another page: refused")
        method, path = scope["method"], scope["path"].encode("utf-8", "surrogatepass")
        if method not in ("GET", "POST"):
            return HTTPStatus.METHOD_NOT_ALLOWED, "expected GET or POST", {b"allow": b"GET, POST"}
        first, slash, rest = path.removeprefix(b"/").partition(b"/")
        if path == b"/":
            return HTTPStatus.OK, "roentmod-fast app runs here: open the address that it printed", {}
        if self._ticket and same(first, self._ticket) and self._redeems(scope):
            self._ticket = b""
            return HTTPStatus.SEE_OTHER, "", {b"location": b"/" + self._token + b"/"}
        if not same(first, self._token):
            return _refuse(HTTPStatus.NOT_FOUND, "nothing here: open the address that roentmod-fast app printed")
        if not slash:
            return HTTPStatus.SEE_OTHER, "", {b"location": b"/" + self._token + b"/"}
        site, mode = _only(headers, b"sec-fetch-site"), _only(headers, b"sec-fetch-mode")
        opens = method == "GET" and not rest and mode == b"navigate"
        if site not in (None, b"same-origin") and not opens and (site != b"none" or method == "POST"):
            return _refuse(HTTPStatus.FORBIDDEN, "a request of another page: refused")
        if method == "POST" and not same(_only(headers, HEADER) or b"", self._token):
            return _refuse(HTTPStatus.FORBIDDEN, "a change without the header X-Roentmod: refused")
        return None

    def _redeems(self, scope: Scope) -> bool:
        return time.monotonic() < self._ticket_ends and is_own(scope.get("client"), scope.get("server"))


def _only(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of a header, None where it is absent; of one that comes twice what is equal to nothing."""
    values = [value for each, value in headers if each == name]
    return values[0] if len(values) == 1 else b"\0" if values else None


def _refuse(status: HTTPStatus, why: str) -> tuple[HTTPStatus, str, dict[bytes, bytes]]:
    return status, why, {}


def _guarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    own = {**_ALWAYS, b"content-security-policy": PASSIVE.encode()}
    given = list(headers)
    return [*given, *((name, value) for name, value in own.items() if name not in {each for each, _ in given})]


async def _answer(send: Send, status: HTTPStatus, text: str, headers: dict[bytes, bytes]) -> None:
    if status == HTTPStatus.OK:
        kind, body = b"text/plain; charset=utf-8", text.encode()
    else:
        kind, body = b"application/json", json.dumps({"error": text}).encode() if text else b""
    own = {b"content-type": kind, b"content-length": str(len(body)).encode(), b"connection": b"close", **headers}
    await send({"type": "http.response.start", "status": int(status), "headers": _guarded(own.items())})
    await send({"type": "http.response.body", "body": body})
