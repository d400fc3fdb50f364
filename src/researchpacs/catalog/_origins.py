"""Whose data the series are, as rows that join with the series' own."""

from collections.abc import Iterable
from dataclasses import asdict

import duckdb

from researchpacs.archive import OriginChange
from researchpacs.catalog._columns import OF_SERIES, Table, own
from researchpacs.catalog._lake import NAME

__all__ = ["ORIGIN_COLUMNS", "origins_table", "replace_origins"]

ORIGIN_COLUMNS = own(
    ("collection_id", "VARCHAR", "The collection in which the series was published."),
    ("license_short_name", "VARCHAR", "The licence under which it was published, such as CC BY 4.0."),
    ("source_doi", "VARCHAR", "DOI under which the collection is cited."),
    ("source_url", "VARCHAR", "Where the series was taken from."),
)
"""Named as public indexes name them; SQL does not mind capitals, so their source_DOI is the same."""

_KEY = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")


def origins_table() -> Table:
    """The table of origins."""
    return Table(
        "origins",
        "One row per series whose licence and source are known: pacs.credit() says them.",
        (
            *own(*OF_SERIES),
            *ORIGIN_COLUMNS,
        ),
    )


def replace_origins(con: duckdb.DuckDBPyConnection, changes: Iterable[OriginChange]) -> None:
    """Give series the origin they have now; to be called inside a transaction."""
    from researchpacs.catalog._rows import insert_rows  # brings pyarrow, which a reader does not need

    rows = []
    for change in changes:
        key = dict(zip(_KEY, change.owner.split("/", len(_KEY) - 1), strict=True))
        condition = " and ".join(f'"{name}" = ?' for name in key)
        con.execute(f"delete from {NAME}.main.origins where {condition}", list(key.values()))  # noqa: S608 - our names
        known = asdict(change.origin)
        if any(known.values()):
            rows.append({**key, **known})
    insert_rows(con, "origins", rows)
