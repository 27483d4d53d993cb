"""Drive headless Chromium by chromedriver's WebDriver protocol (W3C), with the standard library alone."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
REASON = f"needs headless Chromium (Debian: chromium chromium-driver), not found: {', '.join(MISSING)}"

FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--force-device-scale-factor=1",
)
SPECIAL = {
    "ArrowUp": "\ue013",
    "ArrowDown": "\ue015",
    "ArrowLeft": "\ue012",
    "ArrowRight": "\ue014",
    "Escape": "\ue00c",
    "Shift": "\ue008",
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Backspace": "\ue003",
    "Delete": "\ue017",
}


class Browser:
    """One session of Chromium."""

    def __init__(self, port: int, size: tuple[int, int], profile: str) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self._size, self._profile = size, profile
        self._start()

    def _start(self) -> None:
        # A sandbox of its own needs rights that root in a container has not.
        root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
        arguments = [*FLAGS, *root, *self._own_flags()]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def _own_flags(self) -> tuple[str, str]:
        return f"--window-size={self._size[0]},{self._size[1]}", f"--user-data-dir={self._profile}"

    def restart(self) -> None:
        """End the browser's process and start another with the same profile."""
        self.close()
        self._start()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error

    def open(self, path: Path) -> None:
        """Load a file by its file: address."""
        self.visit(path.resolve().as_uri())

    def visit(self, address: str) -> None:
        """Load an address."""
        self._call("POST", f"{self._session}/url", {"url": address})

    def drop(self, paths: Sequence[Path], at: tuple[int, int] = (300, 300)) -> None:
        """Drop files and folders on the page, as from a file manager."""
        data = {"items": [], "files": [str(path.resolve()) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.protocol("Input.dispatchDragEvent", type=kind, x=at[0], y=at[1], data=data)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript; return what it returns."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str, seconds: float = 20) -> Any:
        """Wait until an expression is true; return its value."""
        until = time.monotonic() + seconds
        while not (value := self.run(f"return {condition}")):
            assert time.monotonic() < until, f"{condition}: not within {seconds} s; {self.messages()}"
            time.sleep(0.02)
        return value

    def key(self, key: str, *, shift: bool = False, hold: bool = False) -> None:
        """Press a key and release it, unless it is held."""
        value = SPECIAL.get(key, key)
        steps = [{"type": "keyDown", "value": value}]
        steps += [] if hold else [{"type": "keyUp", "value": value}]
        if shift:
            steps = [
                {"type": "keyDown", "value": SPECIAL["Shift"]},
                *steps,
                {"type": "keyUp", "value": SPECIAL["Shift"]},
            ]
        self._actions({"type": "key", "id": "keys", "actions": steps})

    def type(self, text: str) -> None:
        """Press and release the keys of a text one after the other."""
        steps = [{"type": kind, "value": character} for character in text for kind in ("keyDown", "keyUp")]
        self._actions({"type": "key", "id": "keys", "actions": steps})

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file for an input."""
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        [element] = found.values()
        self._call("POST", f"{self._session}/element/{element}/value", {"text": str(path.resolve())})

    def protocol(self, command: str, **parameters: Any) -> Any:
        """Run a command of the DevTools protocol."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def tab(self) -> str:
        """Return the tab that is driven."""
        return str(self._call("GET", f"{self._session}/window"))

    def new_tab(self) -> str:
        """Open another tab and drive it."""
        handle = str(self._call("POST", f"{self._session}/window/new", {"type": "tab"})["handle"])
        self.switch(handle)
        return handle

    def switch(self, tab: str) -> None:
        """Drive another tab."""
        self._call("POST", f"{self._session}/window", {"handle": tab})

    def close_tab(self, then: str) -> None:
        """Close the tab that is driven and drive another."""
        self._call("DELETE", f"{self._session}/window")
        self.switch(then)

    def release(self) -> None:
        """Release what is held."""
        self._call("DELETE", f"{self._session}/actions")

    def drag(self, start: tuple[int, int], end: tuple[int, int], button: int = 0) -> None:
        """Drag the mouse from one place of the window to another."""
        move = {"type": "pointerMove", "duration": 0}
        steps = [
            {**move, "x": start[0], "y": start[1]},
            {"type": "pointerDown", "button": button},
            {**move, "x": end[0], "y": end[1]},
            {"type": "pointerUp", "button": button},
        ]
        self._actions({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps})

    def move(self, to: tuple[int, int]) -> None:
        """Move the mouse."""
        steps = [{"type": "pointerMove", "duration": 0, "x": to[0], "y": to[1]}]
        self._actions({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps})

    def wheel(self, at: tuple[int, int], delta: int) -> None:
        """Turn the wheel."""
        step = {
            "type": "scroll",
            "x": at[0],
            "y": at[1],
            "deltaX": 0,
            "deltaY": delta,
            "duration": 0,
            "origin": "viewport",
        }
        self._actions({"type": "wheel", "id": "wheel", "actions": [step]})

    def _actions(self, source: dict[str, Any]) -> None:
        self._call("POST", f"{self._session}/actions", {"actions": [source]})

    def screenshot(self, path: Path) -> None:
        """Write what is shown as PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))

    def requests(self) -> list[str]:
        """Return the addresses that were requested since the last call, but for the browser's own and data."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        found = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [address for address in found if not address.startswith(("data:", "blob:", "chrome:"))]

    def messages(self) -> list[str]:
        """Return the messages of the console since the last call, of level warning and above."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def close(self) -> None:
        """End the session."""
        self._call("DELETE", self._session)


@contextlib.contextmanager
def chromium(size: tuple[int, int] = (1280, 800)) -> Iterator[Browser]:
    """Start chromedriver on a free port and open a browser without a profile."""
    command = [str(shutil.which("chromedriver")), "--port=0"]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver,
    ):
        try:
            assert driver.stdout is not None
            for line in driver.stdout:
                if "on port" in line and "started successfully" in line:
                    port = int(line.rsplit("port", 1)[1].strip(" .\n"))
                    break
            else:
                raise AssertionError("chromedriver did not start")
            browser = Browser(port, size, profile)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()
            driver.wait(10)
