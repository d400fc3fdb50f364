"""Where a remote archive is, without secrets; the secrets that this process was given stay here, by address.

An address goes into names of folders, errors and dask tasks; user and password never do. They are known to the process
that called `connect`, and looked up when a connection is made.
"""

import hashlib
import threading
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from researchpacs.errors import InvalidInputError

__all__ = ["Address", "address_of", "as_address", "credentials_of", "remember"]

Kind = Literal["orthanc", "dicomweb"]

_KINDS: dict[str, tuple[Kind, str]] = {
    f"{kind}+{scheme}": (kind, scheme) for kind in ("orthanc", "dicomweb") for scheme in ("http", "https")
}
_PORTS = {"http": 80, "https": 443}
_known: dict[str, tuple[str, str]] = {}
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Address:
    """A server and the path below which it answers."""

    kind: Kind
    root: str
    """``http://host:port/sub/path/``, without credentials, with a slash at the end."""

    @property
    def url(self) -> str:
        """As users write it, without credentials."""
        return f"{self.kind}+{self.root}"

    @property
    def digits(self) -> str:
        """16 hex digits that name the folder of what is known of it."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]


def as_address(text: str) -> Address:
    """Read a URL such as ``orthanc+http://user:secret@host:8042/``; this process remembers the credentials in it.

    Raises
    ------
    InvalidInputError
        It is none; the message does not quote it, because it may hold a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _malformed() from None
    if parts.scheme not in _KINDS or not parts.hostname or parts.query or parts.fragment:
        raise _malformed()
    kind, scheme = _KINDS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port in (None, _PORTS[scheme]) else f"{host}:{port}"
    address = Address(kind, f"{scheme}://{place}{parts.path.rstrip('/')}/")
    if parts.username is not None:
        with _guard:
            _known[address.root] = (unquote(parts.username), unquote(parts.password or ""))
    return address


def address_of(url: str) -> Address:
    """Read `Address.url` back."""
    kind, _, root = url.partition("+")
    if kind not in ("orthanc", "dicomweb"):
        raise _malformed()
    return Address("orthanc" if kind == "orthanc" else "dicomweb", root)


def credentials_of(address: Address) -> tuple[str, str] | None:
    """User and password that this process was given for an address."""
    with _guard:
        return _known.get(address.root)


def remember(address: Address, credentials: tuple[str, str] | None) -> None:
    """Have this process use a user and a password for an address, or none any more."""
    with _guard:
        if credentials is None:
            _known.pop(address.root, None)
        else:
            _known[address.root] = credentials


def _malformed() -> InvalidInputError:
    return InvalidInputError(
        "a remote archive is named by a URL such as orthanc+http://user:secret@host:8042/ or "
        "dicomweb+https://host/dicom-web, without a query"
    )
