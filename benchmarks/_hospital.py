"""A hospital of any size, made set by set: its catalog through our own tables and sort orders, and its ledger.

python benchmarks/_hospital.py HOME STUDIES

Every study has five series. One in a hundred has its instances too, a hundred in each series, so that there are as many
instances as series; the files themselves are not there.
"""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter

HERE = Path(__file__).resolve().parent
SERIES, SLICES, SAMPLED = 5, 100, 100
_AT_ONCE = 250_000
"""Studies whose rows go into files of their own: about what the catalog's housekeeping leaves together."""
_ROWS = 50_000


def make(home: Path, studies: int, *, ledger: bool = True) -> None:
    """Make the home of so many studies, a multiple of a hundred, each step in a process of its own."""
    for step in ("empty", "catalog", *(["ledger"] if ledger else [])):
        subprocess.run([sys.executable, __file__, str(home), str(studies), step], check=True)


def sizes(home: Path) -> tuple[float, float, int]:
    """Bytes of an instance's row in the catalog, bytes of the ledger for each instance, and bytes of the catalog."""
    import researchpacs as rp

    def total(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    with rp.connect(home) as pacs:
        ((count,),) = pacs.sql("select count(*) from instances_own").fetchall()
    catalog = total(home / "catalog") + (home / "catalog.sqlite").stat().st_size
    ledger = (home / "ledger.sqlite").stat().st_size
    return total(home / "catalog" / "main" / "instances_own") / count, ledger / count, catalog


def _empty(home: Path, studies: int) -> None:
    import researchpacs as rp

    rp.connect(home).close()
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None)) as con:
        con.execute("update feed set last = ?", (studies * SERIES,))


def _catalog(home: Path, studies: int) -> None:
    """Make the catalog's tables and fill them."""
    from researchpacs.catalog import _ddl, _lake
    from researchpacs.storage.home import Home

    with closing(sqlite3.connect(home / "ledger.sqlite")) as ledger:
        feed_id, last = ledger.execute("select feed_id, last from feed").fetchone()
    lake = _lake.HomeLake(Home.open(home))
    con = _lake.engine(home / "tmp" / "spill", lake)
    _lake.attach(con, lake, read_only=False)
    _ddl.set_options(con)
    con.execute("begin")
    _ddl.create_tables(con, feed_id)
    con.execute(f"update {_lake.NAME}.main.sync_state set last_seq = ?", [last])
    con.execute("commit")
    for statement in _statements(con, "_hospital_catalog.sql", studies, _AT_ONCE):
        con.execute(statement)
    con.close()


def _ledger(home: Path, studies: int) -> None:
    """Fill the ledger's tables without their indexes, which are made at the end."""
    import duckdb

    con = duckdb.connect(config={"temp_directory": str(home / "tmp" / "spill")})
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None)) as ledger:
        for setting in ("journal_mode = off", "synchronous = off", "cache_size = -400000"):
            ledger.execute(f"pragma {setting}")
        indexes = ledger.execute(
            "select name, sql from sqlite_master where type = 'index' and sql is not null"
        ).fetchall()
        for name, _ in indexes:
            ledger.execute(f'drop index "{name}"')
        for statement in _statements(con, "_hospital_ledger.sql", studies, studies):
            rows = con.execute(statement)
            _, *names = [column for column, *_ in rows.description]
            table = None
            ledger.execute("begin")
            while some := rows.fetchmany(_ROWS):
                table = some[0][0]
                ledger.executemany(
                    f"insert into {table} ({', '.join(names)}) values ({', '.join('?' * len(names))})",
                    (row[1:] for row in some),
                )
            ledger.execute("commit")
        for _, made in indexes:
            ledger.execute(made)
        ledger.execute("pragma journal_mode = wal")
    con.close()


def _statements(con, name: str, studies: int, at_once: int) -> Iterator[str]:
    """Give the statements of a script for one share of the studies after the other."""
    con.execute("set preserve_insertion_order = false")
    con.execute(f"set variable patients = {studies * 6 // 10}")
    con.execute((HERE / "_hospital.sql").read_text())
    for first in range(0, studies, at_once):
        con.execute(f"set variable first = {first}")
        con.execute(f"set variable last = {min(studies, first + at_once)}")
        for statement in con.extract_statements((HERE / name).read_text()):
            started = perf_counter()
            yield statement.query
            print(f"{perf_counter() - started:6.1f} s  {statement.query.strip()[:60]!r}", flush=True)


if __name__ == "__main__":
    _, folder, count, *steps = sys.argv
    if steps:
        {"empty": _empty, "catalog": _catalog, "ledger": _ledger}[steps[0]](Path(folder), int(count))
    else:
        make(Path(folder), int(count))
