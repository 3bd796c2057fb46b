"""A real browser that shows pages: Chromium without a window, driven by its DevTools protocol."""

import asyncio
import base64
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")


@dataclass
class Tab:
    """One open page, the URLs that it requested, and the errors and warnings that it logged."""

    socket: aiohttp.ClientWebSocketResponse
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _calls: int = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result. Record the events that come meanwhile."""
        self._calls += 1
        await self.socket.send_json({"id": self._calls, "method": method, "params": params})
        while True:
            message = await self.socket.receive_json(timeout=60)
            if message.get("id") == self._calls:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" or params.get("type") in ("error", "warning"):
            self.complaints.append(str(params))

    async def show(self, page: Path, width: int, dark: bool, height: int = 900) -> None:
        """Load a page from a file on a screen of this width, and wait until it is drawn."""
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.call("Page.navigate", url=page.as_uri())
        drawn = "new Promise(done => requestAnimationFrame(() => setTimeout(() => done(document.readyState), 0)))"
        while await self.evaluate(drawn) != "complete":
            await asyncio.sleep(0.02)

    async def evaluate(self, script: str) -> Any:
        """Evaluate JavaScript in the page and return its value. If it is a promise, await it."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def busy_seconds(self) -> float:
        """Return how long the page's thread has been busy since it began; call `Performance.enable` first."""
        answer = await self.call("Performance.getMetrics")
        return float(next(metric["value"] for metric in answer["metrics"] if metric["name"] == "TaskDuration"))

    async def picture(self) -> bytes:
        """Take a PNG of the whole page, from top to bottom."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """Start a browser with one empty page; end it on exit."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={home}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(home) / "DevToolsActivePort", process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    (target,) = [target for target in await answer.json() if target["type"] == "page"]
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Tab(socket)
        finally:
            process.terminate()
            process.wait()


async def _port(file: Path, process: "subprocess.Popen[bytes]") -> int:
    for _ in range(600):
        if file.is_file() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        assert process.poll() is None, "the browser must start, but it ended"
        await asyncio.sleep(0.05)
    raise AssertionError("the browser must answer, but it did not within half a minute")
