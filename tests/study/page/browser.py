"""A browser that tests drive by the commands of WebDriver (W3C)."""

from __future__ import annotations

import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


GREY = """
const s = SHOWN.state, c = document.getElementById("view");
SHOWN.draw();
const at = (x, y) => [...c.getContext("2d").getImageData(
  Math.round(c.width / 2 + (x - s.x) * s.zoom), Math.round(c.height / 2 + (y - s.y) * s.zoom), 1, 1).data].slice(0, 3);
return arguments[0].map(([x, y]) => at(x, y));
"""


class Browser(ABC):
    """One session of a browser."""

    @abstractmethod
    def _command(self, name: str, **parameters: Any) -> Any:
        """Carry out a command of WebDriver; return its value. Raises AssertionError with the browser's words."""

    @abstractmethod
    def restart(self) -> None:
        """End the browser's process and start another with the same profile."""

    @abstractmethod
    def drop(self, paths: Sequence[Path], at: tuple[int, int] = (300, 300)) -> None:
        """Drop files on the page."""

    @abstractmethod
    def download_to(self, folder: Path) -> None:
        """Let downloads go to a folder, without a question."""

    @abstractmethod
    def requests(self) -> list[str]:
        """Return the addresses that were requested since the last call, but for the browser's own and data."""

    @abstractmethod
    def messages(self) -> list[str]:
        """Return the messages of the console since the last call, of level warning and above."""

    @abstractmethod
    def close(self) -> None:
        """End the session."""

    def open(self, path: Path) -> None:
        """Load a file by its file: address."""
        self.visit(path.resolve().as_uri())

    def downloaded(self, folder: Path, pattern: str, seconds: float = 20) -> Path:
        """Wait for a download to end; return its file, the first whose name matches."""
        until = time.monotonic() + seconds
        while True:
            partial = [*folder.glob("*.part"), *folder.glob("*.crdownload")]
            found = [path for path in sorted(folder.glob(pattern)) if path.stat().st_size]
            if found and not partial:
                return found[0]
            assert time.monotonic() < until, f"{pattern}: not downloaded within {seconds} s"
            time.sleep(0.02)

    def show(self, path: Path) -> None:
        """Load a page of the project and wait until it shows its first image."""
        self.open(path)
        assert self.wait("document.body.dataset.open || document.body.dataset.failed") == "yes"
        self.wait("document.body.dataset.ready")

    def visit(self, address: str) -> None:
        """Load an address."""
        self._command("Navigate", url=address)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript; return what it returns."""
        return self._command("ExecuteScript", script=script, args=list(arguments))

    def grey(self, shown: str, points: Sequence[tuple[int, int]]) -> list[list[int]]:
        """Return red, green and blue on screen at pixels (x, y) of the image; ``shown``: what holds view and state."""
        found: list[list[int]] = self.run(GREY.replace("SHOWN", shown), points)
        return found

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
        found = self._command("FindElement", using="css selector", value=selector)
        [element] = found.values()
        self._command("ElementSendKeys", id=element, text=str(path.resolve()))

    def tab(self) -> str:
        """Return the tab that is driven."""
        return str(self._command("GetWindowHandle"))

    def new_tab(self) -> str:
        """Open another tab and drive it."""
        handle = str(self._command("NewWindow", type="tab")["handle"])
        self.switch(handle)
        return handle

    def switch(self, tab: str) -> None:
        """Drive another tab."""
        self._command("SwitchToWindow", handle=tab)

    def close_tab(self, then: str) -> None:
        """Close the tab that is driven and drive another."""
        self._command("CloseWindow")
        self.switch(then)

    def release(self) -> None:
        """Release what is held."""
        self._command("ReleaseActions")

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
        self._command("PerformActions", actions=[source])

    def screenshot(self, path: Path) -> None:
        """Write what is shown as PNG."""
        path.write_bytes(base64.b64decode(self._command("TakeScreenshot")))
