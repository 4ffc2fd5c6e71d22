"""Debian's Chromium without a window, driven by its DevTools protocol over pipes: clicks, keys, colours, widths."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

PROGRAM = shutil.which("chromium")
_SWITCHES = (
    "headless no-sandbox disable-gpu disable-dev-shm-usage no-first-run no-proxy-server remote-debugging-pipe "
    "disable-background-networking disable-component-update disable-sync hide-scrollbars"
)
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40, "ArrowUp": 38, "Escape": 27}


def needed() -> None:
    """Skip the test, or under CI fail it, where there is no browser."""
    if PROGRAM:
        return
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail("chromium is not installed")
    pytest.skip("chromium is not installed")


class Browser:
    """One page in a browser of its own; leaving the `with` block ends it.

    Attributes:
        complaints: what the browser has logged as errors: of scripts, blocked by the page's policy, files not found.
        asked: the URLs that the page has requested.
    """

    def __init__(self, folder: Path, width: int = 1400, dark: bool = False) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._folder = folder
        self._width = width
        self._dark = dark
        self._number = 0
        self._rest = b""
        self._session = ""

    def __enter__(self) -> Browser:
        ours, theirs = zip(*map(_pipe, (True, False)), strict=True)
        self._sink, self._source = ours

        def connect() -> None:
            os.dup2(theirs[0], 3)
            os.dup2(theirs[1], 4)

        words = [PROGRAM or "", *(f"--{name}" for name in _SWITCHES.split())]
        words += [f"--user-data-dir={self._folder / 'profile'}", "about:blank"]
        with (self._folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, start_new_session=True, preexec_fn=connect, pass_fds=(3, 4)
            )
        for number in theirs:
            os.close(number)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(self._width)
        self.colour(self._dark)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._sink)
        os.close(self._source)

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page this width, in CSS pixels."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def colour(self, dark: bool) -> None:
        """Let the page know that its reader wants it dark, or light."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, url: str) -> None:
        """Open a page."""
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; what it promises is awaited."""
        found = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{script}\n{found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, script: str, timeout: float = 30.0) -> Any:
        """Wait until an expression is true; its value. While a page is left or comes, expressions may fail."""

        def look() -> Any:
            with contextlib.suppress(AssertionError):
                return self.run(script)

        return eventually(look, lambda: f"{script}\n{self.told()}", timeout)

    def told(self) -> str:
        """What the page shows, and what the browser says of it."""
        return "\n".join([*self.complaints, str(self.run("document.body.innerText"))[:3000]])

    def click(self, selector: str) -> None:
        """Click the middle of the first element of this selector that is seen, as a mouse does."""
        self.wait(f"!!{_seen(selector)}")
        self.run(f"{_seen(selector)}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = json.loads(self.run(f"JSON.stringify({_seen(selector)}.getBoundingClientRect())"))
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, **place)

    def press(self, key: str) -> None:
        """Press a key."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        names = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": _KEYS[key]}
        self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **names)
        self._call("Input.dispatchKeyEvent", type="keyUp", **names)

    def tab_to(self, selector: str, most: int = 60) -> None:
        """Press Tab until an element of this selector has the focus."""
        for _ in range(most):
            self.press("Tab")
            if self.run(f"!!document.activeElement && document.activeElement.matches({json.dumps(selector)})"):
                return
        raise AssertionError(f"{most} times Tab do not lead to {selector}\n{self.told()}")

    def screenshot(self, path: Path) -> None:
        """Keep how the page looks."""
        data = self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._sink, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._source, 1 << 20)
            assert part, (self._folder / "chromium.log").read_text(errors="replace")[-2000:]
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.asked.append(parameters["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"])[:1000])
        elif event.get("method") == "Log.entryAdded" and _is_complaint(parameters["entry"]):
            self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.complaints.append(json.dumps(parameters["args"])[:1000])


def _is_complaint(entry: dict[str, Any]) -> bool:
    """Whether the browser logs an error of the page; an answer of the API with a status of 400 or more is none."""
    answered = entry["text"].startswith("Failed to load resource: the server responded with a status of")
    return entry["level"] == "error" and not (answered and "/docs" not in entry.get("url", ""))


def _seen(selector: str) -> str:
    """An expression: the first element that takes room on the page."""
    return f"[...document.querySelectorAll({json.dumps(selector)})].find((one) => one.offsetParent !== null)"


def _pipe(writes: bool) -> tuple[int, int]:
    """The end of a pipe that is ours, and the browser's, which is none of the numbers that it expects."""
    source, sink = os.pipe()
    ours, theirs = (sink, source) if writes else (source, sink)
    moved = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(theirs)
    return ours, moved
