"""A fresh process: connect to an existing home and get the first SQL answer; process time from its very start."""

import json
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from _measure import Clock, alternately
from _row import Row

SLICES = 400
QUERY = "select Modality, count(*) from series group by all"


def rows() -> Iterable[Row]:
    # Here, because the measured processes load this file, and should load nothing else.
    from _series import ingested, write_ct

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_ct(root / "ct", slices=SLICES, side=16)
        ingested(root / "ct", root / "home")
        ours, peer = alternately(ours_connect, duckdb_attach, given=json.dumps({"home": str(root / "home")}))
    yield Row(
        "connect() and the first SQL answer, process time from its start", ours.seconds,
        "DuckDB and DuckLake by hand", peer.seconds, "ours < 1 s", ours.seconds < 1, None, ours.rounds,
        {name: version(name) for name in ("researchpacs", "duckdb")}, (ours.slowest, peer.slowest),
    )  # fmt: skip


def ours_connect(given: str) -> Clock:
    import researchpacs as rp

    pacs = rp.connect(json.loads(given)["home"])
    assert pacs.sql(QUERY).fetchall() == [("CT", 1)]
    return Clock(seconds=time.process_time())


def duckdb_attach(given: str) -> Clock:
    import duckdb

    home = Path(json.loads(given)["home"])
    con = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for name in ("sqlite_scanner", "ducklake"):
        package = __import__(f"duckdb_extension_{name}")
        con.load_extension(str(next(Path(package.__path__[0]).rglob(f"{name}.duckdb_extension"))))
    con.execute(f"attach 'ducklake:sqlite:{home / 'catalog.sqlite'}' as lake (read_only)")
    assert con.execute(QUERY.replace("series", "lake.series")).fetchall() == [("CT", 1)]
    return Clock(seconds=time.process_time())
