"""Anything a user has becomes a stream of checked, hashed instances and a report: the only door in."""

from researchpacs.ingest._check import check_spooled
from researchpacs.ingest._door import incoming, ingest
from researchpacs.ingest._inputs import Adapter
from researchpacs.ingest._report import IngestReport

__all__ = ["Adapter", "IngestReport", "check_spooled", "incoming", "ingest"]
