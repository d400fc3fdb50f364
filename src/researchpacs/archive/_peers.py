"""The peers an archive knows: DICOM nodes by name, kept in the ledger.

A peer is where `Pacs.send` and C-MOVE may go, what `find_remote` and `retrieve` ask, and, when our own SCP runs, who
may call it from another machine and for what.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.storage.ledger import Ledger

__all__ = ["OPERATIONS", "OUR_AET", "Operation", "Peer", "Peers", "Tls", "as_aet"]

Operation: TypeAlias = Literal["echo", "store", "find", "get", "move", "commit", "worklist"]
OPERATIONS: frozenset[Operation] = frozenset(get_args(Operation))

OUR_AET = "RESEARCHPACS"
"""Our AE title where nothing else is said."""

_TABLE = """
create table peers (
    name text primary key,
    peer text not null
) strict, without rowid;
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS with a peer: paths of PEM files, which stay where they are."""

    authority: str | None = None
    """Certificates that vouch for the peer; by default those the system trusts."""
    certificate: str | None = None
    """What we show where the peer asks for a certificate, with its chain."""
    key: str | None = None
    check_host: bool = True
    """Whether the peer's certificate has to name its host."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A DICOM node."""

    name: str
    """What we call it."""
    aet: str
    """Its AE title."""
    host: str
    port: int
    tls: Tls | None = None
    allow: frozenset[Operation] = frozenset()
    """What it may ask of our SCP, calling from this host under this AE title."""
    get: bool = True
    """Retrieve from it by C-GET; by C-MOVE otherwise."""
    calling_aet: str = OUR_AET
    """What we call ourselves to it."""

    def echo(self) -> float:
        """Ask it for a sign of life (C-ECHO, PS3.4 annex A); the seconds it took.

        Raises
        ------
        RemoteError
            It does not answer, or not with success.
        MissingExtraError
            The extra ``dimse`` is not installed.
        """
        from researchpacs.archive._dimse._echo import echo

        return echo(self)


class Peers(Mapping[str, Peer]):
    """The peers by name.

    Parameters
    ----------
    ledger
        Where they are kept.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        ledger.migrate("peers", (_TABLE,))

    def add(
        self,
        name: str,
        *,
        aet: str,
        host: str,
        port: int = 104,
        tls: Tls | bool = False,
        allow: Collection[Operation] = (),
        get: bool = True,
        calling_aet: str = OUR_AET,
    ) -> Peer:
        """Add a peer, or replace the one of this name.

        Parameters
        ----------
        name
            Letters, digits, dots, dashes and underscores.
        aet
            Its AE title: up to 16 ASCII characters.
        tls
            True trusts whom the system trusts; `Tls` says more.
        allow
            What it may ask of our SCP: any of echo, store, find, get, move, commit, worklist.
        get
            False retrieves by C-MOVE, which needs our own SCP running and known to the peer.
        calling_aet
            Our AE title as this peer knows it; for C-MOVE that of our SCP.

        Raises
        ------
        InvalidInputError
            A value that cannot be.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInputError("the name of a peer is letters, digits, '.', '-' and '_', up to 64 of them")
        if unknown := sorted(set(allow) - OPERATIONS):
            raise InvalidInputError(f"{unknown[0]!r} is no operation; there are {', '.join(sorted(OPERATIONS))}")
        if not host or not 0 < port < 65_536:
            raise InvalidInputError("a peer has a host and a port from 1 to 65535")
        security = (Tls() if tls else None) if isinstance(tls, bool) else tls
        peer = Peer(name, as_aet(aet), host, port, security, frozenset(allow), get, as_aet(calling_aet))
        with self._ledger.writing() as con:
            con.execute("insert or replace into peers (name, peer) values (?, ?)", (name, _text(peer)))
        return peer

    def remove(self, name: str) -> None:
        """Forget a peer."""
        with self._ledger.writing() as con:
            if not con.execute("delete from peers where name = ?", (name,)).rowcount:
                raise NotFoundError(f"no peer is called {name!r}; there are {', '.join(self._names()) or 'none'}")

    def by_aet(self, aet: str) -> Peer | None:
        """The peer of an AE title: a C-MOVE names its destination so (PS3.4 C.4.2.1.4.2)."""
        return next((peer for peer in self.values() if peer.aet == aet), None)

    def __getitem__(self, name: str) -> Peer:
        with self._ledger.reading() as con:
            row = con.execute("select peer from peers where name = ?", (name,)).fetchone()
        if row is None:
            raise NotFoundError(
                f"no peer is called {name!r}; add it with pacs.peers.add({name!r}, aet=..., host=..., port=...)"
            )
        return _peer(row["peer"])

    def get(self, name: str, default: Any = None) -> Any:
        """The peer of this name, or `default` where there is none."""
        return self[name] if name in self else default  # noqa: SIM401 - this is what it would call

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        lines = (f"{peer.name}: {peer.aet} at {peer.host}:{peer.port}" for peer in self.values())
        return f"<Peers {'; '.join(lines) or 'none'}>"

    def _names(self) -> list[str]:
        with self._ledger.reading() as con:
            return [row["name"] for row in con.execute("select name from peers order by name")]


def as_aet(text: str) -> str:
    """Check an AE title (PS3.5 6.2, VR AE)."""
    aet = text.strip()
    if not 0 < len(aet) <= 16 or not aet.isascii() or not aet.isprintable() or "\\" in aet:
        raise InvalidInputError(f"an AE title is 1 to 16 printable ASCII characters without a backslash, not {text!r}")
    return aet


def _text(peer: Peer) -> str:
    return json.dumps({**asdict(peer), "allow": sorted(peer.allow)})


def _peer(text: str) -> Peer:
    values = json.loads(text)
    tls = Tls(**values.pop("tls")) if values["tls"] else values.pop("tls")
    return Peer(**{**values, "tls": tls, "allow": frozenset(values["allow"])})
