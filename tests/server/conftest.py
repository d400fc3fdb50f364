"""A server on loopback: in a thread of the test, or as the command that people type."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import uvicorn
from starlette.applications import Starlette

Served: TypeAlias = Callable[[Starlette], AbstractContextManager[str]]
Started: TypeAlias = Callable[..., AbstractContextManager[list[str]]]


@contextmanager
def _served(app: Starlette) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        give_up = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < give_up:
            time.sleep(0.01)
        assert server.started, "the server did not start"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def served() -> Served:
    """Gives the URL at which an application answers while a block lasts."""
    return _served


@contextmanager
def _started(home: Path, *options: object) -> Iterator[list[str]]:
    command = [sys.executable, "-m", "researchpacs", "--home", str(home), "serve", "--port", "0", *map(str, options)]
    count = 2 + ("--ohif" in options) + ("--dimse-port" in options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield [process.stdout.readline().strip() for _ in range(count)]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def started() -> Started:
    """Gives the lines that `researchpacs serve` prints for a home and options; it runs while a block lasts."""
    return _started
