"""A real JupyterLab on loopback, driven by a real Chromium.

The server sends the strictest policy for scripts that JupyterLab itself works with: nothing from elsewhere can load.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page, Playwright, WebSocket, sync_playwright

CHROMIUM = os.environ.get("RESEARCHPACS_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_S = 90
POLICY = "script-src 'self' blob: 'unsafe-eval'; default-src 'self' data: blob: ws: 'unsafe-inline'"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Server]":
    """A running JupyterLab."""
    with serving(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Playwright; while it runs, nothing else in this thread may run an event loop."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Chromium with software WebGL."""
    with launched(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def chromium_without_webgl(playwright: Playwright) -> Iterator[Browser]:
    """Chromium that refuses WebGL."""
    with launched(playwright, "--disable-3d-apis") as browser:
        yield browser


@pytest.fixture(scope="session")
def opened() -> "Callable[..., contextlib.AbstractContextManager[Notebook]]":
    """Open a notebook of cells: server, browser, cells to a context manager that gives a `Notebook`."""
    return _opened


@dataclass
class Server:
    """A running JupyterLab."""

    url: str
    token: str
    folder: Path

    def write(self, name: str, cells: Sequence[str]) -> None:
        """Save a notebook of code cells."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)

    def request(self, path: str, method: str = "GET") -> Any:
        """Ask the server's API."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            body = response.read()
        return json.loads(body) if body else None

    def end_kernels(self) -> None:
        """Kernels outlive their page."""
        for session in self.request("api/sessions"):
            self.request(f"api/sessions/{session['id']}", "DELETE")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Start JupyterLab in a folder of its own and end it with its kernels."""
    port, token = _free_port(), secrets.token_hex(16)
    work = folder / "work"
    work.mkdir()
    settings = {f"JUPYTER_{name}": str(folder / name.lower()) for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")}
    source = str(Path(__file__).parents[2] / "src")
    path = os.pathsep.join(part for part in (source, os.environ.get("PYTHONPATH")) if part)
    _write_settings(folder / "config_dir")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={work}", "--ServerApp.port_retries=0"]
    headers = json.dumps({"headers": {"Content-Security-Policy": POLICY}})
    command += ["--LabApp.expose_app_in_browser=True", f"--ServerApp.tornado_settings={headers}"]
    with (folder / "lab.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=work, env={**os.environ, **settings, "PYTHONPATH": path}, stdout=log, stderr=log
        )
        server = Server(f"http://127.0.0.1:{port}/", token, work)
        try:
            _wait_until_up(server, process, folder / "lab.log")
            yield server
            server.end_kernels()
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def launched(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    """Start Debian's Chromium."""
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, chromium_sandbox=False, args=[*CHROMIUM_FLAGS, *flags]
    )
    yield browser
    browser.close()


@dataclass
class Notebook:
    """A notebook open in a page."""

    page: Page
    problems: list[str] = field(default_factory=list)
    received: int = 0
    """Bytes that came over the page's websockets."""

    def run_code(self, code: str, *, wait: bool = True) -> None:
        """Run code in the notebook's last cell, its former output gone."""
        self.page.evaluate(
            """async (code) => {
                const { content } = window.jupyterapp.shell.currentWidget;
                content.activeCellIndex = content.widgets.length - 1;
                content.activeCell.model.sharedModel.setSource(code);
                await window.jupyterapp.commands.execute("notebook:clear-cell-output");
            }""",
            code,
        )
        self.run(self.page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.length - 1"), wait=wait)

    def run(self, cell: int, *, wait: bool = True) -> None:
        """Run a cell; not to wait returns while it runs."""
        self.page.evaluate(
            """async ([cell, wait]) => {
                const panel = window.jupyterapp.shell.currentWidget;
                panel.content.activeCellIndex = cell;
                const done = window.jupyterapp.commands.execute("notebook:run-cell");
                if (wait) await done;
            }""",
            [cell, wait],
        )

    def ask(self, expression: str) -> Any:
        """Value of a Python expression in the notebook's kernel, through JSON."""
        code = f"import json as _json; print(_json.dumps({expression}))"
        text = self.page.evaluate(
            """async (code) => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                let text = "";
                const future = kernel.requestExecute({ code, silent: false, store_history: false });
                future.onIOPub = (message) => {
                    if (message.header.msg_type === "stream") text += message.content.text;
                    if (message.header.msg_type === "error") text += message.content.traceback.join("\\n");
                };
                await future.done;
                return text;
            }""",
            code,
        )
        try:
            return json.loads(text)
        except ValueError:
            raise AssertionError(f"{expression} gave {text}") from None


@contextlib.contextmanager
def _opened(server: Server, browser: Browser, cells: Sequence[str]) -> Iterator[Notebook]:
    """Save a notebook of these cells, open it and wait for its kernel."""
    name = f"{secrets.token_hex(4)}.ipynb"
    server.write(name, cells)
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    notebook = Notebook(page)

    def on_websocket(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: setattr(notebook, "received", notebook.received + len(frame)))

    page.on("websocket", on_websocket)
    page.goto(f"{server.url}lab/tree/{name}?token={server.token}&reset", timeout=60_000)
    page.wait_for_function(
        """() => {
            const session = window.jupyterapp?.shell.currentWidget?.sessionContext?.session;
            return session?.kernel?.connectionStatus === "connected" && session.kernel.status === "idle";
        }""",
        timeout=90_000,
    )
    # From here on: JupyterLab's own page has an inline script that the policy refuses, to no harm.
    page.on("pageerror", lambda error: notebook.problems.append(str(error)))
    page.on("console", lambda line: notebook.problems.append(line.text) if line.type == "error" else None)
    try:
        yield notebook
    finally:
        context.close()
        server.end_kernels()


def _write_settings(config: Path) -> None:
    """No question about news: it would cover what is tested, and asks the internet."""
    settings = config / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_up(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            server.request("api/status")
            return
        time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not start: {log.read_text()[-2000:]}")
