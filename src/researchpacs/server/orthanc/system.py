"""Who answers here and how much there is: ``/system``, ``/statistics``, ``/plugins``."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.errors import unknown_resource
from researchpacs.server.orthanc.names import LEVELS, MAIN_TAGS, TYPE, numbered

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["API_VERSION", "VERSION", "routes"]

VERSION = "1.12.7"
"""The Orthanc whose behaviour is matched."""
API_VERSION = 28
_DATABASE = 6
_MB = 1 << 20


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

    return [
        Route("/system", system, methods=["GET"]),
        Route("/statistics", statistics, methods=["GET"]),
        Route("/plugins", lambda _: as_json([]), methods=["GET"]),
        Route("/plugins/{id}", lambda _: unknown_resource(), methods=["GET"]),
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
        "IsHttpServerSecure": True,  # beyond loopback it does not start without users
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
