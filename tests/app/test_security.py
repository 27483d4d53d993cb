"""Who is answered: the page with the token, and no other page, host, program or user."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from roentmod_fast.app import peer, security
from roentmod_fast.app.run import listen
from roentmod_fast.errors import SettingError

from .conftest import Served, eventually, serve

READS = ("", "api/sitting", "api/film/ab", "api/result/ab", "api/command/ab", "api/events")
CHANGES = ("open", "force", "demo", "edit", "stop", "save", "close", "quit")


def raw(served: Served, request: bytes) -> bytes:
    """Send bytes as they are and return the first line of the answer."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(request)
        return connection.makefile("rb").readline()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "0.0.0.0:{port}",
    ],
)
@pytest.mark.parametrize("path", ["/", "/{token}/", "/{token}/api/sitting"])
def test_another_host_is_refused_as_dns_rebinding_is(served: Served, host: str, path: str) -> None:
    path = path.format(token=served.token)
    answer = served.request("GET", path, headers={"Host": host.format(port=served.port)})
    assert answer.status == 403 and served.token not in answer.body.decode()
    answer = served.request("POST", path, b"{}", {**served.own_headers(), "Host": host.format(port=served.port)})
    assert answer.status == 403


def test_no_host_and_two_hosts_are_refused(served: Served) -> None:
    path = f"GET /{served.token}/ HTTP/1.1\r\n".encode()
    own = f"Host: 127.0.0.1:{served.port}\r\n".encode()
    assert b" 200 " in raw(served, path + own + b"Connection: close\r\n\r\n")
    for hosts in (b"", own + b"Host: evil.example\r\n", own + own):
        assert re.search(rb" 40[03] ", raw(served, path + hosts + b"Connection: close\r\n\r\n")), hosts
    assert b" 403 " in raw(served, f"GET /{served.token}/ HTTP/1.0\r\n\r\n".encode())


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}", ""]
)
def test_another_origin_is_refused_with_the_token_too(served: Served, origin: str, chest: Path) -> None:
    headers = {**served.own_headers(), "Origin": origin.format(port=served.port)}
    assert served.request("GET", f"/{served.token}/api/sitting", headers=headers).status == 403
    answer = served.request("POST", f"/{served.token}/api/open?name=a", chest.read_bytes(), headers)
    assert answer.status == 403 and "access-control-allow-origin" not in answer.headers
    assert served.files() == set()


def test_a_preflight_request_is_refused(served: Served) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = served.request("OPTIONS", f"/{served.token}/api/quit", headers=headers)
    assert answer.status == 403 and not any(name.startswith("access-control") for name in answer.headers)
    assert served.request("OPTIONS", f"/{served.token}/api/quit", headers=served.own_headers()).status == 405


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "something"])
def test_requests_of_other_sites_are_refused_by_fetch_metadata(served: Served, site: str) -> None:
    headers = {**served.own_headers(), "Sec-Fetch-Site": site}
    for change in CHANGES:
        assert served.request("POST", f"/{served.token}/api/{change}", b"{}", headers).status == 403
    image = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    allowed = site == "none"  # an address that was typed
    assert (served.request("GET", f"/{served.token}/api/sitting", headers=image).status == 200) is allowed
    assert (served.request("GET", f"/{served.token}/", headers=image).status == 200) is allowed
    # A link in a notebook's terminal leads to the page, and a page cannot read what another one opened.
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert served.request("GET", f"/{served.token}/", headers=link).status == 200


def test_without_the_token_there_is_nothing(served: Served) -> None:
    assert served.request("GET", "/").status == 200
    for token in ("a" * 64, served.token[:-1], served.token + "a", served.token.upper() + "A", "%C3%A9", "%2e%2e"):
        for path in READS:
            answer = served.request("GET", f"/{token}/{path}")
            assert answer.status == 404, (token, path)
            assert served.token not in answer.body.decode()
    for path in ("/api/sitting", "//api/sitting", "/docs", "/openapi.json", "/favicon.ico", "/../" + served.token):
        assert served.request("GET", path).status == 404, path


def test_the_token_is_compared_in_constant_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def noted(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return compare(given, expected)

    monkeypatch.setattr(security.hmac, "compare_digest", noted)
    assert served.request("GET", f"/{'b' * 64}/").status == 404
    assert (b"b" * 64, served.token.encode()) in compared
    assert served.post("api/stop", {"job": "x"}).status == 404  # no such job: the request itself was let in
    assert compared.count((served.token.encode(), served.token.encode())) == 2


def test_tokens_differ_and_are_long() -> None:
    tokens = {security.new_token() for _ in range(100)}
    assert len(tokens) == 100 and all(re.fullmatch("[0-9a-f]{64}", token) for token in tokens)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_without_the_header_is_refused(served: Served, change: str) -> None:
    """A form of another page can send a POST, but no header of its own."""
    for headers in (
        {},
        {"Content-Type": "text/plain"},
        {"X-Roentmod": "a" * 64},
        {"X-Roentmod": ""},
        {"Origin": served.origin},
    ):
        assert served.request("POST", f"/{served.token}/api/{change}", b"{}", headers).status == 403
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = served.request(method, f"/{served.token}/api/{change}", headers=served.own_headers())
        assert answer.status == 405


def test_every_answer_forbids_what_a_browser_would_do_beside_showing_it(served: Served) -> None:
    answers = [served.get(path) for path in ("", "api/sitting", "api/film/none", "nothing")]
    answers += [served.request("GET", "/none/"), served.request("GET", "/"), served.post("api/edit", b"[]")]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer" and answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers and "access-control-allow-origin" not in answer.headers


def test_the_pages_policy_has_no_exception(served: Served) -> None:
    answer = served.get("")
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert (
        policy["default-src"] == "'none'" and policy["connect-src"] == "'self'" and policy["img-src"] == "data: blob:"
    )
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/=]+'", policy["script-src"]) and re.fullmatch(
        r"'sha256-[\w+/=]+'", policy["style-src"]
    )
    text = answer.body.decode()
    assert not re.search(r"\son\w+=|\sstyle=|javascript:|https?://(?!www\.w3\.org)", text.partition("<script")[0])
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    from roentmod_fast.study.page.html import source_hash

    assert policy["style-src"] == source_hash(style) and policy["script-src"] == source_hash(script)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_user_of_a_connection_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str) -> None:
    if not Path(peer.TABLES[0]).exists():
        pytest.skip("needs /proc/net/tcp")
    try:
        listening = listen(host)
    except SettingError:
        pytest.skip(f"needs {host}")
    with contextlib.closing(listening), socket.create_connection(listening.getsockname()[:2], timeout=20) as client:
        ends = client.getsockname(), client.getpeername()
        assert peer.is_own(*ends)
        assert not peer.is_own((host, 1), ends[1]) and not peer.is_own(None, None)
        uid = os.getuid()
        monkeypatch.setattr(peer.os, "getuid", lambda: uid + 1)
        assert peer.is_own(*ends) is (uid == peer.ROOT)
        monkeypatch.setattr(peer, "ROOT", -1)
        assert not peer.is_own(*ends)
        empty = tmp_path / "tcp"
        empty.write_text("  sl  local_address rem_address   st\n")
        monkeypatch.setattr(peer, "TABLES", (empty, empty))
        assert peer.is_own(*ends), "a sandbox's table"


def test_the_ticket_is_kept_for_its_user_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def redeemed(guard: security.Guard) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/once", "headers": [(b"host", b"a")]}
        await guard(scope, None, send)  # type: ignore[arg-type]
        return int(sent[0]["status"])

    def guard() -> security.Guard:
        return security.Guard(None, "token", ["a"], "once")  # type: ignore[arg-type]

    kept = guard()
    monkeypatch.setattr(security, "is_own", lambda client, server: False)
    assert asyncio.run(redeemed(kept)) == 404
    monkeypatch.setattr(security, "is_own", lambda client, server: True)
    assert [asyncio.run(redeemed(kept)) for _ in range(2)] == [303, 404], "another user's try does not use it up"
    monkeypatch.setattr(security, "TICKET_SECONDS", 0.0)
    assert asyncio.run(redeemed(guard())) == 404


def test_the_ticket_for_the_browsers_command_line_works_once(tmp_path: Path) -> None:
    with serve(tmp_path) as served:  # one that has just started
        ticket = served.app.ticket
        assert ticket and ticket != served.token
        assert served.request("GET", f"/{ticket}/api/sitting", headers={"Host": "evil.example"}).status == 403
        first = served.request("GET", f"/{ticket}")
        assert first.status == 303 and first.headers["location"] == f"/{served.token}/"
        assert served.request("GET", f"/{ticket}").status == 404


def test_the_address_without_its_last_slash_leads_to_the_page(served: Served) -> None:
    answer = served.request("GET", f"/{served.token}")
    assert answer.status == 303 and answer.headers["location"] == f"/{served.token}/"


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "192.168.1.7", "example.org", "", "::ffff:127.0.0.1", "127.0.0.1:80"]
)
def test_it_listens_on_loopback_alone(address: str) -> None:
    with pytest.raises(SettingError, match="this machine"):
        security.loopback_address(address)


@pytest.mark.parametrize(
    ("address", "expected"), [("localhost", "127.0.0.1"), ("::1", "::1"), ("127.0.0.2", "127.0.0.2")]
)
def test_loopback_has_several_addresses(address: str, expected: str) -> None:
    assert security.loopback_address(address) == expected
    assert f"localhost:{8000}" in security.hosts_of(expected, 8000)


def test_a_websocket_is_not_accepted(served: Served) -> None:
    head = f"GET /{served.token}/api/events HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YQ==\r\n\r\n"
    )
    assert b" 101 " not in raw(served, (head + upgrade).encode())
    eventually(lambda: len(served.app.events) == 0)


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"film": NaN', json.dumps({"film": 1}).encode()],
)
def test_requests_that_make_no_sense_are_answered_in_one_line(served: Served, body: bytes) -> None:
    for change in ("force", "edit", "save", "close", "stop"):
        answer = served.post(f"api/{change}", body)
        assert answer.status in (404, 422), (change, body[:20])
        assert "\n" not in answer.json()["error"] and "Traceback" not in answer.body.decode()
