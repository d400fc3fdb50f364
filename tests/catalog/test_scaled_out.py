"""The catalog in PostgreSQL and S3, chosen by configuration alone; the credentials are nobody's to see.

What holds in both places is in test_following.
"""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs._pacs._doctor import examine
from researchpacs.config import FILE, Settings
from researchpacs.errors import AccessError, InvalidInputError, RemoteError, ResearchPacsError
from researchpacs.testing import small_ct

from .servers import ACCESS_KEY, BUCKET, PASSWORD, SECRET_KEY, Servers

SECRETS = (PASSWORD, ACCESS_KEY, SECRET_KEY)


def told(home: Path, text: str) -> Path:
    """A home of which researchpacs.toml says where its catalog lies."""
    home.mkdir()
    (home / FILE).touch(0o600)
    (home / FILE).write_text(text)
    return home


@pytest.fixture
def pacs(home: Path, servers: Servers) -> Iterator["rp._pacs.Pacs"]:
    with rp.connect(told(home, servers.settings())) as pacs:
        pacs.ingest([small_ct(number) for number in range(1, 31)])
        yield pacs


def test_all_of_it_lies_there_and_nothing_in_the_home(pacs: "rp._pacs.Pacs", servers: Servers) -> None:
    assert pacs.sql("select count(*) from instances").fetchall() == [(30,)]
    assert pacs.search("series", Modality="CT").one().instances[0].header().Modality == "CT"
    schema = pacs.catalog.place.rpartition("/")[2]
    assert int(servers.psql(f"select count(*) from {schema}.ducklake_table")) >= 20
    assert servers.files(f"catalogs/{schema}/main/instances_own/")
    assert not pacs.archive.home.catalog_metadata.exists()
    assert list(pacs.archive.home.catalog_data.iterdir()) == []


def test_it_is_chosen_by_the_environment_as_well(home: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCHPACS_CATALOG", f"postgresql://researchpacs@127.0.0.1:{servers.port}/postgres")
    monkeypatch.setenv("RESEARCHPACS_CATALOG_DATA", f"s3://{BUCKET}/by-environment/")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_ENDPOINT_URL", servers.endpoint)
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(number) for number in range(1, 31)])
        assert len(pacs.search("instance")) == 30
    assert servers.files("by-environment/researchpacs_")


def test_archives_share_a_database_and_see_nothing_of_each_other(
    pacs: "rp._pacs.Pacs", servers: Servers, tmp_path: Path
) -> None:
    with rp.connect(told(tmp_path / "other", servers.settings())) as other:
        other.ingest(small_ct(1, PatientID="B"))
        assert [row.PatientID for row in other.search("patient")] == ["B"]
        assert other.catalog.place != pacs.catalog.place
    assert pacs.sql("select count(*) from instances").fetchall() == [(30,)]


def test_readers_cannot_write(pacs: "rp._pacs.Pacs") -> None:
    con = pacs.catalog.connect()
    for statement in ("delete from instances_own", "drop table series", "create table mine as select 1 as x"):
        with pytest.raises(Exception, match="read-only"):
            con.execute(statement)
        with pytest.raises(InvalidInputError, match="read-only"):
            pacs.sql(statement)
    con.close()


def test_whoever_writes_keeps_all_others_out(pacs: "rp._pacs.Pacs", servers: Servers) -> None:
    pacs.sync()
    schema = pacs.catalog.place.rpartition("/")[2]
    got = f"select pg_try_advisory_lock(hashtextextended('{schema}', 0))"
    with pacs.catalog._lake.lock():
        assert servers.psql(got) == "f", "another machine's process would have to wait"
    assert servers.psql(got) == "t", "and needs not once it is given back"


def test_a_sync_waits_for_another_machine_s(pacs: "rp._pacs.Pacs", servers: Servers) -> None:
    pacs.sync()
    schema = pacs.catalog.place.rpartition("/")[2]
    other = subprocess.Popen(
        ["psql", "-h", "127.0.0.1", "-p", str(servers.port), "-U", "researchpacs", "-Atq", "postgres"],
        env={**os.environ, "PGPASSWORD": PASSWORD},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write(f"select 'held' || pg_advisory_lock(hashtextextended('{schema}', 0))::text;\n")
    other.stdin.flush()
    assert other.stdout.readline() == "held\n"
    pacs.ingest(small_ct(31))
    found: list[object] = []
    asks = threading.Thread(target=lambda: found.extend(pacs.sql("select count(*) from instances").fetchall()))
    asks.start()
    asks.join(1)
    assert asks.is_alive(), "it cannot have what the other one keeps it from writing"
    other.communicate()  # and with the session its lock is gone, as it is when it is killed
    asks.join(60)
    assert found == [(31,)]


def test_credentials_are_nowhere_to_be_read(pacs: "rp._pacs.Pacs", tmp_path: Path, servers: Servers) -> None:
    shown = [
        repr(pacs),
        repr(pacs.catalog.place),
        repr(Settings.load(pacs.home)),
        str(Settings.load(pacs.home)),
        pacs.attach_sql(),
        str(examine(pacs.catalog, pacs.archive)),
        *(repr(pacs.sql(f"from {name}").fetchall()) for name in ("duckdb_databases()", "duckdb_settings()")),
    ]
    wrong = servers.settings(metadata=f"postgresql://researchpacs:{SECRET_KEY}@127.0.0.1:{servers.port}/postgres")
    with rp.connect(told(tmp_path / "wrong", wrong)) as other, pytest.raises(AccessError, match="password") as caught:
        other.sql("select 1")
    shown += [repr(one) for one in (caught.value, caught.value.__cause__)]
    assert not [secret for secret in SECRETS for text in shown if secret in text]
    kept = repr(pacs.sql("from duckdb_secrets()").fetchall())
    assert PASSWORD not in kept
    assert SECRET_KEY not in kept
    with pytest.raises(InvalidInputError, match="disabled"):
        pacs.sql("from duckdb_secrets(redact = false)")


def test_a_doctor_finds_what_the_store_has_lost(pacs: "rp._pacs.Pacs", servers: Servers) -> None:
    assert examine(pacs.catalog, pacs.archive).ok
    lost = servers.files(f"catalogs/{pacs.catalog.place.rpartition('/')[2]}/")[0]
    servers.s3.delete_object(Bucket=BUCKET, Key=lost)
    report = examine(pacs.catalog, pacs.archive)
    assert "1 of its files are missing" in str(report)
    pacs.sync(rebuild=True)
    assert examine(pacs.catalog, pacs.archive).ok


def test_a_connection_that_breaks_is_made_again(pacs: "rp._pacs.Pacs", servers: Servers) -> None:
    everyone = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'researchpacs'"
    ask = "select count(*), count(tags) from instances"
    assert pacs.sql(ask).fetchall() == [(30, 30)]
    assert int(servers.psql(everyone)) > 0
    assert _at_last(lambda: pacs.sql(ask).fetchall()) == [(30, 30)]
    servers.psql(everyone)
    pacs.ingest(small_ct(31))
    assert _at_last(lambda: pacs.sql(ask).fetchall()) == [(31, 31)]


def _at_last(ask):
    """The first question after the break may tell of it; not the second."""
    try:
        return ask()
    except RemoteError:
        return ask()


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": "postgresql://researchpacs:x@127.0.0.1:1/postgres"},
        {"endpoint": "http://127.0.0.1:1"},
        {"data": "s3://no-such-bucket/x"},
    ],
)
def test_what_does_not_answer_is_told_and_costs_nothing(
    changes: dict[str, str], home: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rp.connect(told(home, servers.settings(**changes))) as pacs:
        pacs.ingest([small_ct(number) for number in range(1, 31)])
        for ask in (pacs.sync, lambda: pacs.sync(rebuild=True), lambda: pacs.sql("select 1")):
            with pytest.raises(RemoteError, match="does not answer"):
                ask()
        assert not [one for one in examine(pacs.catalog, pacs.archive).findings if one.check == "ledger" and not one.ok]
    (home / FILE).write_text(servers.settings())
    with rp.connect(home) as pacs:
        assert len(pacs.search("instance")) == 30


GOOD = '[catalog]\nmetadata = "postgresql://me@db.example.org/research"\ndata = "s3://bucket/folder"\n'
KEYS = '[s3]\naccess_key_id = "a"\nsecret_access_key = "b"\n'


def test_a_file_says_where_and_the_environment_what_it_leaves_open(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("RESEARCHPACS_CATALOG", "postgresql://another/one")
    place = Settings.load(told(home, GOOD)).catalog
    assert place is not None
    assert (place.host, place.port, place.database, place.user) == ("db.example.org", 5432, "research", "me")
    assert (place.data, place.region, place.endpoint) == ("s3://bucket/folder/", "eu-central-1", None)
    assert (place.access_key_id, place.secret_access_key) == ("key", "secret")
    (home / FILE).write_text(GOOD + KEYS)
    place = Settings.load(home).catalog
    assert place is not None
    assert (place.access_key_id, place.secret_access_key, place.session_token) == ("a", "b", None)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[catalog]\nmetadata = 3\n", "texts"),
        ("[catalogue]\n", "sections"),
        ("catalog = 1\n", "sections"),
        ('[catalog]\nplace = "x"\n', "metadata, data"),
        ("[catalog\n", "TOML"),
        ('[catalog]\ndata = "s3://bucket/x"\n', "both"),
        ('[catalog]\nmetadata = "mysql://user:hush@host/db"\ndata = "s3://b/x"\n' + KEYS, "postgresql://"),
        ('[catalog]\nmetadata = "postgresql://user:hush@host:99999/db"\ndata = "s3://b/x"\n' + KEYS, "postgresql://"),
        ('[catalog]\nmetadata = "postgresql://user:hush@host/db?sslmode=x"\ndata = "s3://b/x"\n' + KEYS, "PGSSLMODE"),
        ('[catalog]\nmetadata = "postgresql://user@host/db"\ndata = "/tmp/hush"\n' + KEYS, "s3://bucket"),
        (GOOD + KEYS + 'endpoint = "https://me:hush@host"\n', "endpoint"),
        (GOOD, "AWS_ACCESS_KEY_ID"),
        (GOOD + '[s3]\naccess_key_id = "hush"\n', "secret_access_key"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_without_repeating_a_secret(home: Path, text: str, hint: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(hint)) as caught:
        Settings.load(told(home, text))
    assert "hush" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="other systems have other ways to keep a file to oneself")
def test_a_secret_that_others_can_read_is_refused(home: Path) -> None:
    told(home, GOOD + KEYS)
    assert Settings.load(home).catalog
    (home / FILE).chmod(0o644)
    with pytest.raises(AccessError, match="chmod 600"):
        rp.connect(home)


def test_a_folder_with_settings_alone_becomes_a_home(home: Path, servers: Servers) -> None:
    told(home, servers.settings())
    (home / "stranger.txt").touch()
    with pytest.raises(ResearchPacsError, match="not empty"):
        rp.connect(home)
    (home / "stranger.txt").unlink()
    with rp.connect(home) as pacs:
        assert len(pacs.search()) == 0
