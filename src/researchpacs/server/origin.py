"""What a browser was made to send: pages of other origins act with the rights of whoever is at the keyboard.

A browser adds the password it knows, or reaches a server on its own machine, for any page that asks (CSRF); and a name
that its owner lets point to this machine makes such a page the server's own (DNS rebinding).
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers

__all__ = ["comes_from_elsewhere", "names_this_machine"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({"same-origin", "none"})


def comes_from_elsewhere(method: str, headers: Headers, origins: Collection[str]) -> bool:
    """Whether a page of another origin wants to change something; tools that are no browsers send no such header.

    Parameters
    ----------
    origins
        Those that may, beside the server's own.
    """
    if method in _SAFE:
        return False
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin in origins:
        return False
    if site is not None:
        return site not in _OWN
    return origin is not None and _host_of(origin) != headers.get("host", "").lower()


def names_this_machine(headers: Headers) -> bool:
    """Whether the address that a request was sent to is one that only means the machine it came from."""
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
