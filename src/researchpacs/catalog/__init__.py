"""The DuckDB projection of an archive: wide, typed tables that follow it, and SQL over them."""

from researchpacs.catalog._attached import ForeignCatalog
from researchpacs.catalog._beside import filled_beside
from researchpacs.catalog._catalog import Catalog
from researchpacs.catalog._fence import Verdict, check_condition, decide, series_rows
from researchpacs.catalog._index import Index, web
from researchpacs.catalog._labels import LABEL_KEYS
from researchpacs.catalog._past import Past
from researchpacs.catalog._pins import Pin
from researchpacs.catalog._report import SyncReport
from researchpacs.catalog._result import Result
from researchpacs.catalog._schema import Schema
from researchpacs.catalog._show import as_html, as_text, is_identifying
from researchpacs.catalog._tables import column_types

__all__ = [
    "LABEL_KEYS",
    "Catalog",
    "ForeignCatalog",
    "Index",
    "Past",
    "Pin",
    "Result",
    "Schema",
    "SyncReport",
    "Verdict",
    "as_html",
    "as_text",
    "check_condition",
    "column_types",
    "decide",
    "filled_beside",
    "is_identifying",
    "series_rows",
    "web",
]
