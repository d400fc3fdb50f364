"""A home that an older version made is brought up to date when it is opened, and loses nothing."""

from pathlib import Path

from researchpacs.archive import EmbeddedArchive
from researchpacs.archive._subject import Subject
from researchpacs.ingest import ingest
from researchpacs.storage.home import Home
from researchpacs.storage.ledger import Ledger, scripts_of
from researchpacs.testing import small_ct

_COLUMNS = """
    key, seq, patient_key, patient_id, issuer, study_uid, series_uid, sop_uid, sop_class_uid, transfer_syntax_uid, size,
    header_length, dataset_offset, sha256, dataset_sha256, reference_path, reference_mtime_ns, reference_header_sha256,
    attributes, issues, orthanc_id, stored_at, frame_form, frame_places
"""
_BEFORE_ORDER = 4
_TABLES = ("feed", "patients", "studies", "series", "frame_forms", "fact_bases", "facts", "journal", "labels")


def test_instances_keep_their_rows_when_these_are_put_in_order(tmp_path: Path) -> None:
    newest = EmbeddedArchive(Home.open(tmp_path / "newest"))
    datasets = [small_ct(number) for number in range(1, 4)]
    ingest(datasets, store=newest.store, home=newest.home)
    newest.labels.add([Subject("instance", _keys(newest)[0])], "kept")
    older = Home.open(tmp_path / "older")
    _copy_at_version(newest.ledger, Ledger(older.ledger_path), _BEFORE_ORDER)
    archive = EmbeddedArchive(older)
    with newest.ledger.reading() as one, archive.ledger.reading() as other:
        for table in _TABLES:
            query = f"select * from {table} order by 1, 2"
            assert list(map(tuple, one.execute(query))) == list(map(tuple, other.execute(query)))
        query = f"select {_COLUMNS} from instances order by key"
        assert list(map(tuple, one.execute(query))) == list(map(tuple, other.execute(query)))
        kinds = "select type, name from sqlite_schema where name not like 'sqlite%' order by 1, 2"
        assert list(map(tuple, one.execute(kinds))) == list(map(tuple, other.execute(kinds)))
        assert other.execute("pragma foreign_key_check").fetchall() == []
    archive.delete_instances([_keys(archive)[0]])
    with archive.ledger.reading() as con:
        assert con.execute("select count(*) from labels").fetchone()[0] == 0
        assert con.execute("select count(*) from facts").fetchone()[0] == 2
    newest.close()
    archive.close()


def _keys(archive: EmbeddedArchive) -> list[str]:
    return [change.key for change in archive.changes(0, 10).items]


def _copy_at_version(newest: Ledger, older: Ledger, version: int) -> None:
    """Fill a ledger as an older version made it with what another one holds."""
    older.migrate("archive", scripts_of("researchpacs.archive")[:version])
    with newest.reading() as source, older.writing() as target:
        target.execute("delete from feed")
        for table, columns in [*((table, "*") for table in _TABLES), ("instances", _COLUMNS)]:
            rows = list(map(tuple, source.execute(f"select {columns} from {table}")))
            names = f"({columns})" if columns != "*" else ""
            marks = ", ".join("?" * len(rows[0]))
            target.executemany(f"insert into {table} {names} values ({marks})", rows)
    older.close()
