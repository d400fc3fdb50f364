"""What one turn of the event loop writes goes out in one piece, in order, and whole."""

import asyncio
from typing import Any

import pytest

from researchpacs.server.sending import Together


class Wire:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def get_write_buffer_size(self) -> int:
        return 7

    def is_closing(self) -> bool:
        return bool(self.ended)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def run(steps: Any) -> None:
    asyncio.run(steps)


def test_a_head_goes_with_its_content(wire: Wire) -> None:
    async def steps() -> None:
        together = Together(wire, asyncio.get_running_loop())  # type: ignore[arg-type]
        together.write(b"head ")
        together.write(b"content")
        assert wire.sent == []
        assert together.get_write_buffer_size() == 12 + 7
        await asyncio.sleep(0)
        assert wire.sent == [b"head content"]
        together.write(b"more")
        await asyncio.sleep(0)
        assert wire.sent == [b"head content", b"more"]

    run(steps())


def test_much_does_not_wait(wire: Wire) -> None:
    async def steps() -> None:
        together = Together(wire, asyncio.get_running_loop())  # type: ignore[arg-type]
        together.write(b"head ")
        for _ in range(3):
            together.write(bytes(100_000))
        assert [len(one) for one in wire.sent] == [100_005, 100_000, 100_000]
        assert together.get_write_buffer_size() == 7

    run(steps())


def test_closing_sends_the_rest_and_aborting_does_not(wire: Wire) -> None:
    async def steps() -> None:
        together = Together(wire, asyncio.get_running_loop())  # type: ignore[arg-type]
        together.write(b"rest")
        together.close()
        assert (wire.sent, wire.ended, together.is_closing()) == ([b"rest"], "closed", True)
        together.write(b"too late")
        together.abort()
        await asyncio.sleep(0)
        assert (wire.sent, wire.ended) == ([b"rest"], "aborted")

    run(steps())
