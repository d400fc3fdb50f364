"""Where an application stands: below a path that a proxy gives it, or beside another at a port of its own."""

import re
import socket
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from researchpacs.errors import InvalidInputError

__all__ = ["BelowPath", "as_root_path", "by_port", "shown_host"]

_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def as_root_path(text: str, *, taken: Iterable[str] = ()) -> str:
    """Read a path such as ``"/pacs"``; the empty one is the root.

    Parameters
    ----------
    taken
        Paths of the application itself: below one of them nobody could tell which is meant.

    Raises
    ------
    InvalidInputError
        It is none, or taken.
    """
    path = text.rstrip("/")
    if path and any(f"{one}/".startswith(f"{path}/") for one in taken):
        raise InvalidInputError(f"{text!r} is a path of the server itself; choose another to stand below")
    if path and (not _ROOT_PATH.fullmatch(path) or {".", ".."} & set(path.split("/"))):
        raise InvalidInputError(f"{text!r} is no path to stand below; one looks like /pacs")
    return path


def by_port(applications: Mapping[int, ASGIApp], otherwise: ASGIApp) -> ASGIApp:
    """Answer by the port of this machine that a request came to.

    Parameters
    ----------
    otherwise
        Answers at all other ports, and is told when the server starts and ends.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        _, port = scope.get("server") or (None, None)
        await applications.get(port or 0, otherwise)(scope, receive, send)

    return answer


def shown_host(host: str) -> str:
    """The name to tell people: that of this machine where all its addresses are meant."""
    return socket.gethostname() if host in ("", "0.0.0.0", "::") else host  # noqa: S104 - read, not bound


class BelowPath:
    """Stands below a path: the URLs it gives begin with it. A proxy in front may take the path off, or leave it.

    Parameters
    ----------
    app
        What answers.
    root
        As `as_root_path` gives it.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self.app = app
        self.root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and self.root:
            path = scope["path"]
            if path != self.root and not path.startswith(f"{self.root}/"):
                path = self.root + path
            scope = {**scope, "root_path": self.root, "path": path}
        await self.app(scope, receive, send)
