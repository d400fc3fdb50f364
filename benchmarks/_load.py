"""Clients that look for, fetch and store at the same time over DICOMweb."""

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Load", "load"]

_BOUNDARY = "a-boundary-that-no-pixel-holds"
_STORE = {
    "Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}',
    "Accept": "application/dicom+json",
}
_FETCH = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
_BLOCK = 1 << 20
_STUDY, _SERIES, _INSTANCES = "0020000D", "0020000E", "00201209"
_SLICE = 512 * 512 * 2


@dataclass
class Load:
    """What all clients saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"look": [], "fetch": [], "store": []})
    """By what was asked, from the request to the end of the answer."""
    errors: list[str] = field(default_factory=list)

    def p95(self) -> float:
        """The time in which 95 % of all requests were answered."""
        took = sorted(second for seconds in self.seconds.values() for second in seconds)
        return took[int(0.95 * len(took))]


def load(port: int, new: Sequence[Path], *, clients: int, seconds: float) -> Load:
    """Keep clients busy: of ten requests seven look (QIDO-RS), two fetch a series (WADO-RS), one stores (STOW-RS).

    Parameters
    ----------
    new
        Files of 512 x 512 voxels of 16 bits to store, each once; when they are used up clients only look and fetch.
    """
    found, until, waiting = Load(), time.monotonic() + seconds, iter(new)
    lock = threading.Lock()

    def client(number: int) -> None:
        draw, connection = random.Random(number), http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        content = b""
        try:
            while time.monotonic() < until:
                kind = draw.choices(("look", "fetch", "store"), (7, 2, 1))[0]
                if kind == "store":
                    with lock:
                        path = next(waiting, None)
                    kind = "look" if path is None else kind
                    content = path.read_bytes() if path else b""
                start = time.perf_counter()
                if kind == "look":
                    _look(connection, draw)
                elif kind == "fetch":
                    _fetch(connection, draw)
                else:
                    _store(connection, content)
                found.seconds[kind].append(time.perf_counter() - start)
        except Exception as error:
            found.errors.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _look(connection: http.client.HTTPConnection, draw: random.Random) -> None:
    path = draw.choice(("/studies", "/series?Modality=CT", "/studies?PatientName=B*", "/instances?limit=20"))
    answer = _asked(connection, "GET", path, {"Accept": "application/dicom+json"})
    if not json.loads(answer):
        raise ValueError(f"{path} finds nothing")


def _fetch(connection: http.client.HTTPConnection, draw: random.Random) -> None:
    series = json.loads(
        _asked(connection, "GET", f"/series?limit=8&includefield={_INSTANCES}", {"Accept": "application/dicom+json"})
    )
    one = draw.choice(series)
    path = f"/studies/{one[_STUDY]['Value'][0]}/series/{one[_SERIES]['Value'][0]}"
    least = one[_INSTANCES]["Value"][0] * _SLICE  # a series that is being stored has one instance at first
    connection.request("GET", f"/dicom-web{path}", headers=_FETCH)
    answer = connection.getresponse()
    buffer = memoryview(bytearray(_BLOCK))
    size = 0
    while taken := answer.readinto(buffer):
        size += taken
    if answer.status != 200 or size < least:
        raise ValueError(f"a series came with status {answer.status} and {size} bytes")


def _store(connection: http.client.HTTPConnection, content: bytes) -> None:
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    answer = _asked(connection, "POST", "/studies", _STORE, head + content + f"\r\n--{_BOUNDARY}--\r\n".encode())
    if "00081199" not in json.loads(answer):
        raise ValueError("nothing was stored")


def _asked(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> bytes:
    connection.request(method, f"/dicom-web{path}", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise ValueError(f"{method} {path}: {answer.status} {content[:200]!r}")
    return content
