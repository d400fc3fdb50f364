"""What a path names: its instances in the archive, and the URLs of studies, series and instances."""

from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from starlette.requests import Request

from researchpacs.archive import Stored
from researchpacs.archive.holdings import instances_of
from researchpacs.errors import NotFoundError
from researchpacs.server.dicomweb._answers import RequestError

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["ROOT", "instance_url", "named_instance", "named_instances", "object_url", "pacs_of", "root_url"]

ROOT = "/dicom-web"


def pacs_of(request: Request) -> "Pacs":
    """The archive that is served."""
    return cast("Pacs", request.app.state.pacs)


def named_instances(request: Request) -> list[Stored]:
    """The instances of the study, series or instance in the path, by series and InstanceNumber.

    Raises
    ------
    NotFoundError
        There are none.
    """
    path = request.path_params
    found = instances_of(pacs_of(request).archive, path["study"], path.get("series"), path.get("instance"))
    if not found:
        level = next(name for name in ("instance", "series", "study") if name in path)
        raise NotFoundError(f"no such {level} is in the archive")
    return found


def named_instance(request: Request) -> Stored:
    """The instance in the path.

    Raises
    ------
    NotFoundError
        There is none.
    RequestError
        409: patients share its UIDs, so that the path does not say which is meant.
    """
    found = named_instances(request)
    if len(found) > 1:
        raise RequestError(
            409, f"{len(found)} patients share the UIDs of this instance; retrieve its series to have all"
        )
    return found[0]


def root_url(request: Request) -> str:
    """The URL of this service, as the client wrote it."""
    base = request.base_url
    server = request.scope.get("server")
    # Some clients leave the port out of Host; one who names our own address came without a proxy, and needs it.
    if base.port is None and server and base.hostname == server[0] and server[1] not in (None, 80, 443):
        base = base.replace(port=server[1])
    return f"{str(base).rstrip('/')}{ROOT}"


def object_url(root: str, *uids: str) -> str:
    """The URL of a study, series or instance from its UIDs, which hold any character where a file broke the rules."""
    levels = zip(("studies", "series", "instances"), uids, strict=False)
    return root + "".join(f"/{level}/{quote(uid, safe='')}" for level, uid in levels)


def instance_url(root: str, stored: Stored) -> str:
    """The URL of an instance."""
    uids = stored.identity
    return object_url(root, uids.study_uid, uids.series_uid, uids.sop_uid)
