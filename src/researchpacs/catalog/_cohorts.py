"""Cohorts as tables: what the ledger keeps of them, row by row, so that they join with the series they name."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb

from researchpacs.catalog._columns import Table, own

__all__ = ["cohort_tables", "insert_cohorts"]


def cohort_tables() -> Iterator[Table]:
    """The tables of cohorts and of their members."""
    yield Table(
        "cohorts",
        "One row per cohort: a frozen list of series, with what found them; kept in the archive's ledger.",
        own(
            ("name", "VARCHAR", "The cohort."),
            ("description", "VARCHAR", "In the author's words."),
            ("digest", "VARCHAR", "SHA-256 over the sorted UIDs and file hashes of all members."),
            ("patient_count", "INTEGER", "Patients."),
            ("study_count", "INTEGER", "Studies."),
            ("series_count", "INTEGER", "Series."),
            ("instance_count", "INTEGER", "Instances when it was frozen."),
            ("author", "VARCHAR", "Who froze it."),
            ("created_at", "TIMESTAMP", "When it was frozen, UTC."),
            (
                "snapshot",
                "BIGINT",
                "The catalog's snapshot that the members were found in; kept as long as the cohort.",
            ),
            ("snapshot_at", "TIMESTAMP", "When that snapshot was made, UTC; NULL where it is not known."),
            ("query_text", "VARCHAR", "The SQL that found the members; empty where they were named."),
            ("query_params", "JSON", "The values bound to it, by name."),
            ("attrition", "JSON", "A list of steps: how many patients, studies and series each filter left."),
        ),
    )
    yield Table(
        "cohort_members",
        "One row per series of a cohort, as it was frozen; it stays when the series is deleted.",
        own(
            ("cohort", "VARCHAR", "The cohort's name."),
            ("position", "INTEGER", "Zero-based place in it."),
            ("patient_key", "VARCHAR", "The patient it belonged to."),
            ("StudyInstanceUID", "VARCHAR", "The study it belonged to."),
            ("SeriesInstanceUID", "VARCHAR", "The series."),
            ("instance_count", "INTEGER", "Instances when it was frozen."),
            ("digest", "VARCHAR", "SHA-256 over its SOPInstanceUIDs and file hashes then."),
            ("member_columns", "JSON", "What came beside the series, such as a label: member_columns ->> 'label'."),
        ),
        ("cohort", "position"),
    )


def insert_cohorts(con: duckdb.DuckDBPyConnection, cohorts: Sequence[Mapping[str, Any]]) -> None:
    """Append cohorts as the ledger gives them; to be called inside a transaction."""
    from researchpacs.catalog._rows import insert_rows  # brings pyarrow, which a reader does not need

    insert_rows(con, "cohorts", [_cohort_row(one) for one in cohorts])
    for one in cohorts:
        insert_rows(con, "cohort_members", [_member_row(member) for member in one["members"]])


def _cohort_row(cohort: Mapping[str, Any]) -> dict[str, Any]:
    members = cohort["members"]
    return {
        **{name: cohort[name] for name in ("name", "description", "digest", "author", "snapshot")},
        "patient_count": len({one["patient_key"] for one in members}),
        "study_count": len({(one["patient_key"], one["study_uid"]) for one in members}),
        "series_count": len(members),
        "instance_count": sum(one["instance_count"] for one in members),
        "created_at": _moment(cohort["created_at"]),
        "snapshot_at": _moment(cohort["snapshot_at"]),
        "query_text": cohort["query"],
        "query_params": cohort["params"],
        "attrition": cohort["flow"],
    }


def _member_row(member: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: member[name] for name in ("cohort", "position", "patient_key", "instance_count", "digest")},
        "StudyInstanceUID": member["study_uid"],
        "SeriesInstanceUID": member["series_uid"],
        "member_columns": member["columns"],
    }


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=None) if text else None
