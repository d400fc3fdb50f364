"""`RemoteArchive`: an archive whose instances stay with a server; here is only what was seen of them.

What the server has is followed into a ledger of its own, which gives out the change feed that a catalog follows. The
feed of an Orthanc names neither deletions nor what was missed, and DICOMweb has none, so what is known is compared with
what is there: by numbers before a question, by lists where they differ and now and then, thoroughly on `refresh`.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock

from researchpacs.archive._conflicts import Conflict, conflicts_in, note_conflict
from researchpacs.archive._content import OTHER
from researchpacs.archive._labels import LabelChange
from researchpacs.archive._remote_address import Address
from researchpacs.archive._remote_frames import forget_frames, name_in, server_of
from researchpacs.archive._remote_instance import Seen, seen_of
from researchpacs.archive._remote_labels import RemoteLabels
from researchpacs.archive._remote_same import is_same
from researchpacs.archive._remote_seen import SeenLedger
from researchpacs.archive._remote_server import Depth
from researchpacs.archive._stored import Stored
from researchpacs.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RemoteError,
    ResearchPacsError,
    UnsupportedError,
)
from researchpacs.model import Changes, Find, Incoming, Level, Location, Outcome, Row
from researchpacs.storage.byte_cache import ByteCache
from researchpacs.storage.durable import sync_directory, sync_file
from researchpacs.storage.home import Home

__all__ = ["RemoteArchive"]

_LISTING_S = 600.0
_LABELS_S = 10.0
_HEADER_BYTES = 64 << 20

_log = logging.getLogger(__name__)


class RemoteArchive:
    """An archive behind a server's API.

    Parameters
    ----------
    home
        Where the ledger of what was seen lies, and the catalog.
    address
        The server. User and password are those this process was given with `as_address`.

    Raises
    ------
    RemoteError, AccessError, UnsupportedError
        The server does not answer, asks for other credentials, or speaks another language.
    """

    def __init__(self, home: Home, address: Address) -> None:
        self.home = home
        self.address = address
        self._server = server_of(address)
        self.capabilities = self._server.probe()
        self._seen = SeenLedger(home.ledger_path, address)
        self._one = threading.RLock()
        self._file_lock = FileLock(home.path / "remote.lock", thread_local=False)
        self._labels = RemoteLabels(self._seen.ledger, self._server)
        self._headers: ByteCache[bytes] = ByteCache(_HEADER_BYTES)
        self._looked = self._listed = self._labels_seen = float("-inf")

    # -- in -----------------------------------------------------------------------------------------------------------

    def store(self, items: Iterable[Incoming]) -> Iterator[Outcome]:
        """Send instances, one after the other; an outcome is given out when the server has acknowledged it.

        Nothing that is there is replaced: an instance the server has already is compared first.
        """
        for item in items:
            yield self._store(item)
        self._look(at_once=True)

    def _store(self, item: Incoming) -> Outcome:
        identity = item.identity
        if item.blob is None:
            reason = "a remote archive keeps no references; leave out copy=False"
            return Outcome(item.source, "refused", reason, identity)
        name: str | None = self._server.name_of(identity)
        if not self._server.holds(str(name)):
            sent = self._server.send(item.blob, identity)
            name = sent.already
            if name is None:
                item.blob.unlink()
                return Outcome(item.source, "refused" if sent.refusal else "stored", sent.refusal, identity)
        if self._is_there(str(name), item.blob):
            item.blob.unlink()
            return Outcome(item.source, "duplicate", "", identity)
        self._keep_aside(item, item.blob)
        return Outcome(item.source, "conflict", OTHER, identity)

    def _is_there(self, name: str, blob: Path) -> bool:
        with tempfile.TemporaryFile(dir=blob.parent) as there, blob.open("rb") as here:
            self._server.retrieve(name, there)
            return is_same(there, here)

    def _keep_aside(self, item: Incoming, blob: Path) -> None:
        with blob.open("rb") as file:
            sync_file(file.fileno())
        blob.replace(self.home.conflicts / f"{item.sha256}.dcm")
        sync_directory(self.home.conflicts)
        with self._seen.ledger.writing() as con:
            note_conflict(con, item.identity.key, item.sha256, item.size, None)

    def delete(self, level: Level, uid: str) -> int:
        """Remove an object and all below it from the server; the number of instances removed.

        Raises
        ------
        UnsupportedError
            The server does not let instances be deleted.
        """
        self._look(at_once=True)
        names = self._seen.below(level, uid)
        self._server.delete(names)
        with self._one, self._file_lock:
            self._seen.remove(names)
        self._look(at_once=True)
        return len(names)

    # -- out ----------------------------------------------------------------------------------------------------------

    def read(self, uid: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an instance's file, asked for over HTTP."""
        if offset < 0 or (length is not None and length < 0):
            raise InvalidInputError("offset and length are counts of bytes, zero or more")
        (place,) = self.locate([uid])
        return self._server.read(name_in(place), offset, length)

    def header(self, uid: str) -> bytes:
        """An instance up to its pixel data, as a file.

        Raises
        ------
        ConflictError
            It was changed on the server since it was last seen; after the next look it is known again.
        """
        (place,) = self.locate([uid])
        header = self._headers.get(place.path)
        if header is None:
            ((_, fetched),) = self._server.fetch([name_in(place)])
            if fetched is None:
                raise NotFoundError(f"instance ...{place.sop_uid[-12:]} is not on the server any more")
            seen = seen_of(fetched)
            if f"{seen.name}#{seen.version}" != place.path:
                raise ConflictError(f"instance ...{place.sop_uid[-12:]} was changed on the server; call sync()")
            header = self._keep_header(seen)
        return header

    def locate(self, uids: Sequence[str]) -> Sequence[Location]:
        """Where instances are, in the order asked for."""
        return self._seen.locate(uids)

    def rows(self, keys: Sequence[str]) -> Mapping[str, Stored]:
        """What was seen of instances, by `Identity.key`; those that are not there any more are left out."""
        return self._seen.rows(keys)

    def find(self, query: Find) -> Iterator[Row]:
        """Main attributes of what matches, its parents' included, among what was seen at the last look."""
        return self._seen.find(query)

    def conflicts(self) -> Sequence[Conflict]:
        """What was kept aside here, in the order in which it came."""
        with self._seen.ledger.reading() as con:
            return conflicts_in(con, self.home.conflicts)

    def refused(self) -> Mapping[str, str]:
        """Reason by the server's name of what it holds and the guarded scan does not let in."""
        return self._seen.refused()

    # -- what happened ------------------------------------------------------------------------------------------------

    def changes(self, since: int, limit: int) -> Changes:
        """What was seen and what was gone after sequence number `since`, oldest first."""
        return self._seen.changes(since, limit)

    def last_change(self) -> tuple[str, int]:
        """The feed's id and its highest sequence number, after a look at the server."""
        self._look()
        return self._seen.last_change()

    def label_changes(self, since: int) -> Sequence[LabelChange]:
        """The labels of the objects whose labels changed after sequence number `since`."""
        return self.labels.changed_since(since)

    def refresh(self) -> None:
        """Compare everything that is known with what the server has: new, deleted, modified."""
        forget_frames()
        self._look(at_once=True, depth="thorough")

    def _look(self, *, at_once: bool = False, depth: Depth = "counted") -> None:
        """Follow the server, unless it was looked at just now."""
        with self._one:
            now = time.monotonic()
            if not at_once and now - self._looked < self._server.pause_s:
                return
            if depth == "counted" and now - self._listed > _LISTING_S:
                depth = "listed"
            with self._file_lock, self._expecting_its_protocol():
                self._follow(depth)
            self._looked = time.monotonic()

    @contextmanager
    def _expecting_its_protocol(self) -> Iterator[None]:
        try:
            yield
        except ResearchPacsError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = f"does not answer as {self.address.kind} should ({type(error).__name__} in its JSON)"
            raise RemoteError(f"{self.address.root} {what}") from error

    def _follow(self, depth: Depth) -> None:
        cursor = self._seen.cursor()
        while True:
            page = self._server.feed(cursor, self._seen.count())
            owed = {name: bool(cursor.get(name)) for name in ("unlisted", "other")}
            told = {**page.cursor, "unlisted": owed["unlisted"] or page.listing, "other": owed["other"] or page.other}
            self._take(page.names, told)
            cursor = self._seen.cursor()
            if page.done:
                break
        count = self._server.count()
        differs = count is not None and count != self._seen.count()
        if differs or depth != "counted" or cursor.get("unlisted"):
            self._reconcile(cursor, depth)
        if "labels" in self.capabilities and (depth != "counted" or self._labels_seen + _LABELS_S < time.monotonic()):
            self._labels.follow()
            self._labels_seen = time.monotonic()

    def _reconcile(self, cursor: Mapping[str, Any], depth: Depth) -> None:
        """Make what is known equal to what is there; where it is cut short the next look goes on."""
        known = self._seen.versions()
        there = self._server.listing(known, cursor, depth)
        if gone := known.keys() - there.names:
            self._seen.remove(gone)
        suspects = known.keys() & there.names if cursor.get("other") else there.suspects
        new = there.names - known.keys()
        self._take([*sorted(new), *sorted(suspects)], {**there.cursor, "unlisted": False, "other": False})
        if depth != "counted":
            self._listed = time.monotonic()

    def _take(self, names: Sequence[str], cursor: Mapping[str, Any]) -> None:
        """Fetch headers and take them over, a batch in a commit; the cursor comes with the last."""
        before = self._seen.cursor()
        size = self._server.batch
        batches = [names[k : k + size] for k in range(0, len(names), size)] or [()]
        for number, batch in enumerate(batches, start=1):
            found, refused, gone = self._fetch(batch)
            told = cursor if number == len(batches) else before
            if found or refused or told != before:
                self._seen.put(found, refused, told)
            if gone:
                self._seen.remove(gone)
            for one in found:
                self._keep_header(one)
            for name, (_, reason) in refused.items():
                _log.warning("%s%s is left out: %s", self.address.url, name, reason)

    def _fetch(self, names: Sequence[str]) -> tuple[list[Seen], dict[str, tuple[str, str]], list[str]]:
        found, refused, gone = list[Seen](), dict[str, tuple[str, str]](), list[str]()
        for name, fetched in self._server.fetch(names) if names else ():
            if fetched is None:
                gone.append(name)
            elif fetched.failure:
                refused[name] = (fetched.version, fetched.failure)
            else:
                try:
                    found.append(seen_of(fetched))
                except InvalidInputError as error:
                    refused[name] = (fetched.version, str(error))
        return found, refused, gone

    def _keep_header(self, one: Seen) -> bytes:
        self._headers.put(f"{one.name}#{one.version}", one.header, len(one.header))
        return one.header

    # -- keep ---------------------------------------------------------------------------------------------------------

    @property
    def labels(self) -> RemoteLabels:
        """The labels that the server keeps.

        Raises
        ------
        UnsupportedError
            It keeps none: Orthanc does from 1.12 on, DICOMweb does not.
        """
        if "labels" not in self.capabilities:
            raise UnsupportedError(f"{self.address.root} keeps no labels; Orthanc does from 1.12 on")
        return self._labels

    @property
    def ledger(self) -> NoReturn:
        """Refuse: what is known beside the instances is the server's."""
        raise UnsupportedError(f"{self.address.root} keeps what is known beside its instances; use a local archive")

    def verify(self) -> NoReturn:
        """Refuse: the files are the server's."""
        raise UnsupportedError(f"the files are kept by {self.address.root}: verify them there")

    def close(self) -> None:
        """Give back the ledger's files and the connections."""
        self._seen.close()
        self._server.close()
