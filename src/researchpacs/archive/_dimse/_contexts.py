"""Which SOP classes and transfer syntaxes we speak, and what an association agrees on (PS3.7 D.3.2, D.3.3.4)."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pydicom._uid_dict import UID_dictionary
from pynetdicom import _globals, sop_class

__all__ = [
    "COMMITMENT",
    "ECHO",
    "EXPLICIT",
    "FIND",
    "GET",
    "IMPLICIT",
    "MOVE",
    "NATIVE",
    "WORKLIST",
    "Context",
    "Proposal",
    "agree",
    "is_storage",
    "storage_transfer_syntaxes",
]

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
NATIVE = (EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.2")
"""Not compressed; explicit first, which keeps the VRs of private elements."""

ECHO = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
WORKLIST = "1.2.840.10008.5.1.4.31"
FIND: Mapping[str, str] = {"patient": "1.2.840.10008.5.1.4.1.2.1.1", "study": "1.2.840.10008.5.1.4.1.2.2.1"}
"""By the root of the information model (PS3.4 C.6)."""
MOVE: Mapping[str, str] = {"patient": "1.2.840.10008.5.1.4.1.2.1.2", "study": "1.2.840.10008.5.1.4.1.2.2.2"}
GET: Mapping[str, str] = {"patient": "1.2.840.10008.5.1.4.1.2.1.3", "study": "1.2.840.10008.5.1.4.1.2.2.3"}

_UID = re.compile(r"[0-9.]{1,64}")
_ACCEPTED, _USER_REJECTED, _NO_SOP_CLASS, _NO_TRANSFER_SYNTAX = 0, 1, 3, 4


@dataclass(frozen=True, slots=True)
class Proposal:
    """A presentation context as a requestor proposes it."""

    id: int
    sop_class_uid: str
    transfer_syntax_uids: Sequence[str]
    scu_role: bool = True
    """The requestor invokes operations of the SOP class."""
    scp_role: bool = False
    """The requestor performs them: what C-GET needs of storage classes (PS3.4 C.5.3)."""
    has_roles: bool = False
    """The requestor sent a role selection item."""


@dataclass(frozen=True, slots=True)
class Context:
    """What became of a proposal."""

    id: int
    sop_class_uid: str
    transfer_syntax_uid: str
    result: int
    """PS3.8 table 9-18: 0 accepted, 1 rejected by the user, 3 unknown SOP class, 4 no transfer syntax in common."""
    scu_role: bool = True
    """Roles of the association's requestor."""
    scp_role: bool = False
    has_roles: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether messages may use it."""
        return self.result == _ACCEPTED


def agree(proposals: Iterable[Proposal], *, served: Collection[str], storage: bool) -> list[Context]:
    """Answer what a requestor proposes.

    Parameters
    ----------
    served
        SOP classes besides storage that this requestor may use.
    storage
        Whether it may use the storage classes.
    """
    return [_agree(proposal, served, storage=storage) for proposal in proposals]


def is_storage(sop_class_uid: str) -> bool:
    """Whether instances of this class can be stored: any known storage class, and any class nobody knows."""
    if sop_class_uid in UID_dictionary:
        return sop_class_uid in _storage_classes()
    return _UID.fullmatch(sop_class_uid) is not None


@cache
def storage_transfer_syntaxes() -> frozenset[str]:
    """Every transfer syntax that the header scan reads."""
    private_or_retired = {"1.2.840.10008.1.20", "1.2.840.113619.5.2"}
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    return frozenset((known | set(_globals.ALL_TRANSFER_SYNTAXES)) - private_or_retired)


@cache
def _storage_classes() -> frozenset[str]:
    listed = {
        uid for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class" and name.find("Storage") > 0
    }
    others = {COMMITMENT, "1.2.840.10008.1.20.2", "1.2.840.10008.1.3.10"}
    return (frozenset(map(str, sop_class._STORAGE_CLASSES.values())) | listed) - others


def _agree(proposal: Proposal, served: Collection[str], *, storage: bool) -> Context:
    uid, stores = proposal.sop_class_uid, is_storage(proposal.sop_class_uid)
    chosen = _chosen(proposal.transfer_syntax_uids, storage_transfer_syntaxes() if stores else NATIVE)
    result = _ACCEPTED
    if stores or uid in _all_served():
        if not (storage if stores else uid in served):
            result = _USER_REJECTED
        elif chosen is None:
            result = _NO_TRANSFER_SYNTAX
    else:
        result = _NO_SOP_CLASS
    fallback = next(iter(proposal.transfer_syntax_uids), IMPLICIT)
    return Context(
        proposal.id,
        uid,
        chosen or fallback,
        result,
        scu_role=proposal.scu_role,
        # PS3.7 D.3.3.4: a role is not granted where it makes no sense.
        scp_role=proposal.scp_role and (stores or uid == COMMITMENT),
        has_roles=proposal.has_roles,
    )


def _chosen(proposed: Sequence[str], known: Collection[str]) -> str | None:
    """Take the requestor's first choice; of several native encodings the one that loses nothing."""
    first = next((uid for uid in proposed if uid in known), None)
    if first in NATIVE:
        return next(uid for uid in NATIVE if uid in proposed)
    return first


@cache
def _all_served() -> frozenset[str]:
    return frozenset({ECHO, COMMITMENT, WORKLIST, *FIND.values(), *MOVE.values(), *GET.values()})
