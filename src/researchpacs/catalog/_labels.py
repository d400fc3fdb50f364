"""The labels of an archive's objects, as rows that join with the objects' own."""

from collections.abc import Iterable

import duckdb

from researchpacs.archive import LabelChange, Subject
from researchpacs.catalog._lake import NAME

__all__ = ["LABEL_KEYS", "replace_labels"]

LABEL_KEYS = {
    "patient": ("patient_key",),
    "study": ("patient_key", "StudyInstanceUID"),
    "series": ("patient_key", "StudyInstanceUID", "SeriesInstanceUID"),
    "instance": ("instance_key",),
}
"""The columns that name a label's object, by level."""


def replace_labels(con: duckdb.DuckDBPyConnection, changes: Iterable[LabelChange]) -> None:
    """Give objects the labels they have now; to be called inside a transaction."""
    from researchpacs.catalog._rows import insert_rows  # brings pyarrow, which a reader does not need

    rows = []
    for change in changes:
        key = _key(change.subject)
        condition = " and ".join(f'"{name}" = ?' for name in key)
        con.execute(f"delete from {NAME}.main.labels where {condition}", list(key.values()))  # noqa: S608 - our names
        rows += [{**key, "label": label} for label in change.labels]
    insert_rows(con, "labels", rows)


def _key(subject: Subject) -> dict[str, str]:
    names = LABEL_KEYS[subject.level]
    return {"level": subject.level, **dict(zip(names, subject.owner.split("/", len(names) - 1), strict=True))}
