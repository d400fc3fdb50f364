"""multipart/related, in and out, however its bytes come."""

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from researchpacs.archive._parts import Begin, Data, End, PartReader
from researchpacs.errors import InvalidInputError
from researchpacs.server.multipart import Part, new_boundary, written, written_size

BOUNDARY = "b0undary"


def read(body: bytes, *, step: int) -> list[tuple[dict[str, str], bytes]]:
    reader = PartReader(BOUNDARY)
    parts: list[tuple[dict[str, str], bytes]] = []
    for start in range(0, len(body), step):
        for event in reader.feed(body[start : start + step]):
            if isinstance(event, Begin):
                parts.append((dict(event.headers), b""))
            elif isinstance(event, Data):
                parts[-1] = (parts[-1][0], parts[-1][1] + event.content)
            else:
                assert isinstance(event, End)
    reader.close()
    return parts


contents = st.binary(max_size=60) | st.just(f"\r\n--{BOUNDARY[:-1]}".encode()) | st.just(b"\r\n\r\n--")


@given(st.lists(contents, min_size=1, max_size=5), st.integers(1, 50))
def test_what_is_written_is_read_however_it_is_cut(contents: list[bytes], step: int) -> None:
    body = b"".join(written([Part("application/dicom", [one], len(one)) for one in contents], BOUNDARY))
    assert [content for _, content in read(body, step=step)] == contents


def test_pythons_email_parser_reads_what_is_written() -> None:
    contents = [b"\x00\xff\r\n--b", b"", bytes(range(256))]
    boundary = new_boundary()
    parts = [Part("application/dicom", [one], len(one), "http://host/1") for one in contents]
    body = b"".join(written(parts, boundary))
    assert len(body) == written_size(parts)
    head = f'Content-Type: multipart/related; type="application/dicom"; boundary={boundary}\r\n\r\n'.encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert [part["Content-Location"] for part in message.iter_parts()] == ["http://host/1"] * 3
    assert [part.get_content() for part in message.iter_parts()] == contents


def test_a_preamble_and_an_epilogue_are_passed_over() -> None:
    body = f"nothing\r\n--{BOUNDARY}  \r\nContent-Type: a/b\r\n\r\nX\r\n--{BOUNDARY}--\r\nnothing".encode()
    assert read(body, step=3) == [({"content-type": "a/b"}, b"X")]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "before the first boundary"),
        (b"--b0undary\r\nContent-Type: a/b\r\n\r\nX", "in the content"),
        (b"--b0undary\r\nContent-Type: a/b", "in the header"),
        (b"--b0undary\r\n\r\nX\r\n--b0undary", "at the end of a boundary"),
        (b"--b0undary--", "no part"),
        (b"--b0undary\r\nno field\r\n\r\nX\r\n--b0undary--", "no field"),
        (b"--b0undary\r\nContent-Length: 5\r\n\r\nX\r\n--b0undary--", "declares 5 bytes and has 1"),
        (b"--b0undary\r\nContent-Length: many\r\n\r\nX\r\n--b0undary--", "count of bytes"),
        (b"--b0undary-and-more\r\n\r\nX\r\n--b0undary--", "goes on"),
        (b"x" * 70_000, "does not begin with the boundary"),
        (b"--b0undary\r\n" + b"a" * 20_000, "more than 16384 bytes"),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_body_that_breaks_the_rules_says_which(body: bytes, problem: str, step: int) -> None:
    if step == 1 and len(body) > 1_000:
        step = 100
    with pytest.raises(InvalidInputError, match=problem):
        read(body, step=step)


def test_memory_does_not_grow_with_a_part() -> None:
    reader = PartReader(BOUNDARY)
    list(reader.feed(f"--{BOUNDARY}\r\n\r\n".encode()))
    for _ in range(100):
        (data,) = reader.feed(b"\0" * 65_536)
        assert isinstance(data, Data)
        assert len(reader._buffer) < 100
