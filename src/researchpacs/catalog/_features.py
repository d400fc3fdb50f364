"""Tables of computed features: Parquet files beside the lake, seen through views of one connection.

They are no part of the lake: nothing but the program that computed them can make them anew.
"""

import glob
import re
from pathlib import Path

import duckdb

from researchpacs.catalog._lake import NAME
from researchpacs.errors import ResearchPacsError

__all__ = ["FEATURES", "FeatureTables"]

FEATURES = "Computed by cohort.map, one row per series, with the digest of the code. Series that are gone are left out."
"""What is said of each table of features."""

_PREFIX = "features_"
_NAME = re.compile(r"[a-z0-9_]+")
_WORD = re.compile(r"\w+")
_COMMENTS = {
    "patient_key": "Identity of the patient in this archive",
    "StudyInstanceUID": "Unique in the patient",
    "SeriesInstanceUID": "Unique in the study",
    "error": "Why there are no values",
    "function": "What computed the values",
    "code": "SHA-256 of the function, of what it refers to, and of its options",
    "segmentations": "JSON: SOPInstanceUIDs of the segmentations whose masks the function got; NULL without masks",
    "versions": "JSON: version by package",
    "computed_at": "When, UTC",
}


class FeatureTables:
    """Views of what lies in a folder now, in the connection that asks.

    Parameters
    ----------
    folder
        HOME/features: each ``<name>.parquet`` is a table ``features_<name>``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shown: dict[str, tuple[int, ...]] = {}
        self._con: duckdb.DuckDBPyConnection | None = None

    def show(self, con: duckdb.DuckDBPyConnection, query: str | None = None) -> None:
        """Make the views of files that are new or were replaced, and drop those of files that are gone.

        Parameters
        ----------
        con
            Has the lake attached.
        query
            Only the tables that it names; all unless given.

        Raises
        ------
        ResearchPacsError
            A file is damaged.
        """
        if con is not self._con:
            self._con, self._shown = con, {}
        wanted = None if query is None else set(_WORD.findall(query.lower()))
        if wanted is not None and not any(word.startswith(_PREFIX) for word in wanted):
            return
        now = {path.stem: path for path in self._folder.glob("*.parquet") if _NAME.fullmatch(path.stem)}
        for name in set(self._shown) - set(now):
            con.execute(f'drop view if exists temp."{_PREFIX}{name}"')
            del self._shown[name]
        for name, path in now.items():
            if wanted is None or f"{_PREFIX}{name}" in wanted:
                self._show_one(con, name, path)

    def _show_one(self, con: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
        stat = path.stat()
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if self._shown.get(name) == stamp:
            return
        try:
            con.execute(_view(name, path))
        except duckdb.CatalogException:
            return  # The user has a temporary table of this name, and it counts.
        except duckdb.Error as error:
            raise ResearchPacsError(
                f"{path} is damaged or no table of features; delete it, and run cohort.map(..., save={name!r}) again"
            ) from error
        self._shown[name] = stamp

    def columns(self, con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str]]:
        """Table, column, type and comment of what is shown."""
        rows = con.execute(
            "select table_name, column_name, data_type from duckdb_columns() where database_name = 'temp' "
            "and list_contains($names, table_name) order by table_name, column_index",
            {"names": [f"{_PREFIX}{name}" for name in self._shown]},
        ).fetchall()
        return [(table, column, kind, _COMMENTS.get(column, "")) for table, column, kind in rows]


def _view(name: str, path: Path) -> str:
    file = glob.escape(str(path)).replace("'", "''")
    return (
        f'create or replace temp view "{_PREFIX}{name}" as '
        f"from read_parquet('{file}') semi join {NAME}.main.series "
        "using (patient_key, StudyInstanceUID, SeriesInstanceUID)"
    )
