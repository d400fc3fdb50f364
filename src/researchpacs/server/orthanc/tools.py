"""Small tools: ``/tools/now`` and its like, log levels, and what is switched off here."""

import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.server.orthanc.answers import as_json, as_text
from researchpacs.server.orthanc.bodies import body_text
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.names import as_level

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_LOG_LEVELS = {"trace": logging.DEBUG, "verbose": logging.INFO, "default": logging.WARNING}
_CATEGORIES = {
    "": "researchpacs",
    "-generic": "researchpacs",
    "-http": "researchpacs.server",
    "-dicom": "researchpacs.server.dimse",
    "-jobs": "researchpacs.server.jobs",
    "-sqlite": "researchpacs.storage",
}
"""The logger that each of Orthanc's categories is here."""


def routes(_: "Pacs") -> list[Route]:
    """The routes of this module."""
    made = [
        Route("/tools/now", _now, methods=["GET"]),
        Route("/tools/now-local", _now_local, methods=["GET"]),
        Route("/tools/generate-uid", _generate_uid, methods=["GET"]),
        Route("/tools/default-encoding", _default_encoding, methods=["GET"]),
        Route("/tools/unknown-sop-class-accepted", _unknown_sop_class, methods=["GET"]),
        Route("/tools/accepted-transfer-syntaxes", _transfer_syntaxes, methods=["GET"]),
        Route("/tools/execute-script", lambda _: Response(status_code=403), methods=["POST"]),
    ]
    for category, logger in _CATEGORIES.items():
        made += _log_level(f"/tools/log-level{category}", logging.getLogger(logger))
    return made


def _log_level(path: str, log: logging.Logger) -> list[Route]:
    def read(_: Request) -> Response:
        level = log.getEffectiveLevel()
        return as_text(next((name for name, number in _LOG_LEVELS.items() if number >= level), "default"))

    def write(request: Request) -> Response:
        name = body_text(request).strip()
        if name not in _LOG_LEVELS:
            out_of_range = (3, "Parameter out of range")
            raise OrthancError(400, f"the level is one of {', '.join(_LOG_LEVELS)}", orthanc=out_of_range)
        log.setLevel(_LOG_LEVELS[name])
        return as_text("")

    return [Route(path, read, methods=["GET"]), Route(path, write, methods=["PUT"])]


def _now(_: Request) -> Response:
    return as_text(datetime.now(UTC).strftime("%Y%m%dT%H%M%S"))


def _now_local(_: Request) -> Response:
    return as_text(datetime.now().strftime("%Y%m%dT%H%M%S"))


def _generate_uid(request: Request) -> Response:
    """A new UID under 2.25 (PS3.5 B.2); for a patient, where there are no UIDs, a UUID."""
    if "level" not in request.query_params:
        raise OrthancError(400, 'Missing argument "level"')
    level = as_level(request.query_params["level"])
    made = uuid.uuid4()
    return as_text(str(made) if level == "patient" else f"2.25.{made.int}")


def _default_encoding(_: Request) -> Response:
    """What text without a character set is read as."""
    return as_text("Latin1")


def _unknown_sop_class(_: Request) -> Response:
    return as_text("1")


def _transfer_syntaxes(_: Request) -> Response:
    """What may be stored: every transfer syntax of the Standard, retired ones included (PS3.6 A)."""
    from pydicom._uid_dict import UID_dictionary

    return as_json(sorted(uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax"))
