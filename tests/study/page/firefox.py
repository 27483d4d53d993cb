"""Drive headless Firefox by Marionette, its own protocol for WebDriver's commands, with the standard library alone.

A message is ``length:[type, id, ...]`` in JSON: https://firefox-source-docs.mozilla.org/remote/marionette/Protocol.html
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.study.page.browser import Browser

FIREFOX = shutil.which("firefox") or shutil.which("firefox-esr")

PREFERENCES = {
    "marionette.port": 0,
    "app.update.auto": False,
    "browser.download.folderList": 2,
    "browser.download.alwaysOpenPanel": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    # Headless Firefox knows no mouse, and would say that no pointer hovers.
    "ui.primaryPointerCapabilities": 6,
}

DROP = """
const [picker, x, y] = arguments, data = new DataTransfer();
for (const file of picker.files) data.items.add(file);
picker.remove();
for (const type of ["dragenter", "dragover", "drop"]) {
  const event = new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true});
  document.elementFromPoint(x, y).dispatchEvent(event);
}
"""
REQUESTS = """
const found = ["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind))
  .filter(entry => performance.timeOrigin + entry.startTime >= arguments[0])
  .map(entry => entry.name === "document" ? location.href : entry.name);
return [performance.timeOrigin + performance.now(), found];
"""
MESSAGES = """
const found = Services.console.getMessageArray()
  .filter(m => m instanceof Ci.nsIScriptError && /^(http|file|blob):/.test(m.sourceName)).map(m => m.message);
Services.console.reset();
return found;
"""


class Firefox(Browser):
    """One session of Firefox; ``profile``: a folder that it may fill."""

    def __init__(self, size: tuple[int, int], profile: Path) -> None:
        self._size, self._profile = size, profile
        self._asked_ms = 0.0
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        self._start()

    def _start(self) -> None:
        port_file = self._profile / "MarionetteActivePort"
        port_file.unlink(missing_ok=True)
        command = [str(FIREFOX), "--marionette", "--remote-allow-system-access", "--headless", "--no-remote"]
        self._process = subprocess.Popen(
            [*command, "--profile", str(self._profile)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._profile)},
        )
        until = time.monotonic() + 60
        while not (port_file.is_file() and port_file.read_text().strip()):
            assert time.monotonic() < until and self._process.poll() is None, "Firefox did not start"
            time.sleep(0.05)
        self._socket = socket.create_connection(("127.0.0.1", int(port_file.read_text())), timeout=60)
        self._stream = self._socket.makefile("rb")
        self._receive()
        self._number = 0
        self._command("NewSession")
        width, height = self._size
        self._command("SetWindowRect", x=0, y=0, width=width, height=height)

    def _receive(self) -> Any:
        length = b""
        while (byte := self._stream.read(1)) != b":":
            assert byte, "Firefox ended"
            length += byte
        return json.loads(self._stream.read(int(length)))

    def _send(self, name: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        body = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(f"{len(body)}:".encode() + body)
        _, number, error, result = self._receive()
        assert number == self._number
        assert error is None, error["message"]
        return result

    def _command(self, name: str, **parameters: Any) -> Any:
        result = self._send(f"WebDriver:{name}", parameters)
        return result["value"] if isinstance(result, dict) and "value" in result else result

    def restart(self) -> None:
        """End the browser's process and start another with the same profile."""
        self.close()
        self._start()

    def system(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript with the rights of the browser itself."""
        self._send("Marionette:SetContext", {"value": "chrome"})
        try:
            return self.run(script, *arguments)
        finally:
            self._send("Marionette:SetContext", {"value": "content"})

    def drop(self, paths: Sequence[Path], at: tuple[int, int] = (300, 300)) -> None:
        """Drop files on the page by events of a script, as Marionette has no command for it; a folder as its files."""
        self.run(
            "const e = document.createElement('input'); document.body.append(e);"
            "Object.assign(e, {id: 'dropped', type: 'file', multiple: true});"
        )
        for path in paths:
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                self.choose_file("#dropped", file)
        self.run(f"((...arguments) => {{{DROP}}})(document.getElementById('dropped'), ...arguments)", *at)

    def download_to(self, folder: Path) -> None:
        """Let downloads go to a folder, without a question."""
        self.system("Services.prefs.setStringPref('browser.download.dir', arguments[0])", str(folder))

    def requests(self) -> list[str]:
        """Return the addresses that the page requested since the last call, but for data."""
        self._asked_ms, found = self.run(REQUESTS, self._asked_ms)
        return [address for address in found if not address.startswith(("data:", "blob:", "about:"))]

    def messages(self) -> list[str]:
        """Return the messages of the console since the last call, of level warning and above."""
        found: list[str] = self.system(MESSAGES)
        return found

    def close(self) -> None:
        """End the session and the process."""
        with contextlib.suppress(AssertionError, OSError):
            self._send("Marionette:Quit", {"flags": ["eForceQuit"]})
        self._stream.close()
        self._socket.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)


@contextlib.contextmanager
def firefox(size: tuple[int, int] = (1280, 800)) -> Iterator[Firefox]:
    """Open a browser with a profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Firefox(size, Path(profile))
        try:
            yield browser
        finally:
            browser.close()
