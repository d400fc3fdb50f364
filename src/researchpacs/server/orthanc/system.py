"""Who answers here, and small tools: ``/system``, ``/statistics``, ``/tools/now`` and their like."""

import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.server.orthanc.answers import as_json, as_text
from researchpacs.server.orthanc.bodies import body_text
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.names import LEVELS, MAIN_TAGS, TYPE, as_level, numbered

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["API_VERSION", "VERSION", "routes"]

VERSION = "1.12.7"
"""The Orthanc whose behaviour is matched."""
API_VERSION = 28
_DATABASE = 6
_LOG_LEVELS = {"trace": logging.DEBUG, "verbose": logging.INFO, "default": logging.WARNING}
_MB = 1 << 20
_log = logging.getLogger("researchpacs")


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def system(request: Request) -> Response:
        return as_json(_system(pacs, request))

    def statistics(_: Request) -> Response:
        counts = pacs.archive.resources.counts()
        return as_json(
            {
                "CountPatients": counts.patients,
                "CountStudies": counts.studies,
                "CountSeries": counts.series,
                "CountInstances": counts.instances,
                "TotalDiskSize": str(counts.bytes),
                "TotalDiskSizeMB": counts.bytes // _MB,
                "TotalUncompressedSize": str(counts.bytes),
                "TotalUncompressedSizeMB": counts.bytes // _MB,
            }
        )

    def metrics(_: Request) -> Response:
        counts = pacs.archive.resources.counts()
        stamp = int(datetime.now(UTC).timestamp() * 1000)
        values = {
            "orthanc_count_patients": counts.patients,
            "orthanc_count_studies": counts.studies,
            "orthanc_count_series": counts.series,
            "orthanc_count_instances": counts.instances,
            "orthanc_disk_size_mb": counts.bytes / _MB,
            "orthanc_uncompressed_size_mb": counts.bytes / _MB,
        }
        return as_text("".join(f"{name} {value:g} {stamp}\n" for name, value in values.items()))

    return [
        Route("/system", system, methods=["GET"]),
        Route("/statistics", statistics, methods=["GET"]),
        Route("/tools/metrics-prometheus", metrics, methods=["GET"]),
        Route("/tools/now", _now, methods=["GET"]),
        Route("/tools/now-local", _now_local, methods=["GET"]),
        Route("/tools/generate-uid", _generate_uid, methods=["GET"]),
        Route("/tools/default-encoding", _default_encoding, methods=["GET"]),
        Route("/tools/unknown-sop-class-accepted", _unknown_sop_class, methods=["GET"]),
        Route("/tools/accepted-transfer-syntaxes", _transfer_syntaxes, methods=["GET"]),
        Route("/tools/log-level", _log_level, methods=["GET"]),
        Route("/tools/log-level", _set_log_level, methods=["PUT"]),
        Route("/plugins", _plugins, methods=["GET"]),
        Route("/exports", _exports, methods=["GET"]),
    ]


def _system(pacs: "Pacs", request: Request) -> dict[str, Any]:
    feed_id, _ = pacs.archive.last_change()
    return {
        "ApiVersion": API_VERSION,
        "Capabilities": {"HasExtendedChanges": True, "HasExtendedFind": True},
        "CheckRevisions": True,
        "DatabaseBackendPlugin": None,
        "DatabaseServerIdentifier": feed_id,
        "DatabaseVersion": _DATABASE,
        "DicomAet": getattr(request.app.state, "ae_title", "RESEARCHPACS"),
        "DicomPort": getattr(request.app.state, "dimse_port", 0),
        "HasLabels": True,
        "HttpPort": request.url.port or 80,
        "IngestTranscoding": "",
        "IsHttpServerSecure": request.url.scheme == "https",
        "MainDicomTags": {
            TYPE[level]: ";".join(sorted(numbered(keyword) for keyword in MAIN_TAGS[level])) for level in LEVELS
        },
        "MaximumPatientCount": 0,
        "MaximumStorageMode": "Reject",
        "MaximumStorageSize": 0,
        "Name": "researchpacs",
        "OverwriteInstances": False,
        "PluginsEnabled": False,
        "ReadOnly": False,
        "StorageAreaPlugin": None,
        "StorageCompression": False,
        "UserMetadata": {},
        "Version": VERSION,
    }


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


def _log_level(_: Request) -> Response:
    level = _log.getEffectiveLevel()
    return as_text(next((name for name, number in _LOG_LEVELS.items() if number >= level), "default"))


def _set_log_level(request: Request) -> Response:
    name = body_text(request).strip()
    if name not in _LOG_LEVELS:
        raise OrthancError(400, f"the level is one of {', '.join(_LOG_LEVELS)}", orthanc=(3, "Parameter out of range"))
    _log.setLevel(_LOG_LEVELS[name])
    return as_text("")


def _plugins(_: Request) -> Response:
    return as_json([])


def _exports(_: Request) -> Response:
    return as_json({"Done": True, "Exports": [], "Last": 0})
