"""64 clients at once, which look (QIDO-RS), fetch (WADO-RS) and store (STOW-RS) for a minute.

What counts is that no request fails and how much memory the server takes; the time of 95 % of the requests is told, and
the same for Orthanc with its DICOMweb plugin. RESEARCHPACS_BENCH_LOAD_S makes it shorter.
"""

import http.client
import os
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from _load import Load, load
from _row import Row
from _servers import orthanc, orthanc_version, ours

SECONDS = float(os.environ.get("RESEARCHPACS_BENCH_LOAD_S", "60"))
CLIENTS = 64
_NEW = 1200
_MOST_MB = 512


def rows() -> Iterable[Row]:
    from _series import ingested, write_ct

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for series in range(4):
            write_ct(place / "old" / str(series), slices=20 + series)
        write_ct(place / "new", slices=_NEW)
        new = sorted((place / "new").iterdir())
        ingested(place / "old", place / "home")
        with ours(place / "home") as server:
            own, peak_mb = load(server.port, new, clients=CLIENTS, seconds=SECONDS), server.peak_mb()
        with orthanc(place / "orthanc") as server:
            _upload(server.port, place / "old")
            peer = load(server.port, new, clients=CLIENTS, seconds=SECONDS)
        yield Row(
            f"{CLIENTS} clients for {SECONDS:.0f} s, 95 % of {_told(own)} answered within",
            own.p95(), f"Orthanc {orthanc_version()}: {_told(peer)}", peer.p95(),
            f"no error, all processes under {_MOST_MB} MB", not own.errors and peak_mb < _MOST_MB, peak_mb, 1,
            {name: version(name) for name in ("researchpacs", "uvicorn")},
        )  # fmt: skip


def _told(found: Load) -> str:
    counts = ", ".join(f"{len(seconds)} {kind}" for kind, seconds in found.seconds.items())
    return f"{counts}, {len(found.errors)} errors"


def _upload(port: int, folder: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for path in sorted(folder.rglob("*.dcm")):
        connection.request("POST", "/instances", path.read_bytes())
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
