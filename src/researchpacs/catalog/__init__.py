"""The DuckDB projection of an archive: wide, typed tables that follow it, and SQL over them."""

from researchpacs.catalog._catalog import Catalog
from researchpacs.catalog._report import SyncReport
from researchpacs.catalog._result import Result
from researchpacs.catalog._schema import Schema

__all__ = ["Catalog", "Result", "Schema", "SyncReport"]
