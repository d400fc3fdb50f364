"""Many resources in one request: ``/tools/bulk-delete``, ``/tools/bulk-content``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.bodies import body_object
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.metadata import metadata_of
from researchpacs.server.orthanc.names import LEVELS, as_level
from researchpacs.server.orthanc.objects import Format, as_objects
from researchpacs.server.orthanc.zips import instances_of, levels_of

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def delete(request: Request) -> Response:
        instances = instances_of(pacs, _names(body_object(request)))
        pacs.archive.delete_instances([stored.key for stored in instances])
        return as_json({})

    def content(request: Request) -> Response:
        options = body_object(request)
        level = as_level(options["Level"]) if "Level" in options else None
        found = [one for name in _names(options) for one in _objects(pacs, name, level, options)]
        # The same parent of two resources is shown once.
        return as_json(list({one["ID"]: one for one in found}.values()))

    return [
        Route("/tools/bulk-delete", delete, methods=["POST"]),
        Route("/tools/bulk-content", content, methods=["POST"]),
    ]


def _names(options: Mapping[str, Any]) -> list[str]:
    names = options.get("Resources")
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise OrthancError(400, "Resources has to be a list of names")
    return names


def _objects(pacs: "Pacs", name: str, level: Level | None, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The object of this name, or at another level its parent or all that is below it; none where nothing has it."""
    form: Format = "short" if options.get("Short") else "full" if options.get("Full") else "simple"
    made = []
    for own in levels_of(pacs, name):
        wanted = level or own
        if LEVELS.index(wanted) <= LEVELS.index(own):
            one = pacs.archive.resources.one(own, name)
            names = [one.identity.orthanc_id(wanted)] if one else []
        else:
            below = pacs.archive.resources.instances(own, name)
            names = list(dict.fromkeys(stored.identity.orthanc_id(wanted) for stored in below))
        resources = pacs.archive.resources.get(wanted, names)
        for resource, shown in zip(resources, as_objects(pacs, resources, form=form), strict=True):
            if options.get("Metadata", True):
                shown["Metadata"] = metadata_of(pacs, resource)
            made.append(shown)
    return made
