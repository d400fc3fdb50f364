"""One way to ask over HTTP: time-outs on everything, typed errors without credentials, a bounded pool, multipart."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import HTTPError as PoolError

from researchpacs.archive._parts import Data, End, PartReader
from researchpacs.archive._remote_address import Address, credentials_of
from researchpacs.errors import AccessError, InvalidInputError, NotFoundError, RemoteError, ResearchPacsError

__all__ = [
    "AS_IT_IS",
    "AT_ONCE",
    "MOST_BYTES",
    "MOST_IN_MEMORY",
    "TIMEOUT_S",
    "Writable",
    "content_of",
    "copied",
    "error_of_status",
    "first_part",
    "is_refusal",
    "new_session",
    "part_of",
    "pieces",
    "stay_there",
    "telling_http_errors",
    "unreachable",
    "waits",
]

AT_ONCE = 8
"""Connections of this process to one server."""
TIMEOUT_S = (5.0, 60.0)
"""To connect, and between two pieces of an answer."""

MOST_BYTES = 16 << 30
"""Of one answer that goes to a file."""
MOST_IN_MEMORY = 4 << 30
"""Of one answer that is kept in memory: what uncompressed pixels can be."""
_PIECE = 1 << 20
_LATER = (408, 423, 425, 429)

AS_IT_IS = {"Accept-Encoding": "identity"}
"""Headers that keep a server from compressing pixels: that takes it longer than the network takes."""


class Writable(Protocol):
    """What bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Take more bytes."""
        ...


_RETRIES = Retry(
    total=3,
    connect=2,
    read=1,
    status=2,
    status_forcelist=(502, 503),
    allowed_methods=("GET", "HEAD"),
    backoff_factor=0.2,
    raise_on_status=False,
)


def waits(timeout_s: int) -> tuple[float, float]:
    """How long to wait for a server, as `TIMEOUT_S` says unless somebody says otherwise.

    Parameters
    ----------
    timeout_s
        Seconds; 0 where nothing is said.
    """
    connect_s, read_s = TIMEOUT_S
    return (min(connect_s, timeout_s), timeout_s) if timeout_s else (connect_s, read_s)


def new_session(address: Address) -> requests.Session:
    """Open a session with at most `AT_ONCE` connections, and the credentials this process has for the address.

    Without credentials ``~/.netrc`` is asked, as everywhere with requests.
    """
    session = requests.Session()
    session.hooks["response"].append(stay_there)
    session.auth = credentials_of(address)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=AT_ONCE, pool_block=True, max_retries=_RETRIES))
    return session


def stay_there(response: requests.Response, *_: object, **__: object) -> None:
    """A hook of requests: who is asked shall not choose whom else this machine asks.

    Raises
    ------
    requests.TooManyRedirects
        A redirection to another host, or from https to http.
    """
    if not response.is_redirect:
        return
    here, there = urlsplit(response.url), urlsplit(urljoin(response.url, response.headers["Location"]))
    same = (there.scheme, there.netloc) == (here.scheme, here.netloc)
    if not same and (there.scheme, there.hostname) != ("https", here.hostname):
        raise requests.TooManyRedirects("redirected to another host", response=response)


@contextmanager
def telling_http_errors(address: Address, what: str) -> Iterator[None]:
    """Turn whatever requests raises into this project's errors.

    Parameters
    ----------
    address
        Who was asked.
    what
        What was asked for: a phrase with UIDs at most.
    """
    try:
        yield
    except ResearchPacsError:  # of which some are OSErrors, too
        raise
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else None
        raise error_of_status(address, what, status) from None
    # `from None`: the messages below it may quote a URL with a query.
    except (requests.RequestException, PoolError, OSError) as error:
        raise unreachable(address, what, error) from None
    except ValueError:
        raise RemoteError(f"{address.root} answered to {what} with what is no valid JSON") from None


def error_of_status(address: Address, what: str, status: int | None) -> AccessError | NotFoundError | RemoteError:
    """Make the error of an HTTP status; the body is not quoted, for it may name a person."""
    if status == 401:
        return AccessError(
            f"{address.root} asks for a user and a password, or refuses those given; "
            f"in this process: connect('{address.kind}+http(s)://user:secret@host...')"
        )
    if status == 403:
        return AccessError(f"{address.root} does not allow this user {what}")
    if status == 404:
        return NotFoundError(f"{address.root} does not have what was asked for: {what}")
    return RemoteError(f"{address.root} answered {what} with status {status}", status=status)


def is_refusal(error: RemoteError) -> bool:
    """Whether a server answers that it will not have what was sent, now or later.

    One that is full, or waited too long, or was asked too much or too early, may take it another time.
    """
    return error.status is not None and 400 <= error.status < 500 and error.status not in _LATER


def unreachable(address: Address, what: str, error: Exception | None = None) -> RemoteError:
    """Make the error of a server that does not answer."""
    slow = isinstance(error, requests.Timeout) or "timeout" in type(error).__name__.lower()
    how = "did not answer in time" if slow else "cannot be reached, or broke off"
    return RemoteError(f"{address.root} {how} when asked for {what}; look whether it runs, and try again")


def first_part(content_type: str, body: bytes) -> tuple[str, bytes]:
    """Take the first part out of a ``multipart/related`` body (RFC 2387); its content type and its bytes.

    A body that is not multipart is its own and only part.
    """
    if not content_type.lower().startswith("multipart/"):
        return content_type, body
    delimiter = b"--" + _boundary_in(content_type).encode("latin-1")
    start = body.find(delimiter)
    head_end = body.find(b"\r\n\r\n", start)
    if start < 0 or head_end < 0:
        raise RemoteError("an answer of several parts has none")
    head = body[start + len(delimiter) : head_end].decode("latin-1")
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head.split("\r\n") if line)
    }
    data = head_end + 4
    end = body.find(b"\r\n" + delimiter, data)
    length = fields.get("content-length", "")
    if length.isdigit() and data + int(length) <= len(body):
        end = data + int(length)
    if end < 0:
        raise RemoteError("an answer of several parts breaks off in the first")
    return fields.get("content-type", ""), body[data:end]


def pieces(response: requests.Response, *, most: int = MOST_BYTES) -> Iterator[bytes]:
    """Read a streamed answer piece by piece.

    Raises
    ------
    RemoteError
        It has more than `most` bytes.
    """
    size = 0
    for piece in response.raw.stream(_PIECE, decode_content=True):
        size += len(piece)
        if size > most:
            raise RemoteError(f"an answer has more than the {most} bytes that are read of one")
        yield piece


def content_of(response: requests.Response, *, most: int = MOST_IN_MEMORY) -> bytes:
    """Read a streamed answer into memory; errors as `pieces`."""
    return b"".join(pieces(response, most=most))


def part_of(content_type: str, body: Iterable[bytes]) -> Iterator[bytes]:
    """Take the content of the first part out of a ``multipart/related`` body (RFC 2387) as it comes.

    A body that is not multipart is its own and only part.

    Raises
    ------
    RemoteError
        The body is not what its content type says, or ends within the part.
    """
    if not content_type.lower().startswith("multipart/"):
        yield from body
        return
    try:
        reader = PartReader(_boundary_in(content_type))
        for piece in body:
            for event in reader.feed(piece):
                if isinstance(event, End):
                    return
                if isinstance(event, Data):
                    yield event.content
        reader.close()
    except InvalidInputError as error:
        raise RemoteError(f"an answer of several parts cannot be read: {error}") from None


def copied(content: Iterable[bytes], file: Writable) -> int:
    """Write content to a file as it comes; its size."""
    size = 0
    for piece in content:
        file.write(piece)
        size += len(piece)
    return size


def _boundary_in(content_type: str) -> str:
    found = re.search(r';\s*boundary=(?:"([^"]*)"|([^\s;"]+))', content_type, re.IGNORECASE)
    if found is None:
        raise RemoteError("an answer of several parts does not say what stands between them")
    return found[1] or found[2] or ""
