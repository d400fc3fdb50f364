"""DICOMweb (PS3.18) as its client: QIDO-RS, WADO-RS, STOW-RS and deletion; wire names stay here.

A DICOMweb server tells no change: numbers of instances by study are compared before a question, lists where they
differ. Headers come as metadata of a whole series in one answer, frames as they are stored where the server allows
that, else as native pixels.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote, unquote

import requests

from researchpacs.archive._dicomweb_header import header_of, pixel_bytes_of, text_of
from researchpacs.archive._remote_address import Address
from researchpacs.archive._remote_http import (
    AS_IT_IS,
    MOST_IN_MEMORY,
    Writable,
    content_of,
    copied,
    error_of_status,
    first_part,
    is_refusal,
    new_session,
    part_of,
    pieces,
    telling_http_errors,
    waits,
)
from researchpacs.archive._remote_instance import Fetched
from researchpacs.archive._remote_server import Depth, Feed, FrameBytes, Listing, Sent
from researchpacs.errors import InvalidInputError, NotFoundError, RemoteError, UnsupportedError
from researchpacs.model import Identity, Level

__all__ = ["DicomwebServer"]

_PAGE = 500
_MAX_PAGES = 100_000
_STUDY, _SERIES, _SOP = "0020000D", "0020000E", "00080018"
_INSTANCES_OF_STUDY, _SYNTAX = "00201208", "00083002"
_FAILED, _OTHER_FAILURES, _REASON = "00081198", "0008119A", "00081197"
_NATIVE = "1.2.840.10008.1.2.1"
_CANNOT = (400, 406, 415, 500, 501)
_FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax='
_WHOLE = 'multipart/related; type="application/dicom"; transfer-syntax=*'

Metadata = dict[str, Any]


class DicomwebServer:
    """A DICOMweb origin, through dicomweb-client.

    An instance's name is ``studies/{uid}/series/{uid}/instances/{uid}``.

    Parameters
    ----------
    address
        Where it answers; the credentials are those this process has for it.
    timeout_s
        How long to wait for it; 0 for as long as for all others.
    """

    pause_s = 2.0
    batch = 2000  # a series' metadata come at once, and would come again for every part of it

    def __init__(self, address: Address, *, timeout_s: int = 0) -> None:
        from dicomweb_client import DICOMwebClient

        self.address = address
        self._waits = waits(timeout_s)
        self._session = new_session(address)
        url = address.root.rstrip("/")
        self._client = DICOMwebClient(url, session=self._session, timeout=self._waits, permissive_uid=True)
        self._client.set_http_retry_params(retry=False)

    # -- follow -------------------------------------------------------------------------------------------------------

    def probe(self) -> frozenset[str]:
        """Ask for one study, and whether instances may be deleted.

        Raises
        ------
        UnsupportedError
            It does not search.
        """
        try:
            self._search("whether it searches", self._client.search_for_studies, limit=1)
        except (NotFoundError, RemoteError) as error:
            if isinstance(error, RemoteError) and (error.status is None or error.status >= 500):
                raise
            raise UnsupportedError(
                f"{self.address.root} does not answer as DICOMweb does; give the URL that /studies is below"
            ) from None
        with telling_http_errors(self.address, "what it allows"):
            allowed = self._session.options(f"{self.address.root}studies/1", timeout=self._waits).headers.get(
                "Allow", ""
            )
        return frozenset({"delete"} if "DELETE" in allowed.upper() else ())

    def feed(self, cursor: Mapping[str, Any], count: int) -> Feed:
        """Compare the numbers of instances of all studies with those of last time."""
        studies = self._studies()
        counts = sorted((text_of(one, _STUDY), text_of(one, _INSTANCES_OF_STUDY)) for one in studies)
        found = hashlib.sha256(json.dumps(counts).encode()).hexdigest()
        return Feed(names=(), cursor={**cursor, "counts": found}, done=True, listing=found != cursor.get("counts"))

    def count(self) -> int | None:
        """Not told."""
        return None

    def listing(self, known: Mapping[str, str], cursor: Mapping[str, Any], depth: Depth) -> Listing:
        """List the instances of every study, or of those with another number than is known; every one is suspect."""
        by_study: dict[str, list[str]] = {}
        for name in known:
            by_study.setdefault(unquote(name.split("/")[1]), []).append(name)
        names: set[str] = set()
        for study in self._studies():
            uid = text_of(study, _STUDY)
            here = by_study.get(uid, [])
            if depth == "counted" and here and text_of(study, _INSTANCES_OF_STUDY) == str(len(here)):
                names.update(here)
            else:
                names.update(self.names_below(uid))
        return Listing(
            frozenset(names), frozenset(known.keys() & names) if depth == "thorough" else frozenset(), cursor
        )

    def _studies(self) -> list[Metadata]:
        found = self._all("its studies", self._client.search_for_studies, fields=[_INSTANCES_OF_STUDY])
        return [one for one in found if text_of(one, _STUDY)]

    def names_below(self, study: str, series_uid: str = "", sop_uid: str = "") -> Iterator[str]:
        """Names of the instances of a study, or of those of a series, or of one."""
        for one in self._all("the instances of a study", self._client.search_for_instances, study):
            series, sop = text_of(one, _SERIES), text_of(one, _SOP)
            if series and sop and series_uid in ("", series) and sop_uid in ("", sop):
                yield _name(study, series, sop)

    def ask(self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]) -> requests.Response:
        """Ask with GET for anything below its address; the answer is streamed and has to be closed."""
        return self._ask("get", "what was asked for", path, params=parameters, headers=headers, stream=True)

    def fetch(self, names: Iterable[str]) -> Iterator[tuple[str, Fetched | None]]:
        """Fetch metadata, of several instances of a series at once; in the order of the names."""
        for series, members in groupby(names, key=lambda name: name.partition("/instances/")[0]):
            wanted = list(members)
            try:
                found = self._metadata(series if len(wanted) > 1 else wanted[0])
            except NotFoundError:
                found = {}
            except RemoteError as error:
                if error.status is None:
                    raise
                failure = f"the server fails to give its metadata (status {error.status})"
                yield from ((name, Fetched(name, "", b"", 0, failure=failure)) for name in wanted)
                continue
            for name in wanted:
                one = found.get(unquote(name.rpartition("/")[2]))
                yield name, None if one is None else _fetched(name, one)

    def _metadata(self, path: str) -> dict[str, Metadata]:
        """Metadata by SOPInstanceUID below a series or an instance."""
        study, series, *instance = map(unquote, path.split("/")[1::2])
        with telling_http_errors(self.address, "the metadata of a series"):
            try:
                if instance:
                    found = [self._client.retrieve_instance_metadata(study, series, instance[0])]
                else:
                    found = self._client.retrieve_series_metadata(study, series)
            except IndexError:  # an empty answer in place of 404
                found = []
        return {text_of(one, _SOP): one for one in found}

    # -- read ---------------------------------------------------------------------------------------------------------

    def read(self, name: str, offset: int, length: int | None) -> bytes:
        """Bytes of a file as it is stored; DICOMweb gives it only from its start on."""
        found, skipped = bytearray(), 0
        with self._file(name) as content:
            for piece in content:
                kept = piece[min(len(piece), offset - skipped) :]
                skipped += len(piece) - len(kept)
                found += kept if length is None else kept[: length - len(found)]
                if len(found) == length:
                    break
                if len(found) > MOST_IN_MEMORY:
                    raise RemoteError(f"an instance of more than {MOST_IN_MEMORY} bytes is not read into memory")
        return bytes(found)

    def retrieve(self, name: str, file: Writable) -> int:
        """Write a file as it is stored into another, as it comes."""
        with self._file(name) as content:
            return copied(content, file)

    @contextmanager
    def _file(self, name: str) -> Iterator[Iterator[bytes]]:
        what = "an instance"
        response = self._ask("get", what, name, headers={**AS_IT_IS, "Accept": _WHOLE}, stream=True)
        with telling_http_errors(self.address, what), closing(response):
            yield part_of(response.headers.get("Content-Type", ""), pieces(response))

    def frame(self, name: str, index: int, transfer_syntax_uid: str) -> FrameBytes | None:
        """One frame as it is stored, else as native pixels; None where the server gives neither."""
        for syntax in ("*", _NATIVE):
            try:
                path = f"{name}/frames/{index + 1}"
                headers = {**AS_IT_IS, "Accept": f"{_FRAMES}{syntax}"}
                response = self._ask("get", f"frame {index}", path, headers=headers, stream=True)
            except RemoteError as error:
                if error.status in _CANNOT:
                    continue
                raise
            with telling_http_errors(self.address, f"frame {index}"), closing(response):
                content = content_of(response)
            media_type, data = first_part(response.headers.get("Content-Type", ""), content)
            found = _syntax_of(media_type) or (_NATIVE if syntax == _NATIVE else None)
            if found is not None:
                return FrameBytes(data, found)
        return None

    # -- change -------------------------------------------------------------------------------------------------------

    def name_of(self, identity: Identity) -> str:
        """The name an instance has, or would have."""
        return _name(identity.study_uid, identity.series_uid, identity.sop_uid)

    def holds(self, name: str) -> bool:
        """Whether it has an instance."""
        try:
            return bool(self._metadata(name))
        except NotFoundError:
            return False

    def send(self, file: Path, identity: Identity) -> Sent:
        """Store a file that it does not have (STOW-RS), streamed."""
        boundary = secrets.token_hex(16)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        try:
            with file.open("rb") as content:
                body = _multipart(content, boundary)
                response = self._ask(
                    "post",
                    "to store an instance",
                    f"studies/{quote(identity.study_uid, safe='')}",
                    data=body,
                    headers=headers,
                )
        except RemoteError as error:
            if is_refusal(error):
                return Sent(f"the server does not take it (status {error.status})")
            raise
        with telling_http_errors(self.address, "to store an instance"):
            answer = response.json() if response.content else {}
        # What a server cannot tell the instance of, it lists among other failures (PS3.18 10.5.3.1).
        lists = [answer.get(tag) or {} for tag in (_FAILED, _OTHER_FAILURES)] if isinstance(answer, dict) else []
        failed = [item for one in lists for item in one.get("Value") or ()]
        return Sent(f"the server does not take it (failure reason {text_of(failed[0], _REASON)})") if failed else Sent()

    def delete(self, names: Collection[str]) -> None:
        """Delete instances, one after the other; one that is gone already is no error.

        Raises
        ------
        UnsupportedError
            The server does not offer it: it is no part of every DICOMweb server.
        """
        for name in names:
            try:
                self._ask("delete", "to delete an instance", name)
            except NotFoundError:
                continue
            except RemoteError as error:
                if error.status in (405, 501):
                    raise UnsupportedError(f"{self.address.root} does not let instances be deleted") from None
                raise

    def labels(self) -> NoReturn:
        """Refuse: DICOMweb knows no labels."""
        raise UnsupportedError(f"{self.address.root} keeps no labels")

    def put_label(self, level: Level, name: str, label: str, *, present: bool) -> NoReturn:
        """Refuse: DICOMweb knows no labels."""
        raise UnsupportedError(f"{self.address.root} keeps no labels")

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # -- ask ----------------------------------------------------------------------------------------------------------

    def _search(self, what: str, search: Callable[..., list[Metadata]], *scope: str, **options: Any) -> list[Metadata]:
        with telling_http_errors(self.address, what):
            found: list[Metadata] = search(*scope, **options)
            return found

    def _all(self, what: str, search: Callable[..., list[Metadata]], *scope: str, **options: Any) -> list[Metadata]:
        """All pages; a server that does not page gives the same first object again, and that is its end."""
        everything: dict[str, Metadata] = {}
        for _ in range(_MAX_PAGES):
            page = self._search(what, search, *scope, offset=len(everything), limit=_PAGE, **options)
            before = len(everything)
            for one in page:
                everything.setdefault("/".join(text_of(one, tag) for tag in (_STUDY, _SERIES, _SOP)), one)
            if len(everything) == before:
                break
        return list(everything.values())

    def _ask(self, verb: str, what: str, path: str, **options: Any) -> requests.Response:
        with telling_http_errors(self.address, what):
            response: requests.Response = getattr(self._session, verb)(
                f"{self.address.root}{path}", timeout=self._waits, **options
            )
        if not response.ok:
            raise error_of_status(self.address, what, response.status_code)
        return response


def _name(study: str, series: str, sop: str) -> str:
    """A path, whatever stands where UIDs should."""
    return f"studies/{quote(study, safe='')}/series/{quote(series, safe='')}/instances/{quote(sop, safe='')}"


def _fetched(name: str, metadata: Metadata) -> Fetched:
    try:
        header, problems = header_of(metadata)
    except InvalidInputError as error:
        return Fetched(name, "", b"", 0, failure=str(error))
    size = len(header) + pixel_bytes_of(metadata)
    return Fetched(name, "", header, size, transfer_syntax_uid=text_of(metadata, _SYNTAX), problems=problems)


def _syntax_of(media_type: str) -> str | None:
    """The ``transfer-syntax`` parameter of a part's media type."""
    for field in media_type.split(";")[1:]:
        name, _, value = field.partition("=")
        if name.strip().lower() == "transfer-syntax":
            return value.strip().strip('"')
    return None


def _multipart(content: BinaryIO, boundary: str) -> Iterator[bytes]:
    yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    while chunk := content.read(1 << 20):
        yield chunk
    yield f"\r\n--{boundary}--\r\n".encode()
