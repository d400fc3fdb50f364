"""Anything a user has becomes a stream of checked, hashed instances and a report: the only door in."""

from researchpacs.ingest._door import incoming, ingest
from researchpacs.ingest._inputs import Adapter
from researchpacs.ingest._report import IngestReport
from researchpacs.ingest.spooled import Spool, check_spool

__all__ = ["Adapter", "IngestReport", "Spool", "check_spool", "incoming", "ingest"]
