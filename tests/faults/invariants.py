"""What holds in every answer of a catalog, whatever is stored, deleted, compacted or killed meanwhile."""

from researchpacs.catalog import Catalog

__all__ = ["all_rows", "counts_of_levels"]

_COUNTS = (
    ("count(*) from instances_own", "count(*) from instances"),
    ("count(distinct instance_key) from instances_own", "count(*) from instances_own"),
    ("coalesce(sum(instance_count), 0) from series", "count(*) from instances_own"),
    ("coalesce(sum(instance_count), 0) from studies", "count(*) from instances_own"),
    ("coalesce(sum(instance_count), 0) from patients", "count(*) from instances_own"),
    ("coalesce(sum(series_count), 0) from studies", "count(*) from series"),
    ("coalesce(sum(series_count), 0) from patients", "count(*) from series"),
    ("coalesce(sum(study_count), 0) from patients", "count(*) from studies"),
    ("coalesce(sum(frame_count), 0) from series", "count(*) from frames"),
    ("count(*) from series_common", "count(*) from series"),
    ("count(*) from series_index", "count(*) from series"),
    ("count(distinct (patient_key, StudyInstanceUID, SeriesInstanceUID)) from geometry", "count(*) from series"),
)
_STAYS = frozenset({"cohorts", "cohort_members"})
"""What was frozen stays when instances go."""
_OWNERS = {
    "instance_key": "instance_key",
    "object_key": "instance_key",
    "patient_key": "patient_key",
}
"""Columns that say whom a row belongs to, and what that is called in ``instances_own``."""


def counts_of_levels(catalog: Catalog) -> str:
    """One query, so one snapshot, that is true where the levels agree and no table has a row of what is gone."""
    claims = [f"(select {one}) = (select {other})" for one, other in _COUNTS]
    columns = catalog.schema().df()
    for row in columns[columns["column"].isin(list(_OWNERS))].itertuples():
        if row.table not in _STAYS and not row.table.startswith("features_"):
            owner = f"select {_OWNERS[row.column]} from instances_own"
            claims.append(f"(select count(*) from {row.table} where {row.column} not in ({owner})) = 0")
    return "select " + "\n and ".join(claims)


def all_rows(catalog: Catalog) -> dict[str, tuple[list[str], list[tuple[object, ...]]]]:
    """Columns and rows of every table in one order, but for when they were written and how far the feed went."""
    found = {}
    for table in catalog.schema().tables:
        if table == "sync_state":
            continue
        columns = [column for column in catalog.sql(f"from {table} limit 0").columns if column != "changed_at"]
        chosen = ", ".join(f'"{column}"' for column in columns)
        found[table] = columns, catalog.sql(f"select {chosen} from {table} order by all").fetchall()
    return found
