"""What is counted, for Prometheus: ``/tools/metrics-prometheus``."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.server.orthanc.answers import as_text

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_MB = 1 << 20


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    started = time.monotonic()

    def metrics(_: Request) -> Response:
        counts = pacs.archive.resources.counts()
        jobs = Counter(job.state for job in pacs.archive.jobs.all())
        values = {
            "orthanc_count_instances": counts.instances,
            "orthanc_count_patients": counts.patients,
            "orthanc_count_series": counts.series,
            "orthanc_count_studies": counts.studies,
            "orthanc_disk_size_mb": counts.bytes / _MB,
            "orthanc_jobs_completed": jobs["success"] + jobs["failure"],
            "orthanc_jobs_failed": jobs["failure"],
            "orthanc_jobs_pending": jobs["pending"] + jobs["retry"] + jobs["paused"],
            "orthanc_jobs_running": jobs["running"],
            "orthanc_jobs_success": jobs["success"],
            "orthanc_last_change": pacs.archive.resources.last_line(),
            "orthanc_uncompressed_size_mb": counts.bytes / _MB,
            "orthanc_up_time_s": int(time.monotonic() - started),
        }
        stamp = int(datetime.now(UTC).timestamp() * 1000)
        text = "".join(f"{name} {value:.16g} {stamp}\n" for name, value in values.items())
        return Response(text, media_type="text/plain; version=0.0.4")

    return [
        Route("/tools/metrics", lambda _: as_text("1"), methods=["GET"]),
        Route("/tools/metrics-prometheus", metrics, methods=["GET"]),
    ]
