"""Orthanc's REST API as its client: wire names stay here.

Measured with Orthanc 1.10.1: no route answers range requests there, so a header is the beginning of a streamed answer
that is broken off; ``PixelDataOffset`` says where it ends; ``frames/{n}/raw`` gives a native or compressed frame as
it is stored, but big endian ones turned round and deflated ones inflated, and refuses one in several fragments.
"""

import contextlib
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import requests

from researchpacs.archive._remote_address import Address, credentials_of
from researchpacs.archive._remote_http import (
    AS_IT_IS,
    AT_ONCE,
    Writable,
    content_of,
    copied,
    error_of_status,
    is_refusal,
    pieces,
    stay_there,
    telling_http_errors,
    unreachable,
    waits,
)
from researchpacs.archive._remote_instance import Fetched
from researchpacs.archive._remote_server import Depth, Feed, FrameBytes, Listing, Sent
from researchpacs.errors import InvalidInputError, NotFoundError, RemoteError, UnsupportedError
from researchpacs.model import Identity, Level

__all__ = ["OrthancServer"]

_PAGE = 1000
_SERIES_PAGE = 200
_PIECE = 1 << 20
_MAX_HEADER = 512 << 20
_TOO_LONG = "its header is longer than any should be"
_LEVELS: Mapping[Level, str] = {"patient": "Patient", "study": "Study", "series": "Series", "instance": "Instance"}
_PLURAL: Mapping[Level, str] = {"patient": "patients", "study": "studies", "series": "series", "instance": "instances"}
_PIXEL_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10", b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00")


class OrthancServer:
    """An Orthanc, through orthanc-api-client.

    Parameters
    ----------
    address
        Where it answers; the credentials are those this process has for it.
    timeout_s
        How long to wait for it; 0 for as long as for all others.
    """

    pause_s = 0.0
    batch = 200

    def __init__(self, address: Address, *, timeout_s: int = 0) -> None:
        from orthanc_api_client import OrthancApiClient  # type: ignore[import-untyped]

        self.address = address
        self._waits = waits(timeout_s)
        user, secret = credentials_of(address) or (None, None)
        self._client = OrthancApiClient(address.root, user=user, pwd=secret, pool_maxsize=AT_ONCE, pool_block=True)

    # -- follow -------------------------------------------------------------------------------------------------------

    def probe(self) -> frozenset[str]:
        """Ask what it is and can do.

        Raises
        ------
        UnsupportedError
            It is no Orthanc.
        """
        # One without labels takes no notice of them in a question, and would answer with everything.
        labels = {"label-feed", "labels"} if self.system().get("HasLabels") is True else set()
        return frozenset({"delete", "original-headers", "shared-uids", *labels})

    def system(self) -> dict[str, Any]:
        """What it says of itself.

        Raises
        ------
        UnsupportedError
            It is no Orthanc.
        """
        found = self._json("its version", "system")
        if not isinstance(found, dict) or "ApiVersion" not in found:
            raise UnsupportedError(
                f"{self.address.root} does not answer as an Orthanc does; give the URL of its REST API"
            )
        return found

    def feed(self, cursor: Mapping[str, Any], count: int) -> Feed:
        """Read the next page of ``/changes``; where that cannot tell everything, ask for a listing.

        It logs no deletions, so the number of instances is compared when it is read to its end.
        """
        database = str(self._json("its version", "system").get("DatabaseServerIdentifier", ""))
        since, known = int(cursor.get("since", 0)), str(cursor.get("database", ""))
        last = int(self._json("its last change", "changes?last")["Last"])
        if database != known or last < since:
            told = {**cursor, "since": last, "database": database}
            return Feed(names=(), cursor=told, done=True, listing=True, other=bool(cursor))
        page = self._json("its changes", f"changes?since={since}&limit={_PAGE}") if last > since else None
        names = [change["ID"] for change in page["Changes"] if change["ChangeType"] == "NewInstance"] if page else []
        told = {**cursor, "since": int(page["Last"]) if page else since}
        done = page is None or bool(page["Done"])
        return Feed(names=tuple(f"instances/{name}" for name in dict.fromkeys(names)), cursor=told, done=done)

    def count(self) -> int | None:
        """How many instances it says it holds."""
        return int(self._json("its number of instances", "statistics")["CountInstances"])

    def listing(self, known: Mapping[str, str], cursor: Mapping[str, Any], depth: Depth) -> Listing:
        """List all instances in one answer, so that none is missed while others come and go.

        Suspects are those of series whose LastUpdate is not before that of the last thorough look.
        """
        names = frozenset(f"instances/{name}" for name in self._json("the list of its instances", "instances"))
        if depth != "thorough":
            return Listing(names, frozenset(), dict(cursor))
        before = str(cursor.get("last_update", ""))
        newest, suspects = before, set[str]()
        for series in self._all_series():
            updated = str(series.get("LastUpdate", ""))
            newest = max(newest, updated)
            if updated >= before:
                suspects.update(f"instances/{name}" for name in series["Instances"])
        return Listing(names, frozenset(suspects & known.keys()), {**cursor, "last_update": newest})

    def _all_series(self) -> Iterator[dict[str, Any]]:
        since = 0
        while page := self._json("its series", f"series?expand&since={since}&limit={_SERIES_PAGE}"):
            yield from page
            if len(page) < _SERIES_PAGE:
                return
            since += len(page)

    def fetch(self, names: Iterable[str]) -> Iterator[tuple[str, Fetched | None]]:
        """Fetch headers, several at once, in the order of the names; None for what is gone."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(self._fetched, names)

    def _fetched(self, name: str) -> tuple[str, Fetched | None]:
        try:
            known = self._json("the metadata of an instance", f"{name}/metadata?expand")
            offset = str(known.get("PixelDataOffset", "")) if isinstance(known, dict) else ""
            if len(offset) > 12 or (offset.isdigit() and int(offset) > _MAX_HEADER):
                return name, Fetched(name, "", b"", 0, failure=_TOO_LONG)
            header, size, version = self._beginning(name, int(offset) if offset.isdigit() else None)
        except NotFoundError:
            return name, None
        except InvalidInputError as error:
            return name, Fetched(name, "", b"", 0, failure=str(error))
        except RemoteError as error:
            if error.status is None:
                raise
            return name, Fetched(name, "", b"", 0, failure=f"the server fails to give it (status {error.status})")
        return name, Fetched(name, version, header, size)

    def _beginning(self, name: str, offset: int | None) -> tuple[bytes, int, str]:
        """Read a file up to its pixel data, which begins at `offset`; all of it where nobody knows where that is."""
        what = "the header of an instance"
        more = {"Range": f"bytes=0-{offset + 3}"} if offset is not None else {}
        with self._streamed(what, f"{name}/attachments/dicom/data", more) as response:
            version = response.headers.get("ETag", "").strip('"')
            if offset is None:
                with tempfile.TemporaryFile() as file:
                    whole = copied(pieces(response), file)
                    return _header_in(file), whole, version
            data = _read(response, offset + 4)
            size = _size_of(response)
        if size is None or data[offset:] not in _PIXEL_TAGS:
            return self._beginning(name, None)
        return data[:offset], size, version

    # -- read ---------------------------------------------------------------------------------------------------------

    def read(self, name: str, offset: int, length: int | None) -> bytes:
        """Bytes of a file; what is not wanted is not moved, as far as the server lets us."""
        if length == 0:
            return b""
        what = "an instance's bytes"
        whole = offset == 0 and length is None
        last = "" if length is None else offset + length - 1
        part = {} if whole else {"Range": f"bytes={offset}-{last}"}
        try:
            with self._streamed(what, f"{name}/attachments/dicom/data", part) as response:
                if response.status_code != 206:
                    _pass_over(response, offset)
                return _read(response, length)
        except RemoteError as error:
            if error.status == 416:  # the file ends before (RFC 9110 15.5.17)
                return b""
            raise

    def retrieve(self, name: str, file: Writable) -> int:
        """Write a file as it is stored into another, as it comes."""
        with self._streamed("an instance", f"{name}/attachments/dicom/data", {}) as response:
            return copied(pieces(response), file)

    def frame(self, name: str, index: int, transfer_syntax_uid: str) -> FrameBytes | None:
        """One frame as it is stored; None where the server cannot take it out of the file."""
        try:
            with self._streamed(f"frame {index}", f"{name}/frames/{index}/raw", {}) as response:
                return FrameBytes(content_of(response), transfer_syntax_uid)
        except RemoteError as error:
            if error.status in (400, 415, 500, 501):
                return None
            raise

    # -- change -------------------------------------------------------------------------------------------------------

    def name_of(self, identity: Identity) -> str:
        """The name an instance has, or would have."""
        return f"instances/{identity.orthanc_id('instance')}"

    def holds(self, name: str) -> bool:
        """Whether it has an instance."""
        try:
            self._ask("get", "an instance", name)
        except NotFoundError:
            return False
        return True

    def send(self, file: Path, identity: Identity) -> Sent:
        """Store a file that it does not have."""
        try:
            with file.open("rb") as content:
                answer = self._ask("post", "to store an instance", "instances", data=content).json()
        except RemoteError as error:
            if is_refusal(error):
                return Sent(f"the server does not take it (status {error.status})")
            raise
        status = answer.get("Status") if isinstance(answer, dict) else None
        if status == "AlreadyStored":
            return Sent(already=f"instances/{answer['ID']}")
        return Sent() if status == "Success" else Sent(f"the server does not take it ({status})")

    def delete(self, names: Collection[str]) -> None:
        """Delete instances, one after the other; one that is gone already is no error."""
        for name in names:
            with contextlib.suppress(NotFoundError):
                self._ask("delete", "to delete an instance", name)

    def labels(self) -> Mapping[tuple[Level, str], set[str]]:
        """All labels, by level and name: which there are, and what has each."""
        found: dict[tuple[Level, str], set[str]] = {}
        for label in self._json("its labels", "tools/labels"):
            for level, word in _LEVELS.items():
                question = {"Level": word, "Query": {}, "Labels": [label], "LabelsConstraint": "All"}
                answer = self._ask("post", "what has a label", "tools/find", json=question)
                with telling_http_errors(self.address, "what has a label"):
                    names = answer.json()
                for name in names:
                    found.setdefault((level, name), set()).add(label)
        return found

    def put_label(self, level: Level, name: str, label: str, *, present: bool) -> None:
        """Put a label on an object, or take it off."""
        self._ask("put" if present else "delete", "to change a label", f"{_PLURAL[level]}/{name}/labels/{label}")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # -- ask ----------------------------------------------------------------------------------------------------------

    def _json(self, what: str, endpoint: str) -> Any:
        response = self._ask("get", what, endpoint)
        with telling_http_errors(self.address, what):
            return response.json()

    @contextlib.contextmanager
    def _streamed(self, what: str, endpoint: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        response = self._ask("get", what, endpoint, stream=True, headers={**AS_IT_IS, **headers})
        try:
            with telling_http_errors(self.address, what):
                yield response
        finally:
            response.close()

    def _ask(self, verb: str, what: str, endpoint: str, **options: Any) -> requests.Response:
        from orthanc_api_client import exceptions

        try:
            hooks = {"response": stay_there}
            response = getattr(self._client, verb)(endpoint, timeout=self._waits, hooks=hooks, **options)
        # `from None`: its errors quote what the server said, which may name a person.
        except exceptions.HttpError as error:
            status = error.http_status_code
            raise error_of_status(self.address, what, status if isinstance(status, int) else 404) from None
        except exceptions.OrthancApiException as error:
            raise unreachable(self.address, what, error) from None
        if not isinstance(response, requests.Response):  # it swallows what it does not know
            raise unreachable(self.address, what)
        return response


def _read(response: requests.Response, length: int | None) -> bytes:
    """Read so many bytes of a streamed answer, fewer only where it ends."""
    if length is None:
        return content_of(response)
    parts, left = [], length
    while left and (part := response.raw.read(left, decode_content=True)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _pass_over(response: requests.Response, length: int) -> None:
    while length and (piece := response.raw.read(min(length, _PIECE), decode_content=True)):
        length -= len(piece)


def _size_of(response: requests.Response) -> int | None:
    """Bytes of the whole file."""
    if response.status_code == 206:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        total = response.headers.get("Content-Length", "")
    return int(total) if total.isdigit() else None


def _header_in(file: BinaryIO) -> bytes:
    """Read a whole file up to its pixels."""
    from researchpacs.dicom.scan import scan

    file.seek(0)
    end = scan(file).header_length
    if end > _MAX_HEADER:
        raise InvalidInputError(_TOO_LONG)
    file.seek(0)
    return file.read(end)
