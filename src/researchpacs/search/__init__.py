"""Keyword filters -> one SQL query -> a lazy `Search`."""

from researchpacs.search._search import Search
from researchpacs.search._values import MISSING

__all__ = ["MISSING", "Search"]
