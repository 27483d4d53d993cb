"""Drive headless Chromium by chromedriver, with the standard library alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.study.page.browser import Browser

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
COMMANDS = {
    "Navigate": ("POST", "/url"),
    "ExecuteScript": ("POST", "/execute/sync"),
    "FindElement": ("POST", "/element"),
    "ElementSendKeys": ("POST", "/element/{id}/value"),
    "GetWindowHandle": ("GET", "/window"),
    "NewWindow": ("POST", "/window/new"),
    "SwitchToWindow": ("POST", "/window"),
    "CloseWindow": ("DELETE", "/window"),
    "PerformActions": ("POST", "/actions"),
    "ReleaseActions": ("DELETE", "/actions"),
    "TakeScreenshot": ("GET", "/screenshot"),
}


class Chromium(Browser):
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

    def _command(self, name: str, **parameters: Any) -> Any:
        method, path = COMMANDS[name]
        body = parameters if method == "POST" else None
        return self._call(method, f"{self._session}{path.format(**parameters)}", body)

    def drop(self, paths: Sequence[Path], at: tuple[int, int] = (300, 300)) -> None:
        """Drop files and folders on the page, as from a file manager."""
        data = {"items": [], "files": [str(path.resolve()) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.protocol("Input.dispatchDragEvent", type=kind, x=at[0], y=at[1], data=data)

    def protocol(self, command: str, **parameters: Any) -> Any:
        """Run a command of the DevTools protocol."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def download_to(self, folder: Path) -> None:
        """Let downloads go to a folder, without a question."""
        self.protocol("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

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
def chromium(size: tuple[int, int] = (1280, 800)) -> Iterator[Chromium]:
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
            browser = Chromium(port, size, profile)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()
            driver.wait(10)
