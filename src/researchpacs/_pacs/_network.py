"""The archive among other DICOM nodes: find, retrieve and send, composed of the archive's SCU and the catalog."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from researchpacs._pacs._handles import Handle
from researchpacs.archive import Stored
from researchpacs.archive._peers import Peer, Peers
from researchpacs.errors import InvalidInputError
from researchpacs.model import Level, Outcome

if TYPE_CHECKING:
    import pandas as pd
    from pydicom import Dataset

    from researchpacs._pacs._facade import Pacs
    from researchpacs.archive._dimse._store_scu import Sent
    from researchpacs.ingest import IngestReport

__all__ = ["RemoteHits", "SendReport", "as_peer", "find_remote", "retrieve", "send"]

# Frames end up in saved notebooks.
_PERSONAL = frozenset({"PatientName", "PatientBirthDate", "ReferringPhysicianName"})
_UNIQUE: Mapping[Level, str] = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}


class RemoteHits(Sequence["Dataset"]):
    """What a peer answered: a sequence of data sets, one a match.

    Parameters
    ----------
    peer, level
        Who was asked for what.
    datasets
        As the peer sent them.
    """

    def __init__(self, peer: Peer, level: Level, datasets: Sequence["Dataset"]) -> None:
        self.peer = peer
        self.level: Level = level
        self._datasets = list(datasets)

    @overload
    def __getitem__(self, index: int) -> "Dataset": ...
    @overload
    def __getitem__(self, index: slice) -> "RemoteHits": ...
    def __getitem__(self, index: int | slice) -> "Dataset | RemoteHits":
        if isinstance(index, slice):
            return RemoteHits(self.peer, self.level, self._datasets[index])
        return self._datasets[index]

    def __len__(self) -> int:
        return len(self._datasets)

    def __repr__(self) -> str:
        return f"<RemoteHits: {len(self)} of level {self.level} at {self.peer.name}>"

    def df(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """One row a match, a column a keyword; names and birth dates only where `columns` asks for them."""
        import pandas as pd

        rows = [{element.keyword: _plain(element.value) for element in ds if element.keyword} for ds in self]
        frame = pd.DataFrame(rows)
        if columns is not None:
            return frame.reindex(columns=list(columns))
        return frame[[name for name in frame.columns if name not in _PERSONAL]]


@dataclass(frozen=True)
class SendReport:
    """What became of instances that were sent."""

    rows: Sequence["Sent"]

    @property
    def sent(self) -> int:
        """How many the peer has."""
        return sum(row.ok for row in self.rows)

    @property
    def failed(self) -> int:
        """How many it has not, or nobody knows."""
        return len(self.rows) - self.sent

    def df(self) -> "pd.DataFrame":
        """One row an instance."""
        import pandas as pd

        columns = ["SOPInstanceUID", "sent", "status", "reason"]
        rows = [(row.sop_uid, row.ok, row.status, row.reason) for row in self.rows]
        return pd.DataFrame(rows, columns=columns).astype({"status": "Int64"})

    def __repr__(self) -> str:
        return f"<SendReport: {self.sent} sent, {self.failed} failed>"


def find_remote(peer: Peer, level: Level, filters: Mapping[str, Any]) -> RemoteHits:
    """Ask a peer."""
    from researchpacs.archive._dimse._query import find

    return RemoteHits(peer, level, list(find(peer, level, filters)))


def retrieve(pacs: "Pacs", peer: Peer, target: "RemoteHits | Dataset | str") -> "IngestReport":
    """Fetch what a peer has of one or more objects, each with its own request."""
    from researchpacs.ingest import IngestReport

    outcomes = [
        outcome for level, unique in _wanted(peer, target) for outcome in _retrieve_one(pacs, peer, level, unique)
    ]
    pacs.catalog.sync()
    return IngestReport(outcomes, lambda uids: list(pacs.search("series", SeriesInstanceUID=list(uids))))


def send(pacs: "Pacs", target: Handle | Iterable[Handle], peer: Peer) -> SendReport:
    """Send all that is below handles, each instance once."""
    from researchpacs.archive._dimse._store_scu import send as send_all

    return SendReport(list(send_all(peer, _instances(pacs, target))))


def as_peer(peers: Peers, peer: Peer | str) -> Peer:
    """A peer, or the one of this name."""
    return peers[peer] if isinstance(peer, str) else peer


def _instances(pacs: "Pacs", target: Handle | Iterable[Handle]) -> list[Stored]:
    handles = [target] if isinstance(target, Handle) else list(target)
    keys: dict[str, None] = {}
    for handle in handles:
        found = [handle] if handle.level == "instance" else handle.below("instance", order="InstanceNumber")
        keys.update(dict.fromkeys(str(one.attributes()["instance_key"]) for one in found))
    known = pacs.archive.rows(list(keys))
    return [known[key] for key in keys if key in known]


def _wanted(peer: Peer, target: "RemoteHits | Dataset | str") -> Iterator[tuple[Level, dict[str, str]]]:
    if isinstance(target, str):
        yield "study", {"StudyInstanceUID": target}
    elif isinstance(target, RemoteHits):
        if target.peer != peer:
            raise InvalidInputError(f"these were found at {target.peer.name}, not at {peer.name}")
        for ds in target:
            yield target.level, _unique(ds, target.level)
    else:
        named = str(target.get("QueryRetrieveLevel", "")).strip()
        level = next((one for one, name in _LEVEL_NAMES.items() if name == named), None)
        if level is None:
            raise InvalidInputError("retrieve takes hits of find_remote(), one of them, or a StudyInstanceUID")
        yield level, _unique(target, level)


_LEVEL_NAMES: Mapping[Level, str] = {"patient": "PATIENT", "study": "STUDY", "series": "SERIES", "instance": "IMAGE"}


def _unique(ds: "Dataset", level: Level) -> dict[str, str]:
    """Unique keys of a hit, from the root of its model down (PS3.4 C.4.2.2.1)."""
    found = {}
    for one, keyword in _UNIQUE.items():
        value = str(ds.get(keyword, "") or "")
        if value and (one != "patient" or level == "patient"):
            found[keyword] = value
        if one == level:
            break
    if _UNIQUE[level] not in found:
        raise InvalidInputError(f"a hit of level {level} has no {_UNIQUE[level]}, so it cannot be asked for")
    return found


def _retrieve_one(pacs: "Pacs", peer: Peer, level: Level, unique: Mapping[str, str]) -> Iterator[Outcome]:
    from researchpacs.archive._dimse._query import find
    from researchpacs.archive._dimse._retrieving import get, move

    expected = list(find(peer, "instance", {**unique, "SOPClassUID": None}))
    if not expected:
        return
    if not peer.get:
        move(peer, level, unique, destination=peer.calling_aet)
        yield from (_arrived(pacs, peer, str(ds.SOPInstanceUID)) for ds in expected)
        return
    classes = dict.fromkeys(str(ds.SOPClassUID) for ds in expected if ds.get("SOPClassUID"))
    missing = {str(ds.SOPInstanceUID) for ds in expected}
    with pacs.archive.home.workspace() as folder:
        outcomes = get(peer, level, unique, sop_class_uids=list(classes), folder=folder, store=pacs.archive.store)
        for outcome in outcomes:
            missing.discard(outcome.identity.sop_uid if outcome.identity else outcome.source.rpartition(" ")[2])
            yield outcome
    for uid in sorted(missing):
        yield Outcome(f"{peer.name}: {uid}", "refused", "the peer did not send it")


def _arrived(pacs: "Pacs", peer: Peer, sop_uid: str) -> Outcome:
    """After a C-MOVE, whether an instance came in by our own SCP."""
    from researchpacs.errors import NotFoundError

    source = f"{peer.name}: {sop_uid}"
    try:
        pacs.archive.locate([sop_uid])
    except InvalidInputError:  # there more than once, under several patients
        return Outcome(source, "stored")
    except NotFoundError:
        return Outcome(source, "refused", "the peer did not send it to our SCP; is that running under the AE title?")
    return Outcome(source, "stored")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, int | float | str):
        return value
    if isinstance(value, Sequence):
        return [str(one) for one in value]
    return str(value)
