"""C-STORE of 512x512 slices by dcmtk's storescu, one association and four, into our SCP and into Debian's Orthanc.

Both store on the same disk and sync before they answer (Orthanc with SyncStorageArea). All sides have TCP_NODELAY,
which dcmtk, and so Orthanc, takes from the environment. The servers start before the clock does.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from _measure import Clock, alternately
from _row import Row
from _servers import ENVIRONMENT, free_port, orthanc, orthanc_version, ours

SLICES = 300


def rows() -> Iterable[Row]:
    # Here, because the measured processes load this file, and should load nothing else.
    from _series import write_ct

    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder) / "ct", slices=SLICES, side=512)
        for associations, target in ((1, 0.5), (4, 0.8)):
            given = json.dumps({"files": folder + "/ct", "associations": associations})
            own, peer = alternately(store_to_ours, store_to_orthanc, given=given)
            yield Row(
                f"C-STORE of {SLICES} files of 512x512, {associations} association{'s' * (associations > 1)}",
                own.seconds, f"Orthanc {orthanc_version()}, synced", peer.seconds, f"ratio >= {target}",
                peer.seconds / own.seconds >= target, None, own.rounds,
                {name: version(name) for name in ("researchpacs", "pynetdicom")}, (own.slowest, peer.slowest),
            )  # fmt: skip


def store_to_ours(given: str) -> Clock:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder) / "home", "--dimse-port", str(port)):
        return _send(given, port, "RESEARCHPACS")


def store_to_orthanc(given: str) -> Clock:
    with tempfile.TemporaryDirectory() as folder, orthanc(Path(folder)) as server:
        return _send(given, server.dimse_port, "ORTHANC")


def _send(given: str, port: int, aet: str) -> Clock:
    options = json.loads(given)
    files, count = sorted(map(str, Path(options["files"]).iterdir())), options["associations"]
    start = time.perf_counter()
    command = ["storescu", "-aec", aet, "127.0.0.1", str(port)]
    running = [subprocess.Popen([*command, *files[part::count]], env=ENVIRONMENT) for part in range(count)]
    assert [process.wait() for process in running] == [0] * count
    return Clock(seconds=time.perf_counter() - start)
