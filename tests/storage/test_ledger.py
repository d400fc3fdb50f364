"""The ledger: nothing lost between threads, processes and forks, and each room's tables made once."""

import errno
import multiprocessing
import os
import pickle
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from researchpacs.errors import AccessError, ResearchPacsError, UnsupportedError
from researchpacs.storage.home import Home
from researchpacs.storage.ledger import Ledger, scripts_of

_TABLE = "create table marks (who text, n integer) strict; -- ends; here\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_writes_are_durable_and_the_log_is_written_ahead(path: Path) -> None:
    ledger = Ledger(path)
    with ledger.reading() as con:
        assert con.execute("pragma journal_mode").fetchone()[0] == "wal"
        assert con.execute("pragma synchronous").fetchone()[0] == 2  # FULL
    ledger.close()


def test_a_failed_write_leaves_nothing_and_the_next_one_works(path: Path) -> None:
    ledger = _ledger(path)
    with pytest.raises(sqlite3.OperationalError), ledger.writing() as con:
        con.executemany("insert into marks values (?, 1)", [["a"], ["b"]]).execute(
            "insert into no_such_table values (1)"
        )
    assert _count(ledger) == 0
    _write(ledger, "a", 1)
    assert _count(ledger) == 1
    ledger.close()


def test_a_reader_sees_one_state_and_does_not_wait_for_a_writer(path: Path) -> None:
    ledger = _ledger(path)
    with ledger.writing() as writing:
        writing.execute("insert into marks values ('a', 1)")
        with ledger.reading() as reading:
            assert reading.execute("select count(*) from marks").fetchone()[0] == 0
    with ledger.reading() as reading:
        assert reading.execute("select count(*) from marks").fetchone()[0] == 1
        _in_thread(lambda: _write(ledger, "b", 1))
        assert reading.execute("select count(*) from marks").fetchone()[0] == 1
    assert _count(ledger) == 2
    ledger.close()


def test_threads_queue_and_lose_nothing(path: Path) -> None:
    ledger = _ledger(path)
    threads = [threading.Thread(target=_write, args=(ledger, str(who), 25)) for who in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _count(ledger) == 150
    ledger.close()


def test_processes_open_and_migrate_at_once_and_lose_nothing(path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_migrate_and_write, [(path, who) for who in range(8)], chunksize=1)
    ledger = Ledger(path)
    assert _count(ledger) == 8 * 20
    ledger.close()


def test_a_forked_child_opens_connections_of_its_own(path: Path) -> None:
    ledger = _ledger(path)
    _write(ledger, "parent", 1)
    child = os.fork()
    if child == 0:
        _write(ledger, "child", 3)
        os._exit(0 if _count(ledger) == 4 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _write(ledger, "parent", 1)
    assert _count(ledger) == 5
    ledger.close()


def test_a_fork_while_a_thread_writes_does_not_lock_the_child_out(path: Path) -> None:
    ledger = _ledger(path)
    inside = threading.Event()

    def hold() -> None:
        with ledger.writing() as con:
            inside.set()
            time.sleep(0.3)
            con.execute("insert into marks values ('thread', 1)")

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(30)
    child = os.fork()  # waits for the thread
    if child == 0:
        _write(ledger, "child", 1)
        os._exit(0 if _count(ledger) == 2 else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _count(ledger) == 2
    ledger.close()


def test_a_child_forked_in_the_middle_of_a_write_neither_ends_it_nor_uses_the_ledger(path: Path) -> None:
    ledger = _ledger(path)
    parent, refused = os.getpid(), 0
    try:
        with ledger.writing() as con:
            con.execute("insert into marks values ('parent', 1)")
            if child := os.fork():
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                con.execute("insert into marks values ('parent', 2)")
    except UnsupportedError:
        refused += 1
    if os.getpid() != parent:
        try:
            _count(ledger)
        except UnsupportedError as error:
            refused += "spawn" in str(error)
        os._exit(10 + refused)
    assert (status, refused) == (12, 0)
    assert _count(ledger) == 2
    ledger.close()


def test_a_ledger_travels_in_a_pickle_without_its_connections(path: Path) -> None:
    ledger = _ledger(path)
    _write(ledger, "a", 2)
    copy = pickle.loads(pickle.dumps(ledger))
    assert _count(copy) == 2
    copy.close()
    ledger.close()


def test_migrations_run_once_each_in_order(path: Path) -> None:
    ledger = Ledger(path)
    ledger.migrate("room", [_TABLE])
    _write(ledger, "a", 1)
    ledger.migrate("room", [_TABLE, "alter table marks add column why text;"])
    ledger.migrate("other", ["create table others (x integer) strict"])
    with ledger.reading() as con:
        assert con.execute("select who, n, why from marks").fetchall()[0]["why"] is None
        done = con.execute("select room, version from migrations order by room, version").fetchall()
    assert [tuple(row) for row in done] == [("other", 1), ("room", 1), ("room", 2)]
    ledger.close()


def test_a_migration_that_fails_leaves_the_old_version_whole(path: Path) -> None:
    ledger = _ledger(path)
    with pytest.raises(sqlite3.OperationalError):
        ledger.migrate("room", [_TABLE, "create table half (x integer) strict; create table marks (again);"])
    with ledger.reading() as con:
        assert con.execute("select count(*) from sqlite_master where name = 'half'").fetchone()[0] == 0
        assert con.execute("select max(version) from migrations").fetchone()[0] == 1
    ledger.close()


def test_tables_of_a_newer_program_are_refused_with_the_way_out(path: Path) -> None:
    ledger = Ledger(path)
    ledger.migrate("room", [_TABLE, "create table more (x integer) strict"])
    with pytest.raises(UnsupportedError, match="pip install --upgrade"):
        ledger.migrate("room", [_TABLE])
    ledger.close()


def test_the_archive_brings_its_migrations_with_it() -> None:
    (first, *_) = scripts_of("researchpacs.archive")
    assert "create table instances" in first


def _ledger(path: Path) -> Ledger:
    ledger = Ledger(path)
    ledger.migrate("room", [_TABLE])
    return ledger


def _write(ledger: Ledger, who: str, times: int) -> None:
    for n in range(times):
        with ledger.writing() as con:
            con.execute("insert into marks values (?, ?)", (who, n))


def _count(ledger: Ledger) -> int:
    with ledger.reading() as con:
        count: int = con.execute("select count(*) from marks").fetchone()[0]
    return count


def _migrate_and_write(path: Path, who: int) -> None:
    ledger = _ledger(path)
    _write(ledger, str(who), 20)
    ledger.close()


def _in_thread(function: object) -> None:
    thread = threading.Thread(target=function)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def test_a_damaged_ledger_is_told_with_the_way_out(home: Path):
    opened = Home.open(home)
    opened.ledger_path.write_bytes(b"no database, but as long as the header of one" * 50)
    with pytest.raises(ResearchPacsError, match="backup"), Ledger(opened.ledger_path).reading():
        pass


def test_a_ledger_that_cannot_be_opened_is_told(home: Path):
    opened = Home.open(home)
    opened.ledger_path.mkdir()
    with pytest.raises(AccessError, match="opened"), Ledger(opened.ledger_path).reading():
        pass


def test_a_full_disk_is_told_by_the_ledger(path: Path):
    ledger = Ledger(path)
    ledger.migrate("room", (_TABLE,))

    def overfill() -> None:
        with ledger.writing() as con:
            (pages,) = con.execute("pragma page_count").fetchone()
            con.execute(f"pragma max_page_count = {pages}")
            con.executemany("insert into marks values (?, 1)", [("x" * 4096,)] * 100)

    with pytest.raises(ResearchPacsError, match="space") as caught:
        overfill()
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
