"""Other servers that this one sends to and fetches from: what ``/peers`` and ``/dicom-web/servers`` have in common.

As with an Orthanc that is not told otherwise they are known until the server ends. Their passwords are in memory only:
a job that is done by the next server finds them in ``~/.netrc``, or fails with that reason.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.archive._remote_address import Address, address_of, as_address, credentials_of, remember
from researchpacs.archive._remote_frames import server_of
from researchpacs.archive._remote_server import Server
from researchpacs.errors import RemoteError
from researchpacs.server.jobs import Run
from researchpacs.server.orthanc.answers import as_json, flag
from researchpacs.server.orthanc.bodies import body_json, body_or_word
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.jobs import answer_as_job, giving_up, is_asynchronous, stepping
from researchpacs.server.orthanc.send import resources_in
from researchpacs.server.orthanc.zips import instances_of, transcode_of
from researchpacs.server.zips import instance_bytes

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["Remote", "Remotes", "send_all", "server_in", "start_sending"]

_BAD_FORMAT = (15, "Bad file format")
_INEXISTENT = (7, "Accessing an inexistent item")
_LONGEST_NAME = 64
_LONGEST_TIMEOUT_S = 86_400


@dataclass(frozen=True, slots=True)
class Remote:
    """Another server, as it was described."""

    address: Address
    timeout_s: int = 0

    @property
    def shown(self) -> dict[str, Any]:
        """As Orthanc shows it: without the password."""
        made: dict[str, Any] = {
            "HttpHeaders": [],
            "Pkcs11": False,
            "Timeout": self.timeout_s,
            "Url": self.address.root,
        }
        user = credentials_of(self.address)
        return made | ({"Password": None, "Username": user[0]} if user else {})


class Remotes:
    """The other servers of one kind, by name.

    Parameters
    ----------
    kind
        ``"orthanc"`` or ``"dicomweb"``.
    word
        What they are called in messages.
    """

    def __init__(self, kind: str, word: str) -> None:
        self._kind = kind
        self._word = word
        self._known: dict[str, Remote] = {}
        self._lock = threading.Lock()

    def of(self, request: Request) -> Remote:
        """The one that a request's path names; 404 where there is none."""
        with self._lock:
            found = self._known.get(request.path_params["name"])
        if found is None:
            raise OrthancError(404, f"there is no such {self._word}", orthanc=_INEXISTENT)
        return found

    def routes(
        self, path: str, *, operations: Sequence[str], configuration: bool, done: Callable[[], Response]
    ) -> list[Route]:
        """List, describe, configure and forget.

        Parameters
        ----------
        operations
            What is below one of them.
        configuration
            Whether there is a route that shows one alone.
        done
            Answers what has changed something.
        """

        def read_all(request: Request) -> Response:
            with self._lock:
                known = dict(self._known)
            shown = {name: one.shown for name, one in known.items()}
            return as_json(shown if flag(request, "expand") else sorted(known))

        def read(request: Request) -> Response:
            self.of(request)
            return as_json(list(operations))

        def write(request: Request) -> Response:
            name = request.path_params["name"]
            remote, credentials = self._parse(body_json(request))
            if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
                raise OrthancError(400, f"a name has 1 to {_LONGEST_NAME} characters")
            with self._lock:
                self._known[name] = remote
                remember(remote.address, credentials)
            return done()

        def remove(request: Request) -> Response:
            found = self.of(request)
            with self._lock:
                del self._known[request.path_params["name"]]
                if all(one.address != found.address for one in self._known.values()):
                    remember(found.address, None)
            return done()

        one = f"{path}/{{name}}"
        made = [
            Route(path, read_all),
            Route(one, read, methods=["GET"]),
            Route(one, write, methods=["PUT"]),
            Route(one, remove, methods=["DELETE"]),
        ]
        if configuration:
            made.append(Route(f"{one}/configuration", lambda request: as_json(self.of(request).shown)))
        return made

    def _parse(self, said: object) -> tuple[Remote, tuple[str, str] | None]:
        """Read what Orthanc's configuration has: an object, or a list of URL, user name and password."""
        if isinstance(said, list) and len(said) in (1, 3):
            said = dict(zip(("Url", "Username", "Password"), said, strict=False))
        if not isinstance(said, Mapping) or not isinstance(said.get("Url"), str) or not said["Url"]:
            raise OrthancError(400, "Empty URL", orthanc=_BAD_FORMAT)
        for name in ("HttpHeaders", "CertificateFile", "CertificateKeyFile", "Pkcs11"):
            if said.get(name):
                raise OrthancError(501, f"{name} is not offered here")
        address = as_address(f"{self._kind}+{said['Url']}")
        parts = urlsplit(said["Url"])
        user, secret = said.get("Username"), said.get("Password")
        if isinstance(user, str) and user:
            return Remote(address, _seconds(said)), (user, secret if isinstance(secret, str) else "")
        return Remote(address, _seconds(said)), credentials_of(address) if parts.username else None


def start_sending(
    pacs: "Pacs",
    kind: str,
    remote: Remote,
    request: Request,
    content: Callable[[Sequence[str], Sequence[Stored]], Mapping[str, Any]],
    *,
    default: bool = False,
) -> Response:
    """Put a job that sends resources into the queue.

    Parameters
    ----------
    content
        Gives what is shown of the job from the start, of the resources' names and their instances.
    default
        Whether the job is asynchronous where the client says nothing.
    """
    names, options = resources_in(body_or_word(request))
    instances = instances_of(pacs, names)
    wanted = {
        "Url": remote.address.url,
        "Timeout": remote.timeout_s,
        "Resources": names,
        "Transcode": transcode_of(options),
        "Waited": not is_asynchronous(options, default=default),
    }
    return answer_as_job(pacs, kind, wanted, options=options, default=default, content=content(names, instances))


def server_in(run: Run) -> Server:
    """The server that a job names."""
    return server_of(address_of(run.job.request["Url"]), timeout_s=run.job.request.get("Timeout", 0))


def send_all(run: Run) -> list[Stored]:
    """Send the resources of a job, one instance after the other; what was sent."""
    request = run.job.request
    instances = instances_of(run.pacs, request["Resources"])
    with giving_up(waited=request["Waited"]):
        server = server_in(run)
        for stored in stepping(run, instances):
            blob = run.tmp / f"{secrets.token_hex(8)}.dcm"
            try:
                with blob.open("xb") as file:
                    for chunk in instance_bytes(run.pacs, stored, request["Transcode"], strict=False):
                        file.write(chunk)
                sent = server.send(blob, stored.identity)
            finally:
                blob.unlink(missing_ok=True)
            if sent.refusal:
                raise RemoteError(f"instance ...{stored.identity.sop_uid[-12:]}: {sent.refusal}")
    return instances


def _seconds(said: Mapping[str, Any]) -> int:
    found = said.get("Timeout", 0)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= _LONGEST_TIMEOUT_S:
        raise OrthancError(400, f"Timeout is a number of seconds, 0 to {_LONGEST_TIMEOUT_S}", orthanc=_BAD_FORMAT)
    return found
