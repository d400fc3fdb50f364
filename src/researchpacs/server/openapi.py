"""`/openapi.json`: what may be asked over HTTP, as OpenAPI 3.1.

Paths, methods, path parameters and who may ask come from the routes that answer, so they cannot be other than they are.
Bodies and query parameters, which only the endpoints know, stand in tables here.
"""

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import researchpacs
from researchpacs.server.auth import needed_role

__all__ = ["BODIES", "PATH", "QUERIES", "describe", "fits", "routes"]

PATH = "/openapi.json"

_LEVEL = "/(patients|studies|series|instances)"
_JSON = ("application/json",)
BODIES: Sequence[tuple[tuple[str, ...], str, tuple[str, ...]]] = (
    (("POST",), "/instances", ("application/dicom", "application/zip", "application/gzip", "multipart/form-data")),
    (("POST",), "/dicom-web/studies(/{study})?", ("multipart/related",)),
    (("POST",), "/tools/lookup", ("text/plain",)),
    (("POST",), "/jobs/.*", ()),
    (("POST",), f"{_LEVEL}/{{id}}/attachments/.*", ()),
    (("PUT",), f"{_LEVEL}/{{id}}/attachments/{{name}}", ("application/octet-stream",)),
    (("PUT",), f"{_LEVEL}/{{id}}/metadata/{{name}}", ("text/plain",)),
    (("PUT",), f"{_LEVEL}/{{id}}/labels/{{label}}", ()),
    (("PUT",), "/tools/log-level", ("text/plain",)),
    (("POST", "PUT"), ".*", _JSON),
)
"""Media types of bodies by method and path; the first that fits holds."""

QUERIES: Sequence[tuple[str, tuple[str, ...]]] = (
    ("/dicom-web/(.*/)?(studies|series|instances)", ("limit", "offset", "fuzzymatching", "includefield")),
    ("/dicom-web/.*/(rendered|thumbnail)", ("accept", "viewport", "window", "quality")),
    ("/dicom-web/.*", ("accept",)),
    ("/wado", ("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "frameNumber", "rows", "columns",
               "windowCenter", "windowWidth", "imageQuality", "transferSyntax")),
    (_LEVEL, ("expand", "since", "limit", "requestedTags", "short", "full")),
    (f"{_LEVEL}/{{id}}(/(patient|study|series|studies|instances))?", ("expand", "requestedTags", "short", "full")),
    ("/instances/{id}/(tags|header)", ("simplify", "short")),
    ("/instances/{id}/file", ("transcode",)),
    ("/instances/{id}/(frames/{frame}/)?rendered", ("width", "height", "smooth", "window-center", "window-width",
                                                    "quality")),
    ("/(instances|series)/{id}/(frames/{frame}/)?numpy", ("rescale", "compress")),
    ("/changes", ("since", "limit", "last", "to", "type")),
    (".*/(archive|media)", ("transcode", "filename", "asynchronous")),
    ("/tools/create-(archive|media)", ("resources", "transcode", "filename", "asynchronous")),
    ("/tools/generate-uid", ("level",)),
    ("/jobs", ("expand",)),
)  # fmt: skip
"""Parameters of a GET by path; the first that fits holds. A search takes any attribute besides."""

_PARAMETER = re.compile(r"{(\w+)(:\w+)?}")
_METHODS = ("GET", "PUT", "POST", "DELETE")
_ERRORS = {
    "400": "The request is not understood.",
    "401": "Nobody is known by this Authorization.",
    "403": "The role does not allow it.",
    "404": "There is no such thing.",
    "413": "The body is longer than is taken here.",
    "507": "The disk of the archive is full.",
}


def routes() -> list[Route]:
    """The route of this module."""
    return [Route(PATH, _answer, methods=["GET"])]


def describe(answering: Iterable[BaseRoute]) -> dict[str, Any]:
    """Describe routes as an OpenAPI document.

    Parameters
    ----------
    answering
        Of the application, in its order.
    """
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, str] = {}
    for route in answering:
        if not isinstance(route, Route):
            continue
        path = _PARAMETER.sub(r"{\1}", route.path)
        tag, told = _module_of(route)
        tags.setdefault(tag, told)
        for method in _METHODS:
            # What was said first answers, as with the routes themselves.
            if method in (route.methods or ()):
                paths.setdefault(path, {}).setdefault(method.lower(), _operation(method, path, tag))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "researchpacs",
            "version": researchpacs.__version__,
            "description": "Orthanc's REST API and DICOMweb over one archive. HEAD answers wherever GET does.",
        },
        "security": [{"bearer": []}, {"basic": []}],
        "tags": [{"name": name, "description": told} for name, told in tags.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
            "schemas": {"Error": _ERROR},
        },
    }


def fits(pattern: str, path: str) -> bool:
    """Whether a pattern of the tables is about a path; braces of its parameters stand for themselves."""
    return re.fullmatch(pattern.replace("{", r"\{").replace("}", r"\}"), path) is not None


def _answer(request: Request) -> Response:
    text = json.dumps(describe(request.app.routes), indent=1)
    return Response(text, media_type="application/json")


def _operation(method: str, path: str, tag: str) -> dict[str, Any]:
    names = [found[1] for found in _PARAMETER.finditer(path)]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if method == "GET":
        queries = next((names for pattern, names in QUERIES if fits(pattern, path)), ())
        parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in queries]
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', path).rstrip('_')}",
        "tags": [tag],
        "x-role": needed_role({"method": method, "path": path}),
        "parameters": parameters,
        "responses": {
            "2XX": {"description": "Done."},
            **{status: _error(told) for status, told in _ERRORS.items()},
        },
    }
    kinds = next((kinds for methods, pattern, kinds in BODIES if method in methods and fits(pattern, path)), ())
    if kinds:
        operation["requestBody"] = {"content": {kind: {"schema": {}} for kind in kinds}}
    return operation


def _error(told: str) -> dict[str, Any]:
    return {
        "description": told,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _module_of(route: Route) -> tuple[str, str]:
    """The module that answers, and what it says of itself: the name and description of a tag."""
    module = inspect.getmodule(inspect.unwrap(route.endpoint))
    if module is None:
        return "other", ""
    return module.__name__.removeprefix("researchpacs.server."), (module.__doc__ or "").split("\n\n")[0]


_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "As Orthanc says it; DICOMweb gives HttpStatus and Message. 401, and 404 of a resource, are empty.",
    "required": ["HttpStatus", "Message"],
    "properties": {
        "HttpStatus": {"type": "integer"},
        "Message": {"type": "string"},
        "HttpError": {"type": "string"},
        "Details": {"type": "string"},
        "Method": {"type": "string"},
        "OrthancError": {"type": "string"},
        "OrthancStatus": {"type": "integer"},
        "Uri": {"type": "string"},
    },
}
